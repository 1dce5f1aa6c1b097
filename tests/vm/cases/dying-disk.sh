# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Disks that are pulled out, fail, grow slow or do not answer in time, under I/O: their commands end,
# and tell why; others go on; all that can be removed goes at once.
# time: 40

nullb=/sys/kernel/config/nullb/dying
case_cleanup() {
	t_clear
	dmsetup remove --retry dying
	rmmod scsi_debug
	rmdir "$nullb"
	rmmod null_blk
	[ -b /dev/vdb ] || echo 1 >/sys/bus/pci/rescan
} 2>/dev/null

must modprobe -a dm_mod dm_delay dm_flakey
t_load
export T_BY=configfs
t_target
t_portal "$IQN" "$PORTAL"
t_demo
t_backstore good /dev/vda
t_lun "$IQN" 1 good
t_enable

# dies KIND DEVICE [PATH [WORD]]: with commands under way, what PATH stands for happens to it. All that
# there is for it, the script takes away.
dies() {
	t_backstore dying "$2"
	t_lun "$IQN" 0 dying
	must mkdir "$(t_tpg)/np/127.0.0.1:3261"
	t_acl "$IQN" iqn.2026-01.org.example:raw-acl
	t_target "$IQN-other"
	t_lun "$IQN-other" 0 dying
	t_portal "$IQN-other" "$PORTAL"
	t_demo "$IQN-other"
	t_enable "$IQN-other"
	py dying_disk "$1" "${3:-}" "${4:-1}"
}

# null_make KEY=VALUE...: /dev/dying, of null_blk.
null_make() {
	local pair
	must mkdir "$nullb"
	for pair in size=64 memory_backed=1 irqmode=2 "$@" power=1; do
		must put "${pair#*=}" "$nullb/${pair%%=*}"
	done
	must wait_for 10 test -b /dev/dying
}

size=$(blockdev --getsz /dev/vdb)
dm() {
	dm_make dying "$1"
	dies "$2" /dev/mapper/dying
	must dmsetup remove --retry dying
}
dm "0 $size error" error
dm "0 $size flakey /dev/vdb 0 0 60 1 error_writes" flakey
dm "0 $size delay /dev/vdb 0 3000" delay

# Commands take a second, and the disk is deleted before that.
must modprobe scsi_debug dev_size_mb=64
sd=
for _ in {1..100}; do
	for dir in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/sd*; do
		sd=${dir##*/}
	done
	[ -b "/dev/$sd" ] && [ "$(cat "/sys/block/$sd/size")" -gt 0 ] && break
	sleep 0.1
done
slow_down() {
	echo 999999999 >/sys/bus/pseudo/drivers/scsi_debug/ndelay
}
must wait_for 10 slow_down
dies "a deleted SCSI disk" "/dev/$sd" "/sys/block/$sd/device/delete"
must modprobe null_blk nr_devices=0
null_make completion_nsec=20000000
must put +0-16383 "$nullb/badblocks"
dies "a null_blk all of whose blocks are bad" /dev/dying
must rmdir "$nullb"
# Each command is given up by the driver after a second, and comes to its end after three.
null_make completion_nsec=3000000000
must put 1000 /sys/block/dying/queue/io_timeout
dies "a null_blk that times out" /dev/dying
must rmdir "$nullb"
# One whose driver frees all that it has of it, whoever has it open.
null_make completion_nsec=20000000
dies "a null_blk that is switched off" /dev/dying "$nullb/power" 0
pci=$(readlink -f /sys/block/vdb/device/..)
dies "a virtio disk that is pulled out" /dev/vdb "$pci/remove"
must put 1 /sys/bus/pci/rescan
check "it is there again" wait_for 10 test -b /dev/vdb
