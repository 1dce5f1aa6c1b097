# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# iscsi-test-cu on six kinds of disk: what a disk must do, and what iSCSI must; all of it on a
# thin disk of 512-byte blocks, and with --full on all.
# time: 300

case_cleanup() {
	t_clear
	rmmod scsi_debug
	rmdir /sys/kernel/config/nullb/*
	rmmod null_blk
} 2>/dev/null

# null NAME KEY=VALUE...: a RAM disk of 64 MiB, /dev/nb-NAME. It has fewer blocks than READ(6)
# can address, without which that suite does nothing, and does not say so.
null() {
	local dir=/sys/kernel/config/nullb/nb-$1 pair
	shift
	must mkdir "$dir"
	for pair in size=64 memory_backed=1 "$@" power=1; do
		must put "${pair#*=}" "$dir/${pair%%=*}"
	done
}
has_debug_disk() {
	lsblk -ndo NAME,VENDOR | grep -q Linux
}

must modprobe null_blk nr_devices=0
null thin blocksize=512 discard=1
null full blocksize=512
null 4k-thin blocksize=4096 discard=1
null 4k-full blocksize=4096
# Physical blocks of eight logical ones, of which WRITE SAME may unmap none but whole ones, and
# atomic writes.
must modprobe scsi_debug dev_size_mb=64 physblk_exp=3 lbpu=1 lbpws=1 lbpws10=1 lbprz=1 \
	atomic_wr=1 atomic_wr_max_length=8192
must wait_for 10 has_debug_disk
physical=/dev/$(lsblk -ndo NAME,VENDOR | awk '$2 == "Linux" { print $1; exit }')

t_load
t_export /dev/nb-thin /dev/nb-full /dev/nb-4k-thin /dev/nb-4k-full "$physical"
if [ "$T_TARGET" = lio ]; then
	# It has a line for each error that a test provokes, and the console is slow.
	dmesg -n 1
	# What a careful administrator switches on, and the directories that Debian's package makes.
	must mkdir -p /var/target/pr /var/target/alua
	for n in 0 2 4; do
		must put 1 "$(t_store disk$n)/attrib/emulate_tpu"
		must put 1 "$(t_store disk$n)/attrib/emulate_tpws"
	done
fi
t_backstore ro /dev/vdb ro
t_lun "$IQN" 5 ro
t_portal "$IQN" "${PORTAL%:*}:3261"

# suites LUN KIND SKIPPING SUITE...: SKIPPING are those tests that skip themselves, each for a
# reason that is true of the disk.
suites() {
	local lun=$1 kind=$2 skipping=$3
	shift 3
	py test_cu --kind "$kind" --skips "$skipping" "iscsi://$PORTAL/$IQN/$lun" "$@"
}

# No medium can be taken out; and no block device promises that what is overwritten through it
# cannot be read from it any more. The longest copy does not fit, the case xcopy has a larger disk.
none='PreventAllow.*,StartStopUnit.Simple,Sanitize.*,ExtendedCopy.Large'
# One logical block is one physical block.
whole='*.UnmapUnaligned,*.InvalidDataOutSize,WriteAtomic16.*'
# Nothing can be unmapped.
full='Inquiry.BlockLimits,GetLBAStatus.UnmapSingle,Unmap.*,*.Unmap,*.UnmapUnaligned,*.UnmapUntilEnd'
full+=',*.InvalidDataOutSize,WriteAtomic16.*'
iscsi=iSCSIcmdsn,iSCSIdatasn,iSCSIResiduals,iSCSITMF,iSCSISendTargets,iSCSINop,iSCSICHAP,MultipathIO

suites 0 thin "$none,$whole" "SCSI-MultipathIO,ReadOnly" \
	iSCSI.iSCSIcmdsn iSCSI.iSCSIdatasn iSCSI.iSCSIResiduals iSCSI.iSCSISendTargets iSCSI.iSCSINop
py test_cu --kind thin --alone "iscsi://$PORTAL/$IQN/0" iSCSI.iSCSITMF
py test_cu --kind thin --second "iscsi://${PORTAL%:*}:3261/$IQN/0" "iscsi://$PORTAL/$IQN/0" SCSI.MultipathIO
# The way through a command does not depend on the length of its CDB: of those that go through all
# numbers of blocks one of each kind will do for the other block size, and what they look at besides.
long=,CompareAndWrite,OrWrite,Read12,Write12,Verify12,Verify16,WriteVerify12,WriteVerify16,WriteSame16
besides=(SCSI.CompareAndWrite.DpoFua SCSI.OrWrite.{BeyondEol,ZeroBlocks,DpoFua}
	SCSI.{Verify16,WriteVerify16,WriteSame16}.{BeyondEol,ZeroBlocks})
[ "$T_FULL" = 0 ] || long='' besides=()
suites 2 4k-thin "$none,$whole" "SCSI-$iscsi,ReadOnly$long" "${besides[@]}"
# What is not about unmapping and its limits sees no other disk than a thin one: it takes an
# emulated CPU a quarter of an hour.
differing=()
for test in Inquiry ReadCapacity16 GetLBAStatus ModeSense6 Unmap \
	WriteSame{10,16}.{Check,Unmap,UnmapVPD,UnmapUnaligned,UnmapUntilEnd}; do
	differing+=("SCSI.$test")
done
[ "$T_FULL" = 0 ] || differing=("SCSI-$iscsi,ReadOnly")
suites 1 full "$none,$full" "${differing[@]}"
suites 3 4k-full "$none,$full" "${differing[@]}"
# Two tests are not run where they would not skip themselves, as they are wrong there:
# CompareAndWrite.InvalidDataOutSize means to send another length than it does, so what it sends
# is right wherever more than one block may be compared; GetLBAStatus.UnmapSingle wants a
# descriptor for another block than the one that it asks for.
suites 4 physical '' SCSI.Inquiry SCSI.ReadCapacity16 SCSI.WriteSame10 SCSI.WriteSame16 \
	SCSI.WriteAtomic16 SCSI.GetLBAStatus.Simple SCSI.GetLBAStatus.BeyondEol
suites 5 read-only '' SCSI.ReadOnly SCSI.Inquiry SCSI.Read10 SCSI.Read16

# CHAP as a test suite sees it: it offers a list of algorithms, of which it has MD5 alone.
t_set "$IQN" authentication=1
[ "$T_TARGET" = lio ] || t_set "$IQN" chap_algorithms=MD5
t_chap "$IQN" -- suite-user suite-secret-0123
py test_cu --kind thin "iscsi://suite-user%suite-secret-0123@$PORTAL/$IQN/0" iSCSI.iSCSICHAP
