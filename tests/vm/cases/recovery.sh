# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# ErrorRecoveryLevel 1: what was lost of the data, the R2Ts or the responses is sent or asked for
# again. No initiator in the guest can do it (open-iscsi and libiscsi are at level 0), so it is the
# raw one.
# time: 30

t_load
t_export /dev/vda
t_acl "$IQN" iqn.2026-01.org.example:raw
t_set "$IQN" ErrorRecoveryLevel=1
py recovery
check "open-iscsi, which is at level 0, logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=256k
