# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A mirror as a backstore while it is made anew, and RAID over disks of three targets of which one
# goes away under load: nobody sees an error, and what was written is on every copy.
# time: 60

case_cleanup() {
	mdadm --stop /dev/md0
	i_forget
	t_clear
	dmsetup remove both slow one two
	dmsetup remove part{0..8}
} 2>/dev/null

# shellcheck source=tests/vm/ha/raid.sh
. "$T_DIR/ha/raid.sh"
must modprobe -a dm_mod dm_mirror dm_delay raid10
t_load

# --- a mirror that is not in sync ------------------------------------------------------------
blocks=65536
dm_make one "0 $blocks linear /dev/vdb 0"
dm_make two "0 $blocks linear /dev/vdb $blocks"
must dd if=/dev/urandom of=/dev/mapper/one bs=1M count=32 oflag=direct status=none
# Its second half is slow, or it would be done at once.
dm_make slow "0 $blocks delay /dev/mapper/two 0 0 /dev/mapper/two 0 20"
dm_make both "0 $blocks mirror core 1 64 2 /dev/mapper/one 0 /dev/mapper/slow 0 1 handle_errors"
regions() {
	dmsetup status both | grep -oE '[0-9]+/[0-9]+'
}
in_sync() {
	local now
	now=$(regions)
	[ "${now%/*}" = "${now#*/}" ]
}
t_export /dev/mapper/both
must i_login
disk=$(i_disk) || give_up "no disk"
check_not "the mirror is not in sync" in_sync
first=$(regions)
check "writes during the resync, verified" fio_verify "$disk" --size=4m
echo "@figure a mirror made anew: regions in sync before 4 MiB were written and read, and after that | $first, $(regions)"
check "it comes to its end" wait_for 120 in_sync
i_forget
t_clear
must dmsetup remove both
check "both halves are the same" cmp /dev/mapper/one /dev/mapper/two
must dmsetup remove slow one two

# --- RAID10 over nine disks of three targets ---------------------------------------------------
# The copies are the same to begin with.
must blkdiscard -z /dev/vdb
for n in 0 1 2 3 4 5 6 7 8; do
	dm_make "part$n" "0 65536 linear /dev/vdb $((n * 65536))"
done
for t in 0 1 2; do
	iqn=$IQN-$t
	t_target "$iqn"
	for l in 0 1 2; do
		t_backstore "disk$t$l" /dev/mapper/part$((3 * t + l))
		t_lun "$iqn" $l "disk$t$l"
	done
	t_portal "$iqn" "127.0.0.1:326$t"
	t_demo "$iqn"
	t_enable "$iqn"
	raid_log_in "$iqn" "127.0.0.1:326$t"
done
# Three copies of everything, each of another target.
raid_find "$IQN-0" "$IQN-1" "$IQN-2"
raid_make "${disks[@]}"
raid_write 15 &
load=$!
sleep 2
gone=$(now_ms)
t_disable "$IQN-1"
check "one of three targets goes: md gives up its three disks" wait_for 30 raid_has_failed 3
echo "@figure RAID10 over three targets, one goes: ms until md goes on without it | $(($(now_ms) - gone))"
check "what is written is read, verified" wait $load
t_enable "$IQN-1"
raid_comes_back "${disks[1]}" "${disks[4]}" "${disks[7]}"
i_forget
t_clear
