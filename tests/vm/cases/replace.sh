# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The block device of a LUN in use is replaced by another one, back and forth under verified
# writes: the session, the identity and the reservations stay, no write is lost, none lands on a
# device that has been replaced. What does not fit is refused, and so is to leave a device that
# hangs; then the old one stays. One that fails or is gone can be left, with I/O under way.
# time: 95

case_cleanup() {
	dmsetup resume hung
	i_forget
	t_clear
	dmsetup remove --retry both one two again bigger hung small
	rmmod scsi_debug
	losetup -d /dev/loop6 /dev/loop7
	rm -f /tmp/replace.*
} 2>/dev/null

must modprobe -a dm_mod dm_mirror loop
sectors=65536
# Two legs, and a mirror of them, which is what keeps them equal.
dm_make one "0 $sectors linear /dev/vda 0"
dm_make two "0 $sectors linear /dev/vdb 0"
must dd if=/dev/zero of=/dev/mapper/one bs=1M count=$((sectors / 2048)) oflag=direct status=none
must dd if=/dev/zero of=/dev/mapper/two bs=1M count=$((sectors / 2048)) oflag=direct status=none
dm_make both "0 $sectors mirror core 2 1024 nosync 2 /dev/mapper/one 0 /dev/mapper/two 0 1 handle_errors"
# The first leg once more, as another block device.
dm_make again "0 $sectors linear /dev/vda 0"
dm_make bigger "0 $((2 * sectors)) linear /dev/vdb $((2 * sectors))"
dm_make small "0 $((sectors - 8)) linear /dev/vdb $((4 * sectors))"
dm_make hung "0 $sectors linear /dev/vda $((2 * sectors))"

t_load
# The mirror has its legs open.
must ferritectl backstore create disk0 /dev/mapper/both --shared
t_target
t_lun "$IQN" 0 disk0
t_portal "$IQN" "$PORTAL"
t_demo "$IQN"
t_enable "$IQN"
must i_login
disk=$(i_disk) || give_up "no disk"
store=$(echo "$ROOT"/core/iblock_*/disk0)

identity() {
	sg_inq --export --page=sn "$disk"
	sg_inq --export --page=di "$disk"
	udevadm settle
	find /dev/disk/by-id -lname "*/${disk#/dev/}" | sort
}
before=$(identity)
check_match "the disk has an identity" SCSI_IDENT_LUN_NAA "$before"
session=$(i_sessions)
must sg_persist --out --register --param-sark=0xfe --no-inquiry "$disk"
must sg_persist --out --reserve --param-rk=0xfe --prout-type=5 --no-inquiry "$disk"

replace() {
	ferritectl backstore replace disk0 --path "$1"
}
writes() {
	awk '{ print $5 }' "/sys/block/${disk#/dev/}/stat"
}
busy() {
	[ "$(writes)" -gt "$1" ]
}
more() {
	wait_for 30 busy $(($(writes) + 50))
}
# Sectors that have been written to a device of device mapper.
written() {
	awk '{ print $7 }' "/sys/block/$(dmsetup info -c --noheadings -o blkdevname "$1")/stat"
}

# --- back and forth under I/O ------------------------------------------------------------------
# Random writes are read back, and compared, as long as it goes on.
log_mark
background fio_until /tmp/replace.stop "$disk"
must more
check "from a mirror to its leg" replace /dev/mapper/one
old=$(written two)
must more
check_eq "nothing is written to the other leg any more" "$old" "$(written two)"
check_logged "the kernel log tells of it" "^ferrite: core/iblock_[0-9]+/disk0: its block device is dm-[0-9]+ now, and was dm-[0-9]+"
check_eq "the mirror is free" 0 "$(dmsetup info -c --noheadings -o open both)"
check "and I/O goes on" kill -0 "$BACKGROUND"
late=0
for _ in 1 2 3 4; do
	for way in "one again" "again one"; do
		must replace "/dev/mapper/${way#* }"
		old=$(written "${way% *}")
		must more
		[ "$(written "${way% *}")" = "$old" ] || late=$((late + 1))
	done
done
check_eq "eight times: nothing is written to what has been replaced" 0 $late
check "in all of which I/O went on" kill -0 "$BACKGROUND"
must mknod /tmp/replace.node b "$(stat -c 0x%t /dev/mapper/one)" "$(stat -c 0x%T /dev/mapper/one)"
log_mark
must replace /tmp/replace.node
check_not "the same by another name is the same" log_has "its block device is"
check_eq "and has another name" /tmp/replace.node "$(cat "$store/udev_path")"
must touch /tmp/replace.stop
check "all I/O succeeds, verified" finish 90
check_eq "the session is the same" "$session" "$(i_sessions)"
check_eq "the identity is the same" "$before" "$(identity)"
check_match "the reservation is, too" "Key=0xfe" "$(sg_persist --in --read-reservation --no-inquiry "$disk")"

# A clone, made of a disk that rests.
must dd if=/dev/mapper/one of=/dev/mapper/two bs=1M oflag=direct status=none
check "to a clone" replace /dev/mapper/two
old=$(sum /dev/mapper/one 32)
check_eq "which has what the disk had" "$old" "$(sum "$disk" 32)"
must dd if=/dev/urandom of="$disk" bs=1M count=4 oflag=direct conv=fsync status=none
check_eq "what is written is on the clone" "$(sum "$disk" 4)" "$(sum /dev/mapper/two 4)"
check_eq "and not on the disk that it was made of" "$old" "$(sum /dev/mapper/one 32)"

# --- what does not fit -------------------------------------------------------------------------
# refused NAME DEVICE RULE
refused() {
	log_mark
	check_not "$1: refused" replace "$2"
	check_logged "and the kernel log says why" "core/iblock_[0-9]+/disk0/replace: $2: $3"
	check_match "the old one stays" /dev/mapper/two "$(cat "$store/udev_path")"
}
refused "a smaller one" /dev/mapper/small "the new block device is smaller"
refused "no device" /dev/none "names no device"
refused "no block device" /dev/null "names no block device"
must truncate -s 64M /tmp/replace.4k
must losetup --sector-size 4096 /dev/loop6 /tmp/replace.4k
refused "another block size" /dev/loop6 "the new block device has another block size"
must losetup --read-only /dev/loop7 /tmp/replace.4k
refused "one that is write-protected" /dev/loop7 "the new block device is read-only"
must mkdir -p "$ROOT/core/iblock_90/unborn"
check_not "a backstore that is not enabled has nothing to replace" put /dev/vdb "$ROOT/core/iblock_90/unborn/replace"
must rmdir "$ROOT/core/iblock_90/unborn" "$ROOT/core/iblock_90"
check "and the disk works as before" fio_verify "$disk" --size=256k

# --- the old one hangs -------------------------------------------------------------------------
must dd if=/dev/mapper/two of=/dev/mapper/hung bs=1M oflag=direct status=none
must replace /dev/mapper/hung
must dmsetup suspend --nolockfs hung
background dd if=/dev/urandom of="$disk" bs=64k count=16 oflag=direct status=none
stuck() {
	[ "$(awk '{ print $2 }' "/sys/block/${disk#/dev/}/inflight")" -gt 0 ]
}
must wait_for 10 stuck
old=$(sum /dev/mapper/one 32)
log_mark
took=$(took_ms check_not "a device that hangs cannot be left" replace /dev/mapper/one)
check_le "that is said in time, in ms" "$took" $((8000 * T_SLOWER))
check_logged "and the kernel log says why" "does not end what is under way; it stays"
must dmsetup resume hung
check "what was under way ends well" finish 60
check_eq "on the old one" "$(sum "$disk" 32)" "$(sum /dev/mapper/hung 32)"
check_eq "and not on the other" "$old" "$(sum /dev/mapper/one 32)"
must dd if=/dev/mapper/hung of=/dev/mapper/one bs=1M oflag=direct status=none
check "now it can be left" replace /dev/mapper/one

# --- the old one hangs, and then fails -----------------------------------------------------------
# What is under way fails while somebody waits for it to end: the initiator's disk tries it again, and
# that goes to the new one, as does what comes then.
inflight() {
	awk '{ print $1 + $2 }' "/sys/block/${disk#/dev/}/inflight"
}
stuck_by() {
	[ "$(inflight)" -ge "$1" ]
}
# ends WHAT PID...: they do, within two seconds of $start.
ends() {
	local what=$1 pid
	shift
	for pid; do
		BACKGROUND=$pid
		finish $((20 * T_SLOWER))
		[ $? -ne 142 ] || fail "$what: something never ends"
	done
	check_le "$what, in ms" $(($(now_ms) - start)) $((2000 * T_SLOWER))
}
in_ranges() {
	grep -q 'ranges.*\[ferrite\]' "/proc/$1/stack"
}
replacing() {
	exec ferritectl backstore replace disk0 --path "$1"
}
must dd if=/dev/urandom of=/tmp/replace.data bs=1M count=1 status=none
must replace /dev/mapper/hung
must dmsetup suspend --nolockfs hung
must dmsetup load hung --table "0 $sectors error"
background dd if=/tmp/replace.data of="$disk" bs=1M count=1 oflag=direct status=none
writer=$BACKGROUND
background dd if="$disk" of=/dev/null bs=64k skip=64 count=1 iflag=direct status=none
reader=$BACKGROUND
must wait_for 10 stuck_by 2
background replacing /dev/mapper/one
# It gives up after five seconds.
must wait_for 4 in_ranges "$BACKGROUND"
start=$(now_ms)
must dmsetup resume hung
check "a device that hung and fails can be left" finish $((20 * T_SLOWER))
ends "what was under way on it ends" "$writer" "$reader"
check_eq "tried again it is on the new one" "$(sum /tmp/replace.data)" "$(sum /dev/mapper/one 1)"
check "and the disk works as before" fio_verify "$disk" --size=256k
check_eq "in the same session" "$session" "$(i_sessions)"
check_eq "nobody holds the one that failed" 0 "$(dmsetup info -c --noheadings -o open hung)"

# --- the old one is pulled out -------------------------------------------------------------------
must modprobe scsi_debug dev_size_mb=$((sectors / 2048))
gone=
appears() {
	for gone in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/sd*; do
		gone=${gone##*/}
	done
	[ -b "/dev/$gone" ] && [ "$(cat "/sys/block/$gone/size")" -gt 0 ]
}
must wait_for 10 appears
must dd if=/dev/mapper/one of="/dev/$gone" bs=1M oflag=direct status=none
must replace "/dev/$gone"
slow_down() {
	echo 999999999 >/sys/bus/pseudo/drivers/scsi_debug/ndelay
}
must wait_for 10 slow_down
background dd if=/tmp/replace.data of="$disk" bs=1M count=1 oflag=direct status=none
writer=$BACKGROUND
must wait_for 10 stuck_by 1
log_mark
# It takes the second that the write takes.
background put 1 "/sys/block/$gone/device/delete"
remover=$BACKGROUND
must wait_for 10 test ! -e "/sys/block/$gone/queue"
check_not "for a device that is pulled out none can come that is smaller" replace /dev/mapper/small
check_logged "and the kernel log says why" "replace: /dev/mapper/small: the new block device is smaller"
# Not tried again: it may fail.
sg_read if="$disk" bs=512 count=1 blk_sgio=1 2>/tmp/replace.said
sg_turs --verbose "$disk" >>/tmp/replace.said 2>&1
check_match "it is not ready" "[Nn]ot [Rr]eady" "$(cat /tmp/replace.said)"
check_no_match "and not of another size" "Illegal Request" "$(cat /tmp/replace.said)"
start=$(now_ms)
check "a device that is pulled out can be left" replace /dev/mapper/two
ends "what was under way on it ends" "$writer"
check "the disk works as before" fio_verify "$disk" --size=256k
check_not "and nobody was told that it had no blocks" log_has "disk0: it had [0-9]+ blocks, and has"
check_eq "in the same session" "$session" "$(i_sessions)"
check_eq "with the same identity" "$before" "$(identity)"
ends_in_time() {
	BACKGROUND=$remover
	finish $((20 * T_SLOWER))
}
check "the one that is pulled out goes" ends_in_time
check "and nobody holds it" wait_for $((10 * T_SLOWER)) rmmod scsi_debug
must dd if=/dev/mapper/two of=/dev/mapper/one bs=1M oflag=direct status=none
must replace /dev/mapper/one

# --- a larger one, by a file ---------------------------------------------------------------------
told() {
	dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct
	log_has "^sd .*[Cc]apacity data has changed"
}
must dd if=/dev/mapper/one of=/dev/mapper/bigger bs=1M count=$((sectors / 2048)) oflag=direct status=none
cat >/tmp/replace.toml <<TOML
[backstore.disk0]
device = "/dev/mapper/bigger"
shared = true

[target."$IQN".tpg.1]
portals = ["$PORTAL"]
attributes = { authentication = 0, generate_node_acls = 1, demo_mode_write_protect = 0 }
luns = { 0 = "disk0" }
TOML
log_mark
plan=$(ferritectl apply /tmp/replace.toml --dry-run)
check_match "apply plans to replace it" "from /dev/mapper/one to /dev/mapper/bigger, live" "$plan"
check_match "which interrupts nobody" "nobody is interrupted" "$plan"
check "and does it" ferritectl apply /tmp/replace.toml
check "a larger one is told to the initiator" wait_for 10 told
must put 1 "$(i_scsi_dev "$disk")/rescan"
check_eq "which sees its size" $((2 * sectors * 512)) "$(blockdev --getsize64 "$disk")"
check_eq "in the same session" "$session" "$(i_sessions)"
check_eq "by the same name" "$before" "$(identity)"
check "what is new can be written and read" fio_verify "$disk" --size=4m --offset=40m
i_logout
