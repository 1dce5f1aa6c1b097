# SPDX-License-Identifier: GPL-2.0
"""Everything that exists, and is not for the one who asks.

Target A has LUN 0 (disk0) and LUN 1 (disk1), target B has LUN 1 (disk1). RAW is given LUN 0 of A;
OTHER is given LUN 1 of both.
"""

import glob
import os
import struct

from iscsi import (TARGET, TASK_MGMT, TASK_MGMT_RESPONSE, TEXT, TEXT_RESPONSE, Conn, Refused, Rejected,
                   check, check_eq, read10, sense_code, write10)

RAW, OTHER = "iqn.2026-01.org.example:raw", "iqn.2026-01.org.example:other"
B = TARGET + "-b"
NOT_THERE = (5, 0x25, 0)
HIDDEN = 1 << 48
BLOCKS = 256
# What a command without its LUN may do: say what is there (SPC-4 4.6.4).
INQUIRY, REQUEST_SENSE, REPORT_LUNS = 0x12, 0x03, 0xa0
tried = beyond = 0

raw = Conn().login(initiator=RAW)
other = Conn().login(initiator=OTHER, isid=bytes.fromhex("80feed000002"))
raw.ready()
other.ready(HIDDEN)
secret = os.urandom(512 * BLOCKS)
assert other.scsi(write10(0, BLOCKS), secret, lun=HIDDEN)[0] == 0
assert raw.scsi(write10(0, 64), bytes(512 * 64))[0] == 0


def untouched(after):
    """disk1 is what it was, and OTHER was told of nothing."""
    status, _, sense = other.scsi(bytes(6), lun=HIDDEN)
    check(f"after {after}, whom it belongs to has not noticed", status == 0, f"status {status}, {sense.hex()}")
    check(f"after {after}, the data is what it was",
          other.scsi(read10(0, BLOCKS), expect=512 * BLOCKS, lun=HIDDEN)[1] == secret)


# --- every command, to every LUN that is not there ------------------------------------------

def commands():
    """Operation code, service action and length of all that the unit knows."""
    _, data, _ = raw.scsi(struct.pack(">BB4xIxx", 0xa3, 0x0c, 16384), expect=16384)
    for at in range(4, 4 + int.from_bytes(data[:4], "big"), 8):
        opcode, action, flags, length = data[at], int.from_bytes(data[at + 2:at + 4], "big"), data[at + 5], int.from_bytes(data[at + 6:at + 8], "big")
        yield opcode, action if flags & 1 else None, length


def cdbs(opcode, action, length):
    """With nothing in it, and with a length of one block or parameter list."""
    for count in (0, 1, 24):
        cdb = bytearray(length)
        cdb[0] = opcode
        if opcode == 0x7f:
            cdb[7] = length - 8
            cdb[8:10] = action.to_bytes(2, "big")
        elif action is not None:
            cdb[1] = action
        cdb[{6: 4, 10: 8, 12: 9, 16: 13}.get(length, length - 1)] = count
        yield bytes(cdb)


LUNS = {
    "LUN 1": HIDDEN,
    "LUN 1, flat": 0x4001 << 48,
    "LUN 1, as logical unit 1 of bus 0": 0x8001 << 48,
    "LUN 1, extended flat": 0xd200000100000000,
    "LUN 1, on the second level": 0x0000000100000000,
    "LUN 1, with more behind it": HIDDEN | 1 << 32,
    "LUN 1 of another bus": 0x0101 << 48,
    "LUN 2, which nobody has": 2 << 48,
    "LUN 16383": 0x7fff << 48,
    "no LUN at all": 0xffffffffffffffff,
}

known = sorted(set(commands()), key=str)
check("the unit tells of its commands", len(known) > 40, len(known))
for name, address in LUNS.items():
    reached = []
    for opcode, action, length in known:
        for cdb in cdbs(opcode, action, length):
            for way in ("in", "out", "none"):
                tried += 1
                status, data, sense = raw.scsi(cdb, lun=address, **{
                    "in": {"expect": 512}, "out": {"data": bytes(512)}, "none": {}}[way])
                if opcode == INQUIRY and status == 0:
                    good = not data or data[0] == 0x7f
                elif opcode == REQUEST_SENSE and status == 0:
                    good = not data or sense_code(data.ljust(18, b"\0"))[0] in (0, 5)
                elif opcode == REPORT_LUNS and status == 0:
                    good = not any(data[8:16])
                else:
                    good = status == 2 and (sense_code(sense) == NOT_THERE
                                            or opcode in (INQUIRY, REQUEST_SENSE, REPORT_LUNS))
                if not good:
                    reached.append(f"{cdb.hex()} {way}: status {status}, sense {sense.hex()}, data {data[:32].hex()}")
    beyond += len(reached)
    for line in reached:
        print(name, line)
    check(f"{name}: no command gets beyond it", not reached, f"{len(reached)}: {reached[:2]}")
untouched("all commands")

# --- functions ------------------------------------------------------------------------------
busy = other.command(read10(0, 8), expect=4096, lun=HIDDEN)
assert other.result(busy)[0] == 0
for name, address in LUNS.items():
    answers = {}
    for function in (1, 2, 3, 4, 5):
        tried += 1
        tag = raw.request(TASK_MGMT, 0x80 | function, address, word20=busy if function == 1 else 0xffffffff,
                          immediate=True, tail=struct.pack(">IIII", max(0, raw.cmd_sn - 2), 0, 0, 0))
        try:
            answers[function] = raw.wait(TASK_MGMT_RESPONSE, tag).header[2]
        except Rejected:
            answers[function] = "rejected"
    # 1: no such task; 2: no such LUN; 5: not supported. An ABORT TASK for a CmdSN that has been
    # answered may be complete.
    check(f"{name}: no function gets beyond it", all(
        answer in (1, 2, 5, "rejected") or function == 1 and answer == 0
        for function, answer in answers.items()), answers)
tag = raw.request(TASK_MGMT, 0x86, 0, immediate=True, tail=struct.pack(">IIII", raw.cmd_sn - 1, 0, 0, 0))
check("TARGET WARM RESET is carried out", raw.wait(TASK_MGMT_RESPONSE, tag).header[2] in (0, 5))
raw.ready()
untouched("functions")

# --- names of units: third-party copy -------------------------------------------------------

def designators(conn, address):
    _, page, _ = conn.scsi(bytes([0x12, 1, 0x83, 2, 0, 0]), expect=512, lun=address)
    at, found = 4, []
    while at < 4 + int.from_bytes(page[2:4], "big"):
        found.append((page[at] & 0xf, page[at + 1] & 0x3f, page[at + 4:at + 4 + page[at + 3]]))
        at += 4 + page[at + 3]
    return found


def cscd(code, kind, value):
    return struct.pack(">BBHBBBB", 0xe4, 0, 0, code, kind, 0, len(value)) + value.ljust(20, b"\0") + (512).to_bytes(4, "big")


def extended_copy(action, first, second, source, destination):
    ends = first + second
    segment = struct.pack(">BBHHHHHQQ", 2, 0, 0x18, source, destination, 0, 8, 0, 0)
    if action:
        data = struct.pack(">BBH11xBB3xI18xHHH", 1, 0, 0x20, 0, 0xff, 7, len(ends), len(segment), 0)
    else:
        data = struct.pack(">BBHIII", 7, 0, len(ends), 0, len(segment), 0)
    data += ends + segment
    return raw.scsi(struct.pack(">BB8xIxx", 0x83, action, len(data)), data)


mine = next(cscd(*one) for one in designators(raw, 0) if one[1] == 3)
assert extended_copy(0, mine, mine, 0, 0)[0] == 0
reached = []
names = [one for one in designators(other, HIDDEN) if len(one[2]) <= 20]
check("the hidden unit has names to be tried", names, names)
for one in names:
    theirs = cscd(*one)
    for action in (0, 1):
        for ends in ((0, 1), (1, 0), (1, 1)):
            tried += 1
            status, _, sense = extended_copy(action, mine, theirs, *ends)
            if status != 2 or sense_code(sense)[0] not in (5, 0xa):
                reached.append((one, action, ends, status, sense.hex()))
beyond += len(reached)
check("EXTENDED COPY finds a unit that is there under none of its names", not reached, reached)
check("it has read nothing", raw.scsi(read10(0, 8), expect=4096)[1] == bytes(4096))
untouched("copies")

# --- tokens and copies of others ------------------------------------------------------------
extents = struct.pack(">QI4x", 0, 8)
data = struct.pack(">HBBIIHH", 14 + 16, 0, 0, 0, 0, 0, 16) + extents
assert other.scsi(struct.pack(">BB4xIIxx", 0x83, 0x10, 9, len(data)), data, lun=HIDDEN)[0] == 0
status, answer, _ = other.scsi(struct.pack(">BBI4xIxx", 0x84, 7, 9, 1024), expect=1024, lun=HIDDEN)
token = answer[38:]
assert status == 0 and len(token) == 512
data = struct.pack(">HB5xQ", 534 + 16, 0, 0) + token + struct.pack(">6xH", 16) + extents
status, _, sense = raw.scsi(struct.pack(">BB4xIIxx", 0x83, 0x11, 8, len(data)), data)
check_eq("a token for a unit that one does not see is of no use", (2, (5, 0x23, 4)), (status, sense_code(sense)))
check("it has copied nothing", raw.scsi(read10(0, 8), expect=4096)[1] == bytes(4096))
for action in (5, 7):
    tried += 1
    status, answer, sense = raw.scsi(struct.pack(">BBI4xIxx", 0x84, action, 9, 1024), expect=1024)
    check(f"RECEIVE 84h/{action:02x}h knows nothing of another's list identifier", status == 2 and sense_code(sense)[0] == 5, (status, answer.hex()))
tried += 1
status, _, sense = raw.scsi(struct.pack(">BBI8xBx", 0x83, 0x1c, 9, 0), lun=0)
check("COPY OPERATION ABORT neither", status == 2 and sense_code(sense)[0] == 5, (status, sense.hex()))
untouched("tokens")

# --- reservations ---------------------------------------------------------------------------

def pr_out(conn, action, key, new, address=0, kind=0, more=b"", flags=0):
    data = struct.pack(">QQIBxxx", key, new, 0, flags) + more
    return conn.scsi(struct.pack(">BBBxxIx", 0x5f, action, kind, len(data)), data, lun=address)


def registrations():
    path = glob.glob("/sys/kernel/config/ferrite/core/iblock_*/disk1/pr/registrations")[0]
    with open(path, encoding="ascii") as file:
        return file.read()


assert pr_out(other, 0, 0, 0x4711, HIDDEN)[0] == 0
assert pr_out(other, 1, 0x4711, 0, HIDDEN, kind=3)[0] == 0
before = registrations()
for action, name in ((0, "READ KEYS"), (1, "READ RESERVATION"), (3, "READ FULL STATUS")):
    status, answer, _ = raw.scsi(struct.pack(">BB5xHx", 0x5e, action, 1024), expect=1024)
    check_eq(f"{name} tells nothing of another unit's", (0, bytes(4)), (status, answer[4:8]))
assert pr_out(raw, 0, 0, 1)[0] == 0
name = OTHER.encode() + b"\0"
name += bytes(-len(name) % 4)
transport = struct.pack(">BBH", 5, 0, len(name)) + name
for port in range(8):
    for action, key in ((4, 0x4711), (5, 0x4711), (3, 0x4711), (2, 0x4711)):
        tried += 1
        status, _, _ = pr_out(raw, action, 1, key, kind=3)
        assert status in (0, 2, 0x18), status
    pr_out(raw, 6, 0, 1)
    tried += 1
    move = struct.pack(">QQxBHI", 1, 0x99, 0, port, len(transport)) + transport
    status, _, sense = raw.scsi(struct.pack(">BB3xIx", 0x5f, 7, len(move)), move)
    if port > 2:
        check(f"REGISTER AND MOVE to port {port}, of no group of the target, is refused", status != 0, (status, sense.hex()))
    pr_out(raw, 6, 0, 1)
spec = struct.pack(">I", len(transport)) + transport
pr_out(raw, 6, 0, 0)
tried += 1
status, _, sense = pr_out(raw, 0, 0, 2, more=spec, flags=8)
print(f"SPEC_I_PT: status {status}, sense {sense.hex()}")
check_eq("nothing of this changed another unit's registrations", before, registrations())
pr_out(raw, 6, 0, 1)
pr_out(raw, 3, 1, 0)
check_eq("nor did CLEAR", before, registrations())
assert pr_out(other, 3, 0x4711, 0, HIDDEN)[0] == 0
untouched("reservations")

# --- what is told ---------------------------------------------------------------------------
for select in (0, 1, 2):
    status, answer, _ = raw.scsi(struct.pack(">BxB3xIxx", 0xa0, select, 4096), expect=4096)
    check(f"REPORT LUNS {select:02x}h names LUN 0, or nothing", status == 0 and not any(answer[8:]) and len(answer) <= 16, answer.hex())
for address in (0xc101 << 48,):
    status, answer, _ = raw.scsi(struct.pack(">BxB3xIxx", 0xa0, 0, 4096), expect=4096, lun=address)
    check("nor does the well known logical unit", status == 2 or not any(answer[8:]), answer.hex())
_, answer, _ = raw.scsi(bytes([0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]), expect=1024)
theirs = designators(other, HIDDEN)
ports = [value for code, kind, value in theirs if kind == 4]
print("ports of the hidden unit", [port.hex() for port in ports], "target port groups", answer.hex())


def targets(conn, value):
    itt = conn.request(TEXT, word20=0xffffffff, data=f"SendTargets={value}".encode() + b"\0")
    return [pair for pair in conn.wait(TEXT_RESPONSE, itt).data.decode().split("\0") if pair.startswith("TargetName=")]


discovery = Conn().login(target=None, initiator=RAW, session="Discovery")
check_eq("discovery shows the targets that one may log in to", [f"TargetName={TARGET}"], targets(discovery, "All"))
check_eq("and no other, when asked for it by name", [], targets(discovery, B))
try:
    found = targets(raw, B)
except Rejected:
    found = []
check_eq("nor does a session", [], found)
try:
    Conn().login(target=B, initiator=RAW, isid=bytes.fromhex("80feed000003"))
    status = 0
except Refused as refused:
    status = refused.code
check_eq("a login there is refused", 0x0202, status)
# An identifier of another's session is of no use.
try:
    Conn().login(initiator=RAW, isid=bytes.fromhex("80feed000002"), tsih=other.tsih, cid=1)
    status = 0
except Refused as refused:
    status = refused.code
check("nor can one join another's session", status in (0x020a, 0x0206, 0x0208), hex(status))
check("which goes on", other.ping())
print(f"@figure access control: attempts, reached | {tried}, {beyond}")
