# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# CHAP with open-iscsi: one way and mutual, with every digest, for portal groups and ACLs.
# time: 60

user=store-user secret=correct-horse-battery muser=store-target msecret=staple-horse-correct
tpg=$(t_tpg)

t_load
t_target
t_backstore disk0 /dev/vda
t_lun "$IQN" 0 disk0
t_portal "$IQN" "$PORTAL"
t_acl "$IQN" "$INITIATOR"
t_chap "$IQN" "$INITIATOR" -- $user $secret $muser $msecret
t_enable

check_eq "authentication is demanded unless told otherwise" 1 "$(cat "$tpg/attrib/authentication")"
check_eq "MD5 is not among the algorithms unless told otherwise" SHA3-256,SHA256,SHA1 "$(cat "$tpg/attrib/chap_algorithms")"
check_eq "a secret is not shown" "" "$(cat "$tpg/acls/$INITIATOR/auth/password" "$tpg/acls/$INITIATOR/auth/password_mutual")"

# session ALGORITHMS USER SECRET [MUTUAL-USER MUTUAL-SECRET]: a login, some data, a logout.
session() {
	local disk settings
	mapfile -t settings < <(i_chap "${@:2}")
	i_login "${settings[@]}" "node.session.auth.chap_algs=$1" || return
	disk=$(i_disk) && dd if="$disk" of=/tmp/read bs=64k count=4 iflag=direct
	[ -n "$disk" ] && cmp /tmp/read <(head -c 256k /dev/vda)
	local status=$?
	i_logout && i_forget
	return $status
}

must dd if=/dev/urandom of=/dev/vda bs=64k count=4 oflag=direct
for algorithm in SHA3-256 SHA256 SHA1; do
	check "one-way CHAP with $algorithm" session $algorithm $user $secret
	check "mutual CHAP with $algorithm" session $algorithm $user $secret $muser $msecret
	i_forget
done

check_not "MD5 is refused by default" session MD5 $user $secret
i_forget
t_set "$IQN" chap_algorithms=MD5
check "one-way CHAP with MD5 where it is allowed" session MD5 $user $secret
check "mutual CHAP with MD5 where it is allowed" session MD5 $user $secret $muser $msecret
check_not "SHA3-256 is refused where only MD5 is allowed" session SHA3-256 $user $secret
i_forget
t_set "$IQN" chap_algorithms=SHA3-256,SHA256,SHA1

check_not "the initiator refuses a target with the wrong secret" session SHA256 $user $secret $muser not-the-secret-at-all
i_forget
check_not "a wrong secret is refused" session SHA256 $user not-the-secret-at-all
i_forget
check_not "a wrong user is refused" session SHA256 nobody $secret
i_forget
check_not "no CHAP is refused" i_login
i_forget
check_eq "refused logins leave no session" 0 "$(t_sessions)"

# Those of the portal group count for initiators that have none of their own.
t_unacl "$IQN" "$INITIATOR"
t_set "$IQN" generate_node_acls=1 demo_mode_write_protect=0
t_chap "$IQN" -- group-user group-secret-1234
check "CHAP with the portal group's secret, without an ACL" session SHA256 group-user group-secret-1234
check_not "without an ACL its secret is worth nothing" session SHA256 $user $secret
i_forget

py chap
