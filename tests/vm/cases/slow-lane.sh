# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A device that hangs takes a bounded part of the workers: what is slow on another one goes on. A
# command that takes long does not keep the others of its device from theirs.
# time: 30

case_cleanup() {
	dmsetup resume first
	dmsetup resume second
	dm_slow_end
	dmsetup remove --retry both
	dmsetup remove --retry late
	dmsetup remove --retry lazy
	dmsetup remove --retry other
	dmsetup remove --retry first
	dmsetup remove --retry second
} 2>/dev/null

dm_slow
must modprobe dm_delay
# A device of two halves that hang each by itself.
half=262144
dm_make other "0 $half linear /dev/vdb $((2 * half))"
# On a slower kernel the commands that are sent one after the other take longer, too.
dm_make late "0 65536 delay /dev/vdb $((3 * half)) $((T_SLOWER > 1 ? 240 : 60))"
# This one is slow to write, but not to flush.
at=$((3 * half + 65536))
dm_make lazy "0 65536 delay /dev/vdb $at 0 /dev/vdb $at $((T_SLOWER > 1 ? 4000 : 2000)) /dev/vdb $at 0"
dm_make first "0 $half linear /dev/vdb 0"
dm_make second "0 $half linear /dev/vdb $half"
dm_make both "0 $half linear /dev/mapper/first 0
$half $half linear /dev/mapper/second 0"
t_load
t_export /dev/mapper/slow /dev/mapper/other /dev/mapper/both /dev/mapper/late /dev/mapper/lazy
py slow_lane
