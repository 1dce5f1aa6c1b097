# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Copies the files of /share/files to a file system on the target at the address $1, again and again
# until /share/stop is there, and then looks at every one of them.
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1
dmesg --follow >/share/dmesg &

PORTAL=$1:3260
i_init
wait_for 60 iscsiadm -m discovery -t st -p "$PORTAL" || exit
i_login node.session.timeo.replacement_timeout=120 || exit
disk=$(i_disk || i_disk) || exit
mkfs.ext4 -qF "$disk" && mkdir -p /mnt/disk && mount "$disk" /mnt/disk || exit

# How long nothing could be written, at the longest since the last look.
python3 /share/gaps.py /mnt/disk/gaps /share/gap &
gaps=$!
echo ready >/share/ready
python3 /share/copy.py /share/sums /share/files /mnt/disk /share/stop >/share/copied || exit
kill $gaps
wait $gaps
rm -f /mnt/disk/gaps
tail -n 1 /share/copied >/share/rounds
umount /mnt/disk
i_logout "$IQN"
must iscsiadm -m node -T "$IQN" -p "$PORTAL" --login
disk=$(i_disk || i_disk) || exit
e2fsck -fn "$disk" >/share/fsck 2>&1 || exit
mount -o ro "$disk" /mnt/disk && cd /mnt/disk || exit
sha512sum --quiet -c /share/sums >/share/wrong 2>&1 || {
	status=$?
	# What is wrong with it tells where it comes from.
	sed -n 's/: FAILED.*//p' /share/wrong | while read -r file; do
		python3 /share/differ.py "/share/files/$file" "$file"
		grep "/$file:" /share/copied
	done
	# And whether it is wrong on the disk, or was read wrongly.
	echo 3 >/proc/sys/vm/drop_caches
	sha512sum --quiet -c /share/sums
	exit $status
}
cd / && umount /mnt/disk && i_logout "$IQN"
