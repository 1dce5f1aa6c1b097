# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# After everything that can happen, the module leaves no object in memory: the kernel is booted so
# that it keeps the stack of each allocation, and after unloading, no stack may have a function
# of a module that is gone.
# machine: --debug-mem --mem 1536
# time: 90

case_cleanup() {
	i_forget
	t_clear
	dmsetup remove --retry slow
} 2>/dev/null

# lost START SIZE: the allocations that still exist and were made by functions between there. A
# module that was unloaded has no symbols any more: its functions are bare addresses.
lost() {
	cat /sys/kernel/debug/slab/*/alloc_traces 2>/dev/null | python3 -c '
import re, sys
start, size = (int(word, 0) for word in sys.argv[1:])
entry, ours = [], False
def flush():
    # Names that were looked up stay in the cache of names, whoever has asked for them.
    if ours and "__d_alloc" not in entry[0]:
        print("".join(entry), end="")
for line in sys.stdin:
    if re.match(r"\s+\d+ ", line):
        flush()
        entry, ours = [], False
    entry.append(line)
    for address in re.findall(r"\b0x[0-9a-f]{16}\b", line):
        ours |= start <= int(address, 0) < start + size
flush()
' "$@"
}

check "the kernel keeps stacks of allocations" eval 'cat /sys/kernel/debug/slab/kmalloc-64/alloc_traces | head -n 3 | grep -q .'
# Connections that are over would keep the port in use for a minute.
must sysctl -q net.ipv4.tcp_max_tw_buckets=0
# TCP remembers its peers for good, and who lets go of a socket may be the one who stores that.
must sysctl -q net.ipv4.tcp_no_metrics_save=1
# Nor may a packet that one CPU has allocated and another one is done with wait for that one to
# receive something.
must sysctl -q net.core.skb_defer_max=0
dm_slow
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
text=$(cat /sys/module/ferrite/sections/.text)
size=$(awk '$1 == "ferrite" { print $2 }' /proc/modules)
check_ge "while it is loaded, objects of the module are seen in so many caches" "$loaded" 3
i_forget
t_clear
check "the module is unloaded" wait_for 15 t_unload
# The last words of a connection stay until the peer has acknowledged them.
nothing_lost() {
	lost "$text" "$size" >/tmp/lost
	[ ! -s /tmp/lost ]
}
wait_for 20 nothing_lost
head -n 200 /tmp/lost
left=$(grep -cE '^ +[0-9]+ ' /tmp/lost)
check_eq "lines in stacks of objects that it left behind" 0 "$(grep -c . /tmp/lost)"
echo "@figure after unloading: stacks of objects that are left in memory | $left"
must dmsetup remove --retry slow
