# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Who may log in, and to what: ACLs, demo mode, write protection, and the status of each refusal.
# time: 40

t_load
t_target
t_backstore disk0 /dev/vda
t_backstore disk1 /dev/vdb
t_lun "$IQN" 0 disk0
t_lun "$IQN" 1 disk1
t_portal "$IQN" "$PORTAL"

login_says() {
	local out
	out=$(i_login 2>&1)
	echo "$out"
	i_forget
}

t_enable
check_match "without an ACL nobody gets in" "authorization failure" "$(login_says)"
t_acl "$IQN" iqn.2026-01.org.example:somebody-else
check_match "somebody else's ACL lets nobody else in" "authorization failure" "$(login_says)"
t_set "$IQN" authentication=0
check_match "nor does switching authentication off" "authorization failure" "$(login_says)"

t_set "$IQN" generate_node_acls=1
check "demo mode lets in" i_login
disk=$(i_disk "$IQN" 0)
check_eq "in demo mode a disk is write protected by default" 1 "$(blockdev --getro "$disk")"
check_not "a write to it fails" dd if=/dev/zero of="$disk" bs=4k count=1 oflag=direct
check "a read works" dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct
i_logout
i_forget
t_set "$IQN" demo_mode_write_protect=0
check "demo mode lets in again" i_login
disk=$(i_disk "$IQN" 0)
check_eq "demo_mode_write_protect=0 allows writing" 0 "$(blockdev --getro "$disk")"
check "a write works" dd if=/dev/zero of="$disk" bs=4k count=1 oflag=direct
i_logout
i_forget

t_set "$IQN" generate_node_acls=0
t_acl "$IQN" "$INITIATOR"
put 1 "$(t_tpg)/acls/$INITIATOR/lun_1/write_protect"
check "an ACL lets in" i_login
disk=$(i_disk "$IQN" 0)
check_eq "a LUN mapped read-write is so" 0 "$(blockdev --getro "$disk")"
disk=$(i_disk "$IQN" 1)
check_eq "a LUN mapped read-only is so" 1 "$(blockdev --getro "$disk")"
check_not "a write to it fails" dd if=/dev/zero of="$disk" bs=4k count=1 oflag=direct
i_logout
i_forget

# The initiator sees its mapped LUNs alone, under the numbers they are mapped to.
rm "$(t_tpg)/acls/$INITIATOR/lun_0"/*
rmdir "$(t_tpg)/acls/$INITIATOR/lun_0"
mkdir "$(t_tpg)/acls/$INITIATOR/lun_7"
ln -s "$(t_tpg)/lun/lun_0" "$(t_tpg)/acls/$INITIATOR/lun_7/mapped"
check "login" i_login
disk=$(i_disk "$IQN" 7)
check_eq "a LUN appears under the number that it is mapped to" "$(blockdev --getsize64 /dev/vda)" "$(blockdev --getsize64 "$disk")"
check_eq "and REPORT LUNS shows the mapped ones alone" "0001000000000000 0007000000000000 " \
	"$(sg_luns "$disk" | grep -oE '^ +[0-9a-f]{16}' | sort | tr -d '\n' | sed 's/^ *//; s/  */ /g') "
i_logout
i_forget

t_demo
py access
