# SPDX-License-Identifier: GPL-2.0
"""ErrorRecoveryLevel 1 (RFC 7143 sections 7.1.4.1, 7.1.4.2, 7.8, 7.9 and 11.16)."""

import os
import struct
import time

from iscsi import (DATA_IN, DATA_OUT, IMMEDIATE, NOP_IN, NOP_OUT, R2T, REASONS, REJECT, RESERVED_TAG,
                   SCSI_COMMAND, SCSI_RESPONSE, SNACK, TASK_MGMT, TASK_MGMT_RESPONSE, TEXT,
                   TEXT_RESPONSE, Conn, check, check_eq, counter, header, read10, sense_code, write10)

BLOCK = 512
DATA_OR_R2T, STATUS, DATA_ACK, R_DATA = range(4)
PROTOCOL_ERROR, SNACK_REJECT = REASONS["protocol error"], REASONS["SNACK reject"]


class Lossy(Conn):
    """A connection that acknowledges when it is told to, and loses what it is told to."""

    frozen = None

    def freeze(self):
        """Acknowledges nothing more from now on."""
        self.frozen = self.__dict__["seen"]

    def thaw(self):
        self.frozen = None

    exp_stat_sn = property(lambda self: self.__dict__["seen"] if self.frozen is None else self.frozen,
                           lambda self, value: self.__dict__.__setitem__("seen", value))

    def acknowledge(self):
        self.thaw()
        assert self.ping()
        self.send(header(NOP_OUT | IMMEDIATE, 0x80, 0, RESERVED_TAG, RESERVED_TAG, self.cmd_sn,
                         self.exp_stat_sn))

    def snack(self, kind, beg, length, itt=RESERVED_TAG, ttt=RESERVED_TAG):
        self.send(header(SNACK, 0x80 | kind, 0, itt, ttt, 0, self.exp_stat_sn,
                         struct.pack(">QII", 0, beg, length)))

    def comes(self, seconds=5):
        """The next PDU, or None. On a slow machine the target may ask whether we are there."""
        try:
            pdu = self.recv(seconds)
            while pdu.opcode == NOP_IN and pdu.u32(16) == RESERVED_TAG:
                pdu = self.recv(seconds)
            return pdu
        except TimeoutError:
            return None
        finally:
            self.sock.settimeout(20)

    def reason(self):
        """The reason of the Reject that comes, if one comes."""
        pdu = self.comes()
        return pdu.header[2] if pdu and pdu.opcode == REJECT else pdu

    def read(self, lba, blocks):
        """A READ: its tag, its Data-In PDUs and its response."""
        itt = self.command(read10(lba, blocks), expect=blocks * BLOCK)
        pdus = []
        while True:
            pdu = self.recv()
            if pdu.opcode == DATA_IN:
                pdus.append(pdu)
            elif pdu.opcode == SCSI_RESPONSE:
                return itt, pdus, pdu
            elif pdu.opcode != NOP_IN:
                raise AssertionError(pdu)

    def part(self, r2t, data, at, size, sn, last, bad=False):
        """One Data-Out PDU."""
        self.out(r2t.itt, r2t.ttt, data, at, size, sn, last, bad)

    def out(self, itt, ttt, data, at, size, sn, last, bad=False):
        raw = bytearray(self.pack(header(DATA_OUT, 0x80 if last else 0, 0, itt, ttt, 0, self.exp_stat_sn,
                                         struct.pack(">IIII", 0, sn, at, 0)), data[at:at + size]))
        if bad:
            raw[-1] ^= 1
        self.send_raw(raw)

    def write(self, lba, data):
        """A WRITE whose data is asked for: its tag and the first R2T."""
        itt = self.command(write10(lba, len(data) // BLOCK), flags=0xa1, expect=len(data))
        return itt, self.wait(R2T, itt)


def replica(one, two):
    """Whether two PDUs are the same but for ExpCmdSN and MaxCmdSN."""
    return one.header[:28] == two.header[:28] and one.header[36:] == two.header[36:] and one.data == two.data


def login(isid, **wanted):
    wanted = {"ErrorRecoveryLevel": "2", "DataDigest": "CRC32C", "MaxRecvDataSegmentLength": "8192",
              "InitialR2T": "Yes", "ImmediateData": "No", **wanted}
    conn = Lossy().login(isid=bytes.fromhex(isid), **wanted)
    conn.ready()
    return conn


conn = login("80feed000041")
check_eq("ErrorRecoveryLevel is negotiated to what is allowed", "1", conn.keys.get("ErrorRecoveryLevel"))

# --- status -----------------------------------------------------------------------------------

conn.acknowledge()
conn.freeze()
answers = [conn.wait(SCSI_RESPONSE, conn.command(bytes(6))) for _ in range(4)]
first = answers[0].stat_sn
conn.snack(STATUS, first + 1, 2)
got = [conn.comes(), conn.comes()]
check("a run of responses is sent again", all(pdu and replica(*pair) for pdu, pair in
                                              zip(got, zip(answers[1:3], got))), got)
check("and nothing else", conn.comes(0.5) is None)
conn.snack(STATUS, first + 2, 0)
check("length 0 means all that follow", all(replica(a, conn.comes()) for a in answers[2:]))
conn.snack(STATUS, 0, 0)
check("0 and 0 mean all that are not acknowledged", all(replica(a, conn.comes()) for a in answers))
for name, beg, length in (("a response that was not sent", first + 9, 1),
                          ("more than was sent", first + 2, 100)):
    conn.snack(STATUS, beg, length)
    check_eq(f"{name}: protocol error", PROTOCOL_ERROR, conn.reason())
conn.acknowledge()
conn.freeze()
conn.snack(STATUS, first, 1)
check_eq("a response that was acknowledged: protocol error", PROTOCOL_ERROR, conn.reason())
itt = conn.command(bytes([0xff] * 6))
pdu = conn.wait(SCSI_RESPONSE, itt)
conn.snack(STATUS, pdu.stat_sn, 1)
check("a response with sense data is sent again with it", replica(pdu, conn.comes()) and pdu.data)
itt = conn.request(NOP_OUT, data=b"a ping whose answer is lost", immediate=True)
pdu = conn.recv()
conn.snack(STATUS, pdu.stat_sn, 1)
check("so is the echo of a ping", replica(pdu, conn.comes()) and pdu.data == b"a ping whose answer is lost")
itt = conn.request(TASK_MGMT, 0x82, word20=RESERVED_TAG, immediate=True)
pdu = conn.wait(TASK_MGMT_RESPONSE, itt)
conn.snack(STATUS, pdu.stat_sn, 1)
check("and the response of a task management function", replica(pdu, conn.comes()))
conn.acknowledge()

# --- data in ----------------------------------------------------------------------------------

data = os.urandom(256 * BLOCK)
check_eq("data to be read is written", 0, conn.scsi(write10(0, 256), data)[0])
conn.acknowledge()
conn.freeze()
itt, pdus, response = conn.read(0, 256)
check_eq("a read is as ever", data, b"".join(pdu.data for pdu in pdus))
check_eq("its PDUs are counted by the response", len(pdus), response.u32(36))
check("the status does not go with the data", not any(pdu.flags & 1 for pdu in pdus))
conn.snack(DATA_OR_R2T, 3, 5, itt)
check("a run of Data-In is sent again", all(replica(pdu, conn.comes()) for pdu in pdus[3:8]))
check("and nothing else", conn.comes(0.5) is None)
conn.snack(DATA_OR_R2T, len(pdus) - 2, 0, itt)
check("length 0 means all that follow", all(replica(pdu, conn.comes()) for pdu in pdus[-2:]))
conn.snack(DATA_OR_R2T, 0, 0, itt)
check("0 and 0 mean all", all(replica(pdu, conn.comes()) for pdu in pdus))
check("and not the status", conn.comes(0.5) is None)
conn.snack(DATA_OR_R2T, len(pdus) - 1, 2, itt)
pdu = conn.recv()
check_eq("more than was sent: protocol error", (REJECT, PROTOCOL_ERROR), (pdu.opcode, pdu.header[2]))
check_eq("which tells the next DataSN", len(pdus), pdu.u32(36))
conn.snack(DATA_OR_R2T, 0, 1, itt + 77)
check_eq("data of no task: protocol error", PROTOCOL_ERROR, conn.reason())
conn.snack(DATA_ACK, 3, 0, ttt=5)
check_eq("an acknowledgement that was not asked for is rejected", REASONS["invalid SNACK"], conn.reason())

# --- other segments ---------------------------------------------------------------------------

tag = conn.request(TEXT, data=b"MaxRecvDataSegmentLength=4096\0", immediate=True)
conn.wait(TEXT_RESPONSE, tag)
conn.snack(DATA_OR_R2T, 0, 1, itt)
check_eq("longer segments than the initiator takes now: protocol error", PROTOCOL_ERROR, conn.reason())
conn.snack(R_DATA, 0, 0, itt, ttt=0x1234)
again = []
while True:
    pdu = conn.comes()
    if pdu is None or pdu.opcode != DATA_IN:
        break
    again.append(pdu)
check_eq("R-Data: all comes in new segments", (data, 4096),
         (b"".join(p.data for p in again), max(len(p.data) for p in again)))
check_eq("numbered from 0", list(range(len(again))), [p.u32(36) for p in again])
check("then the response", pdu is not None and pdu.opcode == SCSI_RESPONSE, pdu)
check_eq("with the SNACK Tag, its old StatSN and the new count", (0x1234, response.stat_sn, len(again)),
         (pdu.u32(20), pdu.stat_sn, pdu.u32(36)))
conn.snack(STATUS, response.stat_sn, 1)
check("and it is sent again as it was last", replica(pdu, conn.comes()))
conn.snack(R_DATA, 0, 0, itt, ttt=0)
check_eq("R-Data without a tag is rejected", REASONS["invalid PDU field"], conn.reason())
conn.acknowledge()
conn.freeze()
conn.snack(DATA_OR_R2T, 0, 1, itt)
check_eq("data that was acknowledged with its status: protocol error", PROTOCOL_ERROR, conn.reason())

# --- data out ---------------------------------------------------------------------------------

conn.thaw()
data = os.urandom(64 * BLOCK)
size = 8192
itt, r2t = conn.write(1000, data)
check_eq("the first R2T asks for all", (0, 0, len(data)), (r2t.u32(36), r2t.u32(40), r2t.u32(44)))
conn.part(r2t, data, 0, size, 0, False)
conn.part(r2t, data, 2 * size, size, 2, False)
check("nothing is asked for while more comes", conn.comes(0.5) is None)
conn.part(r2t, data, 3 * size, size, 3, True)
more = conn.wait(R2T, itt)
check_eq("a gap is asked for when the sequence has ended", (1, size, len(data) - size),
         (more.u32(36), more.u32(40), more.u32(44)))
conn.data_out(more, data)
pdu = conn.wait(SCSI_RESPONSE, itt)
check_eq("then the WRITE is GOOD", (0, 2), (pdu.header[3], pdu.u32(36)))
check_eq("and has written all", data, conn.scsi(read10(1000, 64), expect=len(data))[1])

asked = counter("data_asked_again")
for name, bad in (("the first", 0), ("one in the middle", 2), ("the last", 3)):
    data = os.urandom(64 * BLOCK)
    itt, r2t = conn.write(1000, data)
    for sn in range(4):
        conn.part(r2t, data, sn * size, size, sn, sn == 3, bad=sn == bad)
    pdu = conn.comes()
    check_eq(f"a wrong data digest in {name} PDU is rejected", (REJECT, REASONS["data digest error"]),
             (pdu.opcode, pdu.header[2]))
    more = conn.wait(R2T, itt)
    check_eq("the data is asked for again from there on", (bad * size, len(data) - bad * size),
             (more.u32(40), more.u32(44)))
    conn.data_out(more, data)
    check_eq("the WRITE is GOOD", 0, conn.wait(SCSI_RESPONSE, itt).header[3])
    check_eq("it has written all", data, conn.scsi(read10(1000, 64), expect=len(data))[1])
check_eq("this is counted", asked + 3, counter("data_asked_again"))

itt, r2t = conn.write(1000, data)
conn.snack(DATA_OR_R2T, 0, 1, itt)
check("an R2T is sent again", replica(r2t, conn.comes()))
conn.snack(DATA_OR_R2T, 0, 0, itt)
check("with 0 and 0 as well", replica(r2t, conn.comes()))
conn.snack(DATA_OR_R2T, 1, 1, itt)
pdu = conn.recv()
check_eq("one that was not sent: protocol error", (REJECT, PROTOCOL_ERROR, 1),
         (pdu.opcode, pdu.header[2], pdu.u32(36)))
for sn in range(3):
    conn.part(r2t, data, sn * size, size, sn, False)
start = time.monotonic()
more = conn.wait(R2T, itt)
check("without the end of a sequence the rest is asked for", 2 < time.monotonic() - start < 10)
check_eq("from where it ended", (1, 3 * size, size), (more.u32(36), more.u32(40), more.u32(44)))
check("with another tag", more.ttt != r2t.ttt)
conn.part(r2t, data, 3 * size, size, 3, True)
check("what comes late for the old one is dropped", conn.comes(0.5) is None)
conn.data_out(more, data)
check_eq("the WRITE is GOOD", 0, conn.wait(SCSI_RESPONSE, itt).header[3])
check_eq("it has written all", data, conn.scsi(read10(1000, 64), expect=len(data))[1])

itt, r2t = conn.write(1000, data[:BLOCK])
for _ in range(40):
    conn.part(r2t, data, 0, BLOCK, 0, True, bad=True)
    pdu = conn.comes()
    if pdu.opcode == REJECT:
        pdu = conn.comes()
    if pdu.opcode != R2T:
        break
    r2t = pdu
sense = pdu.data[2:]
check_eq("data that is never good ends the WRITE: protocol service CRC error", (2, (0xb, 0x47, 0x05)),
         (pdu.header[3], sense_code(sense)))
check_eq("all goes on", 0, conn.ready())

# A command is sent again, as its answer seems to be lost.
conn.acknowledge()
sn = conn.cmd_sn
itt = conn.command(bytes(6))
pdu = conn.wait(SCSI_RESPONSE, itt)
conn.command(bytes(6), itt=itt, cmd_sn=sn)
check("a command that comes again is not carried out again", conn.comes(0.5) is None)
check_eq("and all goes on", 0, conn.ready())
conn.logout()

# --- immediate and unsolicited data -------------------------------------------------------------

conn = login("80feed000042", InitialR2T="No", ImmediateData="Yes", FirstBurstLength="16384")
data = os.urandom(64 * BLOCK)


def unsolicited(lba, bad):
    """A WRITE with 8 KiB immediate data and another 8 KiB unsolicited; which of them is bad."""
    tag = conn.next_itt()
    raw = bytearray(conn.pack(header(SCSI_COMMAND, 0x21, 0, tag, len(data), conn.next_cmd_sn(),
                                     conn.exp_stat_sn, write10(lba, 64).ljust(16, b"\0")), data[:size]))
    if bad == 0:
        raw[-1] ^= 1
    conn.send_raw(raw)
    conn.out(tag, RESERVED_TAG, data, size, size, 0, True, bad == 1)
    return tag


for name, bad, offset in (("immediate", 0, 0), ("unsolicited", 1, size)):
    itt = unsolicited(2000, bad)
    pdu = conn.comes()
    check_eq(f"a wrong digest of {name} data is rejected", (REJECT, REASONS["data digest error"]),
             (pdu.opcode, pdu.header[2]))
    r2t = conn.wait(R2T, itt)
    check_eq("the data is asked for", offset, r2t.u32(40))
    conn.data_out(r2t, data)
    while True:
        pdu = conn.recv()
        if pdu.opcode != R2T:
            break
        conn.data_out(pdu, data)
    check_eq("the WRITE is GOOD", 0, pdu.header[3])
    check_eq("it has written all", data, conn.scsi(read10(2000, 64), expect=len(data))[1])

# --- limits -------------------------------------------------------------------------------------

conn.logout()
# 20 MiB, of which this script need not compute the digests.
conn = login("80feed000045", DataDigest="None")
conn.freeze()
reads = [conn.read(0, 2048) for _ in range(20)]
conn.snack(DATA_OR_R2T, 0, 1, reads[-1][0])
check("of much data that is not acknowledged the last is kept", replica(reads[-1][1][0], conn.comes()))
conn.snack(STATUS, reads[0][2].stat_sn, 1)
check_eq("but not all: SNACK reject", SNACK_REJECT, conn.reason())
conn.acknowledge()
conn.freeze()
answers = [conn.wait(SCSI_RESPONSE, conn.command(bytes(6))) for _ in range(300)]
conn.snack(STATUS, answers[0].stat_sn, 1)
check_eq("nor all of many responses", SNACK_REJECT, conn.reason())
conn.snack(STATUS, answers[-1].stat_sn, 1)
check("but the last", replica(answers[-1], conn.comes()))
check("SNACKs are counted", counter("snacks") > 20 and counter("pdus_sent_again") > 60)
# What is kept now goes with the connection.
conn.read(0, 2048)
conn.reset()

conn = login("80feed000043", HeaderDigest="CRC32C")
raw = bytearray(conn.pack(header(NOP_OUT | IMMEDIATE, 0x80, 0, 5, RESERVED_TAG, conn.cmd_sn, conn.exp_stat_sn)))
raw[-1] ^= 1
conn.send_raw(raw)
check("a wrong header digest closes the connection at level 1, too", conn.closed_within(5))

conn = login("80feed000044", ErrorRecoveryLevel="0")
check_eq("level 0 is negotiated with those who want it", "0", conn.keys.get("ErrorRecoveryLevel"))
itt = conn.command(read10(0, 8), expect=8 * BLOCK)
pdu = conn.recv()
check("there the status goes with the data", pdu.opcode == DATA_IN and pdu.flags & 1, pdu)
conn.snack(STATUS, pdu.stat_sn, 1)
check_eq("and a SNACK is rejected", SNACK_REJECT, conn.reason())
conn.logout()
