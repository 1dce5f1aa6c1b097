# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# rtslib and targetcli, which administer LIO, work unchanged on the tree when it has LIO's name.
# time: 150

t_load configfs_root=target
ROOT=/sys/kernel/config/target
start-udev
mkdir -p /etc/target /etc/rtslib-fb-target /var/target
py lio_tools

if command -v dbus-daemon >/dev/null; then
	mkdir -p /run/dbus
	must dbus-daemon --system --fork
	tpg=/iscsi/iqn.2003-01.org.example:shell/tpg1
	out=$(targetcli 2>&1 <<-END
		/backstores/block create name=disk dev=/dev/vda
		/iscsi create iqn.2003-01.org.example:shell
		$tpg/luns create /backstores/block/disk
		$tpg/acls create iqn.1993-08.org.debian:01:abc
		$tpg/acls/iqn.1993-08.org.debian:01:abc set auth userid=joe password=joes-secret
		$tpg set attribute authentication=1 cache_dynamic_acls=0
		$tpg set parameter MaxBurstLength=1048576
		ls
		sessions
		saveconfig /tmp/saved.json
		clearconfig confirm=True
	END
	)
	echo "$out"
	again=$(targetcli 2>&1 <<-END
		restoreconfig /tmp/saved.json
		ls
		$tpg get attribute authentication
		$tpg/acls/iqn.1993-08.org.debian:01:abc get auth userid
		saveconfig /tmp/again.json
		clearconfig confirm=True
	END
	)
	echo "$again"
	check_match "targetcli saves" 'saved to /tmp/saved.json' "$out"
	check_match "targetcli restores: the backstore" 'disk .*/dev/vda .*activated' "$again"
	check_match "the mapped LUN" 'mapped_lun0 .*lun0 block/disk \(rw\)' "$again"
	check_match "an attribute" '^/> authentication=1' "$again"
	check_match "and a name; secrets are not shown, and so not saved" '^/> userid=joe' "$again"
	check "and what it saves is what it had saved" cmp /tmp/saved.json /tmp/again.json
	check_no_match "restoring meets no error" 'Traceback|Error|[Cc]annot|[Ff]ailed' "$again"
	check_match "targetcli makes a LUN and maps it" 'Created mapped LUN 0' "$out"
	check_match "targetcli sets parameters" "MaxBurstLength is now '1048576'" "$out"
	check_match "targetcli shows the backstore" 'disk .*/dev/vda .*activated' "$out"
	check_match "targetcli shows the mapped LUN" 'mapped_lun0 .*lun0 block/disk \(rw\)' "$out"
	check_match "targetcli finds no session" 'no open sessions' "$out"
	check_match "targetcli clears all" 'All configuration cleared' "$out"
	check_no_match "targetcli meets no error" 'Traceback|Error|[Cc]annot|[Ff]ailed' "$out"
else
	skip targetcli "the guest has no dbus-daemon"
fi
left=("$ROOT"/core/* "$ISCSI"/iqn*)
check_eq "nothing is left" "" "${left[*]}"
check "the module goes at once" t_unload
