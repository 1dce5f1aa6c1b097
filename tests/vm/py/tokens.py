# SPDX-License-Identifier: GPL-2.0
"""POPULATE TOKEN, RECEIVE ROD TOKEN INFORMATION and WRITE USING TOKEN (SBC-3, SPC-4).

Every initiator sees LUN 0 and 1, but SHY sees LUN 1 alone.
"""

import os
import struct
import time

from iscsi import Conn, check, check_eq, lun, read10, sense_code, write10

SHY = "iqn.2026-01.org.example:shy"
UNKNOWN, EXPIRED = (5, 0x23, 4), (5, 0x23, 7)
INVALID_LIST = (5, 0x26, 0)


def ranges(extents):
    return b"".join(struct.pack(">QI4x", lba, blocks) for lba, blocks in extents)


def populate(conn, extents, list_id=1, timeout=0, unit=0):
    body = ranges(extents)
    data = struct.pack(">HBBIIHH", 14 + len(body), 0, 0, timeout, 0, 0, len(body)) + body
    return conn.scsi(struct.pack(">BB4xIIxx", 0x83, 0x10, list_id, len(data)), data, lun=lun(unit))


def use(conn, token, extents, offset=0, list_id=2, unit=1, flags=0, length=None):
    body = ranges(extents)
    data = (struct.pack(">HB5xQ", 534 + len(body), flags, offset) + token
            + struct.pack(">6xH", len(body)) + body)
    data = data[:length]
    return conn.scsi(struct.pack(">BB4xIIxx", 0x83, 0x11, list_id, len(data)), data, lun=lun(unit))


def information(conn, list_id, unit=0):
    return conn.scsi(struct.pack(">BBI4xIxx", 0x84, 7, list_id, 1024), expect=1024, lun=lun(unit))


def token_of(conn, list_id=1, unit=0):
    status, data, sense = information(conn, list_id, unit)
    assert status == 0 and len(data) == 550, (status, sense.hex(), len(data))
    return data[38:]


def make(conn, extents, **more):
    status, _, sense = populate(conn, extents, **more)
    assert status == 0, sense.hex()
    return token_of(conn)


def connect(number, units=(0, 1), initiator="iqn.2026-01.org.example:raw"):
    conn = Conn().login(isid=bytes.fromhex("80feed0006") + bytes([number]), initiator=initiator)
    for unit in units:
        conn.ready(lun(unit))
    return conn


def look(conn, unit, lba, blocks):
    status, data, sense = conn.scsi(read10(lba, blocks), expect=blocks * 512, lun=lun(unit))
    assert status == 0, sense.hex()
    return data


def refused(name, want, got):
    status, _, sense = got
    check(name, status == 2 and sense_code(sense) == want, f"status {status}, sense {sense.hex()}")
    return sense


one, two = connect(1), connect(2)
shy = connect(3, (1,), SHY)
noise = os.urandom(512 * 64)
status, _, sense = one.scsi(write10(100, 64), noise)
assert status == 0, sense.hex()

# --- it copies ------------------------------------------------------------------------------

check_eq("POPULATE TOKEN", 0, populate(one, [(100, 32), (140, 16)])[0])
status, data, _ = information(one, 1)
check_eq("RECEIVE ROD TOKEN INFORMATION: done, in blocks", (0x10, 1, 0xf1, 48),
         (data[4], data[5], data[15], int.from_bytes(data[16:24], "big")))
token = data[38:]
check_eq("a token of 512 bytes", (512, bytes.fromhex("00010000 0000 01f8")), (len(token), token[:8]))
check_eq("which says how many bytes it stands for", 48 * 512, int.from_bytes(token[48:64], "big"))
check_eq("WRITE USING TOKEN on another LUN", 0, use(one, token, [(1000, 40), (2000, 8)])[0])
check("writes the blocks in their order", look(one, 1, 1000, 40) + look(one, 1, 2000, 8)
      == noise[:32 * 512] + noise[40 * 512:56 * 512])
status, data, _ = information(one, 2, 1)
check_eq("and that is told: all blocks, no token", (0, 0x11, 1, 48, bytes(4)),
         (status, data[4], data[5], int.from_bytes(data[16:24], "big"), data[32:36]))
check_eq("a part of it", 0, use(one, token, [(3000, 4)], offset=30)[0])
check("is what stands there", look(one, 1, 3000, 4)
      == noise[30 * 512:32 * 512] + noise[40 * 512:42 * 512])
check_eq("on the same LUN", 0, use(one, token, [(5000, 48)], unit=0)[0])
check("it copies as well", look(one, 0, 5000, 32) == noise[:32 * 512])
check_eq("another session that sees the source may use it", 0, use(two, token, [(4000, 48)])[0])
check("and gets the same", look(two, 1, 4000, 32) == noise[:32 * 512])

# --- what is refused ------------------------------------------------------------------------

before = look(one, 1, 1000, 8)
answer = use(shy, token, [(1000, 8)])
refused("a session that does not see the source has no use for it", UNKNOWN, answer)
made_up = bytearray(token)
made_up[8:16] = os.urandom(8)
check_eq("it is answered like one that was never made", use(shy, bytes(made_up), [(1000, 8)]), answer)
for at in (8, 20, 63, 96, 130, 159, 300, 511):
    changed = bytearray(token)
    changed[at] ^= 1
    refused(f"a token that differs in byte {at} is not known", UNKNOWN,
            use(one, bytes(changed), [(1000, 8)]))
refused("another type is refused", (5, 0x23, 1), use(one, b"\xff\xff\0\1" + token[4:], [(1000, 8)]))
refused("another length is refused", (5, 0x23, 0x0a),
        use(one, token[:6] + b"\1\xf9" + token[8:], [(1000, 8)]))
refused("more than it stands for is refused", INVALID_LIST, use(one, token, [(1000, 49)]))
refused("beyond its end", INVALID_LIST, use(one, token, [(1000, 1)], offset=48))
refused("beyond the end of the disk", (5, 0x21, 0), use(one, token, [(1 << 40, 1)]))
refused("blocks that are named twice", INVALID_LIST, use(one, token, [(1000, 4), (1003, 4)]))
refused("what it would overwrite itself", (5, 0x23, 0), use(one, token, [(90, 20)], unit=0))
refused("a token for blocks that there are not", (5, 0x21, 0), populate(one, [(1 << 40, 1)]))
refused("a token for too much", INVALID_LIST, populate(one, [(0, (256 << 20) // 512 + 1)]))
refused("a timeout that is too long", INVALID_LIST, populate(one, [(0, 1)], timeout=601))
ends = {sense_code(use(one, token, [(1000, 8)], length=n)[2]) for n in (1, 16, 300, 535, 536, 551)}
check_eq("a list that is cut off", {(5, 0x1a, 0)}, ends)
check("and nothing was written", look(one, 1, 1000, 8) == before)
two.scsi(struct.pack(">BBBxxIx", 0x5f, 0, 0, 24), struct.pack(">QQ8x", 0, 1))
two.scsi(struct.pack(">BBBxxIx", 0x5f, 1, 3, 24), struct.pack(">QQ8x", 1, 0))
refused("a source that is reserved, exclusive access", (0xa, 0x0d, 1), use(one, token, [(1000, 8)]))
check_eq("no token is made for it", 0x18, populate(one, [(0, 1)])[0])
two.scsi(struct.pack(">BBBxxIx", 0x5f, 3, 0, 24), struct.pack(">QQ8x", 1, 0))
one.ready()
two.scsi(struct.pack(">BBBxxIx", 0x5f, 0, 0, 24), struct.pack(">QQ8x", 0, 1), lun=lun(1))
two.scsi(struct.pack(">BBBxxIx", 0x5f, 1, 1, 24), struct.pack(">QQ8x", 1, 0), lun=lun(1))
check_eq("a destination that is reserved", 0x18, use(one, token, [(1000, 8)])[0])
two.scsi(struct.pack(">BBBxxIx", 0x5f, 3, 0, 24), struct.pack(">QQ8x", 1, 0), lun=lun(1))
one.ready(lun(1))
check("nothing was written then either", look(one, 1, 1000, 8) == before)

# --- how long it lives ----------------------------------------------------------------------

check_eq("after all that it is still good", 0, use(one, token, [(1000, 8)])[0])
check_eq("DEL_TKN", 0, use(one, token, [(1000, 8)], flags=2)[0])
refused("it is not known afterwards", UNKNOWN, use(one, token, [(1000, 8)]))
short = make(one, [(100, 8)], timeout=1)
time.sleep(2.5)
refused("one that was not used in time has expired", EXPIRED, use(one, short, [(1000, 8)]))
tokens = []
for number in range(20):
    tokens.append(make(one, [(100 + number, 1)]))
check("no two are the same", len(set(tokens)) == 20
      and len({t[8:16] for t in tokens}) == 20 and len({t[128:160] for t in tokens}) == 20)
refused("there is room for 16: the oldest is gone", UNKNOWN, use(one, tokens[0], [(1000, 1)]))
check_eq("the last is not", 0, use(one, tokens[19], [(1000, 1)])[0])
check_eq("another session uses it", 0, use(two, tokens[18], [(1000, 1)])[0])
one.logout()
time.sleep(0.5)
refused("with its session it is gone", UNKNOWN, use(two, tokens[18], [(1000, 1)]))

# --- how many there are ---------------------------------------------------------------------

greedy = [connect(10 + number) for number in range(8)]
taken = [make(conn, [(number, 1)]) for conn in greedy for number in range(16)]
modest = connect(30, initiator="iqn.2026-01.org.example:modest")
few = [make(modest, [(200 + number, 1)]) for number in range(2)]
check_eq("when 8 sessions of one initiator have all 128 there are, another gets one", 0,
         use(modest, few[0], [(1000, 1)])[0])
refused("the oldest of the first is gone", UNKNOWN, use(modest, taken[0], [(1000, 1)]))
check_eq("and no more than had to", 0, use(modest, taken[2], [(1000, 1)])[0])
greedy.append(connect(20))
more = [make(greedy[8], [(number, 1)]) for number in range(8)]
check_eq("what the first gets then is its own", [0, 0],
         [use(modest, token, [(1000, 1)])[0] for token in few])
refused("it has no more than it had", UNKNOWN, use(modest, taken[9], [(1000, 1)]))
check_eq("the last one is good", 0, use(modest, more[7], [(1000, 1)])[0])
for conn in (*greedy, modest):
    conn.logout()

# A large one.
big = make(two, [(0, (64 << 20) // 512)])
check_eq("64 MiB", 0, use(two, big, [(100000, (64 << 20) // 512)])[0])
check("are copied", look(two, 1, 100100, 64) == noise
      and look(two, 1, 100000 + 131071, 1) == look(two, 0, 131071, 1))
check("nothing else has gone wrong", two.ping())
