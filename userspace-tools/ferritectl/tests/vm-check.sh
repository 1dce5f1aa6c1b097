#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Checks ferritectl against a kernel's configfs, and with open-iscsi against what it
# configured. Runs in a virtual machine with two disks of its own, /dev/vda and
# /dev/vdb, which it overwrites:
#
#   scripts/vm run --disk 64M --disk 32M userspace-tools/ferritectl/tests/vm-check.sh WHAT
#
# WHAT is `ferrite` for the module at /ferrite/ferrite.ko, or `lio` for the kernel's own
# target, whose configfs has the same layout. Prints KTAP lines; ends with 1 if any
# check failed.

what=${1:-ferrite}
target=iqn.2026-01.org.example:store
client=iqn.2026-01.org.example:client
other=iqn.2026-01.org.example:other
number=0
failures=0

case $what in
lio)
	modprobe -a target_core_mod iscsi_target_mod target_core_iblock target_core_file
	root=/sys/kernel/config/target
	options=(--root "$root")
	;;
ferrite)
	# insmod does not load what the module depends on.
	for module in $(modinfo -F depends /ferrite/ferrite.ko | tr , ' '); do
		modprobe "$module" || exit 1
	done
	insmod /ferrite/ferrite.ko || exit 1
	root=/sys/kernel/config/ferrite
	options=()
	;;
*)
	echo "vm-check.sh: $what is neither ferrite nor lio" >&2
	exit 2
	;;
esac
PATH=${FERRITECTL_DIR:-/usr/sbin}:$PATH
iscsi=$root/iscsi
tpg=$iscsi/$target/tpgt_1

ctl() { ferritectl "${options[@]}" "$@"; }
lio() { lio_node "${options[@]}" "$@"; }
tcm() { tcm_node "${options[@]}" "$@"; }

# check NAME COMMAND...: the command must succeed.
check() {
	local name=$1 output status
	shift
	number=$((number + 1))
	output=$("$@" 2>&1)
	status=$?
	if [ $status -eq 0 ]; then
		echo "ok $number $name"
	else
		echo "not ok $number $name: status $status of: $*"
		echo "# ${output//$'\n'/$'\n'# }"
		failures=$((failures + 1))
	fi
}

# refused NAME STATUS TEXT COMMAND...: the command must end so and say so.
refused() {
	local name=$1 wanted=$2 text=$3 output status
	shift 3
	number=$((number + 1))
	output=$("$@" 2>&1)
	status=$?
	if [ $status -eq "$wanted" ] && grep -qF -- "$text" <<<"$output"; then
		echo "ok $number $name"
	else
		echo "not ok $number $name: status $status, wanted $wanted and \"$text\", of: $*"
		echo "# ${output//$'\n'/$'\n'# }"
		failures=$((failures + 1))
	fi
}

# What is configured: directories and links, without those that the kernel makes.
shape() { find "$root" \( -type d -o -type l \) -printf '%P %l\n' | sort; }
same() { diff <(echo "$1") <(echo "$2"); }
contains() { grep -qF -- "$2" <<<"$1"; }
equals() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
absent() { ! [ -e "$1" ] || { echo "$1 exists"; return 1; }; }

echo KTAP version 1
empty=$(shape)

# A target from nothing, by noun and verb.
check "backstore create" ctl backstore create disk0 /dev/vda --serial serial-0 --vendor EXAMPLE
check "backstore create, read-only" ctl backstore create disk1 /dev/vdb --read-only
check "device is open" equals "$(cat $root/core/iblock_0/disk0/enable)" 1
check "serial is set" contains "$(cat $root/core/iblock_0/disk0/wwn/vpd_unit_serial)" serial-0
check "vendor is set" contains "$(cat $root/core/iblock_0/disk0/wwn/vendor_id)" EXAMPLE
check "read-only is set" contains "$(cat $root/core/iblock_1/disk1/info)" "readonly: 1"
check "target create" ctl target create $target --alias "a store"
check "alias is set" equals "$(cat $tpg/param/TargetAlias)" "a store"
check "portal create" ctl portal create $target 127.0.0.1
check "portal create, IPv6" ctl portal create $target ::1
check "portal is there" test -d "$tpg/np/[::1]:3260"
check "lun create" ctl lun create $target disk0
check "lun create, numbered" ctl lun create $target disk1 --lun 5
check "lun is a link" test -d $tpg/lun/lun_5/disk1/attrib
check "acl create" ctl acl create $target $client --map-all
check "acl map" ctl acl map $target $client 0 --as 7 --read-only
check "write protection is set" equals "$(cat $tpg/acls/$client/lun_7/write_protect)" 1
check "auth generate" ctl auth generate /tmp/secret
check "auth generate, mutual" ctl auth generate /tmp/mutual
check "auth set" ctl auth set $target --acl $client --user bob --secret-file /tmp/secret \
	--mutual-user store --mutual-secret-file /tmp/mutual
check "user is set" equals "$(cat $tpg/acls/$client/auth/userid)" bob
check "tpg set" ctl tpg set $target login_timeout=20 MaxBurstLength=131072 rtpi=77
check "attribute is set" equals "$(cat $tpg/attrib/login_timeout)" 20
check "parameter is set" equals "$(cat $tpg/param/MaxBurstLength)" 131072
check "identifier is set" equals "$(cat $tpg/rtpi)" 0x4d
check "tpg enable" ctl tpg enable $target
check "tpg is on" equals "$(cat $tpg/enable)" 1
full=$(shape)
check "status" ctl status
check "status shows no secret" \
	test -z "$(ctl status | grep -F "$(cat /tmp/secret)")$(ctl status --json | grep -F "$(cat /tmp/secret)")"

# What the kernel refuses leaves everything as it was.
refused "bad parameter" 1 "MaxBurstLength" ctl tpg set $target login_timeout=25 MaxBurstLength=3
check "first value is taken back" equals "$(cat $tpg/attrib/login_timeout)" 20
refused "kernel log is shown" 1 "kernel:" ctl tpg set $target MaxBurstLength=3
refused "no such device" 1 "/dev/none" ctl backstore create disk2 /dev/none
refused "held device" 5 "backstore iblock_0/disk0 has it open" ctl backstore create disk2 /dev/vda
touch /tmp/file
refused "no block device" 1 "losetup" ctl backstore create disk2 /tmp/file
refused "exists" 4 "exists already" ctl target create $target
refused "in use" 5 "LUN 0" ctl backstore delete disk0
refused "exported identity" 1 "vpd_unit_serial" ctl backstore set disk0 vpd_unit_serial=other
check "nothing has changed" same "$full" "$(shape)"

# An initiator uses it.
echo "InitiatorName=$client" >/etc/iscsi/initiatorname.iscsi
node=(iscsiadm -m node -T "$target" -p 127.0.0.1:3260)
set_node() { "${node[@]}" -o update -n "$1" -v "$2"; }
check "discovery" iscsiadm -m discovery -t sendtargets -p 127.0.0.1
set_node node.session.auth.authmethod CHAP
set_node node.session.auth.username bob
set_node node.session.auth.password "$(cat /tmp/secret)"
set_node node.session.auth.username_in store
set_node node.session.auth.password_in "$(cat /tmp/mutual)"
set_node node.session.auth.chap_algs "SHA3-256,SHA256,SHA1,MD5"
check "login with mutual CHAP" "${node[@]}" --login
sessions=$(ctl session list)
check "session is listed" contains "$sessions" $client
check "session has an address" contains "$sessions" 127.0.0.1
check "session is shown" contains "$(ctl session show $target $client)" MaxBurstLength=131072
check "session as JSON" python3 - <<-END "$(ctl session list --json)"
	import json, sys
	(session,) = json.loads(sys.argv[1])
	assert session["initiator"] == "$client", session
	assert session["session"]["isid"].startswith("0x"), session
	assert len(session["session"]["isid"]) == 14, session
	assert session["session"]["connections"][0]["address"] == "127.0.0.1", session
END
refused "live LUN" 5 "--force" ctl lun delete $target 0
refused "live ACL" 5 "--force" ctl acl delete $target $client
refused "live mapping" 5 "--force" ctl acl unmap $target $client 7
refused "live TPG" 5 "--force" ctl tpg disable $target
refused "live target" 5 "--force" ctl target delete $target
check "still nothing has changed" same "$full" "$(shape)"
check "acl unmap, forced" ctl acl unmap $target $client 7 --force
check "mapping is gone" absent $tpg/acls/$client/lun_7
check "acl map again" ctl acl map $target $client 0 --as 7 --read-only
check "logout" "${node[@]}" --logout
iscsiadm -m node -o delete

# Save, clear, restore.
check "save" ctl save /tmp/saved.json
check "file is private" equals "$(stat -c %a /tmp/saved.json)" 600
check "secret is saved" grep -qF "$(cat /tmp/secret)" /tmp/saved.json
equal_restore() { equals "$(ctl restore /tmp/saved.json)" "nothing to change"; }
check "restore of what is there" equal_restore
check "clear" ctl clear --yes
check "all is gone" absent $iscsi/$target
check "no backstore is left" absent $root/core/iblock_0
check "restore" ctl restore /tmp/saved.json
check "all is back" same "$full" "$(shape)"
check "restore again" equal_restore
check "save again" ctl save /tmp/again.json
check "both files are the same" diff /tmp/saved.json /tmp/again.json
check "clear again" ctl clear --yes
sed 's|"/dev/vda"|"/dev/gone"|' /tmp/saved.json >/tmp/gone.json
refused "restore without a disk" 6 "iblock_0/disk0" ctl restore /tmp/gone.json
check "its LUN is not there" absent $tpg/lun/lun_0
check "the other LUN is" test -d $tpg/lun/lun_5/disk1
check "tpg is on nevertheless" equals "$(cat $tpg/enable)" 1
refused "restore without a disk again" 6 "iblock_0/disk0" ctl restore /tmp/gone.json
check "restore of the rest" ctl restore /tmp/saved.json
check "all is there again" same "$full" "$(shape)"
check "what is too much" ctl target create $other
check "restore, replacing" ctl restore --replace /tmp/saved.json
check "what was too much is gone" absent $iscsi/$other
echo '{' >/tmp/bad.json
refused "bad file" 8 "line" ctl restore /tmp/bad.json
check "a bad file changes nothing" same "$full" "$(shape)"
check "clear once more" ctl clear --yes

# As the cluster agents call it.
check "lio_node --addnp" lio --addnp ${target^^} 1 127.0.0.1:3260
check "lio_node --addnodeacl" lio --addnodeacl $target 1 $client
check "lio_node --disableauth" lio --disableauth $target 1
check "lio_node --enabletpg=" lio --enabletpg=$target 1
check "tcm_node --createdev=" tcm --createdev=iblock_0/resource /dev/vda
check "tcm_node --setunitserial=" tcm --setunitserial=iblock_0/resource cluster-serial
check "lio_node --addlun=" lio --addlun=$target 1 1 resource iblock_0/resource
check "lio_node --addlunacl=" lio --addlunacl=$target 1 $client 1 1
check "the agent's monitor" equals "$(cat $tpg/lun/lun_1/resource/udev_path)" /dev/vda
check "lio_node --addlunacl, mapped" test -d $tpg/acls/$client/lun_1/lio_lun
check "iscsiadm" iscsiadm -m discovery -t sendtargets -p 127.0.0.1
check "login without authentication" "${node[@]}" --login
check "lio_node --listnodeacls" contains "$(lio --listnodeacls $target 1)" "1 session"
check "logout" "${node[@]}" --logout
check "lio_node --settpgparam" lio --settpgparam $target 1 MaxBurstLength 65536
check "lio_node --dellunacl=" lio --dellunacl=$target 1 $client 1
check "lio_node --dellun=" lio --dellun=$target 1 1
check "tcm_node --freedev=" tcm --freedev=iblock_0/resource
check "lio_node --deliqn" lio --deliqn $target
check "tcm_node --delhba" tcm --delhba iblock_0
refused "tcm_node --fileio" 1 "this target has no" tcm --fileio fileio_0/x /tmp/x 1024
# The kernel's own target makes the fabric's directory with the first target.
targetless() { grep -v '^iscsi\( \|/discovery_auth \)' <<<"$1"; }
check "nothing but the fabric is left" same "$(targetless "$empty")" "$(targetless "$(shape)")"

if [ "$what" = lio ]; then
	# A kind of backstore that is not handled is at least not forgotten.
	mkdir -p $root/core/fileio_0/image
	refused "fileio is named" 6 "fileio_0/image" ctl save /tmp/saved.json
	rmdir $root/core/fileio_0/image $root/core/fileio_0
	rmdir $iscsi
else
	check "rmmod" rmmod ferrite
	refused "without the module" 7 "modprobe ferrite" ferritectl status
fi

echo "1..$number"
[ $failures -eq 0 ]
