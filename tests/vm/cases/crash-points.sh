# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The power may go at any of thousands of points: dm-log-writes says what is on the disk at each, and
# no flush and no FUA write that was acknowledged by then is missing.
# time: 40

if ! modprobe -a dm_mod dm_log_writes; then
	skip "crash points" "this kernel has no dm-log-writes"
	exit 0
fi
case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry logged
} 2>/dev/null
# Only what is logged has to be there afterwards.
dm_make logged "0 $(blockdev --getsz /dev/vda) log-writes /dev/vda /dev/vdb"
t_load
t_export /dev/mapper/logged
count=400
[ "$T_FULL" = 0 ] || count=2500
py crash_points work logged $count
check "all sessions are gone" wait_for 20 t_has_sessions 0
t_clear
must dmsetup remove --retry logged
must blockdev --flushbufs /dev/vda
must blockdev --flushbufs /dev/vdb
py crash_points check /dev/vdb /dev/vda
