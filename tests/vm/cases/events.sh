# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# SCSI events: initiators are told of new LUNs and sizes without having asked.
# time: 30

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry growing
} 2>/dev/null

must modprobe dm_mod
dm_make growing "0 131072 linear /dev/vda 0"
t_load
t_export /dev/mapper/growing
t_backstore disk1 /dev/vdb

check_eq "they are off by default" 0 "$(cat "$(t_tpg "$IQN")/attrib/scsi_events")"
check_not "and are nothing but on or off" put 2 "$(t_tpg "$IQN")/attrib/scsi_events"
py events

# open-iscsi takes them, and goes on.
t_set "$IQN" scsi_events=1
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
t_lun "$IQN" 1 disk1
check "open-iscsi goes on" dd if="$disk" of=/dev/null bs=64k count=4 iflag=direct
must iscsiadm -m session --rescan
check "a rescan finds the second LUN" wait_for 20 i_find_disk "$IQN" 1
check_eq "it is the same session still" 1 "$(t_sessions "$IQN")"
must t_unlun "$IQN" 1
