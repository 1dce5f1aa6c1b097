#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The part of scripts/demo that runs in the virtual machine. Each step says what it does and why,
# shows the command, and ends everything if it does not hold.
set -uo pipefail

target=iqn.2026-01.org.example:demo
initiator=$(sed -n 's/^InitiatorName=//p' /etc/iscsi/initiatorname.iscsi)
step=0

say() {
	printf '\n%d. %s\n' $((++step)) "$1"
	shift
	[ $# -eq 0 ] || printf '   %s\n' "$@"
}

# show COMMAND...: the command, what it prints, and the end of all if it fails.
show() {
	local status=0
	printf '   $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/     /' || status=${PIPESTATUS[0]}
	[ "$status" -eq 0 ] || broken "\"$*\" ended with status $status"
}

# quiet COMMAND...: the same, its output being of no interest.
quiet() {
	printf '   $ %s\n' "$*"
	"$@" >/tmp/out 2>&1 || {
		sed 's/^/     /' /tmp/out
		broken "\"$*\" failed"
	}
}

broken() {
	printf '\nThis did not hold: %s\n' "$1"
	echo "The kernel's last words:"
	dmesg | tail -n 15 | sed 's/^/  /'
	exit 1
}

# The disk that the initiator made for the target: it appears a moment after the login.
find_disk() {
	local dir tries
	for ((tries = 0; tries < 200; tries++)); do
		for dir in /sys/class/iscsi_session/session*/device/target*/*:*:*:0/block/sd*; do
			disk=/dev/${dir##*/}
			if [ -b "$disk" ] && [ "$(cat "$dir/size")" -gt 0 ]; then
				return
			fi
		done
		sleep 0.1
	done
	broken "no disk appeared within 20 seconds"
}

checksums() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha512sum)
}

say "The kernel is Debian's own; the module is loaded into it." \
	"Nothing of the kernel was changed or rebuilt."
show uname -sr
for module in $(modinfo -F depends /ferrite/ferrite.ko | tr , ' '); do
	quiet modprobe "$module"
done
show insmod /ferrite/ferrite.ko

say "The disk to be exported is a real block device, and it is empty."
show lsblk -d -o NAME,SIZE,TYPE /dev/vda

say "The tool ferritectl makes a target: a disk, a name, an address." \
	"In iSCSI, the server is called target and the client initiator."
show ferritectl backstore create store /dev/vda
show ferritectl target create $target
show ferritectl lun create $target store
show ferritectl portal create $target 127.0.0.1

say "By default nobody may log in. One initiator is let in, and both sides must prove by CHAP" \
	"that they know a secret. The secrets are random; they go through files, not through" \
	"command lines, where others could see them."
mkdir -p /etc/ferrite
quiet ferritectl auth generate /etc/ferrite/initiator.secret
quiet ferritectl auth generate /etc/ferrite/target.secret
show ferritectl acl create $target "$initiator" --map-all
show ferritectl auth set $target --acl "$initiator" --user client --secret-file /etc/ferrite/initiator.secret \
	--mutual-user server --mutual-secret-file /etc/ferrite/target.secret
show ferritectl tpg enable $target

say "This is what is exported now:"
show ferritectl status

say "open-iscsi, the initiator of every Linux distribution, looks for targets and finds ours."
modprobe -a iscsi_tcp sd_mod || broken "the initiator's modules cannot be loaded"
show iscsiadm -m discovery -t sendtargets -p 127.0.0.1

say "Without the secret it is turned away."
printf '   $ iscsiadm -m node -T %s --login\n' $target
if iscsiadm -m node -T $target --login >/tmp/out 2>&1; then
	broken "a login without a secret succeeded"
fi
grep -m 1 -i "authorization" /tmp/out | sed 's/^/     /' || broken "it failed for another reason: $(cat /tmp/out)"

say "With it, it logs in, and a new disk appears."
for setting in authmethod=CHAP chap_algs=SHA3-256 username=client "password=$(cat /etc/ferrite/initiator.secret)" \
	username_in=server "password_in=$(cat /etc/ferrite/target.secret)"; do
	iscsiadm -m node -T $target -o update -n "node.session.auth.${setting%%=*}" -v "${setting#*=}" >/dev/null ||
		broken "the initiator does not take the setting ${setting%%=*}"
done
show iscsiadm -m node -T $target --login
find_disk
show lsblk -d -o NAME,SIZE,TYPE,TRAN,VENDOR "$disk"
show ferritectl session list

say "A file system is made on it, and real files are written: this system's programs and" \
	"libraries, and 48 MiB of random bytes."
quiet mkfs.ext4 -q "$disk"
mkdir -p /mnt
quiet mount "$disk" /mnt
quiet cp -a /usr/sbin /etc /mnt/
quiet dd if=/dev/urandom of=/mnt/random bs=1M count=48 conv=fsync
checksums /mnt >/tmp/before
files=$(wc -l </tmp/before)
[ "$files" -gt 100 ] || broken "there are only $files files"
printf '     %d files, %s, each with its SHA-512 checksum noted\n' "$files" "$(du -sh /mnt | cut -f 1)"

say "Unmounted, logged out: the disk is gone."
quiet umount /mnt
show iscsiadm -m node -T $target --logout
[ ! -e "/sys/block/${disk#/dev/}" ] || broken "the disk is still there"

say "Logged in again, the file system is checked, and every file compared with its checksum."
show iscsiadm -m node -T $target --login
find_disk
quiet e2fsck -fn "$disk"
quiet mount -o ro "$disk" /mnt
checksums /mnt >/tmp/after
cmp /tmp/before /tmp/after || broken "files differ: $(diff /tmp/before /tmp/after | head -n 3)"
printf '     %d of %d files are as they were\n' "$(wc -l </tmp/after)" "$files"
quiet umount /mnt
show iscsiadm -m node -T $target --logout

say "The target's own disk holds the same bytes: the file system can be mounted there, too."
quiet ferritectl lun delete $target 0 --force
quiet ferritectl backstore delete store
quiet mount -o ro /dev/vda /mnt
checksums /mnt >/tmp/after
cmp /tmp/before /tmp/after || broken "files differ on the target's disk"
printf '     %d of %d files are there\n' "$(wc -l </tmp/after)" "$files"
quiet umount /mnt

say "Everything is taken away, and the module unloaded. Nothing stays in the kernel."
show ferritectl target delete $target
[ -z "$(ls /sys/kernel/config/ferrite/core)" ] || broken "backstores are left"
tries=0
until rmmod ferrite 2>/tmp/out; do
	[ $((++tries)) -lt 100 ] || broken "the module cannot be unloaded: $(cat /tmp/out)"
	sleep 0.1
done
printf '   $ rmmod ferrite\n'
[ ! -e /sys/module/ferrite ] || broken "the module is still there"
say "And this is all that the kernel had to say about it:"
dmesg --notime | grep '^ferrite: iqn' | cut -c 1-110 | sed 's/^/     /'
