# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A target machine with systemd, at the address $2. $1 is `first` (everything is set up, and the
# system rebooted while an initiator writes) or `second` (what must have come back by itself).
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1

address=$2
PORTAL=$address:3260
SECONDS=0

# unit NAME LINE...: a unit that multi-user.target wants.
unit() {
	local name=$1
	shift
	printf '%s\n' "$@" '[Install]' 'WantedBy=multi-user.target' >"/etc/systemd/system/$name"
	must systemctl enable "$name"
}

first() {
	local size=48m
	must tar -C /share/installed -cf /tmp/installed.tar .
	must tar -C / --keep-directory-symlink -xf /tmp/installed.tar
	must depmod
	must systemctl daemon-reload
	must pvcreate -qy /dev/vda
	must vgcreate -qy vg0 /dev/vda
	must lvcreate -qy -L $size -n data vg0
	must lvcreate -qy -L $size -n late vg0
	# This one is activated by a unit of its own.
	must lvchange -qy -ky vg0/late
	must modprobe ferrite
	t_export /dev/vg0/data /dev/vg0/late
	must ferritectl save
	must systemctl enable ferrite
	# It takes the interface away when it is stopped.
	unit network-of-ours.service '[Unit]' 'Wants=network.target' 'Before=network.target' \
		'[Service]' Type=oneshot RemainAfterExit=yes \
		'ExecStart=ip link set eth0 up' 'ExecStop=ip link set eth0 down'
	unit late-address.service '[Unit]' 'After=ferrite.service' \
		'[Service]' Type=oneshot RemainAfterExit=yes \
		'ExecStartPre=sleep 3' "ExecStart=ip address add $address/24 dev eth0"
	# Ordered by nothing, it waits until somebody waits for the volume.
	unit late-volume.service '[Service]' Type=oneshot RemainAfterExit=yes \
		'ExecStart=sh -c "until [ $$(systemctl show -P ActiveState ferrite) != inactive ]; do sleep 0.2; done; sleep 2; lvchange -ay -K vg0/late"'
	check "the unit starts beside what is configured already" systemctl start network-of-ours ferrite late-address late-volume
	echo 1 >/share/serves
	wait_for 300 test -e /share/reboot || give_up "nobody wants a reboot"
	echo "+ the first boot has taken $SECONDS s"
	systemctl --no-block reboot
}

# at REGEX BOOT: when a line of the journal matches first, in us.
at() {
	grep -E -m 1 -- "$1" "/tmp/journal$2" | cut -d ' ' -f 1
}

# check_before NAME REGEX REGEX [BOOT]
check_before() {
	local one two
	one=$(at "$2" "${4:-0}")
	two=$(at "$3" "${4:-0}")
	if [ -z "$one" ] || [ -z "$two" ]; then
		fail "$1" "\"$2\" was at ${one:-no time}, \"$3\" at ${two:-no time}"
	else
		check_le "$1" "$one" "$two"
	fi
}

second() {
	echo 2 >/share/serves
	for boot in 0 -1; do
		# With the time in microseconds.
		journalctl -q -b $boot -o short-monotonic --no-hostname |
			sed -E 's/^\[ *([0-9]+)\.([0-9]+)\]/\1\2/' >/tmp/journal$boot
	done
	check_eq "the unit is active after the reboot" active "$(systemctl show -P ActiveState ferrite)"
	check_eq "and everything was restored" 0 "$(systemctl show -P ExecMainStatus ferrite)"
	check_before "a volume that came late was waited for" "ferritectl.*waiting for .*/dev/vg0/late" "Finished ferrite.service"
	check_before "the address came when the portal was there already" "Finished ferrite.service" "Finished late-address.service"
	# How the boot before it ended.
	check_before "at shutdown the target goes before the network" "Stopped ferrite.service" "Stopping network-of-ours.service" -1
	check_before "before LVM" "Stopped ferrite.service" "Stopping blk-availability.service" -1
	check_before "and before multipath" "Stopped ferrite.service" "Stopping multipathd.service" -1
	check_match "so that LVM could give up its volumes" "deactivating Volume Group vg0.*|LVM.*vg0.*done" "$(grep blkdeactivate /tmp/journal-1)"
	check_no_match "nothing of it failed" "ferrite.*(fail|Fail|in use|timed out)" "$(cat /tmp/journal-1)"
	grep -E 'ferrite|blkdeactivate|network-of-ours|late-|lvm|multipathd' /tmp/journal-1 | tail -n 60
	echo ---
	grep -E 'ferrite|late-|lvm|pvscan' /tmp/journal0
	systemd-analyze --no-pager
	systemd-analyze --no-pager blame | head -n 12
	wait_for 300 test -e /share/finished || give_up "the initiator does not come to its end"
	check_eq "nobody is logged in any more" 0 "$(t_sessions "$IQN")"
	echo "+ the second boot has taken $SECONDS s"
}

"$1"
