# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# sg3-utils: an independent reader of all that a disk says of itself, and its rarer commands.
# time: 50

case_cleanup() {
	i_forget
	t_clear
	losetup -D
	rm -f /tmp/backing
} 2>/dev/null

t_load
t_export /dev/vda /dev/vdb
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
second=$(i_disk "$IQN" 1) || give_up "no second disk"
serial=$(sed 's/^T10 VPD Unit Serial Number: //' "$(t_store disk0)/wwn/vpd_unit_serial")

out=$(sg_inq "$disk")
check_match "INQUIRY: SPC version" "version=0x0[5-7]" "$out"
check_match "INQUIRY: command queuing" "CmdQue=1" "$out"
check_match "INQUIRY: a disk that is there" "Peripheral device type: disk" "$out"
check_match "INQUIRY: vendor" "Vendor identification: FERRITE" "$out"
pages=$(sg_vpd "$disk")
for page in 00:sv 80:sn 83:di 86:ei b0:bl b1:bdc b2:lbpv; do
	check_match "page ${page%:*}h is listed" "\[${page#*:}\]" "$pages"
	check "page ${page%:*}h can be read" sg_vpd -p "0x${page%:*}" "$disk"
done
check_match "page 80h: serial number" "serial number: $serial" "$(sg_vpd -p sn "$disk")"
out=$(sg_vpd -p di "$disk")
check_match "page 83h: an NAA identifier of 16 bytes" "0x6[0-9a-f]{31}" "$out"
check_match "page 83h: the vendor's identifier" "T10 vendor identification" "$out"
check_match "page 83h: the target port, by its iSCSI name" "$IQN,t,0x0*1" "$out"
check_match "page 83h: the relative target port" "[Rr]elative target port: 0x" "$out"
check_eq "page 83h: LUNs have different identifiers" 2 "$( (sg_vpd -p di_lu "$disk"; sg_vpd -p di_lu "$second") | grep -oE '0x6[0-9a-f]{31}' | sort -u | wc -l)"
out=$(sg_vpd -p bl "$disk")
check_match "page B0h: the longest transfer" "Maximum transfer length: (0x)?[1-9]" "$out"
check_match "page B0h: UNMAP" "Maximum unmap LBA count: (0x)?[1-9]" "$out"
check_match "page B0h: WRITE SAME" "Maximum write same length: 0x[1-9a-f]" "$out"
check_match "page B2h: UNMAP is supported" "LBPU=1" "$(sg_vpd -p lbpv "$disk")"
check_not "a page that is not there is refused" sg_vpd -p 0xc7 "$disk"

out=$(sg_readcap "$disk")
check_match "READ CAPACITY (10)" "Last LBA=$((2048 * 1024 - 1)) .*Number of logical blocks=$((2048 * 1024))" "$out"
out=$(sg_readcap -l "$disk")
check_match "READ CAPACITY (16): size" "Last LBA=$((2048 * 1024 - 1)) " "$out"
check_match "READ CAPACITY (16): thin provisioning" "lbpme=1" "$out"
check_match "REPORT LUNS" "0001000000000000" "$(sg_luns "$disk")"
check "TEST UNIT READY" sg_turs -v "$disk"
check "REQUEST SENSE" sg_requests "$disk"
check_match "REQUEST SENSE: nothing to tell" "No additional sense" "$(sg_requests "$disk" 2>&1)"
check "SYNCHRONIZE CACHE" sg_sync "$disk"
check "SYNCHRONIZE CACHE of a range" sg_sync --lba=8 --count=8 "$disk"
check "SYNCHRONIZE CACHE (16)" sg_sync --16 "$disk"
check "START" sg_start --start "$disk"

out=$(sg_modes -a "$disk")
check_match "MODE SENSE: caching page" "Caching" "$out"
check_match "MODE SENSE: control page" "Control" "$out"
check "MODE SENSE (6)" sg_modes -6 -a "$disk"
check_eq "the write cache is told as the device has it" "$(grep -q 'write back' /sys/block/vda/queue/write_cache && echo 1 || echo 0)" \
	"$(cat "$(t_store disk0)/attrib/emulate_write_cache")"
check_eq "and the initiator sees it so" "$(cat /sys/block/vda/queue/write_cache)" "$(cat "/sys/block/${disk#/dev/}/queue/write_cache")"

opcodes=$(sg_opcodes "$disk")
check_match "REPORT SUPPORTED OPERATION CODES: READ(16)" "^ *88 .*Read\(16\)" "$opcodes"
check_match "REPORT SUPPORTED OPERATION CODES: UNMAP" "^ *42 .*Unmap" "$opcodes"
check_match "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS" "Logical unit reset" "$(sg_opcodes -t "$disk")"
check_match "REPORT SUPPORTED OPERATION CODES: EXTENDED COPY" "^ *83 +1 .*Extended copy" "$opcodes"
check_no_match "what is not supported is not listed" "Sanitize" "$opcodes"

must dd if=/dev/urandom of="$disk" bs=1M count=4 oflag=direct
zero() {
	cmp -n "$(($3 * 512))" /dev/zero <(dd if="$1" bs=512 skip="$2" count="$3" iflag=direct)
}
check "UNMAP" sg_unmap --force --lba=2048 --num=512 "$disk"
[ "$(cat "$(t_store disk0)/attrib/unmap_zeroes_data")" = 0 ] || check "unmapped blocks are zero" zero "$disk" 2048 512
check "WRITE SAME (16) of zeros" sg_write_same --16 --in=/dev/zero --lba=1024 --num=256 --xferlen=512 "$disk"
check "it wrote zeros" zero "$disk" 1024 256
check "WRITE SAME (10)" sg_write_same --10 --in=/dev/zero --lba=512 --num=64 --xferlen=512 "$disk"
check "it wrote zeros" zero "$disk" 512 64
check_not "not more than it was told" zero "$disk" 576 1
check "WRITE SAME (16) with UNMAP" sg_write_same --16 --unmap --in=/dev/zero --lba=4096 --num=1024 --xferlen=512 "$disk"
check "the blocks are zero" zero "$disk" 4096 1024
check_not "UNMAP beyond the end is refused" sg_unmap --force --lba=$((2048 * 1024 - 8)) --num=16 "$disk"
check_not "WRITE SAME beyond the end is refused" sg_write_same --16 --in=/dev/zero --lba=$((2048 * 1024 - 8)) --num=16 --xferlen=512 "$disk"

log_mark
check "LOGICAL UNIT RESET" sg_reset -d "$disk"
check "the disk works after it" dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct
check "target reset" sg_reset -t "$disk"
check "both disks work after it" dd if="$second" of=/dev/null bs=4k count=1 iflag=direct
check "and data is as it was written" fio_verify "$disk" --size=256k

# What the target does not have it refuses by the book: INVALID COMMAND OPERATION CODE.
for cdb in "04 00 00 00 00 00" "3e 00 00 00 00 00 00 00 00 00" "a2 00 00 00 00 00 00 00 00 00 00 00" "c1 00 00 00 00 00 00 00 00 00"; do
	# shellcheck disable=SC2086 # Many words.
	check_match "opcode ${cdb%% *} is refused as an invalid operation code" "Invalid command operation code" "$(sg_raw "$disk" $cdb 2>&1)"
done
check_match "a read beyond the end: LOGICAL BLOCK ADDRESS OUT OF RANGE" "Logical block address out of range" \
	"$(sg_raw -r 512 "$disk" 28 00 7f ff ff ff 00 00 01 00 2>&1)"
check_match "a reserved field that is set: INVALID FIELD IN CDB" "Invalid field in cdb" \
	"$(sg_raw -r 512 "$disk" 12 00 83 00 ff 00 2>&1)"

# The old reservations.
check "RESERVE (6)" sg_raw "$disk" 16 00 00 00 00 00
check "its holder may write" dd if=/dev/zero of="$disk" bs=4k count=1 oflag=direct
t_lun "$IQN" 3 disk0
must t_unlun "$IQN" 3
# Who knows its LUNs is not told that they have changed.
must sg_luns "$disk"
check_eq "it does not go with another LUN of the same disk" SPC2_RESERVATIONS "$(cat "$(t_store disk0)/pr/res_type")"
check "RELEASE (6)" sg_raw "$disk" 17 00 00 00 00 00

# A disk that can only be read has nothing to be made durable, and says so.
must modprobe loop
must truncate -s 1M /tmp/backing
t_backstore fixed "$(losetup -f --show /tmp/backing)" ro
t_lun "$IQN" 2 fixed
must iscsiadm -m session -R
fixed=$(i_disk "$IQN" 2) || give_up "no disk that is read-only"
check_match "SYNCHRONIZE CACHE of a disk that is read-only" "Good" "$(sg_raw -R "$fixed" 35 00 00 00 00 00 00 00 00 00 2>&1)"
check_match "which cannot be written" "Write protected" "$(sg_raw -R -s 512 -i /dev/zero "$fixed" 2a 00 00 00 00 00 00 00 01 00 2>&1)"
