# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Access states that hang on the block: on the wire, by sg3-utils, saved and restored.
# time: 25

export STORE

t_load
t_export_twice /dev/vda
STORE=$(t_store disk0)
must mkdir "$STORE/alua/second"
must put 16 "$STORE/alua/second/tg_pt_gp_id"
must put second "$ISCSI/$IQN/tpgt_2/lun/lun_0/alua_tg_pt_gp"
py referrals

# Readers that nobody here wrote.
must ferritectl backstore set disk0 'lba_map=0 0; 0 99 0:O 16:U; 100 199 0:U 16:O'
must ferritectl alua state disk0 default_tg_pt_gp lba-dependent
must i_login
first=$(i_path "$PORTAL")
[ -b "$first" ] || give_up "no disk"
for _ in 1 2 3; do
	sg_raw "$first" 00 00 00 00 00 00
done >/dev/null 2>&1
check_match "sg_vpd: the page of referrals" "User data segment size: 0" "$(sg_vpd -p ref "$first")"
check_match "sg_vpd: R_SUP" "R_SUP=1" "$(sg_vpd -p ei "$first")"
check_match "sg_rtpg: the state" "logical block dependent" "$(sg_rtpg -d "$first")"
out=$(sg_referrals "$first")
echo "$out"
check_match "sg_referrals: two segments" "target port descriptors: 2" "$out"
check_match "sg_referrals: the second begins at block 100" "100" "$out"
check "a block that is active is read" dd if="$first" of=/dev/null bs=512 count=8 iflag=direct
check_match "REPORT SUPPORTED OPERATION CODES lists it" "Report referrals" "$(sg_opcodes "$first")"
i_forget

# It is in what is saved.
check "save" ferritectl save /tmp/saved.json
t_clear
check "restore" ferritectl restore /tmp/saved.json
STORE=$(t_store disk0)
check_eq "the map is there again" "0 0 0 99 0:O 16:U 100 199 0:U 16:O" "$(tr '\n' ' ' <"$STORE/lba_map" | sed 's/ $//')"
check_eq "and the state" 4 "$(cat "$STORE/alua/default_tg_pt_gp/alua_access_state")"
