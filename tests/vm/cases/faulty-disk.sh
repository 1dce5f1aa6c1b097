# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A disk that now and then does not answer, so that its own driver has to give a command up and try
# again, and one with blocks that cannot be read: data is right, or an error; no session ends.
# time: 25

nullb=/sys/kernel/config/nullb/faulty
case_cleanup() {
	i_forget
	t_clear
	rmmod scsi_debug
	[ ! -d $nullb ] || rmdir $nullb
	rmmod null_blk
} 2>/dev/null

debug_disk() {
	local dir
	for dir in /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/sd*; do
		echo "/dev/${dir##*/}"
		return
	done
	return 1
}

if ! modprobe scsi_debug dev_size_mb=64 || ! modprobe null_blk nr_devices=0; then
	skip "faulty disks" "this kernel has no scsi_debug or null_blk"
	exit 0
fi
must wait_for 20 debug_disk
slow=$(debug_disk)
must mkdir $nullb
must put 64 $nullb/size
must put 4096 $nullb/blocksize
must put 1 $nullb/memory_backed
must put 1 $nullb/power
bad=/dev/faulty
must wait_for 10 test -b "$bad"
must put 1 "/sys/block/${slow##*/}/device/timeout"
t_load
t_export "$slow" "$bad"
must i_login
if ! first=$(i_disk) || ! second=$(i_disk "$IQN" 1); then
	give_up "no disks"
fi
logins=$(t_stat logins)

# Each hundredth command is lost: its driver gives it up after a second, and tries again.
driver=/sys/bus/pseudo/drivers/scsi_debug
must put 100 $driver/every_nth
must put 4 $driver/opts
began=$SECONDS
check "commands that the disk loses: what is read is what was written" fio_verify "$first" --size=2m --bs=16k --iodepth=4
took=$((SECONDS - began))
check_ge "seconds, of which some were spent on waiting for what was lost" $took 1
must put 0 $driver/opts
must put 0 $driver/every_nth
check "afterwards it is as fast as before" fio_verify "$first" --size=256k

# Blocks of 4096 bytes; what is bad is said in sectors.
zero() {
	dd if=/dev/zero of="$second" bs=4k seek="$1" count="$2" oflag=direct status=none
}
get() {
	dd if="$second" of=/dev/null bs=4k skip="$1" count="$2" iflag=direct status=none
}
check "all blocks can be written" zero 0 256
must put +800-815 $nullb/badblocks
check_not "a block that is bad is not read" get 100 1
check_not "nor several with such a one" get 96 16
check_not "nor is it written" zero 101 1
check "the one before it is" get 99 1
check "and the one after it" get 102 1
check "blocks elsewhere: what is read is what was written" fio_verify "$second" --offset=1m --size=512k
must put -800-815 $nullb/badblocks
check "when it is good again, so it is for the initiator" get 100 2
lost=$(($(t_stat logins) - logins))
check_eq "no session has ended" 0 $lost
check "no memory is kept" wait_for 10 grep -qx "memory 0" "$ROOT/in_use"
echo "@figure a disk that loses each hundredth command: seconds for 2 MiB of verified I/O, sessions lost | $took, $lost"
