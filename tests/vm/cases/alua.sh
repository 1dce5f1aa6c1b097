# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Target port groups: on the wire, and by sg3-utils.
# time: 40

export ROOT STORE

t_load
t_export_twice /dev/vda
STORE=$(t_store disk0)
tpg=$ISCSI/$IQN/tpgt_2
py alua

# An independent reader, and one who sets.
must i_login
# shellcheck disable=SC2153
must i_node "$IQN" "$SECOND"
must iscsiadm -m node -T "$IQN" -p "$SECOND" --login
first=$(i_path "$PORTAL") second=$(i_path "$SECOND")
if [ ! -b "$first" ] || [ ! -b "$second" ]; then
	give_up "no disks"
fi
must mkdir "$STORE/alua/second"
must put 16 "$STORE/alua/second/tg_pt_gp_id"
must put second "$tpg/lun/lun_0/alua_tg_pt_gp"
# Takes what unit attentions are pending.
settle() {
	local disk
	for disk in "$first" "$first" "$first" "$second" "$second" "$second"; do
		sg_raw "$disk" 00 00 00 00 00 00
	done >/dev/null 2>&1
	return 0
}
settle
check_match "INQUIRY: TPGS=3" "TPGS=3" "$(sg_inq "$first")"
out=$(sg_vpd -p di "$second")
check_match "page 83h: the relative target port" "Relative target port: 0x$(printf '%x' "$(cat "$tpg/rtpi")")$" "$out"
check_match "page 83h: the target port group" "Target port group: 0x10$" "$out"
check_match "page 83h: of the first port the default group" "Target port group: 0x0$" "$(sg_vpd -p di "$first")"
check_eq "both paths lead to one disk" "$(sg_vpd -p di_lu "$first")" "$(sg_vpd -p di_lu "$second")"
out=$(sg_rtpg -d "$first")
echo "$out"
check_match "sg_rtpg: a group with its identifier" "target port group id : 0x10 , Pref=0" "$out"
check_match "sg_rtpg: active/optimized" "target port group asymmetric access state : 0x00 .active/optimized" "$out"
check "sg_rtpg: with the extended header" sg_rtpg -e "$first"
stpg() {
	check_no_match "sg_stpg: $1" "Illegal|rror|ailed" "$(sg_stpg "${@:2}" 2>&1)"
}
stpg "to standby" --state=ao,s --tp=0,16 "$first"
settle
out=$(sg_rtpg -d "$second")
check_match "sg_rtpg: standby" "asymmetric access state : 0x02 .standby" "$out"
check_match "sg_rtpg: changed by a command" "by SET TARGET PORT GROUPS" "$out"
check_match "a READ there is refused" "not accessible, target port in standby state" \
	"$(sg_raw -r 512 "$second" 28 00 00 00 00 00 00 00 01 00 2>&1)"
check_match "REPORT SUPPORTED OPERATION CODES lists SET TARGET PORT GROUPS" "Set target port groups" "$(sg_opcodes "$first")"
stpg "back" --state=ao,ao --tp=0,16 "$first"
# Its exit status does not say so.
check_match "sg_stpg: a group that does not exist is refused" "Invalid field in parameter list" \
	"$(sg_stpg --state=s --tp=77 "$first" 2>&1)"
settle
check "a READ there works" sg_raw -r 512 "$second" 28 00 00 00 00 00 00 00 01 00
