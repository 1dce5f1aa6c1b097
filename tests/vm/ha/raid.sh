# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# RAID10 over nine disks of three targets: three copies of everything, each of another target, which
# has every third of the nine. Sourced after lib.sh, by whatever is the initiator.

# raid_log_in IQN PORTAL: one that goes away is soon given up.
raid_log_in() {
	i_node "$1" "$2"
	i_set -m node -T "$1" -p "$2" -- node.session.timeo.replacement_timeout=2
	must iscsiadm -m node -T "$1" -p "$2" --login
}

# raid_find IQN IQN IQN: sets disks to the nine, in the order in which they make the copies.
raid_find() {
	local lun iqn
	disks=()
	for lun in 0 1 2; do
		for iqn; do
			disks+=("$(i_disk "$iqn" $lun)") || give_up "no disk"
		done
	done
}

# raid_make DISK...
raid_make() {
	must mdadm --create /dev/md0 --run --level=10 --layout=n3 --assume-clean --bitmap=internal --chunk=64 \
		--raid-devices=9 "$@"
}

# raid_has_failed NUMBER: md does without so many disks.
raid_has_failed() {
	[ "$(mdadm --detail /dev/md0 | grep -c faulty)" -eq "$1" ]
}

# raid_write SECONDS: as long as that, verified soon after it is written.
raid_write() {
	fio --name=raid --filename=/dev/md0 --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k \
		--size=24m --time_based --runtime=$(($1 * T_SLOWER)) --verify=crc32c --verify_backlog=64 \
		--verify_fatal=1 --randrepeat=0 --minimal >/tmp/raid.out
}

# raid_readable DISK...
raid_readable() {
	local disk
	for disk; do
		dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null || return
	done
}

raid_is_whole() {
	mdadm --wait /dev/md0
	[ "$(mdadm --detail /dev/md0 | grep -c 'active sync')" -eq 9 ]
}

# raid_comes_back DISK...: three that had gone.
raid_comes_back() {
	local disk
	check "it is there again: so are its disks" wait_for 60 raid_readable "$@"
	for disk; do
		must mdadm /dev/md0 --remove "$disk"
		must mdadm /dev/md0 --re-add "$disk"
	done
	check "and they are brought up to date" wait_for 60 raid_is_whole
	echo check >/sys/block/md0/md/sync_action
	mdadm --wait /dev/md0
	check_eq "no copy differs" 0 "$(cat /sys/block/md0/md/mismatch_cnt)"
	must mdadm --stop /dev/md0
}
