# SPDX-License-Identifier: GPL-2.0
"""Target port groups on the wire (SPC-4, "Asymmetric logical unit access"), by a raw initiator.

One device is LUN 0 of portal group 1 at 127.0.0.1:3260 and of portal group 2 at 127.0.0.1:3261.
"""

import errno
import os
import struct
import threading
import time

from alua_wire import answer, attentions, connect, get, put
from host import sleeping_workers, until
from iscsi import (SCSI_RESPONSE, TARGET, TASK_MGMT_RESPONSE, Conn, check, check_eq,
                   read10, sense_code, write10)

ROOT = os.environ["ROOT"]
STORE = os.environ["STORE"]
GROUPS = f"{STORE}/alua"
SLOWER = int(os.environ["T_SLOWER"])

OPTIMIZED, NONOPTIMIZED, STANDBY, UNAVAILABLE, LBA, OFFLINE, TRANSITIONING = 0, 1, 2, 3, 4, 14, 15
CHANGED, FAILED, INQUIRY_CHANGED = (6, 0x2a, 6), (6, 0x2a, 7), (6, 0x3f, 3)
BAD_FIELD, BAD_LIST, BAD_LENGTH = (5, 0x24, 0), (5, 0x26, 0), (5, 0x1a, 0)
BAD_OPCODE = (5, 0x20, 0)

# By name: a CDB and the bytes it may answer with.
COMMANDS = {
    "TEST UNIT READY": (bytes(6), 0),
    "REQUEST SENSE": (bytes([3, 0, 0, 0, 252, 0]), 252),
    "INQUIRY": (bytes([0x12, 0, 0, 0, 96, 0]), 96),
    "REPORT LUNS": (struct.pack(">B5xIxx", 0xa0, 256), 256),
    "MODE SENSE": (bytes([0x1a, 0, 0x3f, 0, 252, 0]), 252),
    "READ CAPACITY(16)": (struct.pack(">BB8xIxx", 0x9e, 0x10, 32), 32),
    "PERSISTENT RESERVE IN": (struct.pack(">BB5xHx", 0x5e, 0, 256), 256),
    "REPORT TARGET PORT GROUPS": (struct.pack(">BB4xIxx", 0xa3, 0x0a, 256), 256),
    "SET TARGET PORT GROUPS": (struct.pack(">BB4xIxx", 0xa4, 0x0a, 0), 0),
    "READ(10)": (read10(0, 1), 512),
    "SYNCHRONIZE CACHE": (struct.pack(">B9x", 0x35), 0),
}
ABOUT = {"REQUEST SENSE", "INQUIRY", "REPORT LUNS", "REPORT TARGET PORT GROUPS"}
SET = {"SET TARGET PORT GROUPS"}
QUIET = {"MODE SENSE", "READ CAPACITY(16)", "PERSISTENT RESERVE IN"}
STATES = {
    OPTIMIZED: (set(COMMANDS), None),
    NONOPTIMIZED: (set(COMMANDS), None),
    STANDBY: (ABOUT | SET | QUIET, (2, 4, 0x0b)),
    UNAVAILABLE: (ABOUT | SET, (2, 4, 0x0c)),
    OFFLINE: (ABOUT | SET, (2, 4, 0x12)),
    TRANSITIONING: (ABOUT, (2, 4, 0x0a)),
}


def must(value, path):
    code = put(value, path)
    if code:
        raise SystemExit(f"{path}: {value}: {os.strerror(code)}")


def lun_dir(tpg):
    return f"{ROOT}/iscsi/{TARGET}/tpgt_{tpg}/lun/lun_0"


def rtpi(tpg):
    return int(get(f"{ROOT}/iscsi/{TARGET}/tpgt_{tpg}/rtpi"), 0)


def rtpg(conn, extended=False, alloc=4096):
    """(IMPLICIT TRANSITION TIME, [(group, state, PREF, supported, status, ports)])."""
    flags = 0x0a | (0x20 if extended else 0)
    got = answer(conn, struct.pack(">BB4xIxx", 0xa3, flags, alloc), expect=alloc)
    if not isinstance(got, bytes):
        return got
    if int.from_bytes(got[:4], "big") != len(got) - 4:
        return f"RETURN DATA LENGTH: {got.hex()}"
    at, seconds, groups = 4, None, []
    if extended:
        if got[4] & 0x70 != 0x10:
            return f"FORMAT TYPE: {got.hex()}"
        seconds, at = got[5], 8
    while at < len(got):
        first, supported, group, status, count = struct.unpack_from(">BBHxBxB", got, at)
        ports = [struct.unpack_from(">xxH", got, at + 8 + 4 * n)[0] for n in range(count)]
        groups.append((group, first & 0xf, first >> 7, supported, status, ports))
        at += 8 + 4 * count
    return seconds, groups


def state_of(conn, group):
    return next((g[1] for g in rtpg(conn)[1] if g[0] == group), None)


def stpg(conn, *changes, cut=None):
    """(status, sense code, field pointer) of SET TARGET PORT GROUPS."""
    data = bytes(4) + b"".join(struct.pack(">BxH", state, group) for state, group in changes)
    data = data[:cut]
    status, _, sense = conn.scsi(struct.pack(">BB4xIxx", 0xa4, 0x0a, len(data)), data)
    if status == 0:
        return 0
    pointer = int.from_bytes(sense[16:18], "big") if len(sense) > 17 and sense[15] & 0x80 else None
    return sense_code(sense), pointer


def settle():
    for conn in (a, b):
        attentions(conn)


def who_works(conn):
    """Which commands are carried out, and how the others are refused."""
    works, refusals = set(), set()
    for name, (cdb, expect) in COMMANDS.items():
        got = answer(conn, cdb, expect=expect)
        if isinstance(got, bytes):
            works.add(name)
        else:
            refusals.add(got)
    return works, refusals


a, b = connect(1, 1), connect(2, 2)
other = connect(2, 3)
one, two = rtpi(1), rtpi(2)

# One group, and two ports in it.
inquiry = answer(a, *COMMANDS["INQUIRY"][:1], expect=96)
check_eq("INQUIRY: TPGS says implicit and explicit", 3, inquiry[5] >> 4 & 3)
check_eq("INQUIRY: MULTIP says that there are several ports", 1, inquiry[6] >> 4 & 1)
check_eq("there is one group of all ports, the own one first",
         (None, [(0, 0, 0, 0xcf, 0, [one, two])]), rtpg(a))
check_eq("as the other port tells it", (None, [(0, 0, 0, 0xcf, 0, [two, one])]), rtpg(b))
must(7, f"{GROUPS}/default_tg_pt_gp/implicit_trans_secs")
check_eq("the extended header has the transition time", (7, [(0, 0, 0, 0xcf, 0, [one, two])]),
         rtpg(a, extended=True))
check_eq("another format is refused", BAD_FIELD,
         answer(a, struct.pack(">BB4xIxx", 0xa3, 0x4a, 64), expect=64))
whole = answer(a, struct.pack(">BB4xIxx", 0xa3, 0x0a, 64), expect=64)
check("a short allocation length cuts the data",
      all(answer(a, struct.pack(">BB4xIxx", 0xa3, 0x0a, n), expect=n) == whole[:n]
          for n in range(1, len(whole))))
check_eq("and nothing may be asked for", 0, len(answer(a, struct.pack(">BB4xIxx", 0xa3, 0x0a, 0))))

# A second group.
os.mkdir(f"{GROUPS}/second")
check_eq("a group without an identifier is not told of", 1, len(rtpg(a)[1]))
check_eq("nor can a LUN be in it", errno.ENOENT, put("second", f"{lun_dir(2)}/alua_tg_pt_gp"))
check_eq("nor has it a state to change", errno.ENODEV, put(2, f"{GROUPS}/second/alua_access_state"))
os.mkdir(f"{GROUPS}/third")
must(0, f"{GROUPS}/third/tg_pt_gp_id")
check_eq("identifier 0 lets the target choose", "1", get(f"{GROUPS}/third/tg_pt_gp_id"))
check_eq("an identifier that is taken is refused", errno.EEXIST, put(1, f"{GROUPS}/second/tg_pt_gp_id"))
os.rmdir(f"{GROUPS}/third")
must(16, f"{GROUPS}/second/tg_pt_gp_id")
check_eq("it cannot change", errno.EBUSY, put(17, f"{GROUPS}/second/tg_pt_gp_id"))
check_eq("the group has no port yet", (16, 0, 0, 0xcf, 0, []), rtpg(a)[1][1])
check_eq("nobody has been told anything so far", ([], []), (attentions(a), attentions(b)))
must("second", f"{lun_dir(2)}/alua_tg_pt_gp")
check_eq("unit attentions: the state, and for the port that moved INQUIRY data",
         ([CHANGED], [CHANGED, INQUIRY_CHANGED]), (attentions(a), attentions(b)))
check_eq("the port moves", (None, [(0, 0, 0, 0xcf, 0, [one]), (16, 0, 0, 0xcf, 0, [two])]), rtpg(a))
check_eq("its members are told", f"iSCSI/{TARGET}/tpgt_2/lun_0", get(f"{GROUPS}/second/members"))
check("and the LUN tells its group", get(f"{lun_dir(2)}/alua_tg_pt_gp").startswith(
    "TG Port Alias: second\nTG Port Group ID: 16\nTG Port Primary Access State: Active/Optimized\n"))


def designators(conn):
    page = answer(conn, bytes([0x12, 1, 0x83, 4, 0, 0]), expect=1024)
    at, found = 4, {}
    while at < len(page):
        found[page[at + 1] & 0x3f] = page[at + 4:at + 4 + page[at + 3]]
        at += 4 + page[at + 3]
    return [int.from_bytes(found[kind], "big") for kind in (0x14, 0x15)]


check_eq("page 83h names port and group", ([one, 0], [two, 16]), (designators(a), designators(b)))

# Each state and what it lets through.
for state, (works, refusal) in STATES.items():
    must(state, f"{GROUPS}/second/alua_access_state")
    settle()
    check_eq(f"state {state}: what works, and how the rest is refused",
             (works, {refusal} - {None}), who_works(b))
    check_eq(f"state {state}: all works on the other port", set(COMMANDS), who_works(a)[0])
    check_eq(f"state {state}: both ports tell of it", (state, state), (state_of(a, 16), state_of(b, 16)))
    first = answer(b, *COMMANDS["INQUIRY"][:1], expect=96)[0]
    page = answer(b, bytes([0x12, 1, 0x80, 0, 252, 0]), expect=252)[0]
    want = 0x20 if state in (UNAVAILABLE, OFFLINE) else 0
    check_eq(f"state {state}: the peripheral qualifier", (want, want), (first, page))
must(OPTIMIZED, f"{GROUPS}/second/alua_access_state")
check_eq("a change by the target is told to all, and its status is implicit",
         ([CHANGED], [CHANGED], 2), (attentions(a), attentions(b), rtpg(a)[1][1][4]))
check_eq("configfs says so", "Altered by Implicit ALUA", get(f"{GROUPS}/second/alua_access_status"))
must(OPTIMIZED, f"{GROUPS}/second/alua_access_state")
check_eq("the state it is in is no change", [], attentions(a))
for value in ("4", "5", "13", "16", "-1", "x", ""):
    check_eq(f"state {value!r} is refused", errno.EINVAL, put(value or "\n", f"{GROUPS}/second/alua_access_state"))
must(1, f"{GROUPS}/second/preferred")
check_eq("PREF", 1, rtpg(a)[1][1][2])
must(0, f"{GROUPS}/second/preferred")

# SET TARGET PORT GROUPS.
attentions(other)
check_eq("an initiator may set a state", 0, stpg(b, (STANDBY, 16)))
check_eq("the others are told, and itself is not", ([CHANGED], [CHANGED], []),
         (attentions(a), attentions(other), attentions(b)))
check_eq("it has happened, by its will", (STANDBY, 1), (rtpg(a)[1][1][1], rtpg(a)[1][1][4]))
check_eq("its port refuses a READ", (2, 4, 0x0b), answer(b, read10(0, 1), expect=512))
check_eq("and a WRITE, whose data is not written", (2, 4, 0x0b), answer(b, write10(0, 1), b"x" * 512))
check_eq("several groups at once", 0, stpg(b, (NONOPTIMIZED, 0), (OPTIMIZED, 16)))
settle()
check_eq("have changed", (NONOPTIMIZED, OPTIMIZED), (state_of(a, 0), state_of(a, 16)))
check_eq("back again", 0, stpg(b, (OPTIMIZED, 0)))
settle()
for name, want, changes in (
        ("an unknown group", (BAD_LIST, 10), ((STANDBY, 0), (STANDBY, 99))),
        ("lba-dependent", (BAD_LIST, 8), ((STANDBY, 0), (LBA, 16))),
        ("transitioning", (BAD_LIST, 8), ((STANDBY, 0), (TRANSITIONING, 16))),
        ("a reserved state", (BAD_LIST, 8), ((STANDBY, 0), (7, 16))),
        ("a group twice", (BAD_LIST, 10), ((STANDBY, 0), (STANDBY, 0))),
        ("an unknown port", (BAD_LIST, 10), ((STANDBY, 0), (OFFLINE, 0xfff0)))):
    check_eq(f"{name}: INVALID FIELD IN PARAMETER LIST, with the place", want, stpg(b, *changes))
for cut in (1, 3, 6, 9):
    check_eq(f"a list of {cut} bytes: PARAMETER LIST LENGTH ERROR", BAD_LENGTH,
             stpg(b, (STANDBY, 0), (STANDBY, 16), cut=cut)[0])
check_eq("no list and an empty one change nothing", (0, 0), (stpg(b, cut=0), stpg(b)))
must(0, f"{GROUPS}/second/alua_support_standby")
check_eq("a state that the group does not support", (BAD_LIST, 4), stpg(b, (STANDBY, 16)))
check_eq("nor does configfs take it", errno.EINVAL, put(STANDBY, f"{GROUPS}/second/alua_access_state"))
check_eq("which its descriptor says", 0xcb, rtpg(a)[1][1][3])
must(1, f"{GROUPS}/second/alua_support_standby")
check_eq("nothing has changed, and nobody was told", (OPTIMIZED, OPTIMIZED, [], [], []),
         (state_of(a, 0), state_of(a, 16), attentions(a), attentions(b), attentions(other)[1:]))

# Who may change it.
must(1, f"{GROUPS}/second/alua_access_type")
check_eq("implicit: TPGS says so, and that it has changed", ([INQUIRY_CHANGED], 1),
         (attentions(b), answer(b, *COMMANDS["INQUIRY"][:1], expect=96)[5] >> 4 & 3))
check_eq("SET TARGET PORT GROUPS through its port is refused", BAD_OPCODE, stpg(b, (STANDBY, 16))[0])
check_eq("and through another port", (BAD_LIST, 6), stpg(a, (STANDBY, 16)))
check_eq("the target may", 0, put(NONOPTIMIZED, f"{GROUPS}/second/alua_access_state"))
must(2, f"{GROUPS}/second/alua_access_type")
settle()
check_eq("explicit: the target may not", errno.EINVAL, put(OPTIMIZED, f"{GROUPS}/second/alua_access_state"))
check_eq("an initiator may", 0, stpg(b, (OPTIMIZED, 16)))
must(3, f"{GROUPS}/second/alua_access_type")
settle()

# A port that is offline by itself.
check_eq("an initiator takes a port offline", 0, stpg(a, (OFFLINE, two)))
check_eq("which is a group of its own, a secondary one", (0xffff, OFFLINE, 0, 0xcf, 1, [two]), rtpg(a)[1][2])
attentions(b)
check_eq("it refuses", (2, 4, 0x12), answer(b, read10(0, 1), expect=512))
check_eq("configfs says so", "1", get(f"{lun_dir(2)}/alua_tg_pt_offline"))
must(0, f"{lun_dir(2)}/alua_tg_pt_offline")
check_eq("the administrator brings it back, of which it is told", [CHANGED], attentions(b))
check_eq("and the group is gone", 2, len(rtpg(b)[1]))
settle()

# A transition that takes time.
DELAY = 2000 * SLOWER
must(DELAY, f"{GROUPS}/second/trans_delay_msecs")


def during(act, look):
    """Runs look while act is under way; what both returned."""
    got = []
    worker = threading.Thread(target=lambda: got.append(act()))
    begin = time.monotonic()
    worker.start()
    time.sleep(0.3 * SLOWER)
    seen = look()
    worker.join()
    return seen, got[0], time.monotonic() - begin


def middle():
    noticed = attentions(b)
    attentions(a)
    return (noticed, state_of(b, 16), answer(b, read10(0, 1), expect=512), stpg(b, (STANDBY, 16))[0],
            stpg(a, (STANDBY, 16))[0], put(OPTIMIZED, f"{GROUPS}/second/alua_access_state"),
            isinstance(answer(a, read10(0, 1), expect=512), bytes))


MIDDLE = ([CHANGED], TRANSITIONING, (2, 4, 0x0a), (2, 4, 0x0a), (2, 4, 0x0a), errno.EBUSY, True)
seen, code, took = during(lambda: put(STANDBY, f"{GROUPS}/second/alua_access_state"), middle)
check_eq("in an implicit transition the port refuses, and the other works", MIDDLE, seen)
check_eq("it ends well, and is told again", (0, [CHANGED], STANDBY), (code, attentions(b), state_of(b, 16)))
check("it took its time", took >= DELAY / 1000, took)
settle()
seen, code, took = during(lambda: stpg(a, (OPTIMIZED, 16)), lambda: (attentions(b), state_of(b, 16)))
check_eq("an explicit one, too", (([CHANGED], TRANSITIONING), 0, [CHANGED], OPTIMIZED),
         (seen, code, attentions(b), state_of(b, 16)))
check("the command ends with the transition", took >= DELAY / 1000, took)
settle()
seen, code, _ = during(lambda: put(STANDBY, f"{GROUPS}/second/alua_access_state"),
                       lambda: put(0, f"{GROUPS}/second/alua_support_standby"))
check_eq("of one that cannot come to its end all are told",
         ([CHANGED, FAILED], [CHANGED, FAILED]), (attentions(a), attentions(b)))
check_eq("the old state is back", (0, errno.EIO, OPTIMIZED), (seen, code, state_of(a, 16)))
must(1, f"{GROUPS}/second/alua_support_standby")
seen, code, _ = during(lambda: stpg(a, (STANDBY, 16)),
                       lambda: put(0, f"{GROUPS}/second/alua_support_standby"))
check_eq("an explicit one: SET TARGET PORT GROUPS COMMAND FAILED", (0, (5, 0x67, 0x0a), OPTIMIZED),
         (seen, code[0], state_of(a, 16)))
must(1, f"{GROUPS}/second/alua_support_standby")
seen, code, took = during(lambda: stpg(a, (STANDBY, 16)), lambda: connect(1, 9).logout() is not None)
settle()
check_eq("a session that comes and goes meanwhile changes nothing", (True, 0, STANDBY),
         (seen, code, state_of(b, 16)))
must(0, f"{GROUPS}/second/trans_delay_msecs")

# Many of them at once.
MANY = range(100, 112)
for group in MANY:
    os.mkdir(f"{GROUPS}/many{group}")
    must(group, f"{GROUPS}/many{group}/tg_pt_gp_id")
    must(DELAY, f"{GROUPS}/many{group}/trans_delay_msecs")


def states():
    while True:
        attentions(b)
        groups = rtpg(b)[1]
        # Another one may have begun just now, of which it is told first.
        if isinstance(groups, list):
            return {g[1] for g in groups if g[0] in MANY}


idle = sleeping_workers()
begin = time.monotonic()
tags = {a.command(struct.pack(">BB4xIxx", 0xa4, 0x0a, 8), struct.pack(">4xBxH", STANDBY, group))
        for group in MANY}
check("many groups are in transition", until(lambda: states() == {TRANSITIONING}, DELAY / 2000))
held = sleeping_workers() - idle
check(f"{len(MANY)} commands that wait take one worker", held <= 2, held)
ends = [a.wait(SCSI_RESPONSE) for _ in tags]
took = time.monotonic() - begin
check_eq("all end well", {(tag, 0) for tag in tags}, {(pdu.itt, pdu.header[3]) for pdu in ends})
check("with their transitions", DELAY / 1000 <= took and states() == {STANDBY}, (took, states()))
stuck = a.command(struct.pack(">BB4xIxx", 0xa4, 0x0a, 8), struct.pack(">4xBxH", OPTIMIZED, MANY[0]))
check("one more has begun", until(lambda: TRANSITIONING in states(), DELAY / 2000))
begin = time.monotonic()
tag = a.manage(1, stuck)
check_eq("its abort is complete", 0, a.wait(TASK_MGMT_RESPONSE, tag).header[2])
took = time.monotonic() - begin
check("and so is the transition", took < DELAY / 2000 and TRANSITIONING not in states(), took)
for group in MANY:
    os.rmdir(f"{GROUPS}/many{group}")
settle()

# A port that is slow on purpose.
must(NONOPTIMIZED, f"{GROUPS}/second/alua_access_state")
must(500, f"{GROUPS}/second/nonop_delay_msecs")
settle()


def took(conn, cdb, expect):
    begin = time.monotonic()
    got = answer(conn, cdb, expect=expect)
    return isinstance(got, bytes) and time.monotonic() - begin


check("active/non-optimized: a READ waits as long as it is told to", took(b, read10(0, 1), 512) >= 0.5)
check("other commands do not", 0 < took(b, *COMMANDS["INQUIRY"]) < 0.4 * SLOWER)
check("nor does the other port", 0 < took(a, read10(0, 1), 512) < 0.4 * SLOWER)
must(4000, f"{GROUPS}/second/nonop_delay_msecs")
settle()
tags = {b.command(read10(0, 1), expect=512) for _ in range(64)}
time.sleep(1)
check("many that wait hold up nothing that is slow", 0 < took(a, bytes([0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0]), 0) < 1 + SLOWER)
begin = time.monotonic()
while tags:
    pdu = b.recv(20)
    tags -= {pdu.itt} if pdu.opcode == 0x25 and pdu.flags & 1 else set()
check("and all have waited at the same time", time.monotonic() - begin < 3 * SLOWER + 2)
must(0, f"{GROUPS}/second/nonop_delay_msecs")
must(OPTIMIZED, f"{GROUPS}/second/alua_access_state")
settle()

# What is refused in configfs.
for name, value, code in (("alua_write_metadata", 1, errno.EINVAL), ("alua_access_type", 4, errno.EINVAL),
                          ("alua_access_status", 3, errno.EINVAL), ("preferred", 2, errno.EINVAL),
                          ("nonop_delay_msecs", 10001, errno.EINVAL), ("trans_delay_msecs", 30001, errno.EINVAL),
                          ("implicit_trans_secs", 256, errno.EINVAL)):
    check_eq(f"{name} {value} is refused", code, put(value, f"{GROUPS}/second/{name}"))
for name in ("NULL", "a b"):
    try:
        os.mkdir(f"{GROUPS}/{name}")
        code = 0
    except OSError as e:
        code = e.errno
    check_eq(f"the name {name!r} is refused", errno.EINVAL, code)

# Sessions that come and go while the state changes: none is left with an old one.
stop = time.monotonic() + 4


def come_and_go(number):
    while time.monotonic() < stop:
        connect(2, number).close()


workers = [threading.Thread(target=come_and_go, args=(n,)) for n in (20, 21, 22)]
for worker in workers:
    worker.start()
wrong, flips = 0, 0
while time.monotonic() < stop:
    for state in (STANDBY, OPTIMIZED):
        must(state, f"{GROUPS}/second/alua_access_state")
        attentions(b)
        attentions(other)
        for conn in (b, other):
            works = isinstance(answer(conn, read10(0, 1), expect=512), bytes)
            wrong += works != (state == OPTIMIZED)
        flips += 1
for worker in workers:
    worker.join()
check("no session is left behind when others come and go", wrong == 0 and flips > 3, f"{wrong} of {flips}")

# Without target port groups.
must(STANDBY, f"{GROUPS}/second/alua_access_state")
settle()
must(0, f"{STORE}/attrib/alua_support")
check_eq("without alua_support: INQUIRY data has changed", ([INQUIRY_CHANGED], [INQUIRY_CHANGED]),
         (attentions(a), attentions(b)))
inquiry = answer(b, *COMMANDS["INQUIRY"][:1], expect=96)
check_eq("TPGS is 0, MULTIP is not", (0, 1), (inquiry[5] >> 4 & 3, inquiry[6] >> 4 & 1))
check_eq("REPORT TARGET PORT GROUPS is refused", BAD_FIELD, rtpg(b))
check("every port is active", isinstance(answer(b, read10(0, 1), expect=512), bytes))
must(1, f"{STORE}/attrib/alua_support")
check_eq("with it again, the state counts", (2, 4, 0x0b), (settle(), answer(b, read10(0, 1), expect=512))[1])

# The group goes, and its ports are in the default one again.
os.rmdir(f"{GROUPS}/second")
check_eq("a group that goes leaves its ports to the default one", ([CHANGED, INQUIRY_CHANGED], [0], [two, one]),
         (attentions(b), [g[0] for g in rtpg(b)[1]], rtpg(b)[1][0][5]))
check("where they work", isinstance(answer(b, read10(0, 1), expect=512), bytes))
check("the default group cannot be removed", os.path.isdir(f"{GROUPS}/default_tg_pt_gp") and
      put("NULL", f"{lun_dir(2)}/alua_tg_pt_gp") == 0)
try:
    os.rmdir(f"{GROUPS}/default_tg_pt_gp")
    code = 0
except OSError as e:
    code = e.errno
check_eq("rmdir says so", errno.EPERM, code)
must(0, f"{GROUPS}/default_tg_pt_gp/implicit_trans_secs")
