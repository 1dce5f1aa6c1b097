# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A backing device that grows or shrinks: initiators are told, and see the new size.
# time: 40

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry growing
} 2>/dev/null

resize() {
	must dmsetup suspend growing
	must dmsetup load growing --table "0 $1 linear /dev/vda 0"
	must dmsetup resume growing
}

must modprobe dm_mod
dm_make growing "0 131072 linear /dev/vda 0"
t_load
t_export /dev/mapper/growing
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
check_eq "the size at first" $((131072 * 512)) "$(blockdev --getsize64 "$disk")"
i_iface other iqn.2026-01.org.example:other-initiator
i_node "$IQN" "$PORTAL" other
must iscsiadm -m node -T "$IQN" -p "$PORTAL" -I other --login
check_eq "two sessions" 2 "$(t_sessions)"

# capacity BLOCKS: READ CAPACITY says so. What it says each time goes to the kernel's log.
capacity() {
	local said
	said=$(sg_readcap "$disk" 2>&1)
	echo "ferrite-test: READ CAPACITY, status $?: ${said//$'\n'/ }" >/dev/kmsg
	grep -q "Number of logical blocks=$1$" <<<"$said"
}

# told DISK: a command to it is answered with the unit attention, and the kernel says so.
told() {
	local device
	device=$(basename "$(readlink -f "$(i_scsi_dev "$1")")")
	dd if="$1" of=/dev/null bs=4k count=1 iflag=direct
	log_has "^sd $device: .*[Cc]apacity data has changed"
}

log_mark
resize 262144
check "the kernel log tells of the change" wait_for 10 log_has "^ferrite: core/iblock_[0-9]+/disk0: .*131072.*262144"
for sid in $(i_sessions); do
	check "session $sid gets the unit attention CAPACITY DATA HAS CHANGED" wait_for 10 told "$(i_disk "$IQN" 0 "$sid")"
done
check "READ CAPACITY tells the new size" capacity 262144
must put 1 "$(i_scsi_dev "$disk")/rescan"
check_eq "a rescan makes the disk larger" $((262144 * 512)) "$(blockdev --getsize64 "$disk")"
check "what is new can be written and read" fio_verify "$disk" --size=8m --offset=100m

# Under I/O, of which nothing is lost: what meets the unit attention is tried again.
busy() {
	[ "$(awk '{ print $5 }' "/sys/block/${disk#/dev/}/stat")" -gt "$1" ]
}
log_mark
writes=$(awk '{ print $5 }' "/sys/block/${disk#/dev/}/stat")
rm -f /tmp/growth.stop
background fio_until /tmp/growth.stop "$disk" --size=32m
must wait_for 20 busy $((writes + 500))
resize 393216
check "under I/O: it is told to the initiator" wait_for 10 log_has "^sd .*[Cc]apacity data has changed"
check "while I/O is going on" kill -0 "$BACKGROUND"
must put 1 "$(i_scsi_dev "$disk")/rescan"
check_eq "a rescan makes the disk larger" $((393216 * 512)) "$(blockdev --getsize64 "$disk")"
must touch /tmp/growth.stop
check "all I/O succeeds, verified" finish 60

log_mark
resize 65536
check "smaller: it is told to the initiator" wait_for 10 told "$disk"
check "READ CAPACITY tells the new size" capacity 65536
check_match "and reads beyond it are out of range" "out of range" "$(sg_raw -r 512 "$disk" 28 00 00 01 80 00 00 00 01 00 2>&1)"
i_logout
