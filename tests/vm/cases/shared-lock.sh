# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Two nodes write to one disk at the same time, as a cluster file system does: a lock on the disk is
# taken by COMPARE AND WRITE, and a counter below it comes out exact. Then one is fenced off by a
# persistent reservation while it writes: nothing of it arrives any more.
# time: 50

case_cleanup() {
	i_two_end
} 2>/dev/null

t_load
t_export /dev/vda
i_two
a=$(i_disk_as node-a) || give_up "no disk"
b=$(i_disk_as node-b) || give_up "no disk"
must sg_persist --out --register --param-sark=0xa --no-inquiry "$a"
must sg_persist --out --register --param-sark=0xb --no-inquiry "$b"
must sg_persist --out --reserve --param-rk=0xa --prout-type=5 --no-inquiry "$a"
sections=500
[ "$T_FULL" = 0 ] || sections=10000
py shared_lock "$a" 0xa "$b" 0xb $sections
i_logout
