# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Memory is short: commands end BUSY and are tried again, data stays right, and no session ends.
# Where the kernel can make allocations fail, it does so as well.
# time: 30
# kernels: stock debug

faults=/sys/kernel/debug
case_cleanup() {
	local one
	for one in "$faults"/fail{slab,_page_alloc}; do
		echo 0 >"$one/probability"
	done
	i_forget
	t_clear
	dmsetup remove --retry late
} 2>/dev/null

parameters=/sys/module/ferrite/parameters
# A disk on which much is under way at a time, also when it comes slowly.
device=/dev/vda
if modprobe -a dm_mod dm_delay; then
	dm_make late "0 $(blockdev --getsz /dev/vda) delay /dev/vda 0 $((300 * T_SLOWER))"
	device=/dev/mapper/late
fi
t_load
t_export "$device"
must put 16 $parameters/session_memory
must put 16 $parameters/memory
must i_login node.session.cmds_max=128 node.session.queue_depth=64
disk=$(i_disk) || give_up "no disk"
# More than there is room for at any time.
pressed() {
	fio_verify "$disk" --bs=1m --iodepth=32 --size="$1" --verify_backlog=8
}
size=32m
[ "$T_FULL" = 0 ] || size=512m
before=$(t_stat busy)
logins=$(t_stat logins)
check "twice as much data under way as there is memory for: all of it is right" pressed $size
busy=$(($(t_stat busy) - before))
[ "$device" = /dev/vda ] || check_ge "commands have ended BUSY" "$busy" 1
check_eq "and no session has ended" "$logins" "$(t_stat logins)"
echo "@figure memory for 16 MiB of data, 32 MiB under way, $size verified: commands that ended BUSY | $busy"

# fail NAME PERCENT: of the allocations that must not sleep.
fail() {
	local dir=$faults/$1
	must put 1 "$dir/ignore-gfp-wait"
	must put 0 "$dir/verbose"
	must put -1 "$dir/times"
	[ ! -e "$dir/min-order" ] || must put 0 "$dir/min-order"
	must put "$2" "$dir/probability"
}

if [ -e "$faults/failslab" ]; then
	must put 0 $parameters/memory
	for percent in 1 5; do
		fail failslab $percent
		fail fail_page_alloc $percent
		check "$percent % of allocations fail: what is read is what was written" fio_verify "$disk" --size=4m --bsrange=4k-256k
		after=$(t_stat logins)
		put 0 $faults/failslab/probability
		put 0 $faults/fail_page_alloc/probability
		echo "@figure allocations fail, $percent %: logins that it took to go on | $((after - logins))"
	done
fi
must wait_for 20 t_has_sessions 1
check "afterwards all is well" fio_verify "$disk" --size=256k
i_logout
check "no memory is kept" wait_for 10 grep -qx "memory 0" "$ROOT/in_use"
