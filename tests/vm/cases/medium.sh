# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Commands that compare, verify and combine what is on the medium.
# time: 120

case_cleanup() {
	i_forget
	t_clear
	rmmod scsi_debug
} 2>/dev/null

# The name of scsi_debug's disk.
able() {
	local dirs=(/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*)
	[ ${#dirs[@]} -gt 0 ] && echo "${dirs[0]##*/}"
}

t_load
t_export /dev/vda
must i_login
disk=$(i_disk "$IQN" 0) || give_up "no disk"
dev=$(mktemp)

# bytes HEX COUNT: COUNT times the byte.
bytes() {
	head -c "$2" /dev/zero | tr '\0' "\\x$1"
}

# raw WANT-REGEX NAME SG_RAW-ARGUMENT...: what the command ends with.
raw() {
	local want=$1 name=$2
	shift 2
	check_match "$name" "$want" "$(sg_raw "$@" 2>&1)"
}

must dd if=/dev/urandom of="$disk" bs=1M count=4 oflag=direct status=none
must dd if="$disk" of="$dev" bs=1M count=4 iflag=direct status=none

# --- VERIFY ---
check "VERIFY (10) reads" sg_verify --lba=0 --count=8192 "$disk"
check "VERIFY (16) reads" sg_verify --16 --lba=0 --count=8192 "$disk"
check "VERIFY (16) of more than one transfer" sg_verify --16 --lba=0 --count=200000 --bpc=200000 "$disk"
check "VERIFY (10) compares" sg_verify --lba=0 --count=64 --ndo=32768 --in="$dev" "$disk"
check "VERIFY (16) compares" sg_verify --16 --lba=0 --count=4096 --bpc=4096 --ndo=2097152 --in="$dev" "$disk"
printf 'x' | dd of="$dev" bs=1 seek=12345 conv=notrunc status=none
raw "Miscompare during verify" "a byte that differs is found" -s 32768 -i "$dev" "$disk" 2f 02 00 00 00 00 00 00 40 00
raw "Info fld=0x3039 " "and told by its offset" -s 32768 -i "$dev" "$disk" 2f 02 00 00 00 00 00 00 40 00
raw "Info fld=0x3039 " "by VERIFY (12) too" -s 32768 -i "$dev" "$disk" af 02 00 00 00 00 00 00 00 40 00 00
raw "Info fld=0x3039 " "by VERIFY (16) too" -s 32768 -i "$dev" "$disk" 8f 02 00 00 00 00 00 00 00 00 00 00 00 40 00 00
raw "GOOD|Good|status: 0x0" "without comparison nobody cares" "$disk" 2f 00 00 00 00 00 00 00 40 00
bytes 5a 65536 >"$dev"
must dd if="$dev" of="$disk" bs=64k count=1 seek=1 oflag=direct status=none
raw "Good" "every block can be compared with one" -s 512 -i "$dev" "$disk" 2f 06 00 00 00 80 00 00 80 00
raw "Miscompare" "and is" -s 512 -i "$dev" "$disk" 2f 06 00 00 00 7f 00 00 80 00
raw "Illegal" "the reserved BYTCHK is refused" -s 512 -i "$dev" "$disk" 2f 04 00 00 00 80 00 00 01 00
raw "Illegal" "less data than blocks is refused" -s 512 -i "$dev" "$disk" 2f 02 00 00 00 80 00 00 02 00
raw "Logical block address out of range" "VERIFY beyond the end is refused" "$disk" 2f 00 7f ff ff ff 00 00 01 00

# --- WRITE AND VERIFY ---
check "WRITE AND VERIFY (10)" sg_write_verify --lba=16 --num=8 --in="$dev" "$disk"
check "WRITE AND VERIFY (16)" sg_write_verify --16 --lba=32 --num=8 --in="$dev" "$disk"
check "WRITE AND VERIFY with comparison" sg_write_verify --16 --bytchk=1 --lba=64 --num=8 --in="$dev" "$disk"
raw "Good" "WRITE AND VERIFY (12)" -s 4096 -i "$dev" "$disk" ae 02 00 00 00 60 00 00 00 08 00 00
for lba in 16 32 64 96; do
	check "what was written is there, at $lba" cmp -n 4096 "$dev" <(dd if="$disk" bs=512 skip=$lba count=8 iflag=direct status=none)
done

# --- COMPARE AND WRITE, ORWRITE ---
must dd if=/dev/zero of="$disk" bs=64k count=1 oflag=direct status=none
{ head -c 2048 /dev/zero; bytes a5 2048; } >"$dev"
check "COMPARE AND WRITE" sg_compare_and_write --lba=4 --num=4 --in="$dev" "$disk"
check "it wrote" cmp -n 2048 <(bytes a5 2048) <(dd if="$disk" bs=512 skip=4 count=4 iflag=direct status=none)
check_eq "again it miscompares" 14 "$(sg_compare_and_write --lba=4 --num=4 --in="$dev" "$disk" >&2; echo $?)"
printf 'x' | dd of="$dev" bs=1 seek=1000 conv=notrunc status=none
raw "Info fld=0x3e8 " "and says where" -s 4096 -i "$dev" "$disk" 89 00 00 00 00 00 00 00 00 08 00 00 00 04 00 00
check "what is not written stays" cmp -n 2048 /dev/zero <(dd if="$disk" bs=512 skip=8 count=4 iflag=direct status=none)
raw "Illegal" "COMPARE AND WRITE with too little data is refused" -s 2048 -i "$dev" "$disk" 89 00 00 00 00 00 00 00 00 08 00 00 00 04 00 00
check_match "page B0h: the longest COMPARE AND WRITE" "Maximum compare and write length: (255|0xff)" "$(sg_vpd -p bl "$disk")"
raw "Good" "ORWRITE" -s 2048 -i /dev/zero "$disk" 8b 00 00 00 00 00 00 00 00 04 00 00 00 04 00 00
check "ORWRITE with zeros changes nothing" cmp -n 2048 <(bytes a5 2048) <(dd if="$disk" bs=512 skip=4 count=4 iflag=direct status=none)
bytes 5a 2048 >"$dev"
raw "Good" "ORWRITE with the other bits" -s 2048 -i "$dev" "$disk" 8b 00 00 00 00 00 00 00 00 04 00 00 00 04 00 00
check "sets them" cmp -n 2048 <(bytes ff 2048) <(dd if="$disk" bs=512 skip=4 count=4 iflag=direct status=none)

# --- PRE-FETCH, GET LBA STATUS ---
raw "Good" "PRE-FETCH (10)" "$disk" 34 00 00 00 00 00 00 00 40 00
raw "Good" "PRE-FETCH (16)" "$disk" 90 00 00 00 00 00 00 00 00 00 00 00 00 40 00 00
raw "Good" "PRE-FETCH to the end" "$disk" 34 02 00 00 00 00 00 00 00 00
raw "Logical block address out of range" "PRE-FETCH beyond the end is refused" "$disk" 34 00 7f ff ff ff 00 00 01 00
sectors=$(awk '{ print $3 }' /sys/block/vda/stat)
sg_raw "$disk" 34 00 00 00 00 00 00 08 00 00
check_ge "PRE-FETCH really reads" $(($(awk '{ print $3 }' /sys/block/vda/stat) - sectors)) 2048
check_match "GET LBA STATUS: mapped, or not known, to the end" "LBA: 0x0*64 .*blocks: *$((2048 * 1024 - 100)) *mapped" \
	"$(sg_get_lba_status --lba=100 "$disk" 2>&1 | tr '\n' ' ')"
raw "Logical block address out of range" "GET LBA STATUS beyond the end is refused" -r 24 "$disk" 9e 12 00 00 00 00 7f ff ff ff 00 00 00 18 00 00

# --- MODE SELECT ---
# mode PAGE BYTE: a byte of the current values of a page.
mode() {
	sg_modes --raw --control=0 --page="$1" -6 --dbd "$disk" | od -An -tu1 -j$((4 + $2)) -N1 | tr -d ' '
}
# mode_set PAGE BYTE=VALUE: changes a byte of a page and leaves the rest as it is.
mode_set() {
	sg_modes --raw --control=0 --page="$1" -6 --dbd "$disk" >/tmp/page || return
	printf '\0\0\0\0' | dd of=/tmp/page conv=notrunc status=none
	printf '%b' "\\x$(printf '%02x' "${2#*=}")" | dd of=/tmp/page bs=1 seek=$((4 + ${2%=*})) conv=notrunc status=none
	sg_raw -s "$(stat -c %s /tmp/page)" -i /tmp/page "$disk" 15 10 00 00 "$(printf '%02x' "$(stat -c %s /tmp/page)")" 00
}
flushes() {
	awk '{ print $16 }' /sys/block/vda/stat
}
if [ "$(cat /sys/block/vda/queue/write_cache)" = "write back" ]; then
	check_eq "WCE is set" 4 "$(($(mode 8 2) & 4))"
	check "WCE can be cleared" mode_set 8 2=0
	check_eq "and is" 0 "$(($(mode 8 2) & 4))"
	check_eq "configfs shows it" 0 "$(cat "$(t_store disk0)/attrib/emulate_write_cache")"
	before=$(flushes)
	must dd if=/dev/zero of="$disk" bs=4k count=8 oflag=direct status=none
	check_ge "each WRITE is durable then" "$(($(flushes) - before))" 8
	check "WCE can be set again" mode_set 8 2=4
	before=$(flushes)
	must dd if=/dev/zero of="$disk" bs=4k count=8 oflag=direct status=none
	check_le "and WRITEs are quick again" "$(($(flushes) - before))" 1
	must put 1 "$(t_store disk0)/attrib/write_through"
	raw "Mode parameters changed" "initiators are told when write_through is set" "$disk" 00 00 00 00 00 00
	check_not "what the administrator wants an initiator cannot change" mode_set 8 2=4
	must put 0 "$(t_store disk0)/attrib/write_through"
	raw "Mode parameters changed" "and when it is not any more: they have a cache to flush" "$disk" 00 00 00 00 00 00
else
	skip "MODE SELECT of WCE" "the device has no write cache"
fi
check "D_SENSE can be set" mode_set 0xa 2=6
check_match "sense data is in descriptor format then" "^ *72 05 |Descriptor format" "$(sg_raw -v "$disk" 2f 00 7f ff ff ff 00 00 01 00 2>&1)"
check "SWP can be set" mode_set 0xa 4=8
raw "Write protected" "a WRITE is refused then" -s 512 -i /dev/zero "$disk" 2a 00 00 00 00 00 00 00 01 00
check "a logical unit reset" sg_reset -d "$disk"
must dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct status=none
check_eq "brings the defaults back: D_SENSE" 0 "$(($(mode 0xa 2) & 4))"
check_eq "and SWP" 0 "$(($(mode 0xa 4) & 8))"
check_not "what cannot be changed is refused" mode_set 0xa 2=34

# --- LOG SENSE ---
check_match "LOG SENSE: the list of pages" "0x19 .*General [Ss]tatistics" "$(sg_logs --list "$disk" 2>&1)"
check_match "the list with subpages" "0x00,0xff .*subpages" "$(sg_logs --page=0,0xff "$disk" 2>&1)"
for page in 0x2 0x3 0x5 0x19 0x2f; do
	check "page $page can be read" sg_logs --page=$page "$disk"
done
check_match "nothing exceptional has happened" "Informational [Ee]xceptions" "$(sg_logs --page=0x2f "$disk" 2>&1)"
# log PAGE TEXT: the number that follows a text on a page.
log() {
	sg_logs --page="$1" "$disk" | sed -n "s/.*$2 *[=:] *\([0-9a-fx]*\).*/\1/p" | head -n 1
}
reads=$(log 0x19 "number of read commands")
blocks=$(log 0x19 "number of logical blocks transmitted")
writes=$(log 0x19 "number of write commands")
read_bytes=$(log 0x3 "Total bytes processed")
must dd if="$disk" of=/dev/null bs=4k count=25 iflag=direct status=none
check_eq "READs are counted" 25 "$(($(log 0x19 "number of read commands") - reads))"
check_eq "and their blocks" 200 "$(($(log 0x19 "number of logical blocks transmitted") - blocks))"
check_eq "and their bytes" $((25 * 4096)) "$(($(log 0x3 "Total bytes processed") - read_bytes))"
check_eq "and nothing as WRITEs" "$writes" "$(log 0x19 "number of write commands")"
write_bytes=$(log 0x2 "Total bytes processed")
must dd if=/dev/zero of="$disk" bs=8k count=5 oflag=direct status=none
check_eq "WRITEs are counted" 5 "$(($(log 0x19 "number of write commands") - writes))"
check_eq "and their bytes" $((5 * 8192)) "$(($(log 0x2 "Total bytes processed") - write_bytes))"
idle=$(log 0x19 "idle time intervals")
start=$(now_ms)
sleep 2
slept=$(($(now_ms) - start))
idle=$(($(log 0x19 "idle time intervals") - idle))
check_ge "the disk is idle while nobody uses it, in ms" $idle $((slept - 300))
verified=$(log 0x5 "Total bytes processed")
must sg_verify --lba=0 --count=64 "$disk"
check_eq "VERIFY is counted by itself" 32768 "$(($(log 0x5 "Total bytes processed") - verified))"
check_eq "no errors so far" "0 0 0" "$(log 0x2 "Total uncorrected errors") $(log 0x3 "Total uncorrected errors") $(log 0x5 "Total uncorrected errors")"
raw "Invalid field in cdb" "a page that is not there is refused" -r 64 "$disk" 4d 00 4d 00 00 00 00 00 40 00
raw "Invalid field in cdb" "thresholds are refused" -r 64 "$disk" 4d 00 02 00 00 00 00 00 40 00

# --- READ DEFECT DATA, REPORT IDENTIFYING INFORMATION ---
check_match "READ DEFECT DATA (10): no defect is known" "^ *00 +00 18 00 00" \
	"$(sg_raw -r 8 "$disk" 37 00 18 00 00 00 00 00 08 00 2>&1)"
check_match "READ DEFECT DATA (12), long addresses" "^ *00 +00 1b 00 00 00 00 00 00" \
	"$(sg_raw -r 8 "$disk" b7 1b 00 00 00 00 00 00 00 08 00 00 2>&1)"
raw "Defect list not found" "a format that there is not" -r 8 "$disk" 37 00 1d 00 00 00 00 00 08 00
check_eq "without a text there is none" "" "$(sg_ident --itype=2 --ascii "$disk" 2>/dev/null)"
must put "disk of the third rack" "$(t_store disk0)/wwn/pd_text_id_info"
check_match "it is told what the administrator says" "disk of the third rack" "$(sg_ident --itype=2 --ascii "$disk" 2>&1)"
raw "Invalid field in cdb" "an information type that there is not" -r 64 "$disk" a3 05 00 00 00 00 00 00 00 40 06 00

i_logout
i_forget

# --- WRITE ATOMIC, and physical blocks of several logical ones ---
must t_unlun "$IQN" 0
must modprobe scsi_debug dev_size_mb=64 lbpu=1 lbpws=1 lbprz=1 physblk_exp=3 atomic_wr=1 atomic_wr_max_length=8192
wait_for 10 able || give_up "no device that can write atomically"
able=$(able)
t_backstore able "/dev/$able"
t_lun "$IQN" 1 able
must i_login
disk=$(i_disk "$IQN" 1) || give_up "no disk"
out=$(sg_vpd -p bl "$disk")
check_match "page B0h: the longest atomic write is the device's, in blocks" \
	"Maximum atomic transfer length: $(printf '%#x' $(($(cat "/sys/block/$able/queue/atomic_write_unit_max_bytes") / 512)))$" "$out"
check_match "page B0h: and it begins where the device wants it" "Atomic alignment: 0x2$" "$out"
check_eq "the initiator's block layer takes it over" "$(cat "/sys/block/$able/queue/atomic_write_unit_max_bytes")" \
	"$(cat "/sys/block/${disk#/dev/}/queue/atomic_write_unit_max_bytes")"
bytes a5 8192 >"$dev"
check "WRITE ATOMIC (16)" sg_write_x --atomic=0 --16 --in="$dev" --lba=16 --num=16 --bs=512 "$disk"
check "it wrote" cmp -n 8192 "$dev" <(dd if="$disk" bs=512 skip=16 count=16 iflag=direct status=none)
raw "Invalid field in cdb" "a boundary is refused" -s 1024 -i "$dev" "$disk" 9c 00 00 00 00 00 00 00 00 10 00 01 00 02 00 00
raw "Invalid field in cdb" "a part of a unit is refused" -s 512 -i "$dev" "$disk" 9c 00 00 00 00 00 00 00 00 10 00 00 00 01 00 00
raw "Illegal" "less data than the CDB says is refused" -s 512 -i "$dev" "$disk" 9c 00 00 00 00 00 00 00 00 10 00 00 00 02 00 00
rm -f "$dev"
i_logout
i_forget
