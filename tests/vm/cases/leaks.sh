# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# After everything that can happen, the module leaves no object in memory: the kernel is booted so
# that it keeps the stack of each allocation, and after unloading, no stack may have a function
# of a module that is gone.
# machine: --debug-mem --mem 1536
# time: 90
# draft: not seen to pass as a whole yet

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry slow
} 2>/dev/null

# lost: the allocations that still exist and were made by functions that do not. A module that
# was unloaded has no symbols any more: its functions are bare addresses.
lost() {
	cat /sys/kernel/debug/slab/*/alloc_traces 2>/dev/null | python3 -c '
import re, sys
entry, bare = [], False
def flush():
    if bare:
        print("".join(entry), end="")
for line in sys.stdin:
    if re.match(r"\s+\d+ ", line):
        flush()
        entry, bare = [], False
    entry.append(line)
    if re.search(r"\b0xffffffffc[0-9a-f]{7}\b", line):
        bare = True
flush()
'
}

check "the kernel keeps stacks of allocations" eval 'cat /sys/kernel/debug/slab/kmalloc-64/alloc_traces | head -n 3 | grep -q .'
must modprobe dm_mod
must dmsetup create slow --noudevrules --noudevsync --table "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
dmsetup mknodes
lost | sort >/tmp/before
t_load
t_export /dev/mapper/slow /dev/vdb
t_acl "$IQN" iqn.2026-01.org.example:nobody
t_chap "$IQN" -- some-user some-secret-0001
python3 "$T_DIR/py/raw_login.py" 3
py leaks
must i_login
disk=$(i_disk) || give_up "no disk"
check "I/O" fio_verify "$disk" --size=4m --bsrange=512-128k
t_unlun "$IQN" 1
i_logout
# While it is loaded, the objects that it has are told by their stacks: the look is one.
loaded=$(grep -l '\[ferrite\]' /sys/kernel/debug/slab/*/alloc_traces 2>/dev/null | wc -l)
check_ge "while it is loaded, objects of the module are seen in so many caches" "$loaded" 3
i_forget
t_clear
check "the module is unloaded" wait_for 15 t_unload
sleep 2
lost >/tmp/after
sort /tmp/after | comm -13 /tmp/before - >/tmp/new
if [ -s /tmp/new ]; then
	grep -F -B 3 -A 20 -f /tmp/new /tmp/after | head -n 200
fi
check_eq "lines in stacks of objects that it left behind" 0 "$(grep -c . /tmp/new)"
must dmsetup remove --retry slow
