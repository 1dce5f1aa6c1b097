# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The task set: task attributes, TAS, QERR, unit attention interlock, TASK SET FULL, and the task
# management functions that several initiators share.
# time: 60

case_cleanup() {
	dm_slow_end
} 2>/dev/null

must modprobe -a dm_mod dm_delay
size=$(blockdev --getsz /dev/vda)
half=$((size / 2))
# What is in the upper half takes 700 ms.
dm_make slow "0 $half linear /dev/vda 0
$half $((size - half)) delay /dev/vda $half 700"
t_load
t_export /dev/mapper/slow /dev/vdb
attrib=$(t_store disk0)/attrib
check_eq "TAS is on by default" 1 "$(cat "$attrib/emulate_tas")"
py task_set "$half" "$attrib"

# The mode page as sg3-utils see it, and what is changeable of it.
must i_login
disk=$(i_disk) || give_up "no disk"
# control [ARGUMENT...]: REQUEST SENSE takes a unit attention away.
control() {
	sg_requests "$disk" >/dev/null
	sg_modes -p 0xa "$@" "$disk" 2>&1 | tr -s ' '
}
# write_control HEX...: MODE SELECT(6) with this page.
write_control() {
	printf %b "$(printf '\\x%s' 00 00 00 00 "$@")" | sg_raw -s 16 "$disk" 15 10 00 00 10 00
}
check_match "sg_modes reads the Control mode page" "^ 00 0a 0a 02 10 00 40 00 00 ff ff 00 00" "$(control)"
check_match "and what is changeable in it" "^ 00 0a 0a 04 16 38 40 00 00 00 00 00 00" "$(control -c 1)"
check_not "nothing is saved" sg_modes -p 0xa -c 3 "$disk"
# Not QERR: it would take commands from this host's own kernel, which waits for them.
check "MODE SELECT by sg_raw switches TAS off" write_control 0a 0a 02 10 00 00 00 00 ff ff 00 00
check_match "which is read back" "^ 00 0a 0a 02 10 00 00" "$(control)"
check_match "the default is another" "^ 00 0a 0a 02 10 00 40" "$(control -c 2)"
check_not "QERR 10b is refused" write_control 0a 0a 02 14 00 00 00 00 ff ff 00 00
check_match "and has changed nothing" "^ 00 0a 0a 02 10 00 00" "$(control)"
must put 0 "$attrib/emulate_tas"
check_match "emulate_tas is the default" "^ 00 0a 0a 02 10 00 00" "$(control -c 2)"
must put 2 "$attrib/emulate_ua_intlck_ctrl"
check_match "emulate_ua_intlck_ctrl as well" "^ 00 0a 0a 02 10 30 00" "$(control -c 2)"
must put 0 "$attrib/emulate_ua_intlck_ctrl"
check_match "VPD page 86h tells of SIMPLE, ORDERED and HEAD OF QUEUE" "HEADSUP=1 ORDSUP=1 SIMPSUP=1" \
	"$(sg_vpd -l -p 0x86 "$disk" 2>&1 | tr -s '\n ' ' ')"
sg_requests "$disk"
check "I/O of open-iscsi is verified" fio_verify "$disk" --size=256k
