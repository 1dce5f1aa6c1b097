# SPDX-License-Identifier: GPL-2.0
"""Resets of a target with many units.

LUN 0 is the dm device "slow". More LUNs are made here, of the backstore disk1.
"""

import os
import socket
import struct
import time

from host import resume, store, suspend, tpg, until
from iscsi import (TASK_MGMT, TASK_MGMT_RESPONSE, Conn, check, check_eq, counter, lun, read10)

UNITS = 150
WARM_RESET, NEXUS_RESET = 6, 11
BUS_RESET, NEXUS_LOSS = "2902", "2907"


def function(conn, code, unit=0):
    """Sends a task management function for immediate delivery; returns its tag."""
    return conn.request(TASK_MGMT, 0x80 | code, lun=lun(unit), immediate=True,
                        tail=struct.pack(">IIII", 0, 0, 0, 0))


def answer(conn, tag, timeout=20):
    return conn.wait(TASK_MGMT_RESPONSE, tag, timeout).header[2]


def attention(conn, unit):
    """ASC and ASCQ of what a unit tells first."""
    status, _, sense = conn.scsi(bytes(6), lun=lun(unit))
    return sense[12:14].hex() if status == 2 else status


for number in range(1, UNITS + 1):
    os.mkdir(f"{tpg()}/lun/lun_{number}")
    os.symlink(store("disk1"), f"{tpg()}/lun/lun_{number}/disk1")
conn = Conn().login(iSCSIProtocolLevel="2")
other = Conn().login(isid=bytes.fromhex("80feed000002"))
for number in range(UNITS + 1):
    conn.ready(lun(number))
    other.ready(lun(number))

# What came before the function is aborted, and what comes after it is not.
for code, told in ((WARM_RESET, BUS_RESET), (NEXUS_RESET, NEXUS_LOSS)):
    before = counter("bio_slow")
    suspend("slow")
    lost = conn.command(read10(0, 8), expect=4096)
    theirs = other.command(read10(8, 8), expect=4096)
    check(f"function {code}: READs are under way", until(lambda: counter("bio_slow") >= before + 2))
    tag = function(conn, code)
    late = conn.command(read10(0, 1), expect=512, lun=lun(1))
    status = conn.result(late)[0]
    check(f"function {code}: a READ that comes after it has an answer", status in (0, 2), status)
    resume("slow")
    check_eq(f"function {code} is complete", 0, answer(conn, tag))
    aside = [pdu.itt for pdu in conn.aside]
    check(f"function {code}: a READ that came before it has none", lost not in aside, aside)
    if code == WARM_RESET:
        check_eq("function 6: nor has one of another session, but TASK ABORTED", 0x40,
                 other.result(theirs)[0])
        check_eq("function 6: the other session is told", told, attention(other, UNITS))
    else:
        check_eq("function 11: one of another session has", 0, other.result(theirs)[0])
    if status == 2:
        check_eq(f"function {code}: the last unit is told", told, attention(conn, UNITS))
    for number in range(UNITS + 1):
        conn.ready(lun(number))
        other.ready(lun(number))

# Nobody waits until they are all carried out: the ping of another session is answered before the
# last of them is.
COUNT = 3
start = time.monotonic()
tags = [function(conn, WARM_RESET) for _ in range(COUNT)]
check("another session is served", other.ping())
pinged = time.monotonic() - start
conn.sock.setblocking(False)
try:
    early = len(conn.sock.recv(1 << 16, socket.MSG_PEEK)) // 48
except BlockingIOError:
    early = 0
conn.sock.setblocking(True)
check("before all resets are carried out", early < COUNT, f"{early} of {COUNT}")
ends = [conn.wait(TASK_MGMT_RESPONSE) for _ in tags]
check_eq("which are complete", {(tag, 0) for tag in tags}, {(pdu.itt, pdu.header[2]) for pdu in ends})
took = time.monotonic() - start
print(f"{COUNT} resets of {UNITS + 1} units took {took:.2f} s, a ping of another session {pinged:.2f} s")
check("both sessions work", conn.ping() and other.ping())
