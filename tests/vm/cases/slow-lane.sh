# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A device that hangs takes a bounded part of the workers: what is slow on another one goes on.
# time: 20
# kernels: debug

case_cleanup() {
	dmsetup resume slow
	i_forget
	t_clear
	dmsetup remove --retry slow
} 2>/dev/null

must modprobe dm_mod
dm_make slow "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
t_load
t_export /dev/mapper/slow /dev/vdb
py slow_lane
