# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A portal sends who logs in there to another one.
# time: 25

case_cleanup() {
	i_forget
	t_clear
} 2>/dev/null

t_load
t_export /dev/vda
other=127.0.0.1:3261
t_portal "$IQN" $other
redirect=$(t_tpg "$IQN")/np/$PORTAL/redirect

check_eq "a portal lets log in by default" none "$(cat "$redirect")"
for bad in nowhere "temporary" "temporary 127.0.0.1" "temporary 127.0.0.1:0" "for-ever $other" \
	"temporary 0.0.0.0:3261" "temporary $PORTAL" "temporary 224.0.0.1:3260" "none $other"; do
	log_mark
	check_not "\"$bad\" is refused" put "$bad" "$redirect"
	check_logged "and the log tells the rule" "redirect: .*must"
done
check_eq "and nothing was changed by that" none "$(cat "$redirect")"

# Where the initiator's connection goes.
reached() {
	cat /sys/class/iscsi_connection/connection*/persistent_address /sys/class/iscsi_connection/connection*/port |
		tr '\n' ' '
}
must iscsiadm -m discovery -t st -p "$PORTAL"
check_match "discovery still lists both portals" "$PORTAL" "$(iscsiadm -m node)"
for kind in temporary permanent; do
	if [ "$T_BY" = tool ]; then
		flag=()
		[ $kind = temporary ] || flag=(--permanent)
		check "ferritectl sets a $kind redirection" tool portal redirect "$IQN" "$PORTAL" $other "${flag[@]}"
	else
		must put "$kind $other" "$redirect"
	fi
	check_eq "and it is shown" "$kind $other" "$(cat "$redirect")"
	before=$(t_stat logins_redirected)
	check "an initiator that is sent away ($kind) logs in" iscsiadm -m node -T "$IQN" -p "$PORTAL" --login
	check_match "at the other portal" "3261" "$(ss -Htn state established "dport = 3261")"
	check_eq "and not here" "" "$(ss -Htn state established "dport = 3260")"
	check_eq "it is counted" 1 $(($(t_stat logins_redirected) - before))
	disk=$(i_disk) || give_up "no disk"
	check "it can use the disk" dd if="$disk" of=/dev/null bs=64k count=4 iflag=direct
	must iscsiadm -m node -T "$IQN" -p "$PORTAL" --logout
	# libiscsi goes where it is sent as well, if that is not for ever.
	[ $kind = permanent ] ||
		check_match "libiscsi is sent on, too" "DIRECT_ACCESS" "$(iscsi-inq "iscsi://$PORTAL/$IQN/0" 2>&1)"
done

# A session that is there is left alone.
must put none "$redirect"
must iscsiadm -m node -T "$IQN" -p "$PORTAL" --login
disk=$(i_disk) || give_up "no disk"
must put "temporary $other" "$redirect"
check "a session that is there goes on" dd if="$disk" of=/dev/null bs=64k count=4 iflag=direct
check_match "where it was" "3260" "$(ss -Htn state established "dport = 3260")"
must iscsiadm -m node -T "$IQN" -p "$PORTAL" --logout
check_eq "others are sent away still" "temporary $other" "$(cat "$redirect")"

# Who may not log in at all is not told where to.
t_set "$IQN" generate_node_acls=0
py redirect "$PORTAL" "$other"
