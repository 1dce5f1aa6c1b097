# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The I/O of a LUN counts for a cgroup: io.stat has it, io.max slows it down, and no longer when it
# is taken out of it. A cgroup that has no io controller or is gone is refused; one that goes later
# does no harm. Of two LUNs on one disk each gets its share by io.weight.
# time: 40

CG=/tmp/cgroup
case_cleanup() {
	echo "$(number /dev/vdb) enable=0" >$CG/io.cost.qos
	i_forget
	t_clear
	dmsetup remove --retry left right
	rmdir $CG/storage/{plain,gold,silver} $CG/storage
	umount $CG
	rmdir $CG
} 2>/dev/null

must modprobe dm_mod
must mkdir $CG
must mount -t cgroup2 none $CG
must put +io $CG/cgroup.subtree_control
must mkdir $CG/storage
must mkdir $CG/storage/plain
t_load
t_export /dev/vdb /dev/vda
must i_login
disk=$(i_disk) || give_up "no disk"
other=$(i_disk "$IQN" 1) || give_up "no disk"

number() {
	stat -c '%Hr:%Lr' "$1"
}
# stat_of CGROUP DEVICE KEY: of io.stat, 0 if it has nothing.
stat_of() {
	awk -v device="$(number "$2")" -v key="$3" '
		$1 == device { for (i = 2; i <= NF; i++) if (split($i, pair, "=") && pair[1] == key) n = pair[2] }
		END { print n + 0 }' "$CG/$1/io.stat"
}
assign() {
	ferritectl backstore set disk0 cgroup="$1"
}
shown() {
	ferritectl backstore get disk0 cgroup
}
# write DISK MIB
write() {
	dd if=/dev/urandom of="$1" bs=64k count=$((16 * $2)) oflag=direct status=none
}
mib=$((1 << 20))

check_match "at first it is in none" "none" "$(shown)"
log_mark
check_not "a cgroup without an io controller is refused" assign /storage/plain
check_logged "which the kernel log says" "attrib/cgroup: /storage/plain: the io controller is not enabled"
check_not "one that does not exist, too" assign /storage/nowhere
check_logged "which the kernel log says" "attrib/cgroup: /storage/nowhere: there is no such cgroup"
check_not "a path that is not absolute, too" assign storage
check_match "it is still in none" "none" "$(shown)"

must put +io $CG/storage/cgroup.subtree_control
must mkdir $CG/storage/gold $CG/storage/silver
must write "$disk" 1
check_eq "nothing counts before" 0 "$(stat_of storage/gold /dev/vdb wbytes)"
check "a cgroup is taken" assign /storage/gold
check_match "and shown" "/storage/gold" "$(shown)"
must write "$disk" 4
check_ge "io.stat has the bytes that are written" "$(stat_of storage/gold /dev/vdb wbytes)" $((4 * mib))
must dd if="$disk" of=/dev/null bs=64k count=32 iflag=direct status=none
check_ge "and those that are read" "$(stat_of storage/gold /dev/vdb rbytes)" $((2 * mib))
before=$(stat_of storage/gold /dev/vdb wbytes)
must sg_write_same --16 --in=/dev/zero --xferlen=512 --lba=0 --num=2048 "$disk"
check_ge "and what WRITE SAME writes" $(($(stat_of storage/gold /dev/vdb wbytes) - before)) $mib
must write "$other" 1
check_eq "what is written to another LUN does not count" 0 "$(stat_of storage/gold /dev/vda wbytes)"

must put "$(number /dev/vdb) wbps=$mib" $CG/storage/gold/io.max
check_ge "io.max slows it down: 4 MiB, 1 MiB a second, in ms" "$(took_ms write "$disk" 4)" 2500
must assign /storage/silver
must write "$disk" 1
check_ge "in another cgroup it counts there" "$(stat_of storage/silver /dev/vdb wbytes)" $mib
before=$(stat_of storage/silver /dev/vdb wbytes)
must assign none
must write "$disk" 1
check_eq "in none it counts nowhere" "$before" "$(stat_of storage/silver /dev/vdb wbytes)"
must assign /storage/silver
must assign /
check_match "the root is none" "none" "$(shown)"

# A cgroup that goes is as good as the next above it.
must assign /storage/gold
must rmdir $CG/storage/gold
before=$(stat_of storage /dev/vdb wbytes)
check "when the cgroup is removed I/O goes on" fio_verify "$disk" --size=1m
check_ge "and counts for the one above it" $(($(stat_of storage /dev/vdb wbytes) - before)) $mib
check_not "it cannot be set any more" put /storage/gold "$ROOT"/core/iblock_*/disk0/attrib/cgroup

must assign /storage/silver
must i_logout
must ferritectl backstore delete disk1 --force
check "a device that is replaced" ferritectl backstore replace disk0 --path /dev/vda
must i_login
disk=$(i_disk) || give_up "no disk"
must write "$disk" 1
check_ge "has the cgroup of the one before" "$(stat_of storage/silver /dev/vda wbytes)" $mib

# --- shares ------------------------------------------------------------------------------------
# The kernel is told of a disk that does 200 I/Os a second, so that it is busy on any machine.
must mkdir $CG/storage/gold
dm_make left "0 65536 linear /dev/vdb 0"
dm_make right "0 65536 linear /dev/vdb 65536"
must ferritectl backstore create left /dev/mapper/left
must ferritectl backstore create right /dev/mapper/right
must ferritectl backstore set left cgroup=/storage/gold
must ferritectl backstore set right cgroup=/storage/silver
t_lun "$IQN" 2 left
t_lun "$IQN" 3 right
must iscsiadm -m session --rescan
left=$(i_disk "$IQN" 2) || give_up "no disk"
right=$(i_disk "$IQN" 3) || give_up "no disk"
bps=$((64 * mib)) iops=200
must put "$(number /dev/vdb) ctrl=user model=linear rbps=$bps rseqiops=$iops rrandiops=$iops wbps=$bps wseqiops=$iops wrandiops=$iops" $CG/io.cost.model
must put "$(number /dev/vdb) enable=1 ctrl=user min=100.00 max=100.00" $CG/io.cost.qos

writes() {
	awk '{ print $5 }' "/sys/block/$(dmsetup info -c --noheadings -o blkdevname "$1")/stat"
}
wrote() {
	[ $(($(writes left) - from_left + $(writes right) - from_right)) -ge "$1" ]
}
more() {
	from_left=$(writes left) from_right=$(writes right)
	must wait_for $((20 * T_SLOWER)) wrote "$1"
}
# share: prints how many writes of a hundred go to the left.
share() {
	local of_left
	of_left=$(($(writes left) - from_left))
	echo $((100 * of_left / (of_left + $(writes right) - from_right)))
}
load() {
	fio --name=load --filename="$1" --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=4k \
		--time_based --runtime=600 --minimal >/dev/null
}
background load "$left"
background load "$right"
more 200
more 600
check_le "with the same weight each gets its half: %" "$(share)" 60
check_ge "and no less" "$(share)" 40
must put 800 $CG/storage/gold/io.weight
must put 100 $CG/storage/silver/io.weight
more 200
more 600
check_ge "io.weight 800 to 100 makes it most: %" "$(share)" 75
must pkill fio
i_logout
