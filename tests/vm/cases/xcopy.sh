# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Third-party copy: within a LUN and between those that the session sees, and no others.
# time: 80

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry slow
	dmsetup remove --retry one under ro
	rmmod scsi_debug
} 2>/dev/null

# The name of scsi_debug's disk, once its block size is known.
large() {
	local dirs=(/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*)
	[ ${#dirs[@]} -gt 0 ] && [ "$(cat "${dirs[0]}/queue/logical_block_size")" = 4096 ] &&
		echo "${dirs[0]##*/}"
}

must modprobe -a dm_mod dm_delay
must modprobe scsi_debug dev_size_mb=64 sector_size=4096
wait_for 10 large || give_up "no disk with blocks of 4096 bytes"
# piece NAME FIRST-MIB MIB: a part of /dev/vdb.
piece() {
	dm_make "$1" "0 $(($3 * 2048)) linear /dev/vdb $(($2 * 2048))"
}
piece one 0 128
piece under 128 96
piece ro 256 64
dm_make slow "0 $((96 * 2048)) delay /dev/mapper/under 0 0 /dev/mapper/under 0 500"

t_load
t_export /dev/vda /dev/mapper/one "/dev/$(large)" /dev/mapper/slow
t_backstore ro /dev/mapper/ro ro
t_lun "$IQN" 4 ro

# --- foreign initiators ---
py test_cu "iscsi://$PORTAL/$IQN/0" SCSI.ExtendedCopy SCSI.ReceiveCopyResults
must i_login
source=$(i_disk "$IQN" 0) || give_up "no disk"
to=$(i_disk "$IQN" 1) || give_up "no other disk"
# sg_xcopy wants what udev would make.
must mkdir -p /dev/block
for disk in "$source" "$to"; do
	must ln -sf "$disk" "/dev/block/$(cat "/sys/block/${disk#/dev/}/dev")"
done
must dd if=/dev/urandom of="$source" bs=1M count=16 oflag=direct status=none
check "sg_xcopy copies between two LUNs" sg_xcopy if="$source" of="$to" bs=512 count=32768 bpt=8192
check "and the data is the same" cmp -n $((16 << 20)) /dev/vda /dev/mapper/one
check "sg_xcopy copies within one" sg_xcopy if="$source" of="$source" bs=512 count=8192 seek=131072
check "and the data is the same there" cmp -n $((4 << 20)) /dev/vda <(dd if=/dev/vda bs=1M skip=64 count=4 iflag=direct status=none)
check_match "sg_copy_results reads the operating parameters" "Maximum segment descriptor count: 64|Maximum segment descriptor count=64" "$(sg_copy_results --params "$source" 2>&1)"
check_match "sg_vpd reads page 8Fh" "Third.party [Cc]opy" "$(sg_vpd -p tpc "$source" 2>&1)"
check_match "and its commands" "Receive copy operating parameters" "$(sg_vpd -p tpc "$source" 2>&1)"
check_match "sg_inq sees 3PC" "3PC=1" "$(sg_inq "$source" 2>&1)"
i_logout
i_forget

# --- everything else ---
shy=$(t_tpg)/acls/iqn.2026-01.org.example:shy
must mkdir "$shy" "$shy/lun_0"
must ln -s "$(t_tpg)/lun/lun_0" "$shy/lun_0/lun"
py xcopy disk3 /dev/vda /dev/mapper/under
