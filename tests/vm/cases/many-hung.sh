# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Many devices hang, each with as many commands as it takes: what is slow on another one goes on.
# time: 30

case_cleanup() {
	dmsetup resume slow
	i_forget
	t_clear
	dmsetup remove --retry slow
} 2>/dev/null

must modprobe dm_mod
dm_make slow "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
t_load
export T_SLOWER
t_export /dev/vdb
py many_hung
