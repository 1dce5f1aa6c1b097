# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# ErrorRecoveryLevel 2: tasks outlive their connection, and go on by another one. No initiator in
# the guest can do it, so it is the raw one.
# time: 60

case_cleanup() {
	dmsetup resume slow
	i_forget
	t_clear
	dmsetup remove --retry slow
} 2>/dev/null

must modprobe dm_mod
dm_make slow "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
t_load
t_export /dev/mapper/slow
t_acl "$IQN" iqn.2026-01.org.example:raw
t_set "$IQN" ErrorRecoveryLevel=2 MaxConnections=4
py reassign
check "open-iscsi, which is at level 0, logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=4m
