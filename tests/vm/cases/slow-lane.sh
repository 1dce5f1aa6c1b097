# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A device that hangs takes a bounded part of the workers: what is slow on another one goes on.
# time: 20
# kernels: stock debug

case_cleanup() {
	dm_slow_end
} 2>/dev/null

dm_slow
t_load
t_export /dev/mapper/slow /dev/vdb
py slow_lane
