# SPDX-License-Identifier: GPL-2.0
"""What was acknowledged as durable is there, at whatever point the power goes.

dm-log-writes keeps a log of what reaches the disk, in which a write stands only once a flush has
covered it, or it was FUA itself. The workload puts a mark into the log whenever the target has
acknowledged something durable. Then the disk is built again from the log, entry by entry, and at
each point everything that was acknowledged by then is looked for.

crash_points.py work DEVICE-OF-DM COUNT, crash_points.py check LOG-DEVICE DISK
"""

import fcntl
import json
import random
import struct
import sys

from iscsi import R2T, SCSI_RESPONSE, Conn, check, check_eq

BLOCK = 4096
BLOCKS = 512
STATE = "/tmp/crash-points.json"

# _IOWR(0xfd, 14, struct dm_ioctl), include/uapi/linux/dm-ioctl.h.
DM_TARGET_MSG = 0xc138fd0e
# Flags of an entry, drivers/md/dm-log-writes.c.
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
MAGIC = 0x6a736677736872


def mark(name, text):
    """Sends a message to the first target of a device of device mapper."""
    message = struct.pack("<Q", 0) + f"mark {text}".encode() + b"\0"
    size = 312 + len(message)
    head = struct.pack("<IIIIIIiIIIQ128s129s7s", 4, 0, 0, size, 312, 0, 0, 0, 0, 0, 0, name.encode(),
                       b"", b"")
    buffer = bytearray(head + message)
    with open("/dev/mapper/control", "rb") as control:
        fcntl.ioctl(control, DM_TARGET_MSG, buffer)


def content(block, version):
    return struct.pack("<QQ", block + 1, version) * (BLOCK // 16)


def version_of(block, data):
    """What a block has; None if it is nothing that was ever written to it."""
    number, version = struct.unpack_from("<QQ", data)
    if not any(data):
        return 0
    return version if number == block + 1 and data == content(block, version) else None


def write(block, count, fua, wide):
    flags = 8 if fua else 0
    if wide:
        return struct.pack(">BBQIBB", 0x8a, flags, block * 8, count * 8, 0, 0)
    return struct.pack(">BBIBHB", 0x2a, flags, block * 8, 0, count * 8, 0)


class Session:
    """A session with several commands under way."""

    def __init__(self, number):
        self.conn = Conn().login(isid=bytes([0x80, 0xfe, 0xed, 9, 9, number]),
                                 InitialR2T="Yes", ImmediateData="Yes")
        self.conn.ready()
        self.data = {}

    def start(self, cdb, data=b""):
        itt = self.conn.command(cdb, data, immediate_data=data[:8192])
        self.data[itt] = data
        return itt

    def finish(self, todo):
        """Serves commands until each is done; yields their tags as they are."""
        todo = set(todo)
        while todo:
            pdu = self.conn.recv(60)
            if pdu.opcode == R2T:
                self.conn.data_out(pdu, self.data[pdu.itt])
            elif pdu.opcode == SCSI_RESPONSE and pdu.itt in todo:
                assert pdu.header[3] == 0, f"status {pdu.header[3]:#x}: {pdu.data.hex()}"
                todo.remove(pdu.itt)
                del self.data[pdu.itt]
                yield pdu.itt


def work(name, count):
    rng = random.Random(5)
    sessions = [Session(1), Session(2)]
    issued = [0] * BLOCKS
    acknowledged = [0] * BLOCKS
    durable = [0] * BLOCKS
    marks = []
    kinds = {"FUA": 0, "flush": 0, "COMPARE AND WRITE with FUA": 0, "nothing": 0}

    def promise(kind):
        kinds[kind] += 1
        mark(name, f"p{len(marks)}")
        marks.append({"kind": kind, "durable": list(durable), "issued": list(issued)})

    for number in range(count):
        session = rng.choice(sessions)
        # Blocks that no other command of the batch has: what is written last is known.
        free = list(range(0, BLOCKS, 8))
        rng.shuffle(free)
        batch = {}
        for _ in range(rng.randrange(1, 9)):
            first, size = free.pop(), rng.choice((1, 1, 1, 2, 8))
            for block in range(first, first + size):
                issued[block] += 1
            data = b"".join(content(block, issued[block]) for block in range(first, first + size))
            fua = rng.random() < 0.15
            itt = session.start(write(first, size, fua, rng.random() < 0.3), data)
            batch[itt] = first, size, fua
        for itt in session.finish(batch):
            first, size, fua = batch[itt]
            for block in range(first, first + size):
                acknowledged[block] = issued[block]
                if fua:
                    durable[block] = issued[block]
            if fua:
                promise("FUA")
        what = rng.random()
        if what < 0.4:
            # Also for what another session has written.
            other = rng.choice(sessions)
            cdb = rng.choice((struct.pack(">BBIBHB", 0x35, 0, 0, 0, 0, 0),
                              struct.pack(">BBQIBB", 0x91, 0, 0, BLOCKS * 8, 0, 0)))
            for _ in other.finish([other.start(cdb)]):
                durable[:] = acknowledged
            promise("flush")
        elif what < 0.5:
            block = rng.randrange(BLOCKS)
            if acknowledged[block]:
                old = content(block, acknowledged[block])
                issued[block] += 1
                cdb = struct.pack(">BBQ3xBBB", 0x89, 8, block * 8, 8, 0, 0)
                for _ in session.finish([session.start(cdb, old + content(block, issued[block]))]):
                    durable[block] = acknowledged[block] = issued[block]
                promise("COMPARE AND WRITE with FUA")
        elif what < 0.55 and number > 10:
            # Nobody asked for it: what is only acknowledged must at times be missing, or the
            # log shows nothing.
            kinds["nothing"] += 1
            mark(name, f"n{len(marks)}")
            marks.append({"kind": "nothing", "durable": list(acknowledged), "issued": list(issued)})
    with open(STATE, "w", encoding="ascii") as file:
        json.dump({"marks": marks, "issued": issued, "kinds": kinds}, file)
    for session in sessions:
        session.conn.logout()
    print("promises:", kinds)


def entries(log):
    """The log: (flags, sector, data, mark)."""
    magic, version, count, sector_size = struct.unpack_from("<QQQI", log.read(4096))
    assert magic == MAGIC and version == 1, f"not a log: {magic:#x}"
    at = sector_size
    for _ in range(count):
        log.seek(at)
        head = log.read(sector_size)
        sector, sectors, flags, length = struct.unpack_from("<QQQQ", head)
        at += sector_size
        data, text = b"", ""
        if flags & MARK:
            text = head[32:32 + length].rstrip(b"\0").decode()
        elif not flags & DISCARD:
            data = log.read(sectors * sector_size)
            at += sectors * sector_size
        yield flags, sector * sector_size // 512, data, text


def look(path, real):
    with open(STATE, encoding="ascii") as file:
        state = json.load(file)
    marks, last = state["marks"], state["issued"]
    disk = [0] * BLOCKS
    required, most = [0] * BLOCKS, last
    points = lost = unpromised = foreign = held = 0
    first = kind = ""
    with open(path, "rb") as log:
        for flags, sector, data, text in entries(log):
            points += 1
            for offset in range(0, len(data) - BLOCK + 1, BLOCK):
                block = sector // 8 + offset // BLOCK
                if block < BLOCKS:
                    version = version_of(block, data[offset:offset + BLOCK])
                    if version is None:
                        foreign += 1
                    # A FUA write is logged when it is done, one before it to the same block only
                    # when it is flushed: the log has them in another order than the disk, which
                    # does not go back to what it had.
                    disk[block] = max(disk[block], version or 0)
            if text[:1] in ("p", "n"):
                promise = marks[int(text[1:])]
                if promise["kind"] == "nothing":
                    unpromised += any(have < want for have, want in zip(disk, promise["durable"]))
                    continue
                required, most, kind = promise["durable"], promise["issued"], promise["kind"]
                # Later than anything that had been sent by then.
                foreign += any(have > can for have, can in zip(disk, most))
                held += 1
            missing = [block for block in range(BLOCKS) if disk[block] < required[block]]
            if missing:
                lost += 1
                first = first or (f"entry {points}, after {kind}: " + ", ".join(
                    f"block {b} has {disk[b]} and must have {required[b]} of {most[b]}" for b in missing[:10]))
    check_eq("every acknowledgement is in the log", sum(1 for m in marks if m["kind"] != "nothing"), held)
    check("there are thousands of points at which the power may go", points >= 1000, points)
    check_eq("at none of them anything is missing that was acknowledged as durable", (0, ""), (lost, first))
    check_eq("and no block has what was never written to it", 0, foreign)
    with open(real, "rb") as file:
        end = [version_of(block, file.read(BLOCK)) for block in range(BLOCKS)]
    check("in the end the disk has what was written last", end == last,
          [block for block in range(BLOCKS) if end[block] != last[block]][:10])
    check("where nothing was flushed, something is missing: the log shows what is not there",
          unpromised > 0, unpromised)
    kinds = state["kinds"]
    print(f"@figure crash points: points, acknowledged flushes, FUA writes, lost | {points}, {kinds['flush']}, "
          f"{kinds['FUA'] + kinds['COMPARE AND WRITE with FUA']}, {lost}")


if sys.argv[1] == "work":
    work(sys.argv[2], int(sys.argv[3]))
else:
    look(sys.argv[2], sys.argv[3])
