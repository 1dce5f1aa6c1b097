# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Copies by way of a token: who has it and sees the source may use it, for a while, and nobody else.
# time: 30
# kernels: stock debug

case_cleanup() {
	t_clear
} 2>/dev/null

t_load
t_export /dev/vda /dev/vdb
shy=$(t_tpg)/acls/iqn.2026-01.org.example:shy
must mkdir "$shy" "$shy/lun_1"
must ln -s "$(t_tpg)/lun/lun_1" "$shy/lun_1/lun"
py tokens
