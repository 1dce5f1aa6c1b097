# SPDX-License-Identifier: GPL-2.0
"""Several connections in one session (RFC 7143 sections 4.2.2, 4.2.3, 6.3.4, 11.14).

The target's LUN 0 is the dm device "slow"; MaxConnections is 4.
"""

import os
import random
import subprocess
import time

from host import resume, suspend, until
from iscsi import (ASYNC, DATA_IN, DATA_OUT, IMMEDIATE, LOGOUT, LOGOUT_RESPONSE, NOP_IN, NOP_OUT, R2T,
                   RESERVED_TAG, SCSI_RESPONSE, TARGET, TASK_MGMT, TASK_MGMT_RESPONSE, Closed, Conn,
                   Refused, Rejected, check, check_eq, counter, header, lun, read10, sense_code, write10)

TPG = f"/sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1"
ABORT_TASK, ABORT_TASK_SET, COLD_RESET = 1, 2, 7
COMPLETE, NO_LUN, REJECTED = 0, 2, 255
BLOCK = 512


class Session:
    """What the connections of a session share."""

    def __init__(self, isid):
        self.isid = bytes.fromhex(isid)
        self.cmd_sn = 1
        self.tsih = 0
        self.itt = 0

    def add(self, cid, **wanted):
        line = Line(self, cid)
        line.login(isid=self.isid, tsih=self.tsih, cid=cid, **wanted)
        self.tsih = line.tsih
        return line


class Line(Conn):
    """One of them."""

    def __init__(self, session, cid):
        self.session = session
        super().__init__()
        self.cid = cid

    cmd_sn = property(lambda self: self.session.cmd_sn,
                      lambda self, value: setattr(self.session, "cmd_sn", max(value, self.session.cmd_sn)))
    itt = property(lambda self: self.session.itt,
                   lambda self, value: setattr(self.session, "itt", max(value, self.session.itt)))

    def function(self, function, tag=RESERVED_TAG, cmd_sn=None, ref=0, immediate=True):
        return self.request(TASK_MGMT, 0x80 | function, word20=tag, immediate=immediate, cmd_sn=cmd_sn,
                            tail=ref.to_bytes(4, "big"))

    def leave(self, cid, reason=1):
        return self.request(LOGOUT, 0x80 | reason, word20=cid << 16, immediate=True)

    def open_write(self, lba, blocks=8, cmd_sn=None):
        """A WRITE whose data the target asks for."""
        return self.command(write10(lba, blocks), flags=0xa1, expect=blocks * BLOCK, cmd_sn=cmd_sn)

    def acknowledge(self):
        """Tells the ExpStatSN, and wants no answer."""
        self.send(header(NOP_OUT | IMMEDIATE, 0x80, 0, RESERVED_TAG, RESERVED_TAG, self.cmd_sn,
                         self.exp_stat_sn))

    def comes(self, opcode, itt=None, seconds=1.0):
        """Whether such a PDU comes."""
        try:
            return self.wait(opcode, itt, seconds)
        except TimeoutError:
            return None
        finally:
            self.sock.settimeout(20)

    def progress(self):
        """ExpCmdSN."""
        assert self.ping()
        return self.exp_cmd_sn


def info():
    with open(f"{TPG}/acls/iqn.2026-01.org.example:raw/info", encoding="ascii") as file:
        return file.read()


def gone(line, seconds=5):
    return line.closed_within(seconds)


# --- login ----------------------------------------------------------------------------------

session = Session("80feed000031")
one = session.add(0, MaxConnections="8", InitialR2T="Yes")
check_eq("MaxConnections is negotiated to what is allowed", "4", one.keys.get("MaxConnections"))
check_eq("the unit is ready", 0, one.ready())
two = session.add(1)
check_eq("a second connection joins the session", one.tsih, two.tsih)
check("both answer", one.ping() and two.ping())
check_eq("the session's unit is ready on the second", 0, two.ready())
lines = [one, two, session.add(7), session.add(65535)]
check("all four answer", all(line.ping() for line in lines))
try:
    session.add(8)
    seen = 0
except Refused as refused:
    seen = refused.code
check_eq("a fifth is refused: too many connections", 0x0206, seen)
try:
    Line(session, 3).login(isid=bytes.fromhex("80feed000032"), tsih=session.tsih, cid=3)
    seen = 0
except Refused as refused:
    seen = refused.code
check_eq("another initiator port cannot join", 0x0208, seen)
check_eq("the session is shown once", 1, info().count("LIO Session ID"))
check_eq("with each of its connections", ["0", "1", "7", "65535"],
         [line.split()[1] for line in info().splitlines() if line.startswith("CID:")])
shown = subprocess.run(["ferritectl", "session", "list"], capture_output=True, text=True, check=True).stdout
check("ferritectl session list tells how many", "4 connections" in shown, shown)
alone = Session("80feed000033")
single = alone.add(0)
try:
    alone.add(1)
    seen = 0
except Refused as refused:
    seen = refused.code
check_eq("a session that did not negotiate more has one connection", 0x0206, seen)
# More answers than wait for others to be written, if nothing else is done.
single.send_raw(b"".join(single.pack(header(TASK_MGMT | IMMEDIATE, 0x80 | ABORT_TASK_SET, 0, 1000 + n, RESERVED_TAG,
                                            single.cmd_sn, single.exp_stat_sn)) for n in range(200)))
check_eq("200 functions that come at once are all answered", [(1000 + n, COMPLETE) for n in range(200)],
         [(pdu.itt, pdu.header[2]) for pdu in (single.wait(TASK_MGMT_RESPONSE) for _ in range(200))])
single.logout()

# --- commands -------------------------------------------------------------------------------

data = os.urandom(8 * BLOCK)
check_eq("what one connection writes", 0, one.scsi(write10(0, 8), data)[0])
check_eq("another one reads", data, two.scsi(read10(0, 8), expect=8 * BLOCK)[1])

sn = session.cmd_sn
late = two.command(write10(8, 8), data, immediate_data=data, cmd_sn=sn + 1)
check_eq("a command that is not due yet is not acknowledged", sn, two.progress())
check("and not carried out", two.comes(SCSI_RESPONSE, late, 0.5) is None)
first = one.command(bytes(6), cmd_sn=sn)
check_eq("when the one before it comes on another connection, that is answered there", first,
         one.wait(SCSI_RESPONSE, first).itt)
check_eq("and the one that waited on its own connection", 0, two.wait(SCSI_RESPONSE, late).header[3])
session.cmd_sn = sn + 2
check_eq("both are acknowledged", sn + 2, one.progress())
check_eq("its data is there", data, one.scsi(read10(8, 8), expect=8 * BLOCK)[1])

# Many, each connection in order, all of them in disorder.
random.seed(7)
blocks = [os.urandom(BLOCK) for _ in range(96)]
sent = {line: [] for line in lines}
for start in range(0, len(blocks), 32):
    batch = list(range(start, start + 32))
    numbers = {n: session.cmd_sn + n - start for n in batch}
    deal = {line: [] for line in lines}
    for n in batch:
        deal[random.choice(lines)].append(n)
    for line in random.sample(lines, len(lines)):
        for n in deal[line]:
            sent[line].append(line.command(write10(1000 + n, 1), blocks[n], cmd_sn=numbers[n]))
    session.cmd_sn = session.cmd_sn + 32
    for line in lines:
        answers = {pdu.itt: pdu.header[3] for pdu in (line.wait(SCSI_RESPONSE) for _ in sent[line])}
        if answers != dict.fromkeys(sent[line], 0):
            check("every command that came in disorder ends GOOD", False, answers)
        sent[line] = []
check_eq("96 commands over four connections wrote what they should", b"".join(blocks),
         one.scsi(read10(1000, 96), expect=96 * BLOCK)[1])
check_eq("and are all acknowledged", session.cmd_sn, two.progress())

# --- task management ------------------------------------------------------------------------

mine, other = one.open_write(2000), two.open_write(2008)
one.wait(R2T, mine)
two.wait(R2T, other)
for line in lines:
    line.acknowledge()
itt = two.function(ABORT_TASK_SET)
check_eq("ABORT TASK SET is complete", COMPLETE, two.wait(TASK_MGMT_RESPONSE, itt).header[2])
check("it has ended the tasks of its own connection and of others",
      one.comes(SCSI_RESPONSE, mine, 0.5) is None and two.comes(SCSI_RESPONSE, other, 0.5) is None)
check_eq("all goes on", (0, 0), (one.ready(), two.ready()))

for immediate in (False, True):
    kind = "an immediate" if immediate else "a numbered"
    for line in lines:
        line.acknowledge()
    sn = session.cmd_sn
    itt = two.function(ABORT_TASK_SET, cmd_sn=sn + 1, immediate=immediate)
    check(f"{kind} ABORT TASK SET waits for a command before it",
          two.comes(TASK_MGMT_RESPONSE, itt, 1) is None)
    # This one has overtaken it.
    after = two.open_write(2016, cmd_sn=sn + (1 if immediate else 2))
    victim = one.open_write(2008, cmd_sn=sn)
    session.cmd_sn = sn + (2 if immediate else 3)
    pdu = two.comes(TASK_MGMT_RESPONSE, itt, 5)
    check_eq(f"{kind} ABORT TASK SET is complete when that has come", COMPLETE, pdu and pdu.header[2])
    check("and has ended it", one.comes(SCSI_RESPONSE, victim, 0.5) is None)
    r2t = next((p for p in two.aside if p.opcode == R2T and p.itt == after), None) or two.wait(R2T, after)
    two.data_out(r2t, data)
    check_eq("but not one with a higher CmdSN", 0, two.wait(SCSI_RESPONSE, after).header[3])

sn = session.cmd_sn
for line in lines:
    line.acknowledge()
itt = two.function(ABORT_TASK_SET, cmd_sn=sn + 1, immediate=True)
start = time.monotonic()
pdu = two.comes(TASK_MGMT_RESPONSE, itt, 15)
check_eq("if that never comes, the function is rejected", REJECTED, pdu and pdu.header[2])
check("in time for the initiator", 3 < time.monotonic() - start < 13, time.monotonic() - start)

# The response of a function must not overtake those of other connections.
for line in lines:
    line.acknowledge()
assert two.ping()
itt = one.command(bytes(6))
one.wait(SCSI_RESPONSE, itt)
itt = two.function(ABORT_TASK_SET)
check("the response waits until those on other connections are acknowledged",
      two.comes(TASK_MGMT_RESPONSE, itt, 1) is None)
pdu = one.comes(NOP_IN, RESERVED_TAG, 2)
check("the acknowledgement is asked for", pdu and pdu.ttt != RESERVED_TAG, pdu)
one.send(header(NOP_OUT | IMMEDIATE, 0x80, 0, RESERVED_TAG, pdu.ttt if pdu else 0, session.cmd_sn,
                one.exp_stat_sn))
pdu = two.comes(TASK_MGMT_RESPONSE, itt, 5)
check_eq("then it comes", COMPLETE, pdu and pdu.header[2])
itt = one.command(bytes(6))
one.wait(SCSI_RESPONSE, itt)
itt = two.function(ABORT_TASK_SET)
pdu = two.comes(TASK_MGMT_RESPONSE, itt, 12)
check_eq("without any, it comes in the end", COMPLETE, pdu and pdu.header[2])

tag = one.open_write(2000)
one.wait(R2T, tag)
itt = one.function(ABORT_TASK, tag=tag, ref=session.cmd_sn - 1)
check_eq("ABORT TASK is complete", COMPLETE, one.wait(TASK_MGMT_RESPONSE, itt).header[2])

def choke(line):
    """Has more data sent than goes on its way as long as nothing is read."""
    line.ready()
    return [line.command(read10(0, 2048), expect=1 << 20) for _ in range(8)]


# Functions that become due beside as many answers as may wait: the initiator does not read.
port = Session("80feed000037")
busy, other = port.add(0, MaxConnections="2"), port.add(1)
reads = choke(busy)
check("the target has its READs", other.progress() == port.cmd_sn)
sn = port.cmd_sn
functions = [busy.request(TASK_MGMT, 0x80 | ABORT_TASK_SET, lun=lun(99), immediate=True, cmd_sn=sn + 1)
             for _ in range(32)]
paused = counter("rx_paused")
pings = [busy.request(NOP_OUT, immediate=True) for _ in range(70)]
check("so many answers wait that no more is read", until(lambda: counter("rx_paused") > paused))
other.command(bytes(6), cmd_sn=sn)
port.cmd_sn = sn + 1
time.sleep(1)
ends, answers = {}, []
try:
    # The READs may come to their ends in any order.
    while len(ends) < len(reads) or len(answers) < len(functions):
        pdu = busy.recv()
        if pdu.opcode == DATA_IN and pdu.flags & 1:
            ends[pdu.itt] = pdu.header[3]
        elif pdu.opcode == TASK_MGMT_RESPONSE:
            answers.append(pdu.header[2])
        else:
            busy.aside.append(pdu)
    seen = [ends.get(tag) for tag in reads] + answers
except (Closed, TimeoutError) as error:
    seen = error
check_eq("32 functions that become due then are answered when there is room", [0] * 8 + [NO_LUN] * 32, seen)
check("as are the pings", busy.ping() and sum(pdu.opcode == NOP_IN for pdu in busy.aside) >= len(pings))
port.cmd_sn = sn + 1
busy.leave(0, reason=0)

# --- one connection goes ----------------------------------------------------------------------

third = lines[2]
tag = third.open_write(3000, 32)
r2t = third.wait(R2T, tag)
third.send(header(DATA_OUT, 0, 0, tag, r2t.ttt, 0, third.exp_stat_sn, bytes(12)), bytes(4096))
third.reset()
time.sleep(0.5)
check("a connection that breaks in a WRITE leaves the others alone", one.ping() and two.ping())
check_eq("the session has three connections left", 3, info().count("CID:"))
status, _, sense = one.scsi(bytes(6))
check_eq("the unit tells that commands were lost with it (47h/7Fh)", (2, (6, 0x47, 0x7f)),
         (status, sense_code(sense)))
data = os.urandom(32 * BLOCK)
check_eq("the WRITE is done again on another connection", 0, one.scsi(write10(3000, 32), data)[0])
check_eq("and reads back", data, two.scsi(read10(3000, 32), expect=32 * BLOCK)[1])

fourth = lines[3]
sn = session.cmd_sn
fourth.command(write10(3100, 1), bytes(BLOCK), cmd_sn=sn + 1)
check_eq("a command is held", sn, fourth.progress())
fourth.reset()
time.sleep(0.5)
itt = one.command(bytes(6), cmd_sn=sn)
one.wait(SCSI_RESPONSE, itt)
check_eq("when its connection breaks, it counts as never received", sn + 1, one.progress())
itt = two.command(write10(3100, 1), data[:BLOCK], cmd_sn=sn + 1)
pdu = two.comes(SCSI_RESPONSE, itt, 5)
check_eq("and is taken when it comes again on another one", 0, pdu and pdu.header[3])
session.cmd_sn = sn + 2
check_eq("it wrote", data[:BLOCK], one.scsi(read10(3100, 1), expect=BLOCK)[1])

third, fourth = session.add(7), session.add(9)
check("there is room for new connections", third.ping() and fourth.ping())
again = session.add(7)
check("a login with the CID of a connection replaces it", gone(third))
check_eq("four connections", 4, info().count("CID:"))
check("all answer", all(line.ping() for line in (one, two, again, fourth)))

# --- logout -----------------------------------------------------------------------------------

itt = one.leave(77)
check_eq("logout of an unknown CID", 1, one.wait(LOGOUT_RESPONSE, itt).header[2])
itt = one.leave(9, reason=2)
check_eq("recovery is not supported", 2, one.wait(LOGOUT_RESPONSE, itt).header[2])
check("and has changed nothing", fourth.ping())
itt = one.leave(9)
check_eq("logout of another connection", 0, one.wait(LOGOUT_RESPONSE, itt).header[2])
check("closes it", gone(fourth))

# Its tasks must be off the disk before it is answered.
suspend("slow")
again.command(write10(4000, 1), bytes(BLOCK))
time.sleep(0.5)
itt = one.leave(7)
check("logout waits for a WRITE that is on the disk", one.comes(LOGOUT_RESPONSE, itt, 1) is None)
check("the connection is closed at once", gone(again))
resume("slow")
pdu = one.comes(LOGOUT_RESPONSE, itt, 10)
check_eq("and is answered when the disk is done with it", 0, pdu and pdu.header[2])
check_eq("two connections are left", 2, info().count("CID:"))
one.ready()

extra = session.add(5)
tag = extra.open_write(5000)
extra.wait(R2T, tag)
itt = extra.leave(5)
check_eq("a connection logs itself out", 0, extra.wait(LOGOUT_RESPONSE, itt).header[2])
check("and is closed", gone(extra))
check("the others are not", one.ping() and two.ping())
check_eq("they go on", 0, one.ready())

# --- what a connection that breaks leaves behind -----------------------------------------------


def window():
    """How many commands the initiator may send now."""
    assert one.ping()
    return (one.max_cmd_sn - one.exp_cmd_sn + 1) & 0xffffffff


def becomes(wanted, seconds=5):
    end = time.monotonic() + seconds
    while window() != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return window()


whole = window()
extra = session.add(5)
suspend("slow")
tag = extra.command(write10(5000, 1), bytes(BLOCK))
time.sleep(0.3)
for _ in range(3):
    extra.function(ABORT_TASK, tag, ref=session.cmd_sn - 1, immediate=False)
end = time.monotonic() + 5
while one.exp_cmd_sn != session.cmd_sn and time.monotonic() < end:
    one.ping()
check_eq("a WRITE and three functions have their places in the window", whole - 4, window())
extra.reset()
time.sleep(0.5)
resume("slow")
check_eq("which are free again when their connection has broken", whole, becomes(whole))
one.ready()

port = Session("80feed000034")
first, second = port.add(0, MaxConnections="2", InitialR2T="Yes"), port.add(1)
first.ready()
second.ping()
count = (second.max_cmd_sn - second.exp_cmd_sn + 1) & 0xffffffff
for n in range(count):
    first.open_write(5000)
for n in range(count):
    first.wait(R2T)
check("the window is closed", second.ping() and second.max_cmd_sn == second.exp_cmd_sn - 1, second.max_cmd_sn)
first.reset()
pdu = second.comes(NOP_IN, RESERVED_TAG, 5)
check("that it opens as its connection breaks is told on the other one",
      pdu and pdu.ttt == RESERVED_TAG and pdu.max_cmd_sn >= pdu.exp_cmd_sn, pdu)
second.logout()

# --- what comes again -------------------------------------------------------------------------


def answer(line, itt, seconds=5):
    """The status of a command, or what else became of it."""
    try:
        pdu = line.comes(SCSI_RESPONSE, itt, seconds)
    except Rejected as rejected:
        return f"rejected with {rejected.reason:#04x}"
    return None if pdu is None else pdu.header[3]


# On one connection: while it is carried out, and while it waits for its data.
alone = Session("80feed000036")
single = alone.add(0, InitialR2T="Yes")
single.ready()
suspend("slow")
data = os.urandom(BLOCK)
sn = alone.cmd_sn
tag = single.command(write10(6000, 1), data)
single.command(write10(6000, 1), data, itt=tag, cmd_sn=sn)
try:
    seen = single.ping()
except Rejected as rejected:
    seen = rejected
check("a command that comes again while it is carried out is ignored", seen is True, seen)
# Functions that all wait for the disk.
reads = [single.command(read10(6000 + n, 1), expect=BLOCK) for n in range(64)]
aborts = [single.function(ABORT_TASK, tag=read, ref=alone.cmd_sn - 64 + n) for n, read in enumerate(reads)]
check("64 functions wait for a disk that hangs", single.ping())
resume("slow")
check_eq("the command is answered", 0, answer(single, tag))
# Some may have come before it.
early = [pdu for pdu in single.aside if pdu.opcode == TASK_MGMT_RESPONSE]
single.aside = [pdu for pdu in single.aside if pdu.opcode != TASK_MGMT_RESPONSE]
seen = [pdu.header[2] for pdu in early + [single.wait(TASK_MGMT_RESPONSE) for _ in aborts[len(early):]]]
check_eq("and so are the functions", [COMPLETE] * 64, seen)
check("and nothing else", single.ping() and not single.aside, single.aside)
check_eq("it wrote", data, single.scsi(read10(6000, 1), expect=BLOCK)[1])
single.logout()

# On a connection that takes the place of the one it came by first.
extra = session.add(5)
suspend("slow")
tag = extra.command(write10(6000, 1), data)
end = time.monotonic() + 5
while extra.progress() != session.cmd_sn and time.monotonic() < end:
    time.sleep(0.05)
newer = session.add(5)
newer.command(bytes(6), itt=tag)
seen = answer(newer, tag)
check("the tag of a command that was lost on the disk can be used at once", seen in (0, 2), seen)


def overwrite(line):
    return answer(line, line.command(write10(6000, 1), data[:BLOCK], immediate_data=data[:BLOCK]))


data = os.urandom(BLOCK)
check_eq("while the disk has that one, a write by the new connection ends BUSY", 8, overwrite(newer))
check_eq("and so does one by another connection", 8, overwrite(one))
resume("slow")
check("writes are carried out again when it has ended", until(lambda: overwrite(newer) == 0))
check_eq("the last one is what is there", data, one.scsi(read10(6000, 1), expect=BLOCK)[1])
for _ in range(5):
    sn = session.cmd_sn
    data = os.urandom(8 * BLOCK)
    tag = newer.open_write(6000, cmd_sn=sn + 1)
    newer.wait(R2T, tag)
    newer = session.add(5)
    newer.command(write10(6000, 8), data, immediate_data=data, itt=tag, cmd_sn=sn + 1)
    one.command(bytes(6), cmd_sn=sn)
    session.cmd_sn = sn + 2
    seen = answer(newer, tag)
    if seen != 0:
        break
check_eq("a command that was not due yet is taken when it comes again at once", 0, seen)
check_eq("its data is there", data, one.scsi(read10(6000, 8), expect=8 * BLOCK)[1])
# An abort that names its number under another tag leaves its place in the window as it is.
whole = window()
sn = session.cmd_sn
for n in range(3):
    tag = newer.command(write10(6000, 1), data[:BLOCK], immediate_data=data[:BLOCK], cmd_sn=sn + 1)
    itt = newer.function(ABORT_TASK, tag=0x7fff0000, ref=sn + 1, cmd_sn=sn + 2)
    newer.wait(TASK_MGMT_RESPONSE, itt)
    one.command(bytes(6), cmd_sn=sn)
    sn += 2
    session.cmd_sn = sn
    if (seen := answer(newer, tag)) != 0:
        break
check_eq("a command is carried out whatever tag an abort of its number has", 0, seen)
check_eq("the window is as wide as before", whole, window())
newer.reset()

# --- immediate commands -----------------------------------------------------------------------

alone = Session("80feed000037")
single = alone.add(0)
single.ready()
suspend("slow")
data = os.urandom(BLOCK)


def urgent():
    return single.command(write10(6000, 1), data, immediate_data=data, immediate=True)


sixteen = [urgent() for _ in range(16)]
check("sixteen immediate commands wait for the disk", single.ping())
check_eq("one more is rejected", "rejected with 0x06", answer(single, urgent()))
check_eq("the places in the window are for others", 0, answer(single, single.command(bytes(6))))
resume("slow")
check_eq("the sixteen are answered", [0] * 16, [single.wait(SCSI_RESPONSE).header[3] for _ in sixteen])
check_eq("and there is room for more", 0, answer(single, urgent()))
single.logout()

# --- silence ----------------------------------------------------------------------------------

extra = session.add(5)
for name, value in (("nopin_timeout", "3"), ("nopin_response_timeout", "3")):
    with open(f"{TPG}/acls/iqn.2026-01.org.example:raw/attrib/{name}", "w", encoding="ascii") as file:
        file.write(value)
end = time.monotonic() + 12
closed = False
while time.monotonic() < end and not closed:
    one.ping()
    two.ping()
    closed = gone(extra, 0.5)
check("a connection that is silent is given up", closed)
check("those that answer are not", one.ping() and two.ping())
with open(f"{TPG}/acls/iqn.2026-01.org.example:raw/attrib/nopin_timeout", "w", encoding="ascii") as file:
    file.write("0")

# --- the end of the session -------------------------------------------------------------------

itt = one.function(COLD_RESET)
for line in (one, two):
    line.acknowledge()
check("TARGET COLD RESET closes all connections of the session", gone(one, 10) and gone(two, 10))
check("the others are told", any(p.opcode == ASYNC for p in two.aside))

session = Session("80feed000034")
lines = [session.add(0, MaxConnections="4"), session.add(1), session.add(2)]
lines[0].ready()
tag = lines[1].open_write(0)
lines[1].wait(R2T, tag)
itt = lines[0].leave(0, reason=0)
check_eq("closing the session is answered", 0, lines[0].wait(LOGOUT_RESPONSE, itt).header[2])
check("and closes all its connections", all(gone(line) for line in lines))
end = time.monotonic() + 5
while "LIO Session ID" in info() and time.monotonic() < end:
    time.sleep(0.1)
check("it is gone", "LIO Session ID" not in info(), info())

port = Session("80feed000038")
line = port.add(0, MaxConnections="2")
choke(line)
line.leave(0, reason=0)
time.sleep(0.5)
try:
    seen = port.add(1).ping()
except (Closed, Refused, TimeoutError) as error:
    seen = error
check("a session that is logged out, and has not been told yet, takes no more connections", seen is not True, seen)
line.reset()

session = Session("80feed000035")
lines = [session.add(0, MaxConnections="4"), session.add(1), session.add(2)]
newer = Session("80feed000035")
line = newer.add(0, MaxConnections="4")
check("a new login of the initiator port ends all connections of its session", all(gone(l) for l in lines))
check_eq("the new session is ready", 0, line.ready())
lines = [newer.add(n) for n in (1, 2, 3)]
for number, one in enumerate(lines):
    one.open_write(number * 64, 64)
for one in (line, *lines):
    one.reset()
end = time.monotonic() + 5
while "LIO Session ID" in info() and time.monotonic() < end:
    time.sleep(0.1)
check("a session ends with its last connection", "LIO Session ID" not in info(), info())
try:
    newer.add(0)
    seen = 0
except Refused as refused:
    seen = refused.code
except Closed:
    seen = "closed"
check_eq("and cannot be joined then", 0x020a, seen)
