# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# COMPARE AND WRITE and ORWRITE are atomic against all else, and hold up nothing else.
# time: 40

case_cleanup() {
	t_clear
	dmsetup remove --retry slow
} 2>/dev/null

must modprobe -a dm_mod dm_delay
size=$(blockdev --getsz /dev/vda)
dm_make slow "0 $size delay /dev/vda 0 0 /dev/vda 0 500"
t_load
t_export /dev/mapper/slow /dev/vdb
py atomic
