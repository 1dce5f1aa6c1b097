# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A session that takes all it can get, or that takes it a byte at a time, does not starve another one,
# and what runs in softirq runs for a bounded time.
# time: 25

[ -e /sys/kernel/tracing/trace ] || mount -t tracefs tracefs /sys/kernel/tracing
t_load
t_export /dev/vda
py fairness
check "nothing stays of the sessions that were killed" wait_for 30 t_has_sessions 0
check "and no memory" wait_for 30 grep -qx "memory 0" "$ROOT/in_use"
check "afterwards open-iscsi logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=256k
