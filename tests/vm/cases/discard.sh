# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Unmapping and zeroing reach the backing device, where it can; where it cannot, nobody is told
# that it could.
# time: 40

case_cleanup() {
	umount /tmp/m
	i_forget
	t_clear
	dmsetup remove --retry turns
	losetup -D
	rmdir /sys/kernel/config/nullb/nb0
	rmmod null_blk
	rm -f /tmp/backing
} 2>/dev/null

# MiB that the file takes.
used() {
	du -m /tmp/backing | cut -f 1
}

t_load
must modprobe loop
must dd if=/dev/urandom of=/tmp/backing bs=1M count=128 status=none
loop=$(losetup -f --show /tmp/backing)
t_export "$loop"
must i_login
disk=$(i_disk) || give_up "no disk"
check_eq "the file is whole" 128 "$(used)"
check "blkdiscard of a part" blkdiscard -o 16M -l 64M "$disk"
check_le "the file is smaller, in MiB" "$(used)" 66
check "and reads as zeros there" cmp -n $((64 << 20)) /dev/zero <(dd if="$disk" bs=1M skip=16 count=64 iflag=direct status=none)
check "the rest is as it was" cmp -n $((16 << 20)) <(dd if="$disk" bs=1M count=16 iflag=direct status=none) <(dd if="$loop" bs=1M count=16 iflag=direct status=none)
check_not "which is not zeros" cmp -n 4096 /dev/zero <(dd if="$disk" bs=4k count=1 iflag=direct status=none)
check "blkdiscard -z writes zeros" blkdiscard -z -o 1M -l 4M "$disk"
check "they are there" cmp -n $((4 << 20)) /dev/zero <(dd if="$loop" bs=1M skip=1 count=4 iflag=direct status=none)

# With write_through what UNMAP does is durable, too, when it is acknowledged.
flushes() {
	awk '{ print $16 }' "/sys/block/${loop#/dev/}/stat"
}
check_eq "the device has a cache" "write back" "$(cat "/sys/block/${loop#/dev/}/queue/write_cache")"
must put 1 "$(t_store disk0)/attrib/write_through"
sg_raw "$disk" 00 00 00 00 00 00
before=$(flushes)
check "UNMAP with write_through" sg_unmap --lba=40960 --num=1024 "$disk"
check_eq "is flushed" 1 "$(($(flushes) - before))"
# That unmapped blocks do not read as zeros any more may have to be told first.
sg_raw "$disk" 00 00 00 00 00 00
before=$(flushes)
check "so is WRITE SAME with UNMAP" sg_write_same --16 --unmap --in=/dev/zero --lba=40960 --num=1024 --xferlen=512 "$disk"
check_eq "which has one flush, too" 1 "$(($(flushes) - before))"
must put 0 "$(t_store disk0)/attrib/write_through"
sg_raw "$disk" 00 00 00 00 00 00
before=$(flushes)
check "UNMAP without it" sg_unmap --lba=40960 --num=1024 "$disk"
check_eq "is not" 0 "$(($(flushes) - before))"

mkdir -p /tmp/m
must mkfs.ext4 -qF -E nodiscard "$disk"
must mount "$disk" /tmp/m
must dd if=/dev/urandom of=/tmp/m/big bs=1M count=64 conv=fsync status=none
full=$(used)
rm /tmp/m/big
sync
check "fstrim" fstrim -v /tmp/m
check_le "gives back what a deleted file took, in MiB" "$(used)" $((full - 55))
umount /tmp/m
i_logout
i_forget

# Switched off, it is gone: from what the disk says of itself, and from what it does.
must t_unlun "$IQN" 0
granularity=$(cat "$(t_store disk0)/attrib/unmap_granularity")
check_eq "what UNMAP frees at once is told in blocks" "$(cat "/sys/block/${loop#/dev/}/queue/discard_granularity")" $((granularity * 512))
must put 4096 "$(t_store disk0)/attrib/block_size"
check_eq "also when they are larger" $((granularity / 8)) "$(cat "$(t_store disk0)/attrib/unmap_granularity")"
must put 512 "$(t_store disk0)/attrib/block_size"
check_eq "and as they were" "$granularity" "$(cat "$(t_store disk0)/attrib/unmap_granularity")"
must put 0 "$(t_store disk0)/attrib/emulate_tpu"
must put 0 "$(t_store disk0)/attrib/emulate_tpws"
t_lun "$IQN" 0 disk0
must i_login
disk=$(i_disk) || give_up "no disk"
check_no_match "emulate_tpu=0: UNMAP is not told" "LBPU=1|LBPWS(10)?=1" "$(sg_vpd -p lbpv "$disk" 2>&1)"
check_match "nor that anything could be unmapped" "lbpme=0" "$(sg_readcap -l "$disk")"
check_match "and UNMAP is refused" "Invalid command operation code" "$(sg_raw -s 24 -i /dev/zero "$disk" 42 00 00 00 00 00 00 00 18 00 2>&1)"
check "WRITE SAME without UNMAP goes on" sg_write_same --16 --in=/dev/zero --lba=0 --num=8 --xferlen=512 "$disk"
check_not "with UNMAP it is refused" sg_write_same --16 --unmap --in=/dev/zero --lba=0 --num=8 --xferlen=512 "$disk"
i_logout
i_forget
t_clear
losetup -D

# A device that cannot discard.
must modprobe null_blk nr_devices=0
must mkdir /sys/kernel/config/nullb/nb0
for pair in size=64 memory_backed=1 discard=0 power=1; do
	must put "${pair#*=}" "/sys/kernel/config/nullb/nb0/${pair%=*}"
done
wait_for 5 test -b /dev/nb0
t_export /dev/nb0
must i_login
disk=$(i_disk) || give_up "no disk"
check_match "a device that cannot discard is not thin" "lbpme=0" "$(sg_readcap -l "$disk")"
check_eq "the initiator offers no discard" 0 "$(cat "/sys/block/${disk#/dev/}/queue/discard_max_bytes")"
check_not "emulate_tpu=1 is refused" put 1 "$(t_store disk0)/attrib/emulate_tpu"
check "zeros can be written all the same" blkdiscard -z -o 0 -l 1M "$disk"
check "they are there" cmp -n $((1 << 20)) /dev/zero <(dd if=/dev/nb0 bs=1M count=1 iflag=direct status=none)
i_logout
i_forget
t_clear

# Nor can one that could before, when another one was put below it.
loop=$(losetup -f --show /tmp/backing)
dm_make turns "0 65536 linear $loop 0"
t_export /dev/mapper/turns
must i_login
disk=$(i_disk) || give_up "no disk"
check "UNMAP works" sg_unmap --lba=0 --num=8 "$disk"
must dmsetup suspend turns
must dmsetup reload turns --table "0 65536 linear /dev/nb0 0"
must dmsetup resume turns
sg_raw "$disk" 00 00 00 00 00 00
list=$(mktemp)
printf '\0\x16\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0' >"$list"
check_match "UNMAP is not supported then, and the medium is not at fault" "Invalid command operation code" \
	"$(sg_raw -s 24 -i "$list" "$disk" 42 00 00 00 00 00 00 00 18 00 2>&1)"
rm -f "$list"
i_logout
