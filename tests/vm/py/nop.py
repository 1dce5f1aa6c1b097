# SPDX-License-Identifier: GPL-2.0
"""NOP-Out and NOP-In in detail (RFC 7143 sections 11.18 and 11.19)."""

import os
import re
import socket
import subprocess
import time

from host import read, until, write
from iscsi import (IMMEDIATE, NOP_IN, NOP_OUT, RESERVED_TAG, TARGET, Closed, Conn, check, check_eq, counter, header,
                   read10)

conn = Conn().login(isid=bytes.fromhex("80feed000011"))
for size in (0, 1, 3, 4, 48, 4096, 8192):
    data = os.urandom(size)
    check(f"a ping with {size} bytes comes back with them", conn.ping(data))
short = Conn().login(isid=bytes.fromhex("80feed000012"), MaxRecvDataSegmentLength="512")
data = os.urandom(200000)
itt = short.request(NOP_OUT, data=data, immediate=True)
check("of a ping of many segments as much comes back as the initiator takes",
      short.wait(NOP_IN, itt).data == data[:512])
check("and all is well", short.ping())
short.logout()
sn = conn.cmd_sn
itt = conn.request(NOP_OUT, data=b"numbered")
pdu = conn.wait(NOP_IN, itt)
check_eq("a numbered ping takes its CmdSN", (sn + 1) & 0xffffffff, pdu.exp_cmd_sn)
# What TCP calls urgent is a part of the stream as all else is: in the middle of a PDU, twice in a row, at its end.
for cuts in ((1,), (47, 48), (50, 51, 60), (60,)):
    itt = conn.next_itt()
    whole = conn.pack(header(NOP_OUT | IMMEDIATE, 0x80, 0, itt, RESERVED_TAG, conn.cmd_sn, conn.exp_stat_sn),
                      b"urgent bytes")
    for start, end in zip((0, *cuts), cuts):
        conn.sock.send(whole[start:end], socket.MSG_OOB)
    conn.send_raw(whole[cuts[-1]:])
    try:
        seen = conn.wait(NOP_IN, itt, 5).data
    except TimeoutError:
        seen = None
    check_eq(f"a ping with an urgent byte behind {cuts} is answered", b"urgent bytes", seen)
conn.request(NOP_OUT, itt=RESERVED_TAG, immediate=True)
check("a NOP-Out that wants no answer gets none", conn.ping())
quiet = conn.pack(header(NOP_OUT | IMMEDIATE, 0x80, 0, RESERVED_TAG, RESERVED_TAG, conn.cmd_sn, conn.exp_stat_sn))
conn.send_raw(quiet * 20000)
check("nor do 20000 of them, and a ping behind them is answered", conn.ping())
check_eq("no other answer had come", [], conn.aside)

# So many at once, as nothing is read while many answers wait, are worked on 2048 at a time.
TRACING = "/sys/kernel/tracing"
busy = Conn().login(isid=bytes.fromhex("80feed000013"))
busy.ready()
paused = counter("rx_paused")
for _ in range(12):
    busy.command(read10(0, 2048), expect=1 << 20)
for _ in range(70):
    busy.request(NOP_OUT, immediate=True)
check("an initiator that does not read is not read from", until(lambda: counter("rx_paused") > paused))
if not os.path.exists(f"{TRACING}/trace"):
    subprocess.run(["mount", "-t", "tracefs", "none", TRACING], check=True)
write(f"{TRACING}/kprobe_events", "r:ferrite/read tcp_read_sock n=$retval:s32\n")
write(f"{TRACING}/events/ferrite/read/enable", "1")
busy.send_raw(quiet * 6000)
check("when it does all is answered", busy.ping())
write(f"{TRACING}/events/ferrite/read/enable", "0")
most = max(int(n) for n in re.findall(r"\bn=(-?[0-9]+)$", read(f"{TRACING}/trace"), re.MULTILINE))
write(f"{TRACING}/kprobe_events", "-:ferrite/read\n")
check_eq("the most PDUs that were read at a time", 2048, most // len(quiet))
busy.logout()

# The target asks: its NOP-In has a Target Transfer Tag, and the answer must have it.
with open(f"/sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1/attrib/nopin_timeout", "w", encoding="ascii") as file:
    file.write("3")
pdu = conn.wait(NOP_IN, RESERVED_TAG, timeout=15)
check("the target's ping has a tag to be answered with", pdu.ttt != RESERVED_TAG, pdu)
conn.send(header(NOP_OUT | IMMEDIATE, 0x80, 0, RESERVED_TAG, pdu.ttt, conn.cmd_sn, conn.exp_stat_sn))
start = time.monotonic()
again = conn.wait(NOP_IN, RESERVED_TAG, timeout=15)
check("it comes again, as it was answered", time.monotonic() - start > 1.5)
check_eq("a ping of the target takes no StatSN", pdu.stat_sn, again.stat_sn)
# No answer this time.
start = time.monotonic()
check("without an answer the target closes the connection", conn.closed_within(20))
check("when its time is over", 1.5 < time.monotonic() - start < 15, time.monotonic() - start)
try:
    conn.ping()
    check("and takes nothing more", False)
except (Closed, OSError):
    check("and takes nothing more", True)
