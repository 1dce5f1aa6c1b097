# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Many sessions at once, many logins, many LUNs and ACLs: what each costs, and what the limits are.
# `scripts/test --full` does ten times as much.
# time: 35

t_load
export T_BY=configfs
t_export /dev/vda
export T_FULL
py load
