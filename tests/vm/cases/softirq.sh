# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Where the work is done, by the module's own counters: receiving in softirq, sending there or at
# the end of a submit thread's batch, submitting in the per-CPU threads, and no thread for a connection or a LUN.
# time: 40

# percent PART OTHER: the share of PART in the sum of both.
percent() {
	local part=$1 other=$2
	echo $((part * 100 / (part + other + 1)))
}

t_load
t_export /dev/vda /dev/vdb
threads() {
	pgrep -c '^ferrite/'
}
check_eq "one submit thread for each CPU" "$(nproc)" "$(threads)"
kthreads=$(pgrep -c -P 2 .)
must i_login
disk=$(i_disk) || give_up "no disk"
for counter in rx_softirq_bytes tx_softirq_bytes rx_task_bytes tx_task_bytes rx_batch_bytes tx_batch_bytes bio_submit_thread bio_slow commands; do
	t_stat $counter >/dev/null || fail "the counter $counter exists"
done
cat "$ROOT/statistics"
rx=$(t_stat rx_softirq_bytes) rxt=$(t_stat rx_task_bytes) tx=$(t_stat tx_softirq_bytes) txt=$(t_stat tx_task_bytes)
txb=$(t_stat tx_batch_bytes) rxb=$(t_stat rx_batch_bytes)
bios=$(t_stat bio_submit_thread) slow=$(t_stat bio_slow) commands=$(t_stat commands)
check "a load of reads and writes" fio --name=load --filename="$disk" --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --bs=4k \
	--size=64m --io_size=24m --randrepeat=0 --minimal
check "a load of large ones" fio --name=load --filename="$disk" --direct=1 --ioengine=libaio --iodepth=4 --rw=rw --bs=512k \
	--size=64m --io_size=48m --minimal
cat "$ROOT/statistics"
rx=$(($(t_stat rx_softirq_bytes) - rx)) rxt=$(($(t_stat rx_task_bytes) - rxt))
tx=$(($(t_stat tx_softirq_bytes) - tx)) txt=$(($(t_stat tx_task_bytes) - txt))
txb=$(($(t_stat tx_batch_bytes) - txb)) rxb=$(($(t_stat rx_batch_bytes) - rxb))
echo "received: softirq $rx, batch $rxb, task $rxt; sent: softirq $tx, batch $txb, task $txt"
bios=$(($(t_stat bio_submit_thread) - bios)) slow=$(($(t_stat bio_slow) - slow)) commands=$(($(t_stat commands) - commands))
check_ge "bytes received" $((rx + rxb + rxt)) $((16 << 20))
check_ge "bytes sent" $((tx + txb + txt)) $((16 << 20))
check_le "received in process context, in percent" "$(percent $((rxt + rxb)) $rx)" 5
check_le "sent in process context, in percent" "$(percent $txt $((tx + txb)))" 10
check_ge "commands" $commands 4000
check_ge "bios that the submit threads submitted" $bios $((commands / 2))
check_le "bios that went through the slow workqueue, in percent" "$(percent $slow $bios)" 5
check_eq "still one submit thread for each CPU" "$(nproc)" "$(threads)"

# Forty more sessions cost no thread.
cat >/tmp/many.py <<-'END'
	import os, sys, time
	sys.path.insert(0, os.environ["T_DIR"] + "/py")
	from iscsi import Conn
	conns = [Conn().login(isid=bytes([0x80, 1, 2, 3, 4, n])) for n in range(40)]
	for conn in conns:
	    conn.ready()
	print("up", flush=True)
	time.sleep(600)
END
T_DIR=$T_DIR IQN=$IQN python3 /tmp/many.py >/tmp/up &
many=$!
check "forty more sessions" wait_for 60 grep -q up /tmp/up
check_eq "the target has them" 41 "$(t_sessions)"
check_eq "and no submit thread more" "$(nproc)" "$(threads)"
# Workers of workqueues come and go: a few, not forty.
check_le "kernel threads more than before" $(($(pgrep -c -P 2 .) - kthreads)) 12
kill -9 $many
wait $many 2>/dev/null
check "killed, their sessions go" wait_for 10 t_has_sessions 1
