# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Pacemaker's own resource agents, which administer LIO by lio_node and tcm_node, work unchanged.
# time: 30

t_load configfs_root=target
ROOT=/sys/kernel/config/target
ISCSI=$ROOT/iscsi
export OCF_ROOT=/usr/lib/ocf HA_RSCTMP=/run/resource-agents HA_LOGFACILITY=none HA_debug=0
export PATH=$PATH:/usr/sbin:/sbin
mkdir -p $HA_RSCTMP
agents=$OCF_ROOT/resource.d/heartbeat
client=iqn.1993-08.org.debian:01:ferrite-vm

# agent NAME INSTANCE ACTION KEY=VALUE...: runs an agent as Pacemaker does.
agent() {
	local name=$1 instance=$2 action=$3
	shift 3
	env OCF_RESOURCE_INSTANCE="$instance" OCF_RESOURCE_TYPE="$name" OCF_RESOURCE_PROVIDER=heartbeat \
		OCF_RA_VERSION_MAJOR=1 OCF_RA_VERSION_MINOR=0 OCF_RESKEY_implementation=lio \
		"${@/#/OCF_RESKEY_}" "$agents/$name" "$action"
}
target() {
	agent iSCSITarget p_target "$1" "iqn=$IQN" "portals=$PORTAL" "allowed_initiators=$client"
}
lun() {
	agent iSCSILogicalUnit p_lun "$1" "target_iqn=$IQN" lun=3 path=/dev/vda "allowed_initiators=$client" \
		scsi_sn=0123456789abcdef product_id=shared
}
# OCF_NOT_RUNNING.
is_stopped() {
	"$1" monitor
	[ $? -eq 7 ]
}

check "the target is not running yet" is_stopped target
check "iSCSITarget starts" target start
check "and says that it runs" target monitor
check "starting it again is no error" target start
check "the logical unit is not running yet" is_stopped lun
check "iSCSILogicalUnit starts" lun start
check "and says that it runs" lun monitor
check "starting it again is no error either" lun start
must i_login
disk=$(i_disk "$IQN" 3) || give_up "no disk"
check "the initiator that is allowed has the disk" fio_verify "$disk" --size=4m
check_match "with the serial number that was asked for" "0123456789abcdef" "$(sg_vpd -p sn "$disk")"
i_logout
check "iSCSILogicalUnit stops" lun stop
check "and says so" is_stopped lun
check "stopping it again is no error" lun stop
check "iSCSITarget stops" target stop
check "and says so" is_stopped target
check "stopping it again is no error either" target stop
left=("$ISCSI"/iqn*)
check_eq "no target is left" "" "${left[*]}"
t_clear
check "the module goes at once" t_unload
