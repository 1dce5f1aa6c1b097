# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The tools of libiscsi, an initiator in user space.
# time: 40

case_cleanup() {
	t_clear
	dmsetup remove --retry small
} 2>/dev/null

t_load
must modprobe dm_mod
dm_make small "0 $((64 * 2048)) linear /dev/vdb 0"
small=/dev/mapper/small
t_export /dev/vda $small
url=iscsi://$PORTAL/$IQN
must dd if=/dev/urandom of=$small bs=1M count=64 oflag=direct

out=$(iscsi-ls -s "iscsi://$PORTAL")
check_match "iscsi-ls shows the target" "^Target:$IQN Portal:$PORTAL,1" "$out"
# It rounds down, from the last block.
check_match "iscsi-ls shows LUN 0" "^Lun:0 +Type:DIRECT_ACCESS \(Size:1023M\)" "$out"
check_match "iscsi-ls shows LUN 1" "^Lun:1 +Type:DIRECT_ACCESS \(Size:63M\)" "$out"
check_match "iscsi-inq shows what it is" "DIRECT_ACCESS" "$(iscsi-inq "$url/0")"
serial=$(sed 's/^T10 VPD Unit Serial Number: //' "$(t_store disk0)/wwn/vpd_unit_serial")
check_match "iscsi-inq shows the serial number" "^Unit Serial Number:\[$serial\]" "$(iscsi-inq -e 1 -c 0x80 "$url/0")"
for page in 0x00 0x83 0xb0 0xb1 0xb2; do
	check "iscsi-inq shows page $page" iscsi-inq -e 1 -c $page "$url/0"
done
out=$(iscsi-readcapacity16 "$url/1")
check_match "iscsi-readcapacity16 tells the block size" "LOGICAL BLOCK LENGTH IN BYTES:512" "$out"
check_match "and the last block" "RETURNED LOGICAL BLOCK ADDRESS:$((64 * 2048 - 1))" "$out"
check_match "iscsi-swp shows no write protection" "SWP:0" "$(iscsi-swp "$url/0")"
check "which can be switched on" iscsi-swp -s on "$url/0"
check_match "and is seen then" "SWP:1" "$(iscsi-swp "$url/0")"
check "and off again" iscsi-swp -s off "$url/0"
check "iscsi-perf reads" timeout 60 iscsi-perf -b 8 -m 16 -t 3 "$url/0"
check "iscsi-perf reads at random" timeout 60 iscsi-perf -r -b 8 -m 16 -t 3 "$url/0"
if command -v iscsi-md5sum >/dev/null; then
	check_match "iscsi-md5sum sees what is on the device" "$(md5sum <$small | cut -d ' ' -f 1)" "$(iscsi-md5sum "$url/1")"
fi
check_not "a LUN that does not exist is refused" iscsi-inq -e 1 -c 0x80 "$url/7"
check_not "a target that does not exist is refused" iscsi-inq "iscsi://$PORTAL/iqn.2026-01.org.example:nothing/0"
check "iscsi-pr reads the registered keys" iscsi-pr -i iqn.2026-01.org.example:pr -k "$url/0"
check "no session is left" wait_for 5 t_has_sessions 0
