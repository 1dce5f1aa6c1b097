# SPDX-License-Identifier: GPL-2.0
"""One that takes all it can get, or takes it a byte at a time, does not starve another."""

import os
import re
import signal
import sys
import time

from iscsi import DATA_IN, SCSI_RESPONSE, Conn, check, counter, read10, write10

SLOWER = int(os.environ.get("T_SLOWER", "1"))
SECONDS = 3 * SLOWER
TRACE = "/sys/kernel/tracing"


def isid(number):
    return bytes([0x80, 0xfe, 0xed, 8, 8, number])


def measure(conn):
    """4 KiB reads one after the other: (each second, the slowest in ms)."""
    start = time.monotonic()
    count, slowest = 0, 0
    while True:
        before = time.monotonic()
        assert conn.scsi(read10(count % 64 * 8, 8), expect=4096)[0] == 0
        now = time.monotonic()
        slowest = max(slowest, now - before)
        count += 1
        if now - start > SECONDS:
            return count / (now - start), round(slowest * 1000)


def greedy(number, writes):
    """As many commands as the session may have, all the time."""
    conn = Conn().login(isid=isid(number))
    conn.ready()
    todo = set()
    blocks = 16 if writes else 128
    while True:
        while len(todo) < 100 and (conn.max_cmd_sn - conn.cmd_sn) & 0xffffffff < 0x80000000:
            if writes:
                todo.add(conn.command(write10(4096 + len(todo) * blocks, blocks), bytes(blocks * 512)))
            else:
                todo.add(conn.command(read10(4096, blocks), expect=blocks * 512))
        pdu = conn.recv()
        if pdu.opcode == SCSI_RESPONSE or pdu.opcode == DATA_IN and pdu.flags & 1:
            todo.discard(pdu.itt)


def sip(number):
    """A byte each second of all that it has asked for."""
    conn = Conn().login(isid=isid(number))
    conn.ready()
    for _ in range(100):
        conn.command(read10(0, 512), expect=512 * 512)
    while True:
        conn.sock.recv(1)
        time.sleep(1)


class Others:
    """Processes that do something as long as the block lasts."""

    def __init__(self, *jobs):
        self.jobs, self.pids = jobs, []

    def __enter__(self):
        for job in self.jobs:
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                try:
                    job()
                finally:
                    os._exit(1)
            self.pids.append(pid)
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def busy_since(count):
    """Waits until the others have begun."""
    end = time.monotonic() + 20 * SLOWER
    while counter("commands") < count and time.monotonic() < end:
        time.sleep(0.05)


def put(name, text):
    with open(f"{TRACE}/{name}", "w", encoding="ascii") as file:
        file.write(text)


def traced():
    """Begins to time what runs in softirq; whether this kernel can."""
    try:
        put("current_tracer", "nop")
        put("set_ftrace_filter", "tcp_v4_rcv workqueue_softirq_action")
        put("max_graph_depth", "1")
        put("buffer_size_kb", "4096")
        put("current_tracer", "function_graph")
        put("tracing_on", "1")
    except OSError as error:
        print(f"nothing is timed: {error}")
        return False
    return True


def durations():
    """What was timed, in microseconds, by function."""
    put("tracing_on", "0")
    got = {"tcp_v4_rcv": [], "workqueue_softirq_action": []}
    with open(f"{TRACE}/trace", encoding="ascii", errors="replace") as file:
        for line in file:
            match = re.search(r"([\d.]+) us +\| +(\w+)(?: \[\w+\])?\(", line)
            if match and match[2] in got:
                got[match[2]].append(float(match[1]))
    put("current_tracer", "nop")
    put("set_ftrace_filter", "")
    put("trace", "")
    return got


conn = Conn().login(isid=isid(1))
conn.ready()
alone, _ = measure(conn)
CASES = {
    "one that reads at full queue depth": [lambda: greedy(2, False)],
    "one that writes at full queue depth": [lambda: greedy(3, True)],
    "one that takes a byte a second": [lambda: sip(4)],
    "four that do": [lambda n=n: sip(5 + n) for n in range(4)],
}
for name, jobs in CASES.items():
    before = counter("commands")
    with Others(*jobs):
        busy_since(before + 60)
        timing = name.startswith("one that") and "depth" in name and traced()
        rate, slowest = measure(conn)
        if timing:
            got = durations()
            for function, label in (("tcp_v4_rcv", "receiving"), ("workqueue_softirq_action", "sending")):
                times = sorted(got[function])
                if times:
                    middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
                    print(f"@figure softirq beside {name}, {label}: calls, us in the middle, 99 %, longest | "
                          f"{len(times)}, {middle:.0f}, {late:.0f}, {times[-1]:.0f}")
                    # The longest may be times in which the machine itself did not run.
                    most = times[len(times) * 9 // 10]
                    check(f"beside {name}: 90 % of what runs in softirq ({label}) takes less than 50 ms",
                          most < 50_000 * SLOWER, most)
    percent = round(100 * rate / alone)
    print(f"@figure speed beside {name}: %, slowest read in ms | {percent}, {slowest}")
    check(f"{name} does not starve another", percent >= 5, f"{percent} %")
    check(f"beside {name} each read is answered within 10 s", slowest < 10_000 * SLOWER, slowest)
conn.logout()
sys.exit(0)
