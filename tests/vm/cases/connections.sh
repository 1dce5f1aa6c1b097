# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Several connections in one session: order over all of them, what happens to the tasks of one
# that goes, task management, logout of one or of all. No initiator in the guest can do it
# (open-iscsi and libiscsi have one connection for each session), so it is the raw one.
# time: 70
# kernels: stock debug

case_cleanup() {
	dm_slow_end
} 2>/dev/null

dm_slow
t_load
t_export /dev/mapper/slow
t_acl "$IQN" iqn.2026-01.org.example:raw
t_set "$IQN" MaxConnections=4
py connections
check "open-iscsi, which offers one connection, logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=256k
