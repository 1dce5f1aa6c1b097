# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A backing device that grows or shrinks: initiators are told, and see the new size.
# time: 30

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry growing
} 2>/dev/null

resize() {
	must dmsetup suspend growing
	must dmsetup load growing --table "0 $1 linear /dev/vda 0"
	must dmsetup resume growing
}

must modprobe dm_mod
must dmsetup create growing --noudevrules --noudevsync --table "0 131072 linear /dev/vda 0"
dmsetup mknodes
t_load
t_export /dev/mapper/growing
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
check_eq "the size at first" $((131072 * 512)) "$(blockdev --getsize64 "$disk")"
i_iface other iqn.2026-01.org.example:other-initiator
i_node "$IQN" "$PORTAL" other
must iscsiadm -m node -T "$IQN" -p "$PORTAL" -I other --login
check_eq "two sessions" 2 "$(t_sessions)"

capacity() {
	sg_readcap "$disk" | grep -q "Number of logical blocks=$1"
}

log_mark
resize 262144
check_logged "the kernel log tells of the change" "ferrite: .*131072.*262144"
sleep 1
dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct
check_logged "the initiator gets the unit attention CAPACITY DATA HAS CHANGED" "[Cc]apacity data has changed"
check_eq "both of its sessions" 2 "$( (for d in /dev/sd?; do dd if="$d" of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null; done); sleep 0.5; log_since_mark | grep -c '[Cc]apacity data has changed')"
check "READ CAPACITY tells the new size" capacity 262144
echo 1 >"$(i_scsi_dev "$disk")/rescan"
check_eq "a rescan makes the disk larger" $((262144 * 512)) "$(blockdev --getsize64 "$disk")"
check "what is new can be written and read" fio_verify "$disk" --size=8m --offset=100m
resize 65536
sleep 1.5
check "smaller: READ CAPACITY tells" eval 'capacity 65536 || capacity 65536'
check_match "and reads beyond it are out of range" "out of range" "$(sg_raw -r 512 "$disk" 28 00 00 01 80 00 00 00 01 00 2>&1; sg_raw -r 512 "$disk" 28 00 00 01 80 00 00 00 01 00 2>&1)"
i_logout
