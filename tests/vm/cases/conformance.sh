# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# iscsi-test-cu, suite by suite: what a disk must do, and what iSCSI must.
# time: 120

case_cleanup() {
	t_clear
	rmmod scsi_debug
} 2>/dev/null

t_load
t_export /dev/vda
# A device that is unmapped in pages of 4 KiB, reads as zeros then, and can be flushed.
# Tests after an = skip themselves: what they ask for is optional, and REPORT SUPPORTED OPERATION
# CODES does not list it, or the medium is not of the kind that they want.
py test_cu "iscsi://$PORTAL/$IQN/0" \
	ALL.Inquiry ALL.Mandatory ALL.ModeSense6 ALL.NoMedia \
	ALL.Read10 ALL.Read12 ALL.Read16 ALL.ReadCapacity10 ALL.ReadCapacity16 SCSI.ReportLUNs \
	ALL.ReportSupportedOpcodes ALL.Reserve6 ALL.StartStopUnit=Simple ALL.TestUnitReady ALL.Unmap \
	ALL.Write10 ALL.Write12 ALL.Write16 ALL.WriteSame10=UnmapUnaligned,InvalidDataOutSize ALL.WriteSame16=UnmapUnaligned,InvalidDataOutSize \
	iSCSI.iSCSIcmdsn iSCSI.iSCSIdatasn \
	iSCSI.iSCSIResiduals \
	iSCSI.iSCSITMF.AbortTaskSimpleAsync iSCSI.iSCSITMF.LUNResetSimpleAsync iSCSI.iSCSITMF.LogoutDuringIOAsync \
	iSCSI.iSCSISendTargets iSCSI.iSCSINop

# Physical blocks of 4 KiB, of which WRITE SAME may unmap none but whole ones; and fewer blocks
# than READ(6) can address, without which its suite does nothing, and does not say so.
must modprobe scsi_debug dev_size_mb=64 physblk_exp=3 lbpu=1 lbpws=1 lbpws10=1
has_debug_disk() {
	lsblk -ndo NAME,VENDOR | grep -q Linux
}
must wait_for 10 has_debug_disk
t_backstore big "/dev/$(lsblk -ndo NAME,VENDOR | awk '$2 == "Linux" { print $1; exit }')"
t_lun "$IQN" 2 big
py test_cu "iscsi://$PORTAL/$IQN/2" ALL.Read6 ALL.WriteSame10 ALL.WriteSame16

# A LUN that is write protected.
t_backstore ro /dev/vdb ro
t_lun "$IQN" 1 ro
py test_cu "iscsi://$PORTAL/$IQN/1" ALL.ReadOnly

# CHAP as a test suite sees it: it offers a list of algorithms, of which it has MD5 alone.
t_set "$IQN" authentication=1 chap_algorithms=MD5
t_chap "$IQN" -- suite-user suite-secret-0123
py test_cu "iscsi://suite-user%suite-secret-0123@$PORTAL/$IQN/0" iSCSI.iSCSICHAP
