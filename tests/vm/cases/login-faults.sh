# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What has no place in a login is refused as RFC 7143 says, and data that is due has its time.
# time: 50
# kernels: stock debug

t_load
t_export /dev/vda
# Three seconds of patience for the initiator of the script.
t_acl "$IQN" iqn.2026-01.org.example:raw
must put 3 "$(t_tpg "$IQN")/acls/iqn.2026-01.org.example:raw/attrib/dataout_timeout"
must put 1 "$(t_tpg "$IQN")/acls/iqn.2026-01.org.example:raw/attrib/dataout_timeout_retries"
check_not "a timeout of 61 s is refused" put 61 "$(t_tpg "$IQN")/acls/iqn.2026-01.org.example:raw/attrib/dataout_timeout"
py login_faults
py login_reset
check "afterwards open-iscsi logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=256k
