# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Logging out, and taking away LUN, ACL, portal, portal group and target, all under I/O: each at
# once, with errors for those concerned and for nobody else.
# time: 60
# kernels: stock debug

t_load

# timed FUNCTION...: as took_ms, by configfs alone: the tool's own time is not what counts.
timed() {
	# shellcheck disable=SC2034 # Used by lib.sh.
	local T_BY=configfs
	took_ms "$@"
}

# quick WHAT MS
quick() {
	check_le "$1 under I/O, in ms" "$2" $((2000 * T_SLOWER))
	echo "@figure $1 under I/O: ms | $2"
}

# I/O that ends with an error when the disk goes, or by itself after a minute.
hammer() {
	fio --name=hammer --filename="$1" --direct=1 --ioengine=libaio --iodepth=16 --rw=randrw --bs=16k \
		--time_based --runtime=60 --minimal >/dev/null
}

# The same, verified, which must not see an error, until it is told to stop.
bystander() {
	fio_until /tmp/removal.stop "$1" --iodepth=8 --bs=8k --size=32m
}

# goes_on DISK NAME: the bystander does, and comes to its end without an error.
goes_on() {
	i_under_io "$1"
	touch /tmp/removal.stop
	check "$2" wait "$other"
	rm /tmp/removal.stop
}

# free DEVICE: nobody has it open exclusively.
free() {
	python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)' "$1"
}

log_in() {
	must i_login
	d0=$(i_disk "$IQN" 0) && d1=$(i_disk "$IQN" 1)
	[ -n "$d1" ] || give_up "no disk"
}

# --- the initiator logs out
t_export /dev/vda /dev/vdb
log_in
background hammer "$d0"
i_under_io "$d0"
check "logout under I/O" i_logout
check_not "its I/O ends with errors" finish 30
check "the session goes" wait_for 5 t_has_sessions 0
i_forget

# --- a LUN
log_in
bystander "$d1" &
other=$!
background hammer "$d0"
i_under_io "$d1"
i_under_io "$d0"
ms=$(timed t_unlun "$IQN" 0)
quick "removing a LUN" "$ms"
check_not "its I/O ends with errors" finish 40
goes_on "$d1" "that on another LUN of the session goes on, verified"
check_eq "the session stays" 1 "$(t_sessions)"
hba=$(t_store disk0)
must rmdir "$hba"
check "the device is closed" free /dev/vda
check_not "INQUIRY does not say that there is a disk" grep -q "PQual=0" <(sg_inq "$d0")
t_backstore disk0 /dev/vda
t_lun "$IQN" 0 disk0
# The initiator is told by a unit attention on the LUN that it still has.
log_mark
dd if="$d1" of=/dev/null bs=4k count=1 iflag=direct
check_logged "a unit attention tells that the LUNs have changed" "LUN assignments on this target have changed|Reported LUNs data has changed"
echo 1 >"$(i_scsi_dev "$d0")/delete"
echo "- - -" >"$(echo /sys/class/iscsi_session/session"$(i_sessions)"/device/../scsi_host/host*/scan)"
d0=$(i_disk "$IQN" 0) || give_up "no disk"
check "added again, it can be used again" fio_verify "$d0" --size=256k

# --- a portal
bystander "$d0" &
other=$!
i_under_io "$d0"
if [ "$T_BY" = tool ]; then
	check "removing a portal under I/O" tool portal delete "$IQN" "$PORTAL"
else
	check "removing a portal under I/O" rmdir "$(t_tpg)/np/$PORTAL"
fi
check_eq "nobody listens there" "" "$(ss -Hltn "sport = :3260")"
goes_on "$d0" "sessions that came through it go on, verified"
check_eq "they stay" 1 "$(t_sessions)"
check_not "no new one comes" iscsiadm -m discovery -t st -p 127.0.0.1
t_portal "$IQN" "$PORTAL"

# --- the portal group is disabled, and enabled again before the initiator gives up
log_mark
bystander "$d0" &
other=$!
i_under_io "$d0"
ms=$(timed t_disable)
quick "disabling a portal group" "$ms"
check "ends its sessions" wait_for 5 t_has_sessions 0
# The initiator has tried in vain.
if [ "$T_TARGET" = lio ]; then
	pause 2
else
	must wait_for 10 log_has "login refused: 0301"
fi
t_enable
goes_on "$d0" "enabled again, I/O goes on where it was, verified"
check_eq "in a new session" 1 "$(t_sessions)"

# --- the target, which the initiator gives up soon
must put 3 /sys/class/iscsi_session/session"$(i_sessions)"/recovery_tmo
background hammer "$d0"
i_under_io "$d0"
ms=$(timed t_untarget "$IQN")
quick "removing a target" "$ms"
check_not "its I/O ends with errors" finish 60
check_eq "the target is gone" "" "$(echo "$ISCSI"/iqn*)"
for store in disk0 disk1; do
	check "the backstore $store can be removed" rmdir "$(t_store $store)"
done
check "and lets go of the devices" free /dev/vda
i_forget
t_clear

# --- an ACL
t_export /dev/vda /dev/vdb
t_set "$IQN" generate_node_acls=0
t_acl "$IQN" "$INITIATOR"
must i_login "node.session.timeo.replacement_timeout=3"
d0=$(i_disk "$IQN" 0) || give_up "no disk"
background hammer "$d0"
i_under_io "$d0"
ms=$(timed t_unacl "$IQN" "$INITIATOR")
quick "removing an ACL" "$ms"
check "ends the session" wait_for 5 t_has_sessions 0
check_not "and its I/O" finish 60
i_forget
t_clear
check "and lets go of the device" free /dev/vda
