# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Persistent reservations that survive the module's being loaded anew: what is written down, when
# that is not possible, and what is made of a file that is no good.
# time: 60

case_cleanup() {
	i_forget
	t_clear
	dmsetup resume aptpl
	umount /tmp/pr
	dmsetup remove --retry aptpl
	rm -rf /var/lib/ferrite /tmp/hung /tmp/released
} 2>/dev/null

pr=/var/lib/ferrite/pr

serial=aptpl-test-1
# export_disk: LUN 0, for everybody, always with the same serial number.
export_disk() {
	t_target "$IQN"
	must tool backstore create disk0 /dev/vda --serial $serial
	t_lun "$IQN" 0 disk0
	t_portal "$IQN" "$PORTAL"
	t_demo "$IQN"
	t_enable "$IQN"
}
# again: power goes and comes, as far as the target can tell.
again() {
	t_clear
	t_unload && t_load && export_disk
}
# prfile NAME: what the device says.
prfile() {
	cat "$(t_store disk0)/pr/$1"
}

rm -rf $pr
t_load
check_eq "where reservations are written down" $pr "$(cat "$ROOT/pr_dir")"
log_mark
T_BY=configfs t_backstore disk9 /dev/vdb
check_logged "the log says that the directory is not there" "pr_dir $pr is not there"
dir=$(t_store disk9)
must rmdir "$dir" "${dir%/*}"
export_disk
rm -rf $pr

log_mark
py aptpl refused
check_logged "the log says what to do" "/disk0: persistent reservations cannot be written down as $pr/aptpl_$serial: error -2; make the directory"
must mkdir -p -m 0700 $pr
must mount -t tmpfs -o ro none $pr
py aptpl refused
must mount -o remount,rw,size=4k,nr_inodes=1 $pr
py aptpl refused
must umount $pr

# A dozen initiators register, and power goes.
echo "another's" >"$pr/aptpl_$serial.tmp"
py aptpl register 12
check_eq "the file of a unit whose serial number goes on with .tmp stays" "another's" "$(cat "$pr/aptpl_$serial.tmp")"
must rm "$pr/aptpl_$serial.tmp"
file=$(prfile res_aptpl_metadata)
check_match "the file is where it says" "^ferrite persistent reservations 1$" "$(cat "$file")"
check_eq "nothing else is there" "${file##*/}" "$(ls $pr)"
check_eq "nobody else may read it" 600 "$(stat -c %a "$file")"
check_eq "res_aptpl_active" "APTPL Bit Status: Activated" "$(prfile res_aptpl_active)"
check_eq "res_holder" "SPC-3 Reservation: iSCSI Initiator: iqn.2026-01.org.example:host-1,i,0x80feed000001" "$(prfile res_holder)"
check_eq "res_type" SPC3_PERSISTENT_RESERVATIONS "$(prfile res_type)"
check_eq "res_pr_type" "SPC-3 Reservation Type: Write Exclusive Access, Registrants Only" "$(prfile res_pr_type)"
check_match "res_pr_generation" "^0x000000[0-9a-f]{2}$" "$(prfile res_pr_generation)"
check_eq "res_pr_all_tgt_pts" "SPC-3 Reservation: Single Target Port registration" "$(prfile res_pr_all_tgt_pts)"
check_match "res_pr_holder_tg_port" "Relative Port Identifier Tag: 1$" "$(prfile res_pr_holder_tg_port)"
check_match "res_pr_registered_i_pts" "^iSCSI Node: iqn.2026-01.org.example:host-2,i,0x80feed000002 Key: 0x0000000000001002" "$(prfile res_pr_registered_i_pts)"
check_eq "registrations" "0x0000000000001001 0x80feed000001 1 h iqn.2026-01.org.example:host-1" "$(prfile registrations | sed -n 2p)"
log_mark
must again
check_logged "the log says that they are there again" "/disk0: 12 registrations for persistent reservations are there again"
check_eq "there they are before the first login" 12 "$(prfile registrants)"
py aptpl restored 12
check_eq "what shall not survive is not written down" "" "$(ls $pr)"
must again
check_eq "and does not come back" 0 "$(prfile registrants)"

# Files that are no good: the device does not come up without its reservations.
py aptpl register 2
t_clear
cp "$file" /tmp/good
refuse() {
	local why=$1
	log_mark
	mkdir -p "$ROOT/core/iblock_0/disk0"
	must put udev_path=/dev/vda "$ROOT/core/iblock_0/disk0/control"
	must put $serial "$ROOT/core/iblock_0/disk0/wwn/vpd_unit_serial"
	check_not "$2: the device does not come up" put 1 "$ROOT/core/iblock_0/disk0/enable"
	check_logged "$2: the log names the file" "core/iblock_0/disk0: $file $why: put it right, or remove it"
	check_eq "$2: it is not enabled" 0 "$(cat "$ROOT/core/iblock_0/disk0/enable")"
	must rmdir "$ROOT/core/iblock_0/disk0" "$ROOT/core/iblock_0"
}
head -c -1 /tmp/good >"$file"
refuse "is cut off" "a file that is cut off"
: >"$file"
refuse "is cut off" "an empty file"
sed 's/host-1/host-7/' /tmp/good >"$file"
refuse "is damaged: its CRC does not match" "a changed file"
sed 's/reservations 1/reservations 2/' /tmp/good >"$file"
refuse "is of a version that is not known" "a later version"
head -c 100000 /dev/urandom >"$file"
refuse "does not hold persistent reservations" "something else"
rm "$file"
mkdir "$file"
refuse "cannot be read, error -22" "a directory"
rmdir "$file"
cp /tmp/good "$file"
# That of another unit, under this one's name.
export_disk
check_eq "the right file is taken" 2 "$(prfile registrants)"
t_untarget "$IQN"
log_mark
cp /tmp/good $pr/aptpl_other-serial
check_not "another unit's file is refused" put other-serial "$(t_store disk0)/wwn/vpd_unit_serial"
check_logged "and the log says so" "aptpl_other-serial is of a unit with another serial number"
check_match "the serial number is what it was" "$serial" "$(cat "$(t_store disk0)/wwn/vpd_unit_serial")"
check "a new serial number" put third-serial "$(t_store disk0)/wwn/vpd_unit_serial"
check_eq "has no registrations" 0 "$(prfile registrants)"
check "the old one" put $serial "$(t_store disk0)/wwn/vpd_unit_serial"
check_eq "has its registrations" 2 "$(prfile registrants)"
check_not "the directory stays while there are backstores" put /tmp "$ROOT/pr_dir"

# An administrator's way out.
log_mark
check_not "clear wants 1" put 0 "$(t_store disk0)/pr/clear"
check "an administrator clears" put 1 "$(t_store disk0)/pr/clear"
check_eq "nobody is registered" 0 "$(prfile registrants)"
check_eq "nobody holds it" "No SPC-3 Reservation holder" "$(prfile res_holder)"
check_logged "the log says who did it" "disk0: cleared by an administrator: 2 registrations, reservation of type 5"
check_not "the file is gone" test -e "$file"

# The file system that the file is on goes, and so do the reservations.
cp /tmp/good "$file"
check "another serial number" put third-serial "$(t_store disk0)/wwn/vpd_unit_serial"
check "and the old one again" put $serial "$(t_store disk0)/wwn/vpd_unit_serial"
check_eq "has what its file says" 2 "$(prfile registrants)"
must mount -t tmpfs none $pr
log_mark
check "they are cleared while it is not to be had" put 1 "$(t_store disk0)/pr/clear"
check_logged "the log says that they may come back" "disk0: $file is not there any more"
must umount $pr
check "so the file is still there" test -e "$file"
must rm "$file"
t_clear

# The file system hangs.
must modprobe dm_mod
dm_make aptpl "0 32768 linear /dev/vdb 0"
must mkfs.ext4 -qF /dev/mapper/aptpl
mkdir -p /tmp/pr
must mount /dev/mapper/aptpl /tmp/pr
check "another directory" put /tmp/pr "$ROOT/pr_dir"
export_disk
rm -f /tmp/hung /tmp/released
background py aptpl hung
must wait_for 20 test -e /tmp/hung
must dmsetup suspend --noflush --nolockfs aptpl
rm /tmp/hung
must wait_for 60 test -e /tmp/released
must dmsetup resume aptpl
finish 60
check_eq "a whole file is there, or none" "lost+found" "$(ls /tmp/pr)"
