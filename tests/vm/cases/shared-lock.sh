# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Two nodes write to one disk at the same time, as a cluster file system does: a lock on the disk is
# taken by COMPARE AND WRITE, and a counter below it comes out exact. Then one is fenced off by a
# persistent reservation while it writes: nothing of it arrives any more.
# time: 50

case_cleanup() {
	i_forget
	for n in a b; do
		iscsiadm -m iface -I "node-$n" -o delete
	done
	t_clear
} 2>/dev/null

t_load
t_export /dev/vda
# Two initiators of one host are two I_T nexuses.
for n in a b; do
	i_iface "node-$n" "iqn.2026-01.org.example:node-$n"
	i_node "$IQN" "$PORTAL" "node-$n"
	must iscsiadm -m node -T "$IQN" -p "$PORTAL" -I "node-$n" --login
done
disk_of() {
	local session
	for session in /sys/class/iscsi_session/session*; do
		if [ "$(cat "$session/initiatorname")" = "iqn.2026-01.org.example:node-$1" ]; then
			i_disk "$IQN" 0 "${session##*/session}"
			return
		fi
	done
	return 1
}
a=$(disk_of a) || give_up "no disk"
b=$(disk_of b) || give_up "no disk"
must sg_persist --out --register --param-sark=0xa --no-inquiry "$a"
must sg_persist --out --register --param-sark=0xb --no-inquiry "$b"
must sg_persist --out --reserve --param-rk=0xa --prout-type=5 --no-inquiry "$a"
sections=500
[ "$T_FULL" = 0 ] || sections=10000
py shared_lock "$a" 0xa "$b" 0xb $sections
i_logout
