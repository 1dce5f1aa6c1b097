# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# COMPARE AND WRITE in a crowd: atomic, and nobody waits for somebody who waits for him.
# time: 20

case_cleanup() {
	dm_slow_end
} 2>/dev/null

dm_slow
t_load
t_export /dev/mapper/slow
py crowd
