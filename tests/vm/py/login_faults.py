# SPDX-License-Identifier: GPL-2.0
"""PDUs that have no place in a login, and data that never comes."""

import os
import struct
import time

from iscsi import (IMMEDIATE, LOGIN, NOP_OUT, R2T, SCSI_COMMAND, TEXT, Closed, Conn, Refused, check, check_eq,
                   header, kernel_log, mark, write10)

WHO = [("InitiatorName", "iqn.2026-01.org.example:raw"), ("TargetName", os.environ["IQN"]), ("AuthMethod", "None")]
ISIDS = (bytes.fromhex(f"80feed00{n:04x}") for n in range(0x100, 0xffff))


def begun():
    """A login that has its first response."""
    conn = Conn()
    conn.login_pdu(WHO, 0, 1, isid=next(ISIDS))
    conn.login_answer()
    return conn


def login_header(flags=0x81, itt=1):
    return (bytes([LOGIN | IMMEDIATE, flags, 0, 0]) + bytes(4) + next(ISIDS)
            + struct.pack(">HIHHII", 0, itt, 0, 0, 1, 0) + bytes(16))


def refused(name, conn, code):
    """The login is refused with that status, and the connection closed."""
    try:
        pdu, _ = conn.login_answer()
        check(name, False, pdu)
    except Refused as refusal:
        check_eq(name, f"{code:04x}", f"{refusal.code:04x}")
    except (Closed, TimeoutError, AssertionError) as error:
        check(name, False, repr(error))
    check(f"{name}: then it is closed", conn.closed_within(5))


def closed(name, conn):
    """The connection is closed without a word."""
    check(name, conn.closed_within(5) and not conn.aside, conn.aside)


# RFC 7143 4.2.4: before the login has begun, anything but a Login Request ends the connection;
# after that it is refused as "invalid during login".
OTHERS = {"SCSI Command": SCSI_COMMAND, "NOP-Out": NOP_OUT, "Text Request": TEXT, "a target's PDU": 0x21,
          "an opcode that is not assigned": 0x1f}
for name, opcode in OTHERS.items():
    conn = Conn()
    conn.send(header(opcode | IMMEDIATE, 0x80, 0, 1, 0xffffffff))
    closed(f"{name} as the first PDU", conn)
    conn = begun()
    conn.send(header(opcode | IMMEDIATE, 0x80, 0, 1, 0xffffffff))
    refused(f"{name} in the middle of a login", conn, 0x020b)

# A Login Request that breaks a rule is refused, be it the first.
for begin, when in ((Conn, "first"), (begun, "later")):
    conn = begin()
    conn.send(login_header(), ahs=bytes.fromhex("00050100") + bytes(4))
    refused(f"a {when} Login Request with an additional header segment", conn, 0x0200)
    conn = begin()
    conn.send(login_header(itt=0xffffffff))
    refused(f"a {when} Login Request with the reserved task tag", conn, 0x0200)
    conn = begin()
    conn.send(login_header(), b"X-a=" + b"b" * 8300)
    refused(f"a {when} Login Request with more than 8192 bytes", conn, 0x0200)
    conn = begin()
    conn.send_raw(login_header()[:5] + b"\xff\xff\xff" + login_header()[8:])
    refused(f"a {when} Login Request that says 2^24 - 1 bytes", conn, 0x0200)
    conn = begin()
    conn.send(login_header(flags=0xc1))
    refused(f"a {when} Login Request with T and C", conn, 0x0200)

# Data that is due and never comes: the connection ends, and with it the task and its memory.
# Of many lines in a row some are not logged.
time.sleep(5)
log = mark("no data")
conn = Conn().login(isid=next(ISIDS), InitialR2T="Yes", ImmediateData="No")
conn.ready()
itt = conn.command(write10(0, 64), bytes(32768), immediate_data=b"")
r2t = conn.wait(R2T, itt)
other = Conn().login(isid=next(ISIDS))
other.ready()
began = time.monotonic()
slow = Conn().login(isid=next(ISIDS), InitialR2T="Yes", ImmediateData="No", MaxOutstandingR2T="1")
slow.ready()
waits = slow.command(write10(64, 64), bytes(32768), immediate_data=b"")
piece = slow.wait(R2T, waits)
for at in range(0, 32768, 4096):
    # Slow, but never silent for long.
    last = at == 28672
    slow.send(header(0x05, 0x80 if last else 0, 0, waits, piece.ttt, 0, slow.exp_stat_sn,
                     struct.pack(">IIII", 0, at // 4096, at, 0)), bytes(4096))
    time.sleep(0.7)
check("a connection that does not send what it was asked for is closed", conn.closed_within(12))
check("not at once", time.monotonic() - began > 3)
check_eq("one that sends it slowly is served", 0, slow.result(waits)[0])
check("others stay", other.ping())

# Nor is a WRITE held up for ever by a peer that sends a little of its data now and then: tiny PDUs, or
# bytes of one.
def asked():
    """A session that has been asked for data: itself, the tag, and the tag to answer with."""
    conn = Conn().login(isid=next(ISIDS), InitialR2T="Yes", ImmediateData="No", MaxOutstandingR2T="1")
    conn.ready()
    itt = conn.command(write10(128, 64), bytes(32768), immediate_data=b"")
    return conn, itt, conn.wait(R2T, itt).ttt


def drips(conn, pieces):
    """Sends pieces, two a second, and tells whether the connection ends."""
    try:
        for piece in pieces:
            conn.send_raw(piece)
            if conn.closed_within(0.5):
                return True
    except Closed:
        return True
    return False


def data_out(conn, itt, ttt, at, length):
    return conn.pack(header(0x05, 0, 0, itt, ttt, 0, conn.exp_stat_sn,
                            struct.pack(">IIII", 0, at // 4, at, 0)), bytes(length))


conn, itt, ttt = asked()
check("tiny Data-Out PDUs do not keep a connection", drips(
    conn, (data_out(conn, itt, ttt, at, 4) for at in range(0, 100, 4))))
conn, itt, ttt = asked()
pdu = data_out(conn, itt, ttt, 0, 4096)
conn.send_raw(pdu[:48])
check("nor do bytes of one", drips(conn, (pdu[at:at + 1] for at in range(48, 73))))
conn = Conn().login(isid=next(ISIDS))
conn.ready()
whole = conn.pack(header(SCSI_COMMAND, 0xa1, 0, 77, 4096, conn.next_cmd_sn(), conn.exp_stat_sn,
                         write10(128, 8).ljust(16, b"\0")), bytes(4096))
conn.send_raw(whole[:48])
check("nor those of immediate data", drips(conn, (whole[at:at + 1] for at in range(48, 73))))
check("others stay, again", other.ping())
check("the log names initiator and reason",
      "iqn.2026-01.org.example:raw: no Data-Out" in kernel_log(log), kernel_log(log)[-300:])
