# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The shortest way through everything: load, export, discover, log in, write, read, log out.
# time: 15
# kernels: stock previous debug

t_load
t_export /dev/vda

found=$(iscsiadm -m discovery -t sendtargets -p 127.0.0.1)
check_eq "discovery names the target" "127.0.0.1:3260,1 $IQN" "$found"
check "login" i_login || exit 4
disk=$(i_disk) || give_up "no disk"
check_eq "the disk's size" "$(blockdev --getsize64 /dev/vda)" "$(blockdev --getsize64 "$disk")"
check_eq "the target has one session" 1 "$(t_sessions)"

dd if=/dev/urandom of=/tmp/data bs=64k count=16
check "write" dd if=/tmp/data of="$disk" bs=256k oflag=direct
check "what is read is what was written" cmp -n 1048576 /tmp/data <(dd if="$disk" bs=256k count=4 iflag=direct)
check "the backing device has it" cmp -n 1048576 /tmp/data <(dd if=/dev/vda bs=256k count=4 iflag=direct)

check "logout" i_logout
check "the target's session goes" wait_for 5 t_has_sessions 0
t_clear
check_eq "nothing is left in configfs" "" "$(find "$ROOT/core" "$ISCSI" -mindepth 1 -maxdepth 1 -name '*[0-9]*')"
