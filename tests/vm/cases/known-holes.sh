# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What has broken other targets, by its CVE where it has one: each gets the answer that is
# prescribed for it, and the target goes on.
# time: 20
# kernels: stock debug

t_load
export T_BY=configfs
t_backstore disk0 /dev/vda
t_backstore disk1 /dev/vdb
t_target "$IQN"
t_lun "$IQN" 0 disk0
t_portal "$IQN" "$PORTAL"
t_demo "$IQN"
t_set "$IQN" ErrorRecoveryLevel=1
t_enable "$IQN"
# Another one, with CHAP and a disk that the first one's initiators never see.
t_target "$IQN-chap"
t_lun "$IQN-chap" 0 disk1
t_portal "$IQN-chap" "$PORTAL"
T_BY=tool t_acl "$IQN-chap" iqn.2026-01.org.example:raw
T_BY=tool t_chap "$IQN-chap" iqn.2026-01.org.example:raw -- user twelve-chars-1 target twelve-chars-2
must put MD5,SHA1,SHA256 "$(t_tpg "$IQN-chap")/attrib/chap_algorithms"
t_enable "$IQN-chap"
py known_holes
check "afterwards open-iscsi logs in" i_login
check "and all is well" fio_verify "$(i_disk)" --size=256k
