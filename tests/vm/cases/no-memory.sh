# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# A machine with almost no free memory: what is read is what was written, no session ends, and nothing
# is kept. `memory-pressure` is about the limits of the target's own.
# time: 60

balloon=
case_cleanup() {
	deflate
	i_forget
	t_clear
} 2>/dev/null

# It is the first that is killed when there is nothing left at all: then it begins again.
inflate() {
	while :; do
		python3 "$T_DIR/py/balloon.py" $left /tmp/balloon
	done &
	balloon=$!
}

deflate() {
	[ -n "$balloon" ] || return 0
	kill -9 "$balloon"
	wait "$balloon" 2>/dev/null
	pkill -9 -f balloon.py
	balloon=
}

# available: MiB.
available() {
	awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo
}

t_load
t_export /dev/vda
must i_login node.session.cmds_max=128 node.session.queue_depth=32
disk=$(i_disk) || give_up "no disk"
check "with enough memory: what is read is what was written" fio_verify "$disk" --size=8m
logins=$(t_stat logins)
sync
echo 3 >/proc/sys/vm/drop_caches
before=$(available)
# The kernel's reserve would be enough for all that is done here.
least=$(cat /proc/sys/vm/min_free_kbytes)
must put 1024 /proc/sys/vm/min_free_kbytes
left=32
inflate
check "a process takes all memory but $left MiB" wait_for 60 test -s /tmp/balloon
cat /tmp/balloon
rounds=2 lowest=$before
[ "$T_FULL" = 0 ] || rounds=20
for ((n = 1; n <= rounds; n++)); do
	check "round $n: what is read is what was written" fio_verify "$disk" --size=12m --bsrange=4k-256k --iodepth=16
	now=$(available)
	[ "$now" -ge "$lowest" ] || lowest=$now
	grep -E '^(MemFree|MemAvailable)' /proc/meminfo
done
check_le "MiB that were left" "$lowest" $((2 * left))
lost=$(($(t_stat logins) - logins))
check_eq "no session has ended" 0 $lost
deflate
must put "$least" /proc/sys/vm/min_free_kbytes
busy=$(t_stat busy)
check "afterwards all is well" fio_verify "$disk" --size=256k
i_logout
check "no memory is kept" wait_for 10 grep -qx "memory 0" "$ROOT/in_use"
sync
echo 3 >/proc/sys/vm/drop_caches
check_ge "MiB that can be had, up to what caches keep, as before" "$(available)" $((before - 64))
echo "@figure $lowest MiB of memory left: rounds of verified I/O, commands that ended BUSY, sessions lost | $rounds, $busy, $lost"
