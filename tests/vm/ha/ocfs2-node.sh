# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# One of two machines that share a disk of the target at $2, with OCFS2 on it. $1 is the number of the
# machine: the first one makes the file system, and fences the second one off when that is gone.
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1
number=$1 other=$((3 - $1)) portal=$2:3260 iqn=$IQN-${2##*.} files=100

# when FILE: waits for what the host says.
when() {
	must wait_for 300 test -e "/share/$1"
}

for package in /share/*.deb; do
	must dpkg -x "$package" /
done
ldconfig
hostname "node$number"
must modprobe -a ocfs2_stack_o2cb ocfs2_dlm ocfs2
mkdir -p /etc/ocfs2 /mnt/disk
{
	printf 'cluster:\n\tnode_count = 2\n\tname = pair\n'
	for n in 1 2; do
		printf '\nnode:\n\tip_port = 7777\n\tip_address = 10.77.0.1%d\n\tnumber = %d\n\tname = node%d\n\tcluster = pair\n' \
			$n $n $n
	done
} >/etc/ocfs2/cluster.conf
echo o2cb >/sys/fs/ocfs2/cluster_stack
must o2cb register-cluster pair
# Whoever does not write for so many times two seconds is dead.
echo 10 >/sys/kernel/config/cluster/pair/heartbeat/dead_threshold

echo "InitiatorName=iqn.2026-01.org.example:node$number" >/etc/iscsi/initiatorname.iscsi
i_init
i_node "$iqn" "$portal"
must iscsiadm -m node -T "$iqn" -p "$portal" --login
disk=$(i_disk "$iqn") || give_up "no disk"
must sg_persist --out --register --param-sark="0x$number" --no-inquiry "$disk"
if [ "$number" = 1 ]; then
	must sg_persist --out --reserve --param-rk=0x1 --prout-type=5 --no-inquiry "$disk"
	must mkfs.ocfs2 -q -F -N 2 -b 4K -C 4K --cluster-stack=o2cb --cluster-name=pair "$disk"
fi
touch /share/made
when mount
must mount -t ocfs2 "$disk" /mnt/disk
touch /share/mounted

# Both at the same time: files of each its own, and lines in one that is both's.
when write
# name NODE NUMBER: the file; what is in it follows from that.
name() {
	printf 'node%d-%d' "$1" "$2"
}
content() {
	yes "$(name "$1" "$2")" | head -c 65536
}
fill() {
	local n
	for ((n = 0; n < files; n++)); do
		content "$number" $n >"/mnt/disk/$(name "$number" $n)" || return
		printf '%-63s\n' "$number $n" >>/mnt/disk/lines || return
		sync -f /mnt/disk || return
	done
}
check "node $number writes" fill
touch /share/written

when read
right() {
	local n
	for ((n = 0; n < files; n++)); do
		content "$other" $n | cmp - "/mnt/disk/$(name "$other" $n)" || return
	done
}
check "node $number reads what the other one has written" right
check_eq "node $number: no line of either is lost, or in another" "$((2 * files)) $((2 * files)) 0" \
	"$(sort -u /mnt/disk/lines | wc -l) $(wc -l </mnt/disk/lines) $(grep -cvE '^[12] [0-9]+ +$' /mnt/disk/lines)"
touch /share/read

if [ "$number" = 2 ]; then
	# Until this machine is killed.
	while :; do
		printf '%-63s\n' late >>/mnt/disk/late
		sync -f /mnt/disk
		touch /share/busy
	done
fi
when killed
killed=$(now_ms)
check "node 1 fences node 2 off" \
	sg_persist --out --preempt-abort --param-rk=0x1 --param-sark=0x2 --prout-type=5 --no-inquiry "$disk"
check "and goes on alone, with what the other one had locked" timeout 200 sh -c 'echo mine >>/mnt/disk/late'
echo "@figure OCFS2 on two machines, one killed: ms until the other one writes to the same file | $(($(now_ms) - killed))"
check_eq "the other one's lines are whole" "" "$(grep -vE '^(late +|mine)$' /mnt/disk/late)"
must umount /mnt/disk
check "the file system is whole" fsck.ocfs2 -fn "$disk"
i_forget
