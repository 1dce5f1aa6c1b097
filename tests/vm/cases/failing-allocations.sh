# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A configuration is made, shown, changed and taken away with each single allocation of the kernel's on the
# way failing once: a step that is refused has done nothing, and can be done the next time. Then sessions
# come and go with allocations of the kernel's workers failing: each one in turn, and some at random.
# time: 40
# kernels: debug

faults=/sys/kernel/debug
if [ ! -e "$faults/failslab" ]; then
	skip "failing allocations" "this kernel cannot make them fail"
	exit 0
fi
CG=/tmp/cgroup
case_cleanup() {
	local dir
	for dir in "$faults"/fail{slab,_page_alloc}; do
		echo 0 >"$dir/probability"
		echo N >"$dir/task-filter"
	done
	i_forget
	t_clear
	rmdir $CG/storage
	umount $CG
	rmdir $CG
} 2>/dev/null
for dir in "$faults"/fail{slab,_page_alloc}; do
	# Also of allocations that may sleep, and of single pages.
	must put 0 "$dir/ignore-gfp-wait"
	must put 0 "$dir/verbose"
	must put 0 "$dir/probability"
	[ ! -e "$dir/min-order" ] || must put 0 "$dir/min-order"
done
must mkdir $CG
must mount -t cgroup2 none $CG
must put +io $CG/cgroup.subtree_control
must mkdir $CG/storage
t_load
py failing_allocations
t_export /dev/vda
py failing_workers
check "afterwards open-iscsi logs in" i_login
check "and reads" dd if="$(i_disk)" of=/dev/null bs=4k count=16 iflag=direct status=none
