# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The disk below a LUN is another one from one moment to the next, by device mapper: under I/O,
# of which nothing is lost, with the same identity, and a new size.
# time: 35

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry swapped
} 2>/dev/null

must modprobe dm_mod
sectors=131072
dm_make swapped "0 $sectors linear /dev/vda 0"
t_load
t_export /dev/mapper/swapped
must i_login
disk=$(i_disk) || give_up "no disk"
identity() {
	sg_inq --export --page=sn "$disk"
	sg_inq --export --page=di "$disk"
}
before=$(identity)
check_match "the disk has an identity" SCSI_IDENT_LUN_NAA "$before"
session=$(i_sessions)

writes() {
	awk '{ print $5 }' "/sys/block/${disk#/dev/}/stat"
}
busy() {
	[ "$(writes)" -gt "$1" ]
}
log_mark
rm -f /tmp/swapped.stop
background fio_until /tmp/swapped.stop "$disk" --size=32m
must wait_for 20 busy $(($(writes) + 100))
# What is under way ends on the old disk, what comes now waits.
must dmsetup suspend --nolockfs swapped
check "I/O is going on, and held" kill -0 "$BACKGROUND"
must dd if=/dev/vda of=/dev/vdb bs=1M count=$((sectors / 2048)) iflag=direct oflag=direct status=none
must dmsetup load swapped --table "0 $((2 * sectors)) linear /dev/vdb 0"
must dmsetup resume swapped
must touch /tmp/swapped.stop
check "no I/O fails, and all that was written is read, before and after" finish 60
check_eq "the session is the same" "$session" "$(i_sessions)"
check_eq "the identity is the same" "$before" "$(identity)"
check "the kernel log tells of the size" wait_for 10 log_has "^ferrite: core/iblock_[0-9]+/disk0: .*$sectors.*$((2 * sectors))"
must put 1 "$(i_scsi_dev "$disk")/rescan"
check_eq "the disk has the new one's size" $((2 * sectors * 512)) "$(blockdev --getsize64 "$disk")"

old=$(sum /dev/vda 64)
must dd if=/dev/urandom of="$disk" bs=1M count=4 oflag=direct status=none
check_eq "what is written is on the new disk" "$(sum "$disk" 4)" "$(sum /dev/vdb 4)"
check_eq "and not on the old one" "$old" "$(sum /dev/vda 64)"
i_logout
