# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# File systems on several LUNs through two sessions of different initiators, with checksums
# before and after, and verified I/O by both at once.
# time: 60
# kernels: stock previous

other=iqn.2026-01.org.example:other-initiator

case_cleanup() {
	umount /tmp/m0 /tmp/m1 2>/dev/null
}

t_load
t_export /dev/vda /dev/vdb
i_iface other $other
check "login" i_login
first=$(i_sessions)
i_node "$IQN" "$PORTAL" other
check "login as another initiator" iscsiadm -m node -T "$IQN" -p "$PORTAL" -I other --login
second=$(i_sessions | grep -vx "$first")
check_eq "the target has two sessions" 2 "$(t_sessions)"
check_match "one of the other initiator" "^$other\$" "$(cat "$(t_tpg)/dynamic_sessions")"
a0=$(i_disk "$IQN" 0 "$first") b1=$(i_disk "$IQN" 1 "$second") b0=$(i_disk "$IQN" 0 "$second")
[ -n "$a0$b0$b1" ] || give_up "disks are missing"

check "mkfs.ext4 by the first" mkfs.ext4 -q -F "$a0"
check "mkfs.xfs by the second" mkfs.xfs -q -f "$b1"
mkdir -p /tmp/m0 /tmp/m1
check "mount ext4" mount "$a0" /tmp/m0
check "mount xfs" mount "$b1" /tmp/m1
for dir in /tmp/m0 /tmp/m1; do
	check "files are copied to $dir" cp -a /etc /usr/bin/bash "$dir"
	check "a file of 16 MiB on $dir" dd if=/dev/urandom of=$dir/big bs=1M count=16 conv=fsync
	(cd $dir && find . -type f -exec sha512sum {} +) | sort >"/tmp/sums${dir##*/}"
	check_ge "there is something to compare" "$(wc -l <"/tmp/sums${dir##*/}")" 20
	check "unmount $dir" umount $dir
done
check "logout" i_logout

check "login again" i_login
sid=$(i_sessions)
sid=$(head -n 1 <<<"$sid")
a0=$(i_disk "$IQN" 0 "$sid") a1=$(i_disk "$IQN" 1 "$sid")
check "ext4 is sound" e2fsck -fn "$a0"
check "xfs is sound" xfs_repair -n "$a1"
mount "$a0" /tmp/m0
mount "$a1" /tmp/m1
for dir in /tmp/m0 /tmp/m1; do
	check_eq "every file on $dir is as it was" "$(sha512sum <"/tmp/sums${dir##*/}")" \
		"$(cd $dir && find . -type f -exec sha512sum {} + | sort | sha512sum)"
	umount $dir
done
i_logout
i_forget

# Both sessions write at once, to different LUNs and to halves of one.
i_iface other $other
i_login
first=$(i_sessions)
i_node "$IQN" "$PORTAL" other
iscsiadm -m node -T "$IQN" -p "$PORTAL" -I other --login
second=$(i_sessions | grep -vx "$first")
a0=$(i_disk "$IQN" 0 "$first") b1=$(i_disk "$IQN" 1 "$second") b0=$(i_disk "$IQN" 0 "$second")
fio_verify "$a0" --size=16m --offset=0 &
one=$!
fio_verify "$b1" --size=16m --bs=64k &
two=$!
fio_verify "$b0" --size=16m --offset=512m --bs=16k &
three=$!
check "the first session's I/O on LUN 0 is verified" wait $one
check "the second session's I/O on LUN 1 is verified" wait $two
check "and its I/O on another part of LUN 0" wait $three
