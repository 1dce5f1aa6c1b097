# SPDX-License-Identifier: GPL-2.0
"""Referrals (SBC-4, "Referrals"), by a raw initiator: the access state hangs on the block.

One device is LUN 0 of portal group 1 at 127.0.0.1:3260, whose target port group is 0, and of
portal group 2 at 127.0.0.1:3261, whose group is 16.
"""

import errno
import os
import struct

from alua_wire import attentions, answer, connect, put
from host import read
from iscsi import check, check_eq, read10, sense_code, write10

STORE = os.environ["STORE"]
BLOCK = 512
MAP = f"{STORE}/lba_map"
FIRST, SECOND = f"{STORE}/alua/default_tg_pt_gp", f"{STORE}/alua/second"
LBA_DEPENDENT = 4
UNAVAILABLE, TRANSITION, INSPECT = (2, 4, 0x0c), (2, 4, 0x0a), (0xb, 0x3f, 0x15)
BAD_FIELD, BAD_LIST, RANGE = (5, 0x24, 0), (5, 0x26, 0), (5, 0x21, 0)


def report(conn, lba=0, one=False, alloc=512):
    return answer(conn, struct.pack(">BBQIBx", 0x9e, 0x13, lba, alloc, one), expect=alloc)


def referrals(conn, *args, **more):
    """[(first, last, {group: state})] of REPORT REFERRALS."""
    got = report(conn, *args, **more)
    if not isinstance(got, bytes):
        return got
    if int.from_bytes(got[:4], "big") != len(got) - 4:
        return f"length: {got.hex()}"
    return segments(got[4:])


def segments(data):
    found = []
    while data:
        count, first, last = struct.unpack_from(">3xBQQ", data)
        groups = [struct.unpack_from(">BxH", data, 20 + 4 * n) for n in range(count)]
        found.append((first, last, {group: state for state, group in groups}))
        data = data[20 + 4 * count:]
    return found


def vpd(conn, page):
    return answer(conn, bytes([0x12, 1, page, 0, 255, 0]), expect=255)


def reads(conn, lba, blocks=1):
    """0, or why not."""
    got = answer(conn, read10(lba, blocks), expect=blocks * BLOCK)
    return 0 if isinstance(got, bytes) else got


def writes(conn, lba, data):
    got = answer(conn, write10(lba, len(data) // BLOCK), data)
    return 0 if isinstance(got, bytes) else got


a, b = connect(1, 1), connect(2, 2)
settle = [attentions(a), attentions(b)]

# --- without a map
check_eq("without a map: REPORT REFERRALS is refused", BAD_FIELD, report(a))
check_eq("nor is there the page", BAD_FIELD, vpd(a, 0xb3))
check_eq("nor the bit R_SUP", 0, vpd(a, 0x86)[8] & 0x10)
check_eq("nor the state", errno.EINVAL, put(LBA_DEPENDENT, f"{FIRST}/alua_access_state"))
check_eq("nor support of it", errno.EINVAL, put(1, f"{FIRST}/alua_support_lba_dependent"))

# --- maps that are wrong
for text, why in (("0 0", "no segment"), ("0 1\n0 9 0:O", "a multiplier without a size"),
                  ("0 0\n9 0 0:O", "a segment that ends before it begins"),
                  ("0 0\n0 9 0:S", "a state that no segment has"),
                  ("0 0\n0 9 0:O\n9 19 0:O", "two segments with one block"),
                  ("0 0\n0 9 0:O 0:U", "a group twice"),
                  ("0 0\n0 18446744073709551616 0:O", "a number of 65 bits"),
                  ("0 0\n" + "".join(f"{n} {n} 0:O\n" for n in range(65)), "65 segments")):
    check_eq(f"{why} is refused", errno.EINVAL, put(text, MAP))
check_eq("and there is no map", "", read(MAP))

# --- a map
text = "0 0\n0 99 0:O 16:U\n100 199 0:U 16:A\n200 299 0:T 16:U\n"
check_eq("a map is taken", 0, put(text, MAP))
check_eq("and shown", text, read(MAP))
check_eq("initiators are told", [(6, 0x2a, 6), (6, 0x3f, 3)], attentions(a))
attentions(b)
check_eq("R_SUP", 0x10, vpd(a, 0x86)[8] & 0x10)
check("the list of pages has it", 0xb3 in vpd(a, 0)[4:])
check_eq("the page", "00b3000c" + "00" * 12, vpd(a, 0xb3).hex())
check_eq("groups that are not in the state say what they are in",
         [(0, 99, {0: 0, 16: 0}), (100, 199, {0: 0, 16: 0}), (200, 299, {0: 0, 16: 0})], referrals(a))
check_eq("and all works", (0, 0), (reads(a, 150), reads(b, 50)))
for group in (FIRST, SECOND):
    check_eq("the state is taken", 0, put(LBA_DEPENDENT, f"{group}/alua_access_state"))
attentions(a), attentions(b)
check_eq("REPORT REFERRALS", [(0, 99, {0: 0, 16: 3}), (100, 199, {0: 3, 16: 1}), (200, 299, {0: 15, 16: 3})],
         referrals(b))
check_eq("from a block on", [(100, 199, {0: 3, 16: 1}), (200, 299, {0: 15, 16: 3})], referrals(b, 199))
check_eq("of one segment", [(100, 199, {0: 3, 16: 1})], referrals(b, 199, True))
check_eq("of a block that has none", [], referrals(b, 300, True))
check_eq("and of one that does not exist", RANGE, report(b, 1 << 40))
whole = report(b)
check("a short allocation length cuts it", all(report(b, alloc=n) == whole[:n] for n in range(1, len(whole))))

# --- reading and writing
data = os.urandom(2 * BLOCK)
check_eq("what is active can be written and read", (0, 0), (writes(a, 50, data), reads(a, 50, 2)))
check_eq("what is not can not", (UNAVAILABLE, UNAVAILABLE), (reads(b, 50), writes(b, 50, os.urandom(2 * BLOCK))))
check_eq("and has not changed", data, answer(a, read10(50, 2), expect=2 * BLOCK))
check_eq("non-optimized is active", (0, 0), (writes(b, 150, data), reads(b, 150, 2)))
check_eq("a command over an edge is refused where one side is", (UNAVAILABLE, UNAVAILABLE),
         (reads(a, 98, 3), reads(b, 99, 2)))
check_eq("before the edge it is not", (0, 0), (reads(a, 98, 2), reads(b, 100, 2)))
check_eq("a segment in transition", (TRANSITION, UNAVAILABLE), (reads(a, 250), reads(b, 250)))
check_eq("what no segment covers is reached by both", (0, 0), (reads(a, 300, 8), reads(b, 4000, 8)))
for name, cdb in (("VERIFY", struct.pack(">BBIxHx", 0x2f, 0, 50, 1)),
                  ("PRE-FETCH to the end", struct.pack(">BBIxHx", 0x34, 0, 60, 0)),
                  ("WRITE SAME", struct.pack(">BBQIBx", 0x93, 1, 50, 2, 0))):
    check_eq(f"{name} is refused as well", UNAVAILABLE, answer(b, cdb))
unmap = struct.pack(">HHxxxxQIxxxx", 22, 16, 50, 1)
got = answer(b, struct.pack(">BB4xxHx", 0x42, 0, len(unmap)), unmap)
check("and UNMAP, where there is one", got in (UNAVAILABLE, (5, 0x20, 0)), got)
flush, status = struct.pack(">B9x", 0x35), struct.pack(">BBQIxx", 0x9e, 0x12, 50, 24)
check_eq("SYNCHRONIZE CACHE and GET LBA STATUS are not", (b"", True),
         (answer(b, flush), isinstance(answer(b, status, expect=24), bytes)))
check_eq("an initiator cannot set the state", BAD_LIST,
         answer(a, struct.pack(">BB4xIxx", 0xa4, 0x0a, 8), struct.pack(">4xBxH", LBA_DEPENDENT, 16)))

# --- where else it is
page = bytearray(answer(b, bytes([0x1a, 8, 0x0a, 0, 16, 0]), expect=16))
page[:7] = [0, 0, 0, 0, 0x0a, page[5], page[6] | 0x04]
check_eq("D_SENSE is switched on", b"", answer(b, bytes([0x15, 0x10, 0, 0, 16, 0]), bytes(page)))
attentions(a), attentions(b)
_, _, sense = b.scsi(read10(98, 4), b"", 4 * BLOCK)
check_eq("descriptor format sense data says to look at the referrals", INSPECT, sense_code(sense))
check_eq("the first block that cannot be reached", 98, int.from_bytes(sense[12:20], "big"))
check_eq("the descriptor is of type 0Bh, and there is more", (0x0b, 30, 1), tuple(sense[20:23]))
check_eq("ADDITIONAL SENSE LENGTH", len(sense) - 8, sense[7])
check_eq("the segment and its groups", [(0, 99, {0: 0, 16: 3})], segments(sense[24:]))
check_eq("what is nowhere active has none", UNAVAILABLE, reads(b, 250))

# --- segments at equal distances
check_eq("a map cannot go while it is needed", errno.EBUSY, put("NULL", MAP))
check_eq("but change", 0, put("10 2\n0 9989 0:O\n10 9999 16:O", MAP))
attentions(a), attentions(b)
check_eq("the page", "000000000000000a00000002", vpd(a, 0xb3)[4:].hex())
wrong = [lba for lba in range(0, 60, 5)
         if (reads(a, lba) == 0, reads(b, lba) == 0) != (lba // 10 % 2 == 0, lba // 10 % 2 == 1)]
check_eq("every other ten blocks", [], wrong)
check_eq("one segment of a line", [(30, 39, {16: 0})], referrals(a, 35, True))
check_eq("over an edge", INSPECT, reads(a, 25, 6))

# --- the end
for group in (FIRST, SECOND):
    put(0, f"{group}/alua_access_state")
check_eq("out of use it can go", 0, put("NULL", MAP))
attentions(a), attentions(b)
check_eq("and with it the state", (errno.EINVAL, "0\n"),
         (put(LBA_DEPENDENT, f"{FIRST}/alua_access_state"), read(f"{FIRST}/alua_support_lba_dependent")))
check_eq("and the command", BAD_FIELD, report(a))
