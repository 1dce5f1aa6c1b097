# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Flush, FUA and write_through reach the medium: counted on the backing device, and proven with
# a device whose write cache is lost.
# time: 60

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry log
	rmdir /sys/kernel/config/nullb/nb0
	rmmod null_blk
} 2>/dev/null

# flushes DEVICE: the flushes that it has completed.
flushes() {
	awk '{ print $16 }' "/sys/block/${1#/dev/}/stat"
}

nullb() {
	local pair
	mkdir /sys/kernel/config/nullb/nb0
	for pair in "$@"; do
		must put "${pair#*=}" "/sys/kernel/config/nullb/nb0/${pair%=*}"
	done
	wait_for 5 test -b /dev/nb0
}

t_load
must modprobe null_blk nr_devices=0
must modprobe -a dm_mod dm_log_writes
# With a volatile cache of 16 MiB and FUA.
nullb size=64 memory_backed=1 cache_size=16 fua=1 power=1
check_eq "the backing device has a volatile cache" "write back" "$(cat /sys/block/nb0/queue/write_cache)"

# dm-log-writes writes down every write with its flags.
#
# entries FLAGS: how many entries of the log after the mark have one of them (1 flush, 2 FUA).
entries() {
	python3 - "$1" <<-'END'
		import struct, sys
		with open("/dev/vdb", "rb") as log:
		    magic, version, count, size = struct.unpack("<QQQI", log.read(28))
		    assert magic == 0x6a736677736872, hex(magic)
		    at, seen = size, None
		    for _ in range(count):
		        log.seek(at)
		        sector, sectors, flags, length = struct.unpack("<QQQQ", log.read(32))
		        # The end of the log has a mark as well.
		        if flags & 8 and seen is None:
		            seen = 0
		        elif seen is not None:
		            seen += bool(flags & int(sys.argv[1]))
		        at += size + (0 if flags & 4 else sectors * size)
		    print(seen)
	END
}

# logged FLAGS COMMAND...: sets ENTRIES to how many entries with one of the flags the command
# makes on the backing device.
logged() {
	local flags=$1
	shift
	must dd if=/dev/zero of=/dev/vdb bs=1M count=1 oflag=direct status=none
	dm_make log "0 $((64 * 2048)) log-writes /dev/nb0 /dev/vdb"
	t_export /dev/mapper/log
	[ -z "$WRITE_THROUGH" ] || must tool backstore set disk0 write_through=1
	must i_login
	disk=$(i_disk "$IQN" 0) || give_up "no disk"
	# What the initiator did by itself, when it looked at the disk, is not counted.
	must dmsetup message log 0 mark begin
	"$@"
	# Nor is what it does when it logs out.
	t_untarget "$IQN"
	i_forget
	t_clear
	must dmsetup remove --retry log
	ENTRIES=$(entries "$flags")
}
WRITE_THROUGH=

sync_four() {
	local n
	for n in 1 2 3 4; do
		sg_sync "$disk"
	done
}

fua_four() {
	local n
	for n in 0 1 2 3; do
		sg_raw -s 4096 -i /dev/zero "$disk" 2a 08 00 00 00 "0$n" 00 00 08 00
	done
}

plain_four() {
	dd if=/dev/zero of="$disk" bs=4k count=4 oflag=direct
}

logged 2 plain_four
check_eq "4 plain writes: no FUA" 0 "$ENTRIES"
logged 1 sync_four
check_ge "4 SYNCHRONIZE CACHE: flushes that reach the device" "$ENTRIES" 4
logged 3 fua_four
check_ge "4 writes with FUA: FUA, or flushes, that reach the device" "$ENTRIES" 4
if [ "$T_TARGET" = ferrite ]; then
	WRITE_THROUGH=1
	logged 3 plain_four
	check_ge "4 plain writes with write_through: FUA, or flushes" "$ENTRIES" 4
	WRITE_THROUGH=
	t_export /dev/nb0
	must tool backstore set disk0 write_through=1
	must i_login
	disk=$(i_disk "$IQN" 0)
	check_eq "write_through tells initiators that there is no cache" "write through" "$(cat "/sys/block/${disk#/dev/}/queue/write_cache")"
	i_forget
	t_clear
fi

# A file system's fsync makes flushes or FUA writes of its own.
on_file_system() {
	local n
	mkfs.ext4 -qF "$disk"
	mkdir -p /tmp/m
	mount "$disk" /tmp/m
	for n in 1 2 3 4 5; do
		dd if=/dev/urandom of=/tmp/m/$n bs=16k count=1 conv=fsync status=none
	done
	umount /tmp/m
}
logged 1 on_file_system
check_ge "5 fsyncs on ext4: flushes" "$ENTRIES" 5

# The cache is lost when power goes: what was flushed is there, and nothing else.
t_export /dev/nb0
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
before=$(flushes /dev/nb0)
must dd if=/dev/urandom of=/tmp/data bs=64k count=1
must dd if=/tmp/data of="$disk" bs=64k count=1 oflag=direct
must blockdev --flushbufs "$disk"
check "SYNCHRONIZE CACHE" sg_sync "$disk"
check_ge "is a flush of the device" $(($(flushes /dev/nb0) - before)) 1
must dd if=/tmp/data of="$disk" bs=64k count=1 seek=16 oflag=direct
must sg_raw -s 4096 -i /tmp/data "$disk" 2a 08 00 00 10 00 00 00 08 00
# Without a logout, which would make the initiator flush.
t_untarget "$IQN"
i_forget
t_clear
must put 0 /sys/kernel/config/nullb/nb0/power
must put 1 /sys/kernel/config/nullb/nb0/power
wait_for 5 test -b /dev/nb0
is_there() {
	cmp -n "$2" /tmp/data <(dd if=/dev/nb0 bs=4k skip="$1" count=$(($2 / 4096)) iflag=direct)
}
check "after a power failure, what was flushed is there" is_there 0 65536
check "and what was written with FUA" is_there 512 4096
check_not "what was not is lost: the failure was one" is_there 256 65536
