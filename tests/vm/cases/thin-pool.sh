# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The soft threshold of a thin pool: initiators can ask how full it is, and are told in time.
# time: 15

case_cleanup() {
	i_forget
	t_clear
	for name in thin pool meta data; do
		dmsetup remove --retry $name
	done
} 2>/dev/null

# ask CDB-BYTE...: the first 40 bytes of the answer, in hex. What has changed is told before it.
ask() {
	wait_for 5 sg_raw -r 64 -o /tmp/answer "$disk" "$@" && od -An -tx1 -v -w40 -N40 /tmp/answer
}
# told: a command of the initiator is answered with the unit attention.
told() {
	dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct
	log_has "^sd .*[Ss]oft threshold"
}

must modprobe -a dm_mod dm_thin_pool
dm_make meta "0 8192 linear /dev/vdb 0"
dm_make data "0 131072 linear /dev/vdb 8192"
must dd if=/dev/zero of=/dev/mapper/meta bs=64k count=1 oflag=direct
# 64 MiB, in pieces of 64 KiB.
dm_make pool "0 131072 thin-pool /dev/mapper/meta /dev/mapper/data 128 0 1 error_if_no_space"
must dmsetup message pool 0 "create_thin 0"
dm_make thin "0 262144 thin /dev/mapper/pool 0"
t_load
t_export /dev/mapper/thin /dev/vda
store=$(t_store disk0)
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"

check_eq "nothing is known of the pool at first" none "$(cat "$store/thin_pool")"
check_match "and initiators are told of no threshold sets" "^ 00 b2 00 04 00 .. 02" "$(ask 12 01 b2 00 40 00)"
for bad in 2/1 1 1/0 /1 1/x 1/2/3 "1 2"; do
	check_not "\"$bad\" is no state of a pool" put "$bad" "$store/thin_pool"
done
check_not "a threshold is a percentage" put 101 "$store/attrib/thin_threshold"
check_eq "and nothing has changed" "none 0" "$(cat "$store/thin_pool") $(cat "$store/attrib/thin_threshold")"

must dd if=/dev/urandom of="$disk" bs=1M count=16 oflag=direct status=none
must ferritectl backstore set disk0 thin_threshold=50
check "ferritectl looks at the pool" ferritectl backstore thin
check_eq "16 of 64 MiB are used" "$((16 << 20))/$((64 << 20))" "$(cat "$store/thin_pool")"
check_match "--json has it" '"percent": 25' "$(ferritectl --json backstore thin disk0)"
check_match "a disk that is not thin is refused by name" "no thin device" "$(ferritectl backstore thin disk1 2>&1)"
check_match "a threshold set is a MiB" "^ 00 b2 00 04 0b .. 02" "$(ask 12 01 b2 00 40 00)"
check_match "the log page says what is available, and used" "^ 8c 00 00 18 00 01 23 08 00 00 00 30 02 00 00 00 00 02 23 08 00 00 00 10 02" "$(ask 4d 00 4c 00 00 00 00 00 40 00)"
check_match "and the mode page the threshold" " 5c 02 00 14 00 .* 81 02 00 00 00 00 00 20" "$(ask 5a 08 1c 02 00 00 00 00 40 00)"

log_mark
must dd if=/dev/urandom of="$disk" bs=1M seek=16 count=16 oflag=direct status=none
check_not "below the threshold, or not known to be above, nobody is told" told
must ferritectl backstore thin
check "at the threshold the initiator is told" wait_for 5 told
check_logged "and the administrator, in the kernel log" "^ferrite: core/iblock_[0-9]+/disk0: its pool is 50 % full, the threshold is 50 %"
log_mark
must dd if=/dev/urandom of="$disk" bs=1M seek=32 count=4 oflag=direct status=none
must ferritectl backstore thin
check_not "once, not again and again" told
must put "$((1 << 20))/$((64 << 20))" "$store/thin_pool"
must put "$((40 << 20))/$((64 << 20))" "$store/thin_pool"
check "again when it has been below since" wait_for 5 told
check "save and restore keep the threshold" ferritectl save /tmp/thin.json
check_match "but not what was known of the pool" "^0$" "$(grep -c thin_pool /tmp/thin.json)"
check_match "the threshold is there" thin_threshold "$(cat /tmp/thin.json)"
must put none "$store/thin_pool"
check_match "nothing known: no threshold sets" "^ 00 b2 00 04 00 .. 02" "$(ask 12 01 b2 00 40 00)"
i_logout
