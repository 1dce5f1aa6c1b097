# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Discovery: what SendTargets shows to whom, and CHAP for discovery sessions.
# time: 30

second=iqn.2026-01.org.example:second

t_load
t_export /dev/vda
t_target $second
t_portal $second "$PORTAL"
t_portal $second 127.0.0.2:3260
t_enable $second

discover() {
	iscsiadm -m discovery -t sendtargets -p 127.0.0.1
}

# discover_chap USER SECRET [MUTUAL-USER MUTUAL-SECRET]: with CHAP and every digest.
discover_chap() {
	local record=(-m discoverydb -t sendtargets -p "$PORTAL") settings
	iscsiadm "${record[@]}" -o delete
	must iscsiadm "${record[@]}" -o new
	settings=(discovery.sendtargets.auth.authmethod=CHAP
		"discovery.sendtargets.auth.username=$1"
		"discovery.sendtargets.auth.password=$2")
	[ $# -lt 4 ] || settings+=("discovery.sendtargets.auth.username_in=$3" "discovery.sendtargets.auth.password_in=$4")
	i_set "${record[@]}" -- "${settings[@]}"
	iscsiadm "${record[@]}" --discover
}

found=$(discover | sort)
check_eq "every target is found at every portal" "127.0.0.1:3260,1 $second
127.0.0.1:3260,1 $IQN
127.0.0.2:3260,1 $second" "$found"
t_disable $second
check_no_match "a disabled target is not shown" "$second" "$(discover)"
t_enable $second
t_set $second demo_mode_discovery=0
check_no_match "demo_mode_discovery=0 hides a target from those who may not log in" "$second" "$(discover)"
t_acl $second "$INITIATOR"
check_match "and shows it to those who may" "$second" "$(discover)"

t_chap discovery -- finder finder-secret-1 shower shower-secret-2
py discovery_chap
# open-iscsi offers nothing but MD5 for discovery.
check_not "MD5 is refused by default" discover_chap finder finder-secret-1
put MD5,SHA1,SHA256,SHA3-256 "$ISCSI/discovery_auth/chap_algorithms"
check_not "discovery without CHAP is refused" discover
check "discovery with one-way CHAP" discover_chap finder finder-secret-1
check "discovery with mutual CHAP" discover_chap finder finder-secret-1 shower shower-secret-2
check_not "discovery with a wrong secret is refused" discover_chap finder not-the-secret-at-all
check_not "discovery with a wrong user is refused" discover_chap somebody finder-secret-1
check_not "the initiator refuses a target with the wrong secret" discover_chap finder finder-secret-1 shower not-the-secret-at-all
check "the CHAP of discovery has no say in normal sessions" i_login
i_logout

t_chap_dir "$ISCSI/discovery_auth"
put 0 "$ISCSI/discovery_auth/enforce_discovery_auth"
py discovery
