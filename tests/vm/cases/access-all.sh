# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What an initiator has not been given it cannot reach: by no command, no LUN, and no name.
# time: 25

# mapped IQN INITIATOR LUN
mapped() {
	local acl
	acl=$(t_tpg "$1")/acls/$2
	must mkdir -p "$acl/lun_$3"
	must ln -s "$(t_tpg "$1")/lun/lun_$3" "$acl/lun_$3/lun"
}

t_load
export T_BY=configfs
t_backstore disk0 /dev/vda
t_backstore disk1 /dev/vdb
for iqn in "$IQN" "$IQN-b"; do
	t_target "$iqn"
	t_portal "$iqn" "$PORTAL"
	t_lun "$iqn" 1 disk1
	t_set "$iqn" authentication=0 demo_mode_discovery=0
	mapped "$iqn" iqn.2026-01.org.example:other 1
	t_enable "$iqn"
done
t_lun "$IQN" 0 disk0
mapped "$IQN" iqn.2026-01.org.example:raw 0
py access_all
