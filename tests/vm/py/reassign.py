# SPDX-License-Identifier: GPL-2.0
"""ErrorRecoveryLevel 2: connection recovery (RFC 7143 sections 7.1.4.3, 7.2.2, 7.14, 11.14).

The target's LUN 0 is the dm device "slow"; MaxConnections is 4.
"""

import os
import struct
import time

from host import resume, suspend
from iscsi import (DATA_IN, DATA_OUT, IMMEDIATE, LOGOUT, LOGOUT_RESPONSE, R2T, SCSI_RESPONSE,
                   TARGET, TASK_MGMT, TASK_MGMT_RESPONSE, Conn, check, check_eq, header, read10,
                   sense_code, write10)

TPG = f"/sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1"
BLOCK = 512
COMPLETE, NO_TASK, ALLEGIANT, REJECTED = 0, 1, 3, 255


class Session:
    """What the connections of a session share."""

    def __init__(self, isid, **wanted):
        self.isid = bytes.fromhex(isid)
        self.wanted = {"ErrorRecoveryLevel": "2", "MaxConnections": "4", "InitialR2T": "Yes",
                       "ImmediateData": "No", "MaxRecvDataSegmentLength": "8192", **wanted}
        self.cmd_sn = 1
        self.tsih = 0
        self.itt = 0

    def add(self, cid):
        wanted = self.wanted if not self.tsih else {"MaxRecvDataSegmentLength": "8192"}
        line = Line(self)
        line.login(isid=self.isid, tsih=self.tsih, cid=cid, **wanted)
        if not self.tsih:
            self.keys = dict(line.keys)
        # What holds for the session was negotiated on its first connection.
        line.keys = {**self.keys, **line.keys}
        self.tsih = line.tsih
        return line


class Line(Conn):
    """One of them. What is `frozen` acknowledges nothing."""

    frozen = None

    def __init__(self, session):
        self.session = session
        super().__init__()

    cmd_sn = property(lambda self: self.session.cmd_sn,
                      lambda self, value: setattr(self.session, "cmd_sn", max(value, self.session.cmd_sn)))
    itt = property(lambda self: self.session.itt,
                   lambda self, value: setattr(self.session, "itt", max(value, self.session.itt)))
    exp_stat_sn = property(lambda self: self.__dict__["seen"] if self.frozen is None else self.frozen,
                           lambda self, value: self.__dict__.__setitem__("seen", value))

    def freeze(self):
        assert self.ping() and self.ping()
        self.frozen = self.__dict__["seen"]

    def write(self, lba, data):
        """A WRITE whose data is asked for: its tag and the R2T."""
        tag = self.command(write10(lba, len(data) // BLOCK), flags=0xa1, expect=len(data))
        return tag, self.wait(R2T, tag)

    def part(self, r2t, data, at, size, sn, last):
        self.send(header(DATA_OUT, 0x80 if last else 0, 0, r2t.itt, r2t.ttt, 0, self.exp_stat_sn,
                         struct.pack(">IIII", 0, sn, at, 0)), data[at:at + size])

    def log_out(self, cid, reason):
        """The Logout Response."""
        tag = self.request(LOGOUT, 0x80 | reason, word20=cid << 16, immediate=True)
        return self.wait(LOGOUT_RESPONSE, tag)

    def function(self, function, tag, ref=0, exp_data_sn=0, immediate=True):
        itt = self.request(TASK_MGMT, 0x80 | function, word20=tag, immediate=immediate,
                           tail=struct.pack(">II", ref, exp_data_sn))
        return self.wait(TASK_MGMT_RESPONSE, itt).header[2]

    def reassign(self, tag, exp_data_sn=0, **more):
        return self.function(8, tag, 0, exp_data_sn, **more)

    def data_in(self, tag):
        """Data-In PDUs of a task, and its response."""
        pdus = []
        while True:
            pdu = self.recv()
            if pdu.itt != tag:
                self.aside.append(pdu)
            elif pdu.opcode == DATA_IN:
                pdus.append(pdu)
            else:
                return pdus, pdu


def info():
    with open(f"{TPG}/acls/iqn.2026-01.org.example:raw/info", encoding="ascii") as file:
        return file.read()


def states():
    """The states of the connections by their CID."""
    lines = (line.split() for line in info().splitlines() if line.startswith("CID:"))
    return {int(words[1]): words[-1].removeprefix("TARG_CONN_STATE_") for words in lines}


def become(wanted, seconds=5):
    end = time.monotonic() + seconds
    while states() != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return states()


session = Session("80feed000051")
one, two = session.add(0), session.add(1)
check_eq("ErrorRecoveryLevel 2 is negotiated", "2", one.keys.get("ErrorRecoveryLevel"))
check_eq("the unit is ready", 0, one.ready())
size = 8192
data = os.urandom(64 * BLOCK)

# --- a WRITE that waits for data ------------------------------------------------------------------

tag, r2t = one.write(0, data)
one.part(r2t, data, 0, size, 0, False)
# Half of a PDU.
raw = one.pack(header(DATA_OUT, 0, 0, tag, r2t.ttt, 0, one.exp_stat_sn, struct.pack(">IIII", 0, 1, size, 0)),
               data[size:2 * size])
one.send_raw(raw[:4000])
time.sleep(0.3)
one.reset()
check_eq("a connection that breaks is kept for recovery", {0: "CLEANUP_WAIT", 1: "LOGGED_IN"},
         become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"}))
check_eq("the other one works", 0, two.ready())
check_eq("before a logout its tasks are still allegiant", ALLEGIANT, two.reassign(tag))
pdu = two.log_out(77, 2)
check_eq("logout for recovery of an unknown CID", 1, pdu.header[2])
pdu = two.log_out(0, 2)
check_eq("logout for recovery", (0, 20), (pdu.header[2], struct.unpack_from(">H", pdu.header, 42)[0]))
check_eq("a reassignment has to be immediate", REJECTED, two.reassign(tag, immediate=False))
check_eq("a tag that nobody knows", NO_TASK, two.reassign(0x7777))
check_eq("the WRITE is reassigned", COMPLETE, two.reassign(tag))
more = two.wait(R2T, tag)
check_eq("what is missing of its data is asked for", (size, len(data) - size), (more.u32(40), more.u32(44)))
two.data_out(more, data)
pdu = two.wait(SCSI_RESPONSE, tag)
check_eq("it ends GOOD", 0, pdu.header[3])
check("it has written all", two.scsi(read10(0, 64), expect=len(data))[1] == data)
check_eq("and is known no more", NO_TASK, two.reassign(tag))

# A task that comes in the middle of a PDU of another one leaves that one its place.
one = session.add(0)
tag, _ = one.write(100, data)
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
two.log_out(0, 2)
mine, r2t = two.write(700, data)
raw = two.pack(header(DATA_OUT, 0, 0, mine, r2t.ttt, 0, two.exp_stat_sn, bytes(16)), data[:size])
function = two.next_itt()
two.send_raw(two.pack(header(TASK_MGMT | IMMEDIATE, 0x88, 0, function, tag, two.cmd_sn, two.exp_stat_sn))
             + raw[:4000])
check_eq("a WRITE is reassigned in the middle of another one", COMPLETE,
         two.wait(TASK_MGMT_RESPONSE, function).header[2])
more = two.wait(R2T, tag)
two.send_raw(raw[4000:])
for sn in range(1, len(data) // size):
    two.part(r2t, data, sn * size, size, sn, sn + 1 == len(data) // size)
check_eq("the other one ends GOOD", 0, two.wait(SCSI_RESPONSE, mine).header[3])
two.data_out(more, data)
check_eq("and so does the one that was reassigned", 0, two.wait(SCSI_RESPONSE, tag).header[3])
check("both have written", two.scsi(read10(100, 64), expect=len(data))[1] == data
      == two.scsi(read10(700, 64), expect=len(data))[1])

# Many at once.
one = session.add(0)
tags = [one.write(100 + n, data[:BLOCK])[0] for n in range(60)]
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
two.log_out(0, 2)
functions = [two.next_itt() for _ in tags]
two.send_raw(b"".join(two.pack(header(TASK_MGMT | IMMEDIATE, 0x88, 0, itt, tag, two.cmd_sn, two.exp_stat_sn))
                      for itt, tag in zip(functions, tags)))
answers, asked = {}, {}
while len(answers) < len(tags) or len(asked) < len(tags):
    pdu = two.recv()
    if pdu.opcode == TASK_MGMT_RESPONSE:
        answers[pdu.itt] = pdu.header[2]
    elif pdu.opcode == R2T:
        asked[pdu.itt] = pdu
check_eq("60 WRITEs are reassigned at once", dict.fromkeys(functions, COMPLETE), answers)
for tag in tags:
    two.data_out(asked[tag], data[:BLOCK])
check_eq("and end GOOD", dict.fromkeys(tags, 0),
         {pdu.itt: pdu.header[3] for pdu in (two.wait(SCSI_RESPONSE) for _ in tags)})

# One whose data was asked for as often as it may be, and that breaks in the middle of it.
one = session.add(0)
tag, r2t = one.write(100, data[:size])
for _ in range(16):
    one.part(r2t, data, 0, size, 1, True)
    r2t = one.wait(R2T, tag)
raw = one.pack(header(DATA_OUT, 0x80, 0, tag, r2t.ttt, 0, one.exp_stat_sn, bytes(16)), bytes(size))
one.send_raw(raw[:4000])
time.sleep(0.3)
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
two.log_out(0, 2)
check_eq("a WRITE is reassigned whose data is not asked for any more", COMPLETE, two.reassign(tag))
pdu = two.wait(SCSI_RESPONSE, tag)
check_eq("it ends with protocol service CRC error", (2, (0xb, 0x47, 0x05)), (pdu.header[3], sense_code(pdu.data[2:])))

# --- a READ and a WRITE on the disk ---------------------------------------------------------------

one = session.add(0)
suspend("slow")
tag = one.command(read10(0, 64), expect=len(data))
write, r2t = one.write(200, data)
one.data_out(r2t, data)
time.sleep(0.3)
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
check_eq("logout for recovery", 0, two.log_out(0, 2).header[2])
check_eq("a READ on the disk is reassigned", COMPLETE, two.reassign(tag))
check_eq("a WRITE on the disk as well", COMPLETE, two.reassign(write))
check_eq("now they belong to the other connection", ALLEGIANT, two.reassign(tag))
resume("slow")
pdus, pdu = two.data_in(tag)
check("the data comes there", b"".join(p.data for p in pdus) == data)
check_eq("with GOOD", 0, pdu.header[3])
late = next((p for p in two.aside if p.itt == write), None) or two.wait(SCSI_RESPONSE, write)
check_eq("the WRITE is answered there", (SCSI_RESPONSE, 0), (late.opcode, late.header[3]))
check("it has written", two.scsi(read10(200, 64), expect=len(data))[1] == data)

# --- what was answered, and the answer not acknowledged ---------------------------------------------

for exp_data_sn in (0, 2):
    one = session.add(0)
    one.freeze()
    tag = one.command(read10(0, 64), expect=len(data))
    pdus, old = one.data_in(tag)
    one.reset()
    become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
    two.log_out(0, 2)
    check_eq("a READ that was answered is reassigned", COMPLETE, two.reassign(tag, exp_data_sn))
    stat_sn = two.exp_stat_sn
    again, pdu = two.data_in(tag)
    check(f"its data comes from DataSN {exp_data_sn} on",
          [p.data for p in pdus[exp_data_sn:]] == [p.data for p in again])
    check_eq("with their numbers", list(range(exp_data_sn, len(pdus))), [p.u32(36) for p in again])
    check_eq("and the response, with a StatSN of this connection", (SCSI_RESPONSE, 0, stat_sn, len(pdus)),
             (pdu.opcode, pdu.header[3], pdu.stat_sn, pdu.u32(36)))
    check("all goes on", two.ping())

one = session.add(0)
one.freeze()
tag, r2t = one.write(300, data)
one.data_out(r2t, data)
one.wait(SCSI_RESPONSE, tag)
# Somebody else writes there: the WRITE must not be carried out again.
other = os.urandom(64 * BLOCK)
check_eq("another connection writes there", 0, two.scsi(write10(300, 64), other)[0])
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
two.log_out(0, 2)
check_eq("a WRITE that was answered is reassigned", COMPLETE, two.reassign(tag))
check_eq("it is answered again", 0, two.wait(SCSI_RESPONSE, tag).header[3])
check("and not carried out again", two.scsi(read10(300, 64), expect=len(data))[1] == other)

one = session.add(0)
tag = one.command(bytes(6))
one.wait(SCSI_RESPONSE, tag)
one.ping()
one.ping()
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
two.log_out(0, 2)
check_eq("what was acknowledged does not exist", NO_TASK, two.reassign(tag))

# --- what is not kept -------------------------------------------------------------------------------

one = session.add(0)
sn = session.cmd_sn
held = one.command(write10(400, 1), flags=0xa1, expect=BLOCK, cmd_sn=sn + 1)
urgent = one.command(write10(401, 1), flags=0xa1, expect=BLOCK, immediate=True)
one.wait(R2T, urgent)
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
two.log_out(0, 2)
check_eq("an immediate command does not outlive its connection", NO_TASK, two.reassign(urgent))
check_eq("nor does one that was not acknowledged", NO_TASK, two.reassign(held))
session.cmd_sn = sn
two.ready()
check("its number is free", two.ping() and two.exp_cmd_sn == session.cmd_sn, (two.exp_cmd_sn, session.cmd_sn))

# --- task management and logout ---------------------------------------------------------------------

one = session.add(0)
tag, _ = one.write(500, data)
ref = session.cmd_sn - 1
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
two.log_out(0, 2)
check_eq("ABORT TASK ends a task that waits for its reassignment", COMPLETE, two.function(1, tag, ref))
check_eq("which is then not there", NO_TASK, two.reassign(tag))

one = session.add(0)
tag, _ = one.write(500, data)
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN"})
check_eq("a logout that closes a broken connection", 0, two.log_out(0, 1).header[2])
check_eq("ends its tasks", NO_TASK, two.reassign(tag))
check_eq("and it is gone", {1: "LOGGED_IN"}, become({1: "LOGGED_IN"}))

# The logout may come at any moment of its end.
stayed = []
for pause in range(20):
    while two.scsi(bytes(6))[0]:
        pass
    one = session.add(0)
    one.write(500, data)
    one.reset()
    time.sleep(pause / 2000)
    two.log_out(0, 1)
    stayed += [become({1: "LOGGED_IN"})]
check_eq("whenever the logout comes", [{1: "LOGGED_IN"}] * 20, stayed)
status, _, sense = two.scsi(bytes(6))
check_eq("the unit tells that commands were lost (47h/7Fh)", (2, (6, 0x47, 0x7f)), (status, sense_code(sense)))

one = session.add(0)
tag, r2t = one.write(500, data)
check_eq("a task of a live connection is allegiant", ALLEGIANT, two.reassign(tag))
check_eq("a live connection is logged out for recovery", 0, two.log_out(0, 2).header[2])
check("that closes it", one.closed_within(5))
check_eq("its WRITE is reassigned", COMPLETE, two.reassign(tag))
two.data_out(two.wait(R2T, tag), data)
check_eq("and ends GOOD", 0, two.wait(SCSI_RESPONSE, tag).header[3])
two.log_out(0, 0)

# --- the only connection ----------------------------------------------------------------------------

session = Session("80feed000052", DefaultTime2Wait="1", DefaultTime2Retain="3", MaxConnections="1")
one = session.add(3)
one.ready()
tag, r2t = one.write(600, data)
one.part(r2t, data, 0, size, 0, False)
time.sleep(0.2)
one.reset()
check_eq("a session outlives its only connection", {3: "CLEANUP_WAIT"}, become({3: "CLEANUP_WAIT"}))
two = session.add(3)
check_eq("a login with the same CID logs it out", COMPLETE, two.reassign(tag))
two.data_out(two.wait(R2T, tag), data)
check_eq("its WRITE ends GOOD", 0, two.wait(SCSI_RESPONSE, tag).header[3])
check("it has written all", two.scsi(read10(600, 64), expect=len(data))[1] == data)

tag, r2t = two.write(600, data)
two.reset()
become({3: "CLEANUP_WAIT"})
one = session.add(3)
time.sleep(6)
check_eq("a task is kept for Time2Wait and Time2Retain only", NO_TASK, one.reassign(tag))
check_eq("the session goes on", 0, one.ready())
tag, r2t = one.write(600, data)
one.reset()
start = time.monotonic()
end = start + 12
while "LIO Session ID" in info() and time.monotonic() < end:
    time.sleep(0.1)
took = time.monotonic() - start
check("a session without a connection ends when that time is over", 2.5 < took < 8, took)

# --- twice ------------------------------------------------------------------------------------------

session = Session("80feed000054")
one, two, three = session.add(0), session.add(1), session.add(2)
one.ready()
one.freeze()
tag = one.command(read10(0, 64), expect=len(data))
want = b"".join(pdu.data for pdu in one.data_in(tag)[0])
one.reset()
become({0: "CLEANUP_WAIT", 1: "LOGGED_IN", 2: "LOGGED_IN"})
three.log_out(0, 2)
# More than TCP takes is to be sent before the answer.
for _ in range(24):
    two.command(read10(0, 2048), expect=2048 * BLOCK)
time.sleep(1)
two.request(TASK_MGMT, 0x88, word20=tag, immediate=True)
time.sleep(0.5)
two.reset()
become({0: "CLEANUP_WAIT", 1: "CLEANUP_WAIT", 2: "LOGGED_IN"})
three.log_out(1, 2)
check_eq("an answer whose second connection broke before it left is reassigned again", COMPLETE, three.reassign(tag))
pdus, pdu = three.data_in(tag)
check("and comes with its data", b"".join(p.data for p in pdus) == want)
check_eq("and GOOD", 0, pdu.header[3])
three.log_out(2, 0)

session = Session("80feed000053")
one = session.add(0)
one.ready()
one.write(0, data)
one.reset()
become({0: "CLEANUP_WAIT"})
newer = Session("80feed000053")
one = newer.add(0)
check_eq("a new session of the port ends the old one", {0: "LOGGED_IN"}, become({0: "LOGGED_IN"}))
one.ready()
# This one is kept when the target goes.
suspend("slow")
one.command(read10(0, 64), expect=len(data))
one.write(0, data)
time.sleep(0.2)
one.reset()
become({0: "CLEANUP_WAIT"})
resume("slow")
