# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Pacemaker's agents iSCSITarget and iSCSILogicalUnit pass the tester that they come with, as lio
# (lio_node, tcm_node), and, in full, as lio-t (targetcli, some hundred calls of it).
# time: 75
# limit: 900

t_load configfs_root=target
ROOT=/sys/kernel/config/target
ISCSI=$ROOT/iscsi
export OCF_ROOT=/usr/lib/ocf HA_RSCTMP=/run/resource-agents HA_LOGFACILITY=none HA_debug=0
export PATH=$PATH:/usr/sbin:/sbin
mkdir -p $HA_RSCTMP
agents=$OCF_ROOT/resource.d/heartbeat
client=iqn.1993-08.org.debian:01:ferrite-vm

# tester AGENT KEY=VALUE...: runs ocf-tester on an agent, and says how long it took.
tester() {
	local agent=$1 options=() began=$SECONDS status=0 pair
	shift
	for pair; do
		options+=(-o "$pair")
	done
	ocf-tester -v -n "test_$agent" "${options[@]}" "$agents/$agent" || status=$?
	echo "+ ocf-tester has taken $((SECONDS - began)) s for $agent, $1"
	return $status
}

# run AGENT ACTION KEY=VALUE...: an agent by itself.
run() {
	local name=$1 action=$2
	shift 2
	env OCF_RESOURCE_INSTANCE="test_$name" "${@/#/OCF_RESKEY_}" "$agents/$name" "$action"
}

implementations=lio
if [ "$T_FULL" = 1 ]; then
	implementations="lio lio-t"
	mkdir -p /etc/target /etc/rtslib-fb-target /var/target /run/dbus
	must dbus-daemon --system --fork 3>&-
fi
for implementation in $implementations; do
	target=("implementation=$implementation" "iqn=$IQN" "portals=$PORTAL" "allowed_initiators=$client")
	unit=("implementation=$implementation" "target_iqn=$IQN" lun=1 path=/dev/vda "allowed_initiators=$client"
		scsi_sn=0123456789abcdef)
	check "$implementation: iSCSITarget passes ocf-tester" tester iSCSITarget "${target[@]}"
	# The tester's last action is reload, which starts what is not running.
	check "$implementation: it stops" run iSCSITarget stop "${target[@]}"
	left=("$ISCSI"/iqn*)
	check_eq "$implementation: no target is left" "" "${left[*]}"
	# A logical unit needs its target.
	must run iSCSITarget start "${target[@]}"
	check "$implementation: iSCSILogicalUnit passes ocf-tester" tester iSCSILogicalUnit "${unit[@]}"
	check "$implementation: it stops, too" run iSCSILogicalUnit stop "${unit[@]}"
	left=("$(t_tpg)"/lun/lun_*)
	check_eq "$implementation: no LUN is left" "" "${left[*]}"
	check "$implementation: the target stops" run iSCSITarget stop "${target[@]}"
	left=("$ISCSI"/iqn*)
	check_eq "$implementation: nothing is left" "" "${left[*]}"
done
