# SPDX-License-Identifier: GPL-2.0
"""Several initiators and one task set (SAM-5).

LUN 0 is a device of which what is from block HALF on takes 700 ms, LUN 1 is another one.
Arguments: HALF, the directory of the attributes of LUN 0.
"""

import socket
import struct
import sys
import time

from host import resume, suspend, until
from iscsi import (DATA_IN, R2T, SCSI_RESPONSE, TASK_MGMT, TASK_MGMT_RESPONSE, Conn, check,
                   check_eq, counter, lun, read10, sense_code, write10)

HALF = int(sys.argv[1])
ATTRIB = sys.argv[2]
SIMPLE, ORDERED, HEAD, ACA = 1, 2, 3, 4
GOOD, CHECK, BUSY, CONFLICT, FULL, ABORTED = 0x00, 0x02, 0x08, 0x18, 0x28, 0x40
ABORT_TASK, CLEAR_TASK_SET, LUN_RESET, WARM_RESET, COLD_RESET, QUERY_TASK = 1, 4, 5, 6, 7, 9
TUR = bytes(6)
RESERVE, RELEASE = bytes([0x16]) + bytes(5), bytes([0x17]) + bytes(5)
NOTHING = bytes([0xff]) + bytes(5)


def login(n, **keys):
    conn = Conn().login(initiator=f"iqn.2026-01.org.example:raw-{n}",
                        isid=bytes.fromhex("80feed0001") + bytes([n]), **keys)
    conn.ready()
    conn.ready(lun(1))
    return conn


def attribute(name, value):
    with open(f"{ATTRIB}/{name}", "w", encoding="ascii") as file:
        file.write(str(value))


def fast(conn, n=0, **args):
    """Sends a READ that takes no time."""
    return conn.command(read10(n * 8, 1), expect=512, **args)


def slow(conn, n=0, **args):
    """Sends a READ that takes 700 ms."""
    return conn.command(read10(HALF + n * 8, 1), expect=512, **args)


def ends(conn, count, timeout=10):
    """The next statuses: a list of (tag, status, sense)."""
    got = []
    end = time.monotonic() + timeout
    while len(got) < count:
        pdu = conn.recv(max(0.01, end - time.monotonic()))
        if pdu.opcode == SCSI_RESPONSE:
            got.append((pdu.itt, pdu.header[3], sense_code(pdu.data[2:])))
        elif pdu.opcode == DATA_IN and pdu.flags & 1:
            got.append((pdu.itt, pdu.header[3], None))
        else:
            conn.aside.append(pdu)
    return got


def quiet(conn, seconds=0.5):
    """Whether nothing comes."""
    try:
        conn.aside.append(conn.recv(seconds))
        return False
    except TimeoutError:
        return True


def manage(conn, function, number=0, tag=0xffffffff, ref=0):
    """Sends a task management function."""
    return conn.request(TASK_MGMT, 0x80 | function, lun=lun(number), word20=tag, immediate=True,
                        tail=struct.pack(">IIII", ref, 0, 0, 0))


def answer(conn, tag, timeout=10):
    return conn.wait(TASK_MGMT_RESPONSE, tag, timeout).header[2]


def control(conn, restricted=False, qerr=0, interlock=0, tas=True):
    """Sets the Control mode page."""
    page = bytes([0x0a, 0x0a, 0x02, (0 if restricted else 0x10) | qerr << 1, interlock << 4,
                  0x40 if tas else 0, 0, 0, 0xff, 0xff, 0, 0])
    return conn.scsi(bytes([0x15, 0x10, 0, 0, 16, 0]), bytes(4) + page)[0]


def attention(conn, number=0):
    """The unit attention that a TEST UNIT READY meets."""
    status, _, sense = conn.scsi(TUR, lun=lun(number))
    return sense_code(sense) if status == CHECK else status


def took(start):
    return round(time.monotonic() - start, 2)


a, b, c = login(1), login(2), login(3)


def settle():
    for conn in (a, b, c):
        conn.ready()
        conn.ready(lun(1))


# --- task attributes --------------------------------------------------------------------------

tags = {slow(a): "slow", fast(a, 1): "fast"}
check_eq("SIMPLE commands overtake each other", ["fast", "slow"],
         [tags[tag] for tag, _, _ in ends(a, 2)])

before = counter("order_waits")
tags = {slow(a): "slow", fast(a, 1, attr=ORDERED): "ordered", fast(a, 2): "simple",
        fast(a, 3, attr=HEAD): "head"}
got = ends(a, 4)
check_eq("HEAD OF QUEUE is first, ORDERED waits for what is older, SIMPLE waits for it",
         ["head", "slow", "ordered", "simple"], [tags[tag] for tag, _, _ in got])
check_eq("all of them are GOOD", [GOOD] * 4, [status for _, status, _ in got])
check("the counter knows those that waited", counter("order_waits") - before == 2,
      counter("order_waits") - before)

slow(a)
time.sleep(0.2)
start = time.monotonic()
tag = fast(b, attr=ORDERED)
late = fast(c)
check_eq("ORDERED waits for another initiator's command", [(tag, GOOD, None)], ends(b, 1))
check("that took a time", took(start) > 0.3, took(start))
check_eq("and a SIMPLE command of a third for it", [(late, GOOD, None)], ends(c, 1))
ends(a, 1)

# Until it may run it is not enabled, and a reservation that is made meanwhile is in its way.
suspend("slow")
slow(a)
before = counter("order_waits")
tag = fast(b, attr=ORDERED)
check("ORDERED waits", until(lambda: counter("order_waits") > before))
check_eq("a third initiator reserves the unit", GOOD, c.result(c.command(RESERVE, attr=HEAD))[0])
resume("slow")
check_eq("what had to wait conflicts with that", [(tag, CONFLICT, None)], ends(b, 1))
check_eq("what was under way does not", [GOOD], [status for _, status, _ in ends(a, 1)])
check_eq("the reservation is released", GOOD, c.scsi(RELEASE)[0])

tags = {slow(a, attr=HEAD): "head", fast(a, 1): "simple"}
check_eq("SIMPLE waits for HEAD OF QUEUE", ["head", "simple"],
         [tags[tag] for tag, _, _ in ends(a, 2)])
start = time.monotonic()
for n in range(200):
    fast(a, n % 32, attr=(SIMPLE, ORDERED, SIMPLE, HEAD)[n % 4])
    if n % 32 == 31:
        ends(a, 32)
got = ends(a, 200 % 32)
check_eq("all kinds in a row are done", [GOOD] * 8, [status for _, status, _ in got])

# An ORDERED WRITE whose data takes its time.
data = bytes(range(256)) * 2
write = a.command(write10(64, 1), data, attr=ORDERED, immediate_data=b"")
read = fast(a, 8)
r2t = a.wait(R2T, write)
check("what is newer waits for the data of an ORDERED WRITE", quiet(a))
a.data_out(r2t, data)
got = dict()
while len(got) < 2:
    pdu = a.recv(10)
    if pdu.opcode == DATA_IN:
        got[pdu.itt] = pdu.data
    elif pdu.opcode == SCSI_RESPONSE:
        got[pdu.itt] = pdu.header[3]
check_eq("and reads what it wrote", {write: GOOD, read: data}, got)

check_eq("the attribute ACA is refused without an ACA condition", (5, 0x49, 0),
         ends(a, 1 if fast(a, attr=ACA) else 0)[0][2])
check_eq("NACA is refused", (5, 0x24, 0),
         sense_code(a.scsi(read10(0, 1)[:9] + b"\x04", expect=512)[2]))
status, page, _ = a.scsi(bytes([0x12, 1, 0x86, 0, 64, 0]), expect=64)
check_eq("VPD page 86h: HEADSUP, ORDSUP, SIMPSUP", 7, page[5] & 7)
check("INQUIRY: CMDQUE", a.scsi(bytes([0x12, 0, 0, 0, 36, 0]), expect=36)[1][7] & 2)

# --- restricted reordering ----------------------------------------------------------------------

check_eq("QUEUE ALGORITHM MODIFIER can be 0", GOOD, control(a, restricted=True))
check_eq("the others are told that mode parameters have changed", [(6, 0x2a, 1)] * 2,
         [attention(b), attention(c)])
check_eq("who did it is not", GOOD, attention(a))
tags = {slow(a): "slow", fast(a, 1): "fast"}
check_eq("then SIMPLE commands keep their order", ["slow", "fast"],
         [tags[tag] for tag, _, _ in ends(a, 2)])
control(a)
settle()
tags = {slow(a): "slow", fast(a, 1): "fast"}
check_eq("and with 1 they do not", ["fast", "slow"], [tags[tag] for tag, _, _ in ends(a, 2)])

# --- a device that hangs --------------------------------------------------------------------------

suspend("slow")
stuck = fast(a, 1)
time.sleep(0.3)
ordered = fast(a, 2, attr=ORDERED)
behind = fast(a, 3)
start = time.monotonic()
check_eq("a blocked ORDERED command does not stop another LUN", GOOD,
         a.scsi(read10(0, 1), expect=512, lun=lun(1))[0])
check_eq("nor ORDERED there", GOOD,
         ends(a, 1 if fast(a, lun=lun(1), attr=ORDERED) else 0)[0][1])
check_eq("an abort of it is complete", 0,
         answer(a, manage(a, ABORT_TASK, 0, ordered, a.cmd_sn - 2)))
blocked = fast(b, 1, attr=ORDERED)
check_eq("so is one of another's", 0,
         answer(b, manage(b, ABORT_TASK, 0, blocked, b.cmd_sn - 1)))
check("all of it at once", took(start) < 2, took(start))
fast(b, 1, attr=ORDERED)
b.reset()
time.sleep(0.2)
resume("slow")
check_eq("what was blocked behind it is done", {(stuck, GOOD, None), (behind, GOOD, None)},
         set(ends(a, 2)))
b = login(2)
check_eq("the ORDERED command of a connection that is gone holds nobody up", GOOD,
         a.scsi(read10(0, 1), expect=512)[0])

# One that does not read what it is sent keeps nobody waiting either.
b.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
many = [b.command(read10(n * 8, 4096), expect=4096 * 512) for n in range(16)]
time.sleep(0.5)
start = time.monotonic()
tag = fast(a, attr=ORDERED)
check_eq("ORDERED does not wait for a peer that does not read", [(tag, GOOD, None)], ends(a, 1))
check("that took no time", took(start) < 2, took(start))
start = time.monotonic()
check_eq("nor does CLEAR TASK SET", 0, answer(a, manage(a, CLEAR_TASK_SET)))
check("that took no time, too", took(start) < 2, took(start))
b.close()
b = login(2)
settle()

# --- TAS --------------------------------------------------------------------------------------------

lost = slow(b)
write = b.command(write10(0, 1), bytes(512), immediate_data=b"")
b.wait(R2T, write)
time.sleep(0.2)
tag = manage(a, CLEAR_TASK_SET)
check_eq("TAS: commands that another has cleared end TASK ABORTED",
         {(lost, ABORTED, None), (write, ABORTED, None)}, set(ends(b, 2)))
check_eq("CLEAR TASK SET is complete", 0, answer(a, tag))
check_eq("with TASK ABORTED there is no unit attention", GOOD, attention(b))
mine = slow(a)
time.sleep(0.2)
check_eq("one's own commands", 0, answer(a, manage(a, CLEAR_TASK_SET)))
check("end without a status", quiet(a))

check_eq("TAS can be switched off", GOOD, control(a, tas=False))
settle()
slow(b)
time.sleep(0.2)
check_eq("without TAS: CLEAR TASK SET is complete", 0, answer(a, manage(a, CLEAR_TASK_SET)))
check("the commands end without a status", quiet(b))
check_eq("who has lost some is told by a unit attention", (6, 0x2f, 0), attention(b))
check_eq("who has not is not", GOOD, attention(c))
check_eq("nor is who has cleared them", GOOD, attention(a))
control(a)
settle()
lost = slow(b)
time.sleep(0.2)
tag = manage(a, LUN_RESET)
check_eq("a reset ends another's commands with TASK ABORTED", [(lost, ABORTED, None)], ends(b, 1))
check_eq("LOGICAL UNIT RESET is complete", 0, answer(a, tag))
check_eq("and tells of itself", [(6, 0x29, 3)] * 3, [attention(conn) for conn in (a, b, c)])

# --- QERR -------------------------------------------------------------------------------------------

theirs, own = slow(b), slow(a)
time.sleep(0.2)
check_eq("QERR 00b: a CHECK CONDITION", CHECK, a.scsi(NOTHING)[0])
check_eq("aborts nothing", [(own, GOOD, None), (theirs, GOOD, None)], ends(a, 1) + ends(b, 1))
control(a, qerr=1)
settle()
lost, own = slow(b), slow(a)
time.sleep(0.2)
check_eq("QERR 01b: a CHECK CONDITION", CHECK, a.scsi(NOTHING)[0])
check_eq("aborts the others' commands", [(lost, ABORTED, None)], ends(b, 1))
check("and one's own, without a status", quiet(a, 1))
check("which is free again", a.ping())
control(a, qerr=3)
settle()
theirs, own = slow(b), slow(a)
time.sleep(0.2)
check_eq("QERR 11b: a CHECK CONDITION", CHECK, a.scsi(NOTHING)[0])
check_eq("does not abort the others' commands", [(theirs, GOOD, None)], ends(b, 1))
check("but one's own", quiet(a, 1))
control(a)
settle()

# --- unit attention interlock -----------------------------------------------------------------------

control(a, interlock=2)
check_eq("UA_INTLCK_CTRL 10b: a unit attention", (6, 0x2a, 1), attention(b))
check_eq("stays when it has been reported", (6, 0x2a, 1), attention(b))
check_eq("INQUIRY does not meet it", GOOD, b.scsi(bytes([0x12, 0, 0, 0, 36, 0]), expect=36)[0])
check_eq("REQUEST SENSE tells it", (6, 0x2a, 1),
         sense_code(b.scsi(bytes([0x03, 0, 0, 0, 252, 0]), expect=252)[1]))
check_eq("and clears it", GOOD, attention(b))
c.scsi(bytes([0x03, 0, 0, 0, 252, 0]), expect=252)
check_eq("RESERVE", GOOD, a.scsi(bytes([0x16, 0, 0, 0, 0, 0]))[0])
check_eq("a conflict", CONFLICT, attention(b))
check_eq("establishes none with 10b", CONFLICT, attention(b))
control(a, interlock=3)
for conn in (b, c):
    conn.scsi(bytes([0x03, 0, 0, 0, 252, 0]), expect=252)
check_eq("UA_INTLCK_CTRL 11b: a conflict", CONFLICT, attention(b))
check_eq("establishes PREVIOUS RESERVATION CONFLICT STATUS", (6, 0x2c, 9), attention(b))
b.scsi(bytes([0x03, 0, 0, 0, 252, 0]), expect=252)
check_eq("once", CONFLICT, attention(b))
b.scsi(bytes([0x03, 0, 0, 0, 252, 0]), expect=252)
a.scsi(bytes([0x17, 0, 0, 0, 0, 0]))

# --- TASK SET FULL ----------------------------------------------------------------------------------

before = counter("task_set_full")
attribute("max_tasks", 4)
tags = [slow(a, n) for n in range(6)]
got = ends(a, 2, 0.5)
check_eq("commands beyond max_tasks end TASK SET FULL", [(tag, FULL, None) for tag in tags[4:]],
         got)
check_eq("and BUSY for who has none there", BUSY, b.scsi(TUR)[0])
check_eq("the counter", 3, counter("task_set_full") - before)
check_eq("another LUN has its own", GOOD, a.scsi(TUR, lun=lun(1))[0])
check_eq("those before are done", {(tag, GOOD, None) for tag in tags[:4]}, set(ends(a, 4)))
check_eq("with 11b TASK SET FULL establishes a unit attention", (6, 0x2c, 8), attention(a))
check_eq("and BUSY another", (6, 0x2c, 7), attention(b))
for conn in (a, b):
    conn.scsi(bytes([0x03, 0, 0, 0, 252, 0]), expect=252)
attribute("max_tasks", 0)
got = [slow(a, n) for n in range(6)]
check_eq("without a limit all are taken", [GOOD] * 6, [status for _, status, _ in ends(a, 6)])
control(a)
settle()

# --- task management ---------------------------------------------------------------------------------

q = login(4, iSCSIProtocolLevel="2")
tag = slow(q)
check_eq("QUERY TASK finds a task on its LUN", 7, answer(q, manage(q, QUERY_TASK, 0, tag, q.cmd_sn - 1)))
check_eq("and on no other", 0, answer(q, manage(q, QUERY_TASK, 1, tag, q.cmd_sn - 1)))
check_eq("it goes on", [(tag, GOOD, None)], ends(q, 1))
check_eq("TARGET WARM RESET is complete", 0, answer(q, manage(q, WARM_RESET)))
check_eq("all are told of a hard reset", [(6, 0x29, 2)] * 8,
         [attention(conn, n) for conn in (a, b, c, q) for n in (0, 1)])
tag = manage(a, COLD_RESET)
check_eq("TARGET COLD RESET is complete", 0, answer(a, tag))
check_eq("it ends all sessions", [True] * 4, [conn.closed_within(5) for conn in (a, b, c, q)])
d = Conn().login()
check_eq("who logs in again meets a power on", (6, 0x29, 0), attention(d))
check_eq("and can work", [GOOD, GOOD], [d.ready(), d.scsi(read10(0, 1), expect=512)[0]])
