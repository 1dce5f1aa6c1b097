# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The I/O of a LUN counts for a cgroup: io.stat has it, io.max slows it down, and no longer when it
# is taken out of it. A cgroup that has no io controller or is gone is refused; one that goes later
# does no harm.
# time: 30

CG=/tmp/cgroup
case_cleanup() {
	i_forget
	t_clear
	rmdir $CG/storage/{plain,gold,silver} $CG/storage
	umount $CG
	rmdir $CG
} 2>/dev/null

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
i_logout
