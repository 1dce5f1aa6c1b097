# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# configfs under fire: what many processes make, link and remove at once can be removed, and the
# module goes.
# time: 60
# kernels: stock debug

t_load
py configfs_storm 20 /dev/vda
check "the module goes" wait_for 5 t_unload
