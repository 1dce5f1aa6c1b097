# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The administrator closes sessions: initiators are asked to log out, or cut off.
# time: 15
# kernels: stock debug

t_load
t_export /dev/vda
t_acl "$IQN" iqn.2026-01.org.example:raw
py session_close
# open-iscsi, which logs in again by itself.
must i_login
check "a session of open-iscsi is closed" tool session close "$IQN" --all
check "it comes back by itself" wait_for 30 t_has_sessions 1
check "and its disk works" fio_verify "$(i_disk)" --size=256k
