# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Many devices hang, each with as many commands as it takes: what is slow on another one goes on.
# time: 30

case_cleanup() {
	dm_slow_end
} 2>/dev/null

dm_slow
t_load
t_export /dev/vdb
py many_hung
