# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Third-party copy: within a LUN and between those that the session sees, and no others.
# time: 90

case_cleanup() {
	i_forget
	t_clear
	rmmod scsi_debug
} 2>/dev/null

# The name of scsi_debug's disk.
debug_disk() {
	local dirs=(/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*)
	[ ${#dirs[@]} -gt 0 ] && echo "${dirs[0]##*/}"
}

t_load
t_export /dev/vda /dev/vdb

# --- the suite ---
py test_cu "iscsi://$PORTAL/$IQN/0" SCSI.ExtendedCopy SCSI.ReceiveCopyResults
