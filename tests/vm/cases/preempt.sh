# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# PREEMPT AND ABORT: whose commands it aborts, and what it takes to wait for them on a disk that hangs.
# time: 20

case_cleanup() {
	dm_slow_end
} 2>/dev/null

dm_slow
t_load
t_export /dev/mapper/slow
py preempt
