# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What breaks the protocol gets what RFC 7143 prescribes, a line in the log, and no more.
# time: 50
# kernels: stock debug

t_load
t_export /dev/vda
py bad_pdus
check "afterwards open-iscsi logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=256k
