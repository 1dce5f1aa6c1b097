# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What goes wrong below reaches the initiator as the sense data that tells the truth, and goes
# away when the fault does: medium errors with their LBA, a full thin pool, a read-only device, a
# device that is gone.
# time: 75

dm() {
	local verb=$1
	shift
	dmsetup "$verb" "$@"
}

dm_swap() {
	must dmsetup suspend --noflush --nolockfs "$1"
	must dmsetup load "$1" --table "$2"
	must dmsetup resume "$1"
}

case_cleanup() {
	i_forget
	t_clear
	for name in bad thin pool meta data; do
		dmsetup remove --retry $name
	done
	rmmod scsi_debug
} 2>/dev/null

# sense CDB-BYTE...: what sg_raw tells of a command.
sense() {
	sg_raw "$disk" "$@" 2>&1
}

must modprobe -a dm_mod dm_thin_pool
size=$(blockdev --getsz /dev/vda)
# Blocks 4096 to 4103 cannot be read or written.
hole="0 4096 linear /dev/vda 0
4096 8 error
4104 $((size - 4104)) linear /dev/vda 4104"
dm_make bad "$hole"
t_load
t_export /dev/mapper/bad
t_backstore good /dev/vdb
t_lun "$IQN" 1 good
must i_login
disk=$(i_disk "$IQN" 0) && good=$(i_disk "$IQN" 1)
[ -n "$good" ] || give_up "no disks"

out=$(sg_raw -r 4096 "$disk" 28 00 00 00 10 00 00 00 08 00 2>&1)
check_match "a read of a bad block: MEDIUM ERROR, UNRECOVERED READ ERROR" "Unrecovered read error" "$out"
check_match "with the key MEDIUM ERROR" "Medium Error" "$out"
check_match "and the LBA of the block" "Info fld=0x1000 " "$out"
out=$(sg_raw -r 8192 "$disk" 28 00 00 00 0f f8 00 00 10 00 2>&1)
check_match "a read that runs into a bad block tells the first bad one" "Info fld=0x1000 " "$out"
out=$(sg_raw -s 4096 -i /dev/zero "$disk" 2a 00 00 00 10 00 00 00 08 00 2>&1)
check_match "a write to a bad block: WRITE ERROR" "Write error" "$out"
check_match "with the key MEDIUM ERROR" "Medium Error" "$out"
check "blocks beside it can be read" sg_raw -r 4096 "$disk" 28 00 00 00 0f f8 00 00 08 00
check_eq "the session stays" 1 "$(t_sessions)"
check "the other LUN works" fio_verify "$good" --size=256k
dm_swap bad "0 $size linear /dev/vda 0"
check "the fault gone, the blocks can be read" dd if="$disk" of=/dev/null bs=4k skip=512 count=1 iflag=direct
# All of the bad blocks, and some beside them.
check "and written" fio_verify "$disk" --offset=1920k --size=256k

# A fault in the middle of much I/O: errors for that, and the session goes on.
background fio --name=w --filename="$disk" --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k --time_based --runtime=60 --minimal --continue_on_error=all
i_under_io "$disk"
log_mark
dm_swap bad "0 $size error"
must wait_for 20 log_has "error, dev ${disk#/dev/}"
dm_swap bad "0 $size linear /dev/vda 0"
i_under_io "$disk"
kill "$BACKGROUND"
finish 60
check_eq "a fault under I/O leaves the session" 1 "$(t_sessions)"
check_le "and does not flood the log: lines of ours" "$(log_since_mark | grep -c ferrite)" 30
check "the disk works" fio_verify "$disk" --size=256k

# A thin pool of 8 MiB under a disk of 64 MiB.
i_logout
i_forget
t_clear
dm remove --retry bad
dm_make meta "0 8192 linear /dev/vdb 0"
dm_make data "0 16384 linear /dev/vdb 8192"
must dd if=/dev/zero of=/dev/mapper/meta bs=64k count=1 oflag=direct
dm_make pool "0 16384 thin-pool /dev/mapper/meta /dev/mapper/data 128 0 1 error_if_no_space"
must dmsetup message pool 0 "create_thin 0"
dm_make thin "0 131072 thin /dev/mapper/pool 0"
t_export /dev/mapper/thin
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
dd if=/dev/zero of="$disk" bs=1M count=7 oflag=direct
for ((mib = 8; mib < 31; mib++)); do
	out=$(sg_raw -s 65536 -i /dev/zero "$disk" 2a 00 00 00 "$(printf %02x $((mib * 8)))" 00 00 00 80 00 2>&1)
	! grep -q "SCSI Status: Good" <<<"$out" || continue
	break
done
check_match "a full pool: SPACE ALLOCATION FAILED WRITE PROTECT" "Space allocation failed write protect" "$out"
check_match "with the key DATA PROTECT" "Data Protect" "$out"
check "what was written can be read" dd if="$disk" of=/dev/null bs=1M count=7 iflag=direct
check "and written over" dd if=/dev/zero of="$disk" bs=1M count=4 oflag=direct
check "UNMAP makes room" sg_unmap --force --lba=0 --num=8192 "$disk"
# The pool gives blocks out again once it has written down that they are free, which it does
# when nobody writes for a second.
has_room() {
	dmsetup status pool | grep -q ' rw '
}
must wait_for 15 has_room
check "then there is space again" dd if=/dev/urandom of="$disk" bs=1M count=2 seek=40 oflag=direct

# A read-only device.
i_logout
i_forget
t_clear
for name in thin pool meta data; do
	dm remove --retry $name
done
must blockdev --setro /dev/vdb
check_not "a read-only device is not opened for writing" tool backstore create ro /dev/vdb
t_backstore ro /dev/vdb ro
t_target
t_lun "$IQN" 0 ro
t_portal "$IQN" "$PORTAL"
t_demo
t_enable
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
check_eq "exported read-only, it is write protected" 1 "$(blockdev --getro "$disk")"
check "it can be read" dd if="$disk" of=/dev/null bs=64k count=4 iflag=direct
check_match "a write: DATA PROTECT, WRITE PROTECTED" "Write protected" "$(sg_raw -R -s 512 -i /dev/zero "$disk" 2a 00 00 00 00 00 00 00 01 00 2>&1)"
check_match "UNMAP as well" "Write protected|Data Protect" "$(sg_raw -R -s 24 -i <(printf '\0\26\0\20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\10\0\0\0\0') "$disk" 42 00 00 00 00 00 00 00 18 00 2>&1)"
check_match "WRITE SAME as well" "Write protected|Data Protect" "$(sg_raw -R -s 512 -i /dev/zero "$disk" 93 00 00 00 00 00 00 00 00 00 00 00 00 08 00 00 2>&1)"
i_logout
i_forget
t_clear
blockdev --setrw /dev/vdb

# A device that could be written, exported read-only.
t_backstore ro /dev/vdb ro
t_target
t_lun "$IQN" 0 ro
t_portal "$IQN" "$PORTAL"
t_demo
t_enable
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
check_eq "a device that could be written, exported read-only, is write protected" 1 "$(blockdev --getro "$disk")"
check_match "a write: DATA PROTECT, WRITE PROTECTED" "Write protected" "$(sg_raw -R -s 512 -i /dev/zero "$disk" 2a 00 00 00 00 00 00 00 01 00 2>&1)"
i_logout
i_forget
t_clear

# A device that goes away: a SCSI disk that is deleted under the target.
must modprobe scsi_debug dev_size_mb=64 lbpu=1
sd=
for _ in {1..50}; do
	for dir in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/sd*; do
		sd=/dev/${dir##*/}
	done
	[ -b "$sd" ] && break
	sleep 0.1
done
t_export "$sd" /dev/vdb
must i_login "node.session.timeo.replacement_timeout=5"
disk=$(i_disk "$IQN" 0) && good=$(i_disk "$IQN" 1)
[ -n "$good" ] || give_up "no disks"
check "the disk works" fio_verify "$disk" --size=256k
echo 1 >"/sys/block/${sd#/dev/}/device/delete"
sleep 1
out=$(sense 00 00 00 00 00 00)
check_match "a device that is gone: NOT READY" "Not Ready" "$out"
check_match "a read as well" "Not Ready|Hardware|Medium" "$(sg_raw -r 512 "$disk" 28 00 00 00 00 00 00 00 01 00 2>&1)"
check "INQUIRY is answered" sg_inq "$disk"
check_eq "the session stays" 1 "$(t_sessions)"
check "the other LUN works" fio_verify "$good" --size=256k
check "its LUN can be removed" t_unlun "$IQN" 0
check "and its backstore" rmdir "$(t_store disk0)"
i_logout
