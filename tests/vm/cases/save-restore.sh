# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# ferritectl on the real kernel: status, JSON, save, clear, restore; what cannot be restored is
# told; errors leave nothing half-made.
# time: 50

second=iqn.2026-01.org.example:second

# state: everything but what depends on the moment.
state() {
	ferritectl save - | sed -E 's/"saved_at": .*//'
}

t_load
[ "$T_BY" = tool ] || give_up "ferritectl is not in the guest"
t_export /dev/vda
t_chap "$IQN" -- some-user some-secret-0001 other-user other-secret-0002
t_acl "$IQN" "$INITIATOR"
t_chap "$IQN" "$INITIATOR" -- its-user its-secret-000001
t_set "$IQN" MaxBurstLength=131072 nopin_timeout=20 chap_algorithms=SHA256
must tool backstore set disk0 write_through=1 max_unmap_lba_count=4096
must tool tpg set "$IQN" TargetAlias="some alias"
t_portal "$IQN" "[::1]:3260"
t_target $second
t_backstore disk1 /dev/vdb ro
t_lun $second 5 disk1
t_portal $second 127.0.0.1:3265
t_chap discovery -- finder finder-secret-1
must tool alua create disk0 second --id 16 --state standby --set preferred=1 --set trans_delay_msecs=10
must tool alua create disk0 third --state nonoptimized --set alua_access_type=2
must tool alua set disk0 default_tg_pt_gp implicit_trans_secs=9
must tool alua join "$IQN" 0 second
must tool alua offline $second 5

check_match "status shows the target" "$IQN" "$(ferritectl status)"
check "status is JSON when asked" eval 'ferritectl --json status | python3 -m json.tool >/dev/null'
check "so are lists" eval 'for noun in backstore target tpg portal lun acl alua session; do ferritectl --json $noun list | python3 -m json.tool >/dev/null || exit 1; done'
before=$(state)
serial=$(cat "$(t_store disk0)/wwn/vpd_unit_serial")
check "save" ferritectl save /tmp/saved.json
check_eq "only root may read it" 600 "$(stat -c %a /tmp/saved.json)"
check_match "it holds the secrets" "some-secret-0001" "$(cat /tmp/saved.json)"
check "save again" ferritectl save /tmp/again.json
check "saves the same" cmp /tmp/saved.json /tmp/again.json

check_not "clear asks for --yes" ferritectl clear
check_eq "and has done nothing" "$before" "$(state)"
check "clear" ferritectl clear --yes
check_eq "nothing is left" "" "$(echo "$ISCSI"/iqn* "$ROOT"/core/iblock_*)"
check "restore" ferritectl restore /tmp/saved.json
check_eq "everything is as it was" "$before" "$(state)"
check_eq "the serial number as well" "$serial" "$(cat "$(t_store disk0)/wwn/vpd_unit_serial")"
check_match "the LUN is in its target port group" "^TG Port Alias: second$" "$(cat "$(t_tpg)/lun/lun_0/alua_tg_pt_gp")"
check_eq "which is in its state" 2 "$(cat "$(t_store disk0)/alua/second/alua_access_state")"
check_eq "and what was disabled is so" 0 "$(cat "$(t_tpg $second)/enable")"
check_match "a second restore changes nothing" "[Nn]o change|nothing|[Uu]nchanged" "$(ferritectl restore /tmp/saved.json 2>&1)"
check_eq "indeed" "$before" "$(state)"

# A group that has another state, and one that is not in the file.
must tool alua set disk0 third alua_access_type=3
must tool alua state disk0 third optimized
must tool alua set disk0 third alua_access_type=2
must tool alua state disk0 second optimized
must tool alua create disk0 fourth
must tool alua join "$IQN" 0 fourth
check "restore --replace" ferritectl restore --replace /tmp/saved.json
check_eq "brings states and memberships back" "$before" "$(state)"
check_not "a group that does not exist cannot be joined" ferritectl alua join "$IQN" 0 fourth
must tool alua leave "$IQN" 0
must tool alua state disk0 second optimized

# What was restored works: with the secrets.
mapfile -t settings < <(i_chap its-user its-secret-000001)
check "login with the restored secret" i_login "${settings[@]}" node.session.auth.chap_algs=SHA256
disk=$(i_disk)
check "and the disk is there" dd if="$disk" of=/dev/null bs=64k count=4 iflag=direct
check_match "session list shows the initiator" "$INITIATOR" "$(ferritectl session list)"
check_not "a target in use is not deleted without --force" ferritectl target delete "$IQN"
check "and goes on" dd if="$disk" of=/dev/null bs=64k count=4 iflag=direct
i_logout
i_forget

# After a reload of the module, and with a device that is gone.
must ferritectl clear --yes
check "the module is unloaded" wait_for 10 t_unload
t_load
check "restore after a reload" ferritectl restore /tmp/saved.json
check_eq "everything is as it was" "$before" "$(state)"
must ferritectl clear --yes
sed 's,/dev/vdb,/dev/gone,' /tmp/saved.json >/tmp/broken.json
out=$(ferritectl restore /tmp/broken.json 2>&1)
status=$?
check_eq "a device that is gone: the status tells that not all was restored" 6 $status
check_match "and the message what" "disk1|/dev/gone" "$out"
check "the rest is restored" test -d "$(t_tpg)/np/$PORTAL"
must ferritectl clear --yes
echo '{"format_version": 999}' >/tmp/bad.json
check_not "a file of another version is refused" ferritectl restore /tmp/bad.json
echo 'not json' >/tmp/bad.json
check_not "a file that is no JSON is refused" ferritectl restore /tmp/bad.json
check_eq "and nothing is made" "" "$(echo "$ISCSI"/iqn* "$ROOT"/core/iblock_*)"

# Errors: the value, the rule, a status, and nothing half-made.
bad() {
	local name=$1 regex=$2 out status
	shift 2
	out=$(ferritectl "$@" 2>&1)
	status=$?
	printf '+ ferritectl %s\n%s\n' "$*" "$out"
	check "$name fails" test $status -ne 0
	check_match "$name is explained" "$regex" "$out"
}
bad "a bad name" "not-a-name" target create not-a-name
bad "a device that does not exist" "/dev/nothing" backstore create x /dev/nothing
bad "a file as a device" "/etc/passwd" backstore create x /etc/passwd
bad "a target that does not exist" "nothing" lun create iqn.2026-01.org.example:nothing x
t_target
bad "a bad portal" "300.1.1.1" portal create "$IQN" 300.1.1.1
bad "a backstore that does not exist" "nothing" lun create "$IQN" nothing
bad "a bad value" "99" tpg set "$IQN" login_timeout=99
bad "a bad value among good ones" "MaxBurstLength" tpg set "$IQN" login_timeout=20 MaxBurstLength=1
check_eq "sets none of them" 15 "$(cat "$(t_tpg)/attrib/login_timeout")"
bad "a short secret" "12" auth set "$IQN" --user joe --secret short
check_eq "no backstore is left of all that" "" "$(echo "$ROOT"/core/iblock_*/x)"
must ferritectl target delete "$IQN"

# Called by the names of LIO's old tools.
check "tcm_node makes a backstore" tcm_node --block iblock_7/old /dev/vda
check_eq "which is there" 1 "$(cat "$ROOT/core/iblock_7/old/enable")"
check "lio_node makes a LUN of it" lio_node --addlun "$IQN" 1 0 old_port iblock_7/old
check "lio_node makes a portal" lio_node --addnp "$IQN" 1 "$PORTAL"
check "lio_node switches authentication off" lio_node --disableauth "$IQN" 1
check "lio_node switches demo mode on" lio_node --demomode "$IQN" 1
check "lio_node enables the target" lio_node --enabletpg "$IQN" 1
check "open-iscsi logs in to it" i_login
i_logout
check "lio_node deletes it" lio_node --deliqn "$IQN"
check "tcm_node deletes the backstore" tcm_node --freedev iblock_7/old
check_eq "nothing is left" "" "$(echo "$ISCSI"/iqn* "$ROOT"/core/iblock_7/*/)"
