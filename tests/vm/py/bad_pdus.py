# SPDX-License-Identifier: GPL-2.0
"""PDUs that break RFC 7143, and what is prescribed for each."""

import os
import random
import re
import struct
import time

from iscsi import (DATA_IN, DATA_OUT, IMMEDIATE, LOGIN, LOGOUT, NOP_OUT, R2T, REASONS, REJECT, RESERVED_TAG,
                   SCSI_COMMAND, SCSI_RESPONSE, SNACK, TASK_MGMT, TASK_MGMT_RESPONSE, TEXT, Closed, Conn,
                   check, check_eq, header, kernel_log, lun, mark, read10, sense_code, write10)

DATA = bytes(range(256)) * 64
ISIDS = (bytes.fromhex(f"80feed00{n:04x}") for n in range(0x100, 0xffff))


def fresh(**keys):
    conn = Conn().login(isid=next(ISIDS), **keys)
    assert conn.ready() == 0
    return conn


def rejected(name, conn, reasons, sent):
    """The PDU is rejected with one of the reasons and its own header, and the session goes on."""
    reasons = (reasons,) if isinstance(reasons, str) else reasons
    try:
        pdu = conn.recv(10)
    except (Closed, TimeoutError) as error:
        return check(name, False, repr(error))
    check(name, pdu.opcode == REJECT and pdu.header[2] in [REASONS[reason] for reason in reasons], pdu)
    check_eq(f"{name}: the Reject carries its header", sent.hex(), pdu.data[:48].hex())
    check_eq(f"{name}: its own tags are reserved", RESERVED_TAG, pdu.itt)
    return check(f"{name}: the session goes on", conn.ping())


def send(conn, opcode, flags=0x80, data=b"", **fields):
    """Sends a request and returns its header as sent."""
    head = bytearray(header(opcode, flags, fields.get("lun", 0), fields.get("itt", conn.next_itt()),
                            fields.get("word20", RESERVED_TAG),
                            fields.get("cmd_sn", conn.cmd_sn), conn.exp_stat_sn, fields.get("tail", b"")))
    raw = conn.pack(bytes(head), data)
    conn.send_raw(raw)
    return raw[:48]


# --- headers ----------------------------------------------------------------------------------
conn = fresh()
for opcode in (0x07, 0x0f, 0x11, 0x1c, 0x1d, 0x1e):
    rejected(f"opcode {opcode:#04x}", conn, "command not supported", send(conn, opcode | IMMEDIATE))
rejected("a target's opcode", conn, "protocol error", send(conn, 0x21))
rejected("a Login Request in the full feature phase", conn, "protocol error",
         send(conn, LOGIN | IMMEDIATE, 0x87, word20=0))
head = send(conn, SNACK, 0x81, itt=1, word20=0, tail=struct.pack(">IIII", 0, 0, 0, 1))
pdu = conn.recv(10)
check("SNACK at ErrorRecoveryLevel 0 is rejected", pdu.opcode == REJECT and pdu.header[2] in (
    REASONS["SNACK reject"], REASONS["protocol error"], REASONS["command not supported"]), pdu)
check("the session goes on", conn.ping())
rejected("a logout for a reserved reason", conn, "protocol error", send(conn, LOGOUT | IMMEDIATE, 0x80 | 0x55, word20=0))

# --- the kernel log ---------------------------------------------------------------------------
time.sleep(6)
since = mark("one bad PDU")
send(conn, 0x1d | IMMEDIATE)
conn.recv(10)
log = kernel_log(since)
check("a bad PDU is told in the log with the initiator and the reason",
      re.search(r"ferrite: iqn\.2026-01\.org\.example:raw.*reject.*0x1d", log, re.IGNORECASE), log[-300:])
since = mark("many bad PDUs")
for _ in range(1000):
    send(conn, 0x1d | IMMEDIATE)
    conn.recv(10)
lines = sum("ferrite" in line for line in kernel_log(since).splitlines())
check("a thousand of them do not flood it", 0 < lines <= 100, lines)
check("the session goes on", conn.ping())
conn.close()

# --- numbers ----------------------------------------------------------------------------------
conn = fresh()
conn.ping()
window = (conn.max_cmd_sn - conn.exp_cmd_sn + 1) & 0xffffffff
check("the window is open", 0 < window <= 512, window)
check_eq("it begins where the last command ended", conn.cmd_sn, conn.exp_cmd_sn)
for name, number in (("beyond the window", conn.max_cmd_sn + 1), ("far beyond it", conn.max_cmd_sn + 0x10000000),
                     ("of a command that has been", conn.exp_cmd_sn - 1)):
    conn.command(bytes(6), cmd_sn=number & 0xffffffff)
    check(f"a CmdSN {name} is ignored", conn.ping() and not conn.aside, conn.aside)
# Out of order, but inside: held until what is missing comes.
late = conn.next_itt()
later = conn.command(bytes(6), cmd_sn=(conn.cmd_sn + 1) & 0xffffffff)
check("a command after a gap waits", conn.ping() and not conn.aside, conn.aside)
conn.command(bytes(6), itt=late, cmd_sn=conn.cmd_sn)
conn.cmd_sn += 2
order = [conn.recv(10).itt, conn.recv(10).itt]
check_eq("and is carried out after it", [late, later], order)
check_eq("the window has moved", conn.cmd_sn, conn.exp_cmd_sn)

# --- tags -------------------------------------------------------------------------------------
itt = conn.command(write10(0, 32), DATA, immediate_data=b"", flags=0xa1)
r2t = conn.wait(R2T, itt)
head = header(SCSI_COMMAND, 0x81, 0, itt, 0, conn.next_cmd_sn(), conn.exp_stat_sn, bytes(16))
conn.send(head)
pdu = conn.recv(10)
check_eq("a tag that is in use is rejected", (REJECT, REASONS["task in progress"]), (pdu.opcode, pdu.header[2]))
conn.data_out(r2t, DATA)
check_eq("and the task that has it goes on", (itt, 0), (lambda pdu: (pdu.itt, pdu.header[3]))(conn.wait(SCSI_RESPONSE, itt)))
conn.close()

conn = fresh()
send(conn, DATA_OUT, 0x80, DATA[:512], itt=4711, word20=0x12345678, cmd_sn=0)
time.sleep(0.2)
seen = conn.ping()
check("Data-Out for no task does no harm", seen and all(pdu.opcode == REJECT for pdu in conn.aside), conn.aside)
conn.aside.clear()

# --- data -------------------------------------------------------------------------------------
def ends_with(name, conn, itt, want):
    pdu = conn.wait(SCSI_RESPONSE, itt, 10)
    seen = sense_code(pdu.data[2:])
    check(name, pdu.header[3] == 2 and seen in want, (pdu.header[3], seen))
    check(f"{name}: the session goes on", conn.ping())
    check_eq(f"{name}: and writes", 0, conn.scsi(write10(0, 8), DATA[:4096])[0])


UNEXPECTED, AMOUNT = (0xb, 0x0c, 0x0c), (0xb, 0x0c, 0x0d)

strict = fresh(ImmediateData="No", InitialR2T="Yes")
itt = strict.command(write10(0, 8), DATA[:4096])
ends_with("immediate data where there may be none", strict, itt, (UNEXPECTED,))
itt = strict.command(write10(0, 8), DATA[:4096], immediate_data=b"", flags=0x21)
send(strict, DATA_OUT, 0x80, DATA[:4096], itt=itt, cmd_sn=0)
ends_with("unsolicited data where there may be none", strict, itt, (UNEXPECTED,))
strict.close()

small = fresh(InitialR2T="No", ImmediateData="Yes", FirstBurstLength="4096", MaxBurstLength="8192")
itt = small.command(write10(0, 16), DATA[:8192], immediate_data=DATA[:8192])
# RFC 7143 11.4.7.2 has a condition for unsolicited data that is not immediate; this may be either.
ends_with("more immediate data than FirstBurstLength", small, itt, (UNEXPECTED, AMOUNT))
itt = small.command(write10(0, 16), DATA[:8192], immediate_data=DATA[:2048], flags=0x21)
send(small, DATA_OUT, 0x80, DATA[:512], itt=itt, cmd_sn=0, tail=struct.pack(">IIII", 0, 0, 2048, 0))
ends_with("less unsolicited data than FirstBurstLength", small, itt, (AMOUNT,))
itt = small.command(write10(0, 8), DATA[:4096], immediate_data=DATA[:8192], flags=0xa1)
pdu = small.recv(10)
check("more immediate data than the command moves is refused", pdu.opcode == REJECT
      or (pdu.opcode == SCSI_RESPONSE and pdu.header[3] == 2), pdu)
check("the session goes on", small.ping())
small.close()

asked = fresh(InitialR2T="Yes", ImmediateData="No", MaxBurstLength="8192")


def r2t_answered(name, answer):
    """A write whose R2T is answered wrongly: it ends with an error, or is rejected and does."""
    itt = asked.command(write10(64, 16), DATA[:8192], immediate_data=b"")
    r2t = asked.wait(R2T, itt)
    check_eq(f"{name}: the R2T asks for the burst", (0, 8192), (r2t.u32(40), r2t.u32(44)))
    for flags, tail, data in answer:
        asked.send(header(DATA_OUT, flags, 0, itt, r2t.ttt, 0, asked.exp_stat_sn,
                          struct.pack(">IIII", 0, *tail, 0)), data)
    rejects = 0
    while True:
        pdu = asked.recv(10)
        if pdu.opcode == REJECT:
            rejects += 1
            continue
        break
    check(name, pdu.opcode == SCSI_RESPONSE and pdu.itt == itt and pdu.header[3] == 2,
          f"{pdu} after {rejects} Rejects")
    print(name, sense_code(pdu.data[2:]), rejects, "Rejects")
    check(f"{name}: the session goes on", asked.ping())


r2t_answered("less data than the R2T asked for", [(0x80, (0, 0), DATA[:4096])])
r2t_answered("more data than the R2T asked for", [(0x80, (0, 0), DATA[:8192] + bytes(512))])
r2t_answered("a wrong DataSN", [(0, (7, 0), DATA[:4096]), (0x80, (8, 4096), DATA[4096:8192])])
r2t_answered("a wrong offset", [(0, (0, 4096), DATA[:4096]), (0x80, (1, 0), DATA[:4096])])
r2t_answered("an offset beyond the command", [(0x80, (0, 0xfffffff0), DATA[:4096])])
asked.scsi(write10(64, 16), DATA[:8192])
status, data, _ = asked.scsi(read10(64, 16), expect=8192)
check("what was written before and after is right", status == 0 and data == DATA[:8192])
asked.close()

# --- lengths ----------------------------------------------------------------------------------
conn = fresh()
itt = conn.command(write10(0, 8), expect=0, flags=0xa1, attr=0)
pdu = conn.recv(10)
check("a WRITE that expects to move nothing moves nothing",
      pdu.opcode == SCSI_RESPONSE and pdu.flags & 0x04 and pdu.u32(44) == 4096, pdu)
head = header(SCSI_COMMAND, 0xa1, 0, conn.next_itt(), 0xfffffe00, conn.next_cmd_sn(), conn.exp_stat_sn,
              write10(0, 8).ljust(16, b"\0"))
conn.send(head)
pdu = conn.recv(10)
check("a WRITE of 4 KiB that expects to move 4 GiB asks for what it needs, or is refused",
      pdu.opcode in (R2T, SCSI_RESPONSE), pdu)
check("the session goes on", conn.ping())
conn.close()
conn = fresh()
itt = conn.command(read10(0, 8), expect=1024)
pdu = conn.recv(10)
check_eq("a READ of more than expected: overflow residual", (DATA_IN, 0x04, 3072, 1024),
         (pdu.opcode, pdu.flags & 0x06, pdu.u32(44), len(pdu.data)))
itt = conn.command(read10(0, 2), expect=4096)
pdu = conn.recv(10)
check_eq("a READ of less than expected: underflow residual", (DATA_IN, 0x02, 3072, 1024),
         (pdu.opcode, pdu.flags & 0x06, pdu.u32(44), len(pdu.data)))
itt = conn.command(read10(0, 8), b"x", expect=4096, flags=0xe1, immediate_data=b"")
pdu = conn.recv(10)
check("a command that reads and writes at once is refused", pdu.opcode in (SCSI_RESPONSE, REJECT), pdu)
check("the session goes on", conn.ping())

conn = fresh()
conn.send_raw(bytes([NOP_OUT | IMMEDIATE, 0x80, 0, 0, 0, 0xff, 0xff, 0xff]) + bytes(8)
              + struct.pack(">II", 5, RESERVED_TAG) + bytes(24))
check("a data segment longer than was declared ends the connection", conn.closed_within(10))
conn = fresh()
conn.send_raw(bytes([TEXT | IMMEDIATE, 0x80, 0, 0, 255]) + bytes(43) + bytes(255 * 4))
check("an endless additional header segment is rejected or ends the connection",
      conn.closed_within(2) or any(pdu.opcode == REJECT for pdu in conn.aside), conn.aside)

# --- LUNs and task management --------------------------------------------------------------------
conn = fresh()
status, _, sense = conn.scsi(bytes(6), lun=lun(99))
check_eq("a LUN that is not there", (2, (5, 0x25, 0)), (status, sense_code(sense)))
status, data, _ = conn.scsi(bytes([0x12, 0, 0, 0, 96, 0]), expect=96, lun=lun(99))
check_eq("INQUIRY of a LUN that is not there", (0, 0x7f), (status, data[0]))
status, _, sense = conn.scsi(bytes(6), lun=0xffff << 48)
check_eq("a LUN in a form that is not ours", (2, (5, 0x25, 0)), (status, sense_code(sense)))


def task_management(function, lun=0, ref=RESERVED_TAG, cmd_sn=None, **more):
    itt = conn.request(TASK_MGMT, 0x80 | function, lun, word20=ref, immediate=True,
                       tail=struct.pack(">IIII", conn.cmd_sn if cmd_sn is None else cmd_sn, 0, 0, 0), **more)
    return conn.wait(TASK_MGMT_RESPONSE, itt, 20).header[2]


check_eq("a reserved task management function is not supported", 5, task_management(0x7f))
check_eq("TASK REASSIGN is not supported", True, task_management(8, ref=1) in (3, 4, 5))
check_eq("ABORT TASK of a task that has ended", 1, task_management(1, ref=0x5555, cmd_sn=conn.cmd_sn - 1))
check_eq("LOGICAL UNIT RESET of a LUN that is not there", 2, task_management(5, lun=lun(99)))
check_eq("LOGICAL UNIT RESET", 0, task_management(5))
status, _, sense = conn.scsi(bytes(6))
check_eq("after it a unit attention", (2, 6, 0x29), (status, *sense_code(sense)[:2]))
check_eq("ABORT TASK SET", 0, task_management(2))
check_eq("CLEAR TASK SET", 0, task_management(4))
check_eq("TARGET WARM RESET", 0, task_management(6))
conn.ready()
check("the session goes on", conn.ping())
# A write that waits for its data is aborted; its data comes late.
itt = conn.command(write10(0, 32), DATA, immediate_data=b"")
r2t = conn.wait(R2T, itt)
check_eq("ABORT TASK of a write that waits for data", 0, task_management(1, ref=itt, cmd_sn=conn.cmd_sn - 1))
conn.data_out(r2t, DATA)
check("its data, too late, is dropped", conn.ping() and not [p for p in conn.aside if p.itt == itt], conn.aside)
check_eq("and the next one is written", 0, conn.scsi(write10(0, 32), DATA)[0])
conn.close()

# --- noise ------------------------------------------------------------------------------------
# Headers with a valid opcode and random fields: whatever is answered, the target lives.
seed = int(os.environ.get("SEED", "20260101"))
rng = random.Random(seed)
print("seed", seed)
closed = 0
for _ in range(60):
    noisy = Conn().login(isid=next(ISIDS))
    try:
        for _ in range(40):
            head = bytearray(rng.randbytes(48))
            head[0] = rng.choice((0, 1, 2, 3, 4, 5, 6, 0x10)) | rng.choice((0, IMMEDIATE))
            length = rng.choice((0, 0, 0, 1, 48, 511, 512, 8192))
            head[4] = rng.choice((0, 0, 0, 0, 1, 5))
            if rng.random() < 0.5:
                # Inside the window, so that more than the numbers are looked at.
                head[24:28] = struct.pack(">I", noisy.cmd_sn)
                head[8:16] = bytes(8)
            if head[0] & 0x3f == SCSI_COMMAND:
                # Random commands must not write to a random place.
                head[32] = rng.choice((0x00, 0x03, 0x12, 0x1a, 0x25, 0x28, 0x88, 0x9e, 0xa0, 0xa3))
            ahs = rng.randbytes(head[4] * 4)
            noisy.send(bytes(head), rng.randbytes(length), ahs)
    except Closed:
        closed += 1
    noisy.close()
print(closed, "of 60 connections were closed by the target")
start = time.monotonic()
conn = Conn().login(isid=next(ISIDS))
check("after 2400 random PDUs the target serves others", conn.ready() == 0 and time.monotonic() - start < 10)
for _ in range(100):
    raw = Conn()
    try:
        raw.send_raw(rng.randbytes(rng.randrange(1, 4000)))
    except Closed:
        pass
    raw.close()
check("after random bytes on 100 connections as well", conn.ping())
print(f"@figure bad PDUs: random ones, connections with random bytes, of 60 connections ended by the target | 2400, 100, {closed}")
