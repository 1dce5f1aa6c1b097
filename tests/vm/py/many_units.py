# SPDX-License-Identifier: GPL-2.0
"""Resets of a target with many units.

LUN 0 is the dm device "slow". More LUNs are made here, of the backstore disk1.
"""

import os
import socket
import struct
import time

from host import resume, store, suspend, tpg, until
from iscsi import (INITIATOR, R2T, SCSI_RESPONSE, TASK_MGMT, TASK_MGMT_RESPONSE, Conn, check,
                   check_eq, counter, lun, read10, write10)

UNITS = 150
WARM_RESET, QUERY_TASK, NEXUS_RESET = 6, 9, 11
BUS_RESET, NEXUS_LOSS = "2902", "2907"


def function(conn, code, unit=0, tag=0xffffffff):
    """Sends a task management function for immediate delivery; returns its tag."""
    return conn.request(TASK_MGMT, 0x80 | code, lun=lun(unit), word20=tag, immediate=True,
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

# A command that fails aborts all others of its device (QERR 01b). So many nexuses are gone through
# in process context, a moment later; one's own commands are aborted at once, and later ones are not.
DATA = bytes(512)


def settle():
    for session in (conn, other):
        for unit in range(UNITS + 1):
            session.ready(lun(unit))


def control(qerr, tas):
    """The Control mode page of the device of LUN 1."""
    page = bytes([0x0a, 0x0a, 0x02, 0x10 | qerr << 1, 0, 0x40 if tas else 0, 0, 0, 0xff, 0xff, 0, 0])
    assert conn.scsi(bytes([0x15, 0x10, 0, 0, 16, 0]), bytes(4) + page, lun=lun(1))[0] == 0
    settle()
    # What another session's unit attentions have aborted is over.
    time.sleep(1)


def stuck(session, unit):
    """A WRITE that waits for its data, and what has asked for that."""
    tag = session.command(write10(unit, 1), DATA, lun=lun(unit), immediate_data=b"")
    return tag, session.wait(R2T, tag)


def fail(count=1):
    """So many commands that fail, one after the other; how they end."""
    tags = {conn.command(b"\xff", lun=lun(1)) for _ in range(count)}
    ends = [conn.wait(SCSI_RESPONSE) for _ in tags]
    return {pdu.itt for pdu in ends} == tags and {pdu.header[3] for pdu in ends} == {2}


settle()
control(qerr=1, tas=True)
theirs, untouched = {stuck(other, 1)[0], stuck(other, UNITS)[0]}, stuck(other, 0)
own = stuck(conn, 2)[0]
check("QERR 01b: a command fails", fail())
late = stuck(conn, 3)
check_eq("one's own WRITE is aborted at once", 0, answer(conn, function(conn, QUERY_TASK, 2, own)))
ends = [other.wait(SCSI_RESPONSE) for _ in theirs]
check_eq("those of another session end TASK ABORTED", {(tag, 0x40) for tag in theirs},
         {(pdu.itt, pdu.header[3]) for pdu in ends})
conn.data_out(late[1], DATA)
check_eq("one's own that came later is done", 0, conn.result(late[0])[0])
other.data_out(untouched[1], DATA)
check_eq("and so is one of another device", 0, other.result(untouched[0])[0])
theirs = stuck(other, 5)[0]
start = time.monotonic()
check("many fail", fail(64))
check_eq("another session's WRITE is aborted", 0x40, other.result(theirs)[0])
print(f"64 commands that fail, with {2 * UNITS} nexuses, took {time.monotonic() - start:.2f} s")

control(qerr=1, tas=False)
theirs = stuck(other, 4)[0]
check("without TAS: a command fails", fail())
# By REQUEST SENSE, as a unit attention that is reported is a failure, too.
check("another session's WRITE is aborted", until(lambda: other.scsi(
    bytes([3, 0, 0, 0, 252, 0]), expect=252, lun=lun(4))[1][12:14] == b"\x2f\0"))
check("without a status", theirs not in [pdu.itt for pdu in other.aside])
control(qerr=0, tas=True)
check("both sessions work still", conn.ping() and other.ping())

# Of a change of persistent reservations all nexuses are told, however many registrations it is
# about.
KEY, NAMES = 0x1234, 560
PREEMPTED = "2a03"


def transport_id(initiator, isid):
    text = f"{initiator},i,0x{isid}".encode() + bytes(1)
    text += bytes(-len(text) % 4)
    return struct.pack(">BxH", 0x45, len(text)) + text


def reserve_out(action, key, new=0, ids=b""):
    data = struct.pack(">QQ4xB3x", key, new, 8 if ids else 0)
    data += struct.pack(">I", len(ids)) + ids if ids else b""
    return conn.scsi(struct.pack(">BB3xIx", 0x5f, action, len(data)), data, lun=lun(1))[0]


def registrations():
    return int.from_bytes(conn.scsi(struct.pack(">BB5xHx", 0x5e, 0, 8), expect=8,
                                    lun=lun(1))[1][4:], "big") // 8


ids = transport_id(INITIATOR, "80feed000002") + b"".join(
    transport_id(f"iqn.2026-01.org.example:raw-{n:04}", "80feed000002") for n in range(NAMES))
check_eq("REGISTER for many", 0, reserve_out(0, 0, KEY, ids))
check_eq("all are registered", NAMES + 2, registrations())
start = time.monotonic()
check_eq("CLEAR", 0, reserve_out(3, KEY))
took = time.monotonic() - start
print(f"CLEAR of {NAMES + 2} registrations with {2 * UNITS} nexuses took {1000 * took:.0f} ms")
check_eq("nobody is registered", 0, registrations())
check_eq("each unit tells it to the one who was", {PREEMPTED},
         {attention(other, unit) for unit in range(1, UNITS + 1)})
check_eq("once", 0, attention(other, 1))
check_eq("and not to who has done it", 0, attention(conn, 2))
