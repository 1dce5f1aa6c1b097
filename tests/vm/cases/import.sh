# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# An export of LIO moves to Ferrite, and the initiator finds the same disks with the same data.
# time: 70

if ! command -v dbus-daemon >/dev/null; then
	skip import "the guest has no dbus-daemon, which targetcli wants"
	exit 0
fi
start-udev
mkdir -p /etc/target /etc/rtslib-fb-target /var/target /run/dbus
must modprobe -a target_core_mod target_core_iblock iscsi_target_mod
must dbus-daemon --system --fork
dir=$(mktemp -d)

# cli COMMAND...: one command of targetcli a line, from the standard input.
cli() {
	targetcli 2>&1
}

case_cleanup() {
	targetcli clearconfig confirm=True >/dev/null 2>&1
}

# identity LUN: all that udev, and through it multipath and VMFS, know the disk by.
identity() {
	local disk
	disk=$(i_disk "$IQN" "$1") || return
	udevadm settle --timeout=20
	sg_inq --export "$disk" | grep -E '^SCSI_(VENDOR|MODEL|REVISION)='
	sg_inq --export --page=sn "$disk"
	sg_inq --export --page=di "$disk" | grep -E '^SCSI_IDENT_LUN_(NAA|EUI|T10)'
	find /dev/disk/by-id -lname "*/${disk##*/}" | sort
}

tpg=/iscsi/$IQN/tpg1
out=$(cli <<-END
	/backstores/block create name=disk0 dev=/dev/vda
	/backstores/block create name=disk1 dev=/dev/vdb
	/backstores/ramdisk create name=ram size=8M
	/iscsi create $IQN
	$tpg/luns create /backstores/block/disk0
	$tpg/luns create /backstores/block/disk1 5
	$tpg/luns create /backstores/ramdisk/ram
	$tpg/acls create $INITIATOR
	$tpg/acls/$INITIATOR set auth userid=joe password=correct-horse-battery
	$tpg set attribute authentication=1
	saveconfig $dir/saveconfig.json
END
)
echo "$out"
[ -s "$dir/saveconfig.json" ] || give_up "targetcli saved nothing"

mapfile -t chap < <(i_chap joe correct-horse-battery)
chap+=(node.session.auth.chap_algs=SHA256)
must i_login "${chap[@]}"
before=$(identity 0; identity 5)
echo "$before"
check_match "LIO's disk has an NAA identifier" '/dev/disk/by-id/.*6001405' "$before"
disk=$(i_disk) || give_up "no disk"
must dd if=/dev/urandom of="$disk" bs=1M count=4 oflag=direct status=none
data=$(sum "$disk" 4)
must i_logout
i_forget
out=$(cli <<<'clearconfig confirm=True')
check_match "LIO is taken down" 'All configuration cleared' "$out"

t_load
out=$(ferritectl import "$dir/saveconfig.json" -o "$dir/file.toml" 2>&1)
check_eq "what is not carried over shows in the exit status" 6 $?
echo "$out"
cat "$dir/file.toml"
check_match "the ramdisk is named" 'backstore ramdisk/ram: only block devices' "$out"
check_match "its LUN is named" 'LUN 1: its backstore /backstores/ramdisk/ram' "$out"
check_no_match "no secret is shown" correct-horse "$out$(cat "$dir/file.toml")"
check "the file is applied" tool apply "$dir/file.toml"
check "the initiator logs in with the secret that it has" i_login "${chap[@]}"
after=$(identity 0; identity 5)
check_eq "every identifier of both disks is the same" "$before" "$after"
disk=$(i_disk) || give_up "no disk"
check_eq "the data are the same" "$data" "$(sum "$disk" 4)"
i_logout
rm -rf "$dir"
