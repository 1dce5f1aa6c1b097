# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# An initiator that has a file system on the target at the address $1, and writes to it while the
# target's machine reboots.
# shellcheck source=tests/vm/lib.sh
. /share/lib.sh
trap - EXIT
exec 3>&1

PORTAL=$1:3260
# Whoever writes waits as long as the reboot takes.
echo 0 >/proc/sys/kernel/hung_task_timeout_secs
i_init
# Its words are what tells an Async Message from a connection that is cut.
iscsid -f -d 1 </dev/null >/tmp/iscsid.log 2>&1 3>&- &
wait_for 300 iscsiadm -m discovery -t st -p "$PORTAL" || give_up "the target does not come"
must iscsiadm -m node -T "$IQN" -p "$PORTAL" -o update -n node.session.timeo.replacement_timeout -v 400
must iscsiadm -m node -T "$IQN" -p "$PORTAL" --login
disk=$(i_disk) || give_up "no disk"
must mkfs.ext4 -qF "$disk"
mkdir -p /mnt/disk
must mount "$disk" /mnt/disk
must dd if=/dev/urandom of=/mnt/disk/file bs=1M count=8 conv=fsync status=none
sum=$(sha512sum </mnt/disk/file)
late=$(i_disk "$IQN" 1) || give_up "no second disk"
must dd if=/mnt/disk/file of="$late" bs=1M oflag=direct status=none
log_mark
python3 /share/gaps.py /mnt/disk/gaps /tmp/gap &
gaps=$!
must wait_for 30 test -e /tmp/gap
echo yes >/share/writes
wait_for 400 test -e /share/rebooted || give_up "the target does not reboot"
before=$(cut -d' ' -f1 /tmp/gap)
# shellcheck disable=SC2329 # wait_for calls it.
writes_more() {
	[ "$(cut -d' ' -f1 /tmp/gap)" -gt $((before + 20)) ]
}
check "who wrote all the time writes on after the reboot" wait_for 200 writes_more
echo "+ for $(cut -d' ' -f2 /tmp/gap) ms nothing was written"
check "and has seen no error" kill -0 $gaps
kill $gaps
wait $gaps
# Nobody had to find out by a timeout.
cat /tmp/iscsid.log
check_match "at shutdown the target has told that it goes" "Target (dropping|requests logout)" "$(cat /tmp/iscsid.log)"
log_since_mark
check_no_match "nothing had to be found out by a timeout" "ping timeout" "$(log_since_mark)"
must umount /mnt/disk
i_logout "$IQN"
must iscsiadm -m node -T "$IQN" -p "$PORTAL" --login
disk=$(i_disk) || give_up "no disk after the reboot"
must mount "$disk" /mnt/disk
check_eq "the file is as it was written" "$sum" "$(sha512sum </mnt/disk/file)"
late=$(i_disk "$IQN" 1) || give_up "no second disk after the reboot"
check_eq "so is the other volume" "$sum" "$(head -c 8M "$late" | sha512sum)"
must umount /mnt/disk
i_logout "$IQN"
echo yes >/share/finished
