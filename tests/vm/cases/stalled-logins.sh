# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Clients that connect and say nothing, or something and then nothing, keep nobody out.
# time: 50

t_load
t_export /dev/vda
t_set "$IQN" login_timeout=5
py stalled_logins
check "open-iscsi gets in" i_login
check "and has its disk" i_disk
