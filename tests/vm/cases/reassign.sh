# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# ErrorRecoveryLevel 2: tasks outlive their connection, and go on by another one. No initiator in
# the guest can do it, so it is the raw one.
# time: 60
# kernels: stock debug

case_cleanup() {
	dm_slow_end
} 2>/dev/null

dm_slow
t_load
t_export /dev/mapper/slow
t_acl "$IQN" iqn.2026-01.org.example:raw
t_set "$IQN" ErrorRecoveryLevel=2 MaxConnections=4
py reassign
check "open-iscsi, which is at level 0, logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=256k
