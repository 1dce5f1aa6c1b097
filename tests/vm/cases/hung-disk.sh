# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A disk hangs under I/O: everything that can be taken away is, at once; others go on; when it is
# back, nothing has been lost, and nothing is written to the wrong place.
# time: 65
# kernels: stock debug

case_cleanup() {
	dmsetup resume slow
	t_clear
	losetup -d /dev/loop7
	dmsetup remove --retry slow
} 2>/dev/null

# set_up DEVICE
set_up() {
	local name
	local -x T_BY=configfs
	t_export "$1" /dev/vdb
	must mkdir "$(t_tpg)/np/127.0.0.1:3261"
	for name in iqn.2026-01.org.example:raw-{masked,acl}; do
		t_acl "$IQN" "$name"
	done
	t_target "$IQN-other"
	t_lun "$IQN-other" 0 disk0
	t_portal "$IQN-other" "$PORTAL"
	t_demo "$IQN-other"
	t_enable "$IQN-other"
}

must modprobe -a dm_mod loop
dm_make slow "0 262144 linear /dev/vda 0"
t_load
# Nobody has anything on it: then the module goes as well.
set_up /dev/mapper/slow
must dmsetup suspend --noflush --nolockfs slow
clear_ms=$(took_ms t_clear)
check_le "nobody uses the disk that hangs: taking all away, in ms" "$clear_ms" $((2000 * T_SLOWER))
unload_ms=$(took_ms t_unload)
check "and the module can be unloaded" test ! -e /sys/module/ferrite
check_le "in ms" "$unload_ms" $((2000 * T_SLOWER))
must dmsetup resume slow
echo "@figure dm hangs, and nobody uses it: ms for taking all away, for unloading | $clear_ms, $unload_ms"
t_load
set_up /dev/mapper/slow
py hung_disk dm
t_clear
must losetup --direct-io=on /dev/loop7 /dev/mapper/slow
set_up /dev/loop7
py hung_disk loop
t_clear
