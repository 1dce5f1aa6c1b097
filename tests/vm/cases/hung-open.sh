# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A block device that does not open, a path that is not found in time, and a file system for
# reservations that hangs: what waits for them in configfs is given up, or goes on by itself, and all
# else works.
# time: 55

case_cleanup() {
	dmsetup resume slow
	dmsetup resume pr
	t_clear
	umount /mnt
	losetup -d /dev/loop6
	dmsetup remove --retry slow
	dmsetup remove --retry pr
} 2>/dev/null

must modprobe -a dm_mod loop
dm_make slow "0 65536 linear /dev/vda 0"
dm_make pr "0 131072 linear /dev/vda 65536"
must mkfs.ext4 -q /dev/mapper/pr
must mount /dev/mapper/pr /mnt
must mkdir /mnt/pr /mnt/links
dm_make spare "0 65536 linear /dev/vda 196608"
dm_make spare2 "0 65536 linear /dev/vda 262144"
must ln -s /dev/mapper/spare2 /mnt/links/disk
must mknod /mnt/links/node b $((0x$(stat -L -c %t /dev/mapper/spare2))) $((0x$(stat -L -c %T /dev/mapper/spare2)))
must losetup --partscan --direct-io=on /dev/loop6 /dev/mapper/slow
t_load pr_dir=/mnt/pr
py hung_lookup
t_export /dev/vdb
t_backstore disk1 /dev/mapper/spare
py hung_open
# Nothing that was given up keeps the devices.
t_clear
for name in spare spare2; do
	check "$name is free" dmsetup remove --retry $name
done
check "the device is free" losetup -d /dev/loop6
