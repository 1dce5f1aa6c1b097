# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Every kind of block device can be exported: partition, loop, LVM, RAID, dm, NVMe-like null_blk
# with blocks of 4 KiB; what cannot be is refused with the reason.
# time: 90

case_cleanup() {
	i_forget
	t_clear
	umount /tmp/mounted
	vgchange -an ferrite_test
	mdadm --stop /dev/md127
	losetup -D
	dmsetup remove --retry linear
	rmdir /sys/kernel/config/nullb/nb0
	rmmod null_blk
	wipefs -aq /dev/vdb
} 2>/dev/null

t_load
t_target
t_portal "$IQN" "$PORTAL"
t_demo
t_enable
must modprobe -a loop dm_mod raid1

# tried NAME DEVICE: exports it, verifies I/O over iSCSI and on the device, takes it back.
tried() {
	local name=$1 device=$2 disk
	t_backstore "$name" "$device"
	t_lun "$IQN" 0 "$name"
	check "$name: login" i_login || return
	disk=$(i_disk "$IQN" 0)
	check_eq "$name: size" "$(blockdev --getsize64 "$device")" "$(blockdev --getsize64 "$disk")"
	check_eq "$name: block size" "$(blockdev --getss "$device")" "$(blockdev --getss "$disk")"
	check "$name: verified I/O" fio_verify "$disk" --size=8m --bsrange=4k-128k
	check_eq "$name: the device has it" "$(sum "$disk" 8)" "$(sum "$device" 8)"
	check_not "$name: nobody else can claim it" python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)' "$device"
	i_logout
	i_forget
	check "$name: the LUN is removed" t_unlun "$IQN" 0
	check "$name: the backstore is removed" rmdir "$(t_store "$name")"
	check "$name: the device is free again" python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)' "$device"
}

must sfdisk -q /dev/vdb <<-END
	label: gpt
	size=64M
	size=64M
	size=64M
	size=64M
END
partx -u /dev/vdb
wait_for 5 test -b /dev/vdb4
tried partition /dev/vdb1

must truncate -s 64M /tmp/file
loop=$(losetup -f --show /tmp/file)
tried loop "$loop"
losetup -d "$loop"

dm_make linear "0 65536 linear /dev/vdb2 0
65536 65536 linear /dev/vdb3 0"
tried dm-linear /dev/mapper/linear
must dmsetup remove --retry linear

export DM_DISABLE_UDEV=1
lvm=(--config 'activation/udev_sync=0 activation/udev_rules=0 activation/verify_udev_operations=0 devices/use_devicesfile=0')
must pvcreate -qq "${lvm[@]}" /dev/vdb2
must vgcreate -qq "${lvm[@]}" ferrite_test /dev/vdb2
must lvcreate -qq "${lvm[@]}" -Zn -Wn -an -L 32M -n volume ferrite_test
must lvchange -qq "${lvm[@]}" -ay ferrite_test/volume
must vgmknodes "${lvm[@]}"
tried lvm /dev/ferrite_test/volume
must vgchange -qq "${lvm[@]}" -an ferrite_test

must mdadm --create /dev/md127 --quiet --run --assume-clean --level=1 --raid-devices=2 --metadata=1.2 /dev/vdb3 /dev/vdb4
wait_for 5 test -b /dev/md127
tried raid1 /dev/md127
must mdadm --stop /dev/md127

must modprobe null_blk nr_devices=0
must mkdir /sys/kernel/config/nullb/nb0
for pair in size=64 blocksize=4096 memory_backed=1 discard=1 power=1; do
	must put "${pair#*=}" "/sys/kernel/config/nullb/nb0/${pair%=*}"
done
null=$(cat /sys/kernel/config/nullb/nb0/index)
for null in /dev/nb0 "/dev/nullb$null"; do
	[ ! -b "$null" ] || break
done
tried blocks-of-4096-bytes "$null"

# What cannot be had.
refused() {
	local name=$1 device=$2
	log_mark
	if [ "$T_BY" = tool ]; then
		check_not "$name is refused" tool backstore create refused "$device"
	else
		mkdir -p "$ROOT/core/iblock_99/refused"
		put "udev_path=$device" "$ROOT/core/iblock_99/refused/control"
		check_not "$name is refused" put 1 "$ROOT/core/iblock_99/refused/enable"
		rmdir "$ROOT/core/iblock_99/refused"
	fi
	check_eq "$name: nothing half-made is left" "" "$(t_store refused)"
}
refused "a path that does not exist" /dev/nothing
refused "a file" /etc/passwd
refused "a character device" /dev/zero
mkfs.ext4 -qF /dev/vdb1
mkdir -p /tmp/mounted
must mount /dev/vdb1 /tmp/mounted
refused "a mounted partition" /dev/vdb1
refused "the disk of a mounted partition" /dev/vdb
umount /tmp/mounted
t_backstore twice /dev/vdb4
refused "a device that is exported already" /dev/vdb4
check "the first one is as it was" test -d "$(t_store twice)"
