# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Host groups: several initiators that share LUNs and credentials, named in full or by patterns.
# time: 30

case_cleanup() {
	t_clear
} 2>/dev/null

t_load
t_export /dev/vda /dev/vdb
t_set "$IQN" generate_node_acls=0
acls=$(t_tpg "$IQN")/acls

# group NAME LUN MEMBER...
group() {
	local name=$1 lun=$2 members=() member
	shift 2
	if [ "$T_BY" = tool ]; then
		for member; do
			members+=(--member "$member")
		done
		must tool acl create "$IQN" "$name" "${members[@]}" --map "$lun"
		return
	fi
	must mkdir "$acls/$name"
	must put "$*" "$acls/$name/attrib/members"
	must mkdir "$acls/$name/lun_$lun"
	must ln -s "$(t_tpg "$IQN")/lun/lun_$lun" "$acls/$name/lun_$lun/lun"
}

group @all 0 'iqn.2026-01.org.example:*'
group @web 1 'iqn.2026-01.org.example:web*' iqn.2026-01.net.example:gateway
t_acl "$IQN" iqn.2026-01.org.example:web9

check_eq "the members are shown" "iqn.2026-01.org.example:web* iqn.2026-01.net.example:gateway" \
	"$(cat "$acls/@web/attrib/members")"
check_eq "one initiator has none" none "$(cat "$acls/iqn.2026-01.org.example:web9/attrib/members")"
for bad in 'web*' '@all' 'iqn.2026' 'iqn.2026-01.org.example:a?' '*'; do
	log_mark
	check_not "\"$bad\" is no member" put "$bad" "$acls/@web/attrib/members"
	check_logged "and the log tells the rule" "members"
done
check_not "one initiator can have no members" put 'iqn.*' "$acls/iqn.2026-01.org.example:web9/attrib/members"
for bad in @ @Web '@we b' "@$(printf 'a%.0s' {1..64})"; do
	check_not "\"${bad:0:10}\" is no name of a group" mkdir "$acls/$bad"
done
check_eq "and all that changed nothing" "iqn.2026-01.org.example:web* iqn.2026-01.net.example:gateway" \
	"$(cat "$acls/@web/attrib/members")"

py host_groups
