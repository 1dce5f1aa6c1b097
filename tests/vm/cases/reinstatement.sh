# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A second login of the same initiator port takes the place of the first, and never waits for
# it, not even when its commands are stuck in the disk.
# time: 40

case_cleanup() {
	dmsetup resume slow 2>/dev/null
	i_forget
	t_clear
	dmsetup remove --retry slow 2>/dev/null
}

t_load
dm_slow
t_export /dev/mapper/slow
py reinstatement

# The same with open-iscsi: its connection is cut, and its next session replaces the last one.
check "login" i_login
disk=$(i_disk) || give_up "no disk"
log_mark
background fio_verify "$disk" --size=24m --iodepth=8
for _ in 1 2 3; do
	sleep 2
	must ss -K dst 127.0.0.1 dport = :3260
done
check "connections that are cut cost no data" finish 90
check_ge "its connection was cut and came back, so often" "$(log_since_mark | grep -c "ferrite: .*logged in")" 2
check "one session is left" wait_for 10 t_has_sessions 1
