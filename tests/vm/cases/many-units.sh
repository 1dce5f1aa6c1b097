# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Task management functions that are about many units and sessions: they are carried out in process
# context, so that nobody waits for them but who has asked. The same of what QERR asks for.
# time: 40

case_cleanup() {
	dm_slow_end
} 2>/dev/null

dm_slow
t_load
t_export /dev/mapper/slow
t_backstore disk1 /dev/vdb
py many_units
