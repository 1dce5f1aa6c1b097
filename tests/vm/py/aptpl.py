# SPDX-License-Identifier: GPL-2.0
"""Registrations that survive a loss of power.

aptpl.py register COUNT   so many initiators register, the second reserves
aptpl.py restored COUNT   the same ones, after the target was started again
aptpl.py refused          what cannot be written down is refused, and changes nothing
aptpl.py hung             while the file system hangs that it is written down on; "hung" and
                          "released" are files that this and the case tell each other by
"""

import os
import struct
import sys
import time

from iscsi import (TASK_MGMT, TASK_MGMT_RESPONSE, Conn, check, check_eq, read10, sense_code,
                   write10)

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, ABORT, IGNORE = range(7)
KEYS, RESERVATION, CAPABILITIES, STATUS = range(4)
WRITE_EXCLUSIVE_REGISTRANTS = 5
GOOD, CHECK, CONFLICT = 0, 2, 0x18
SHORT_OF_PLACE = (5, 0x55, 4)


def initiator(number):
    """A session of its own I_T nexus; what it is told first is taken."""
    conn = Conn().login(initiator=f"iqn.2026-01.org.example:host-{number}",
                        isid=bytes.fromhex("80feed") + number.to_bytes(3, "big"))
    conn.ready()
    return conn


def out(conn, action, key=0, new=0, kind=0, aptpl=1, timeout=20):
    data = struct.pack(">QQIB3x", key, new, 0, aptpl)
    cdb = struct.pack(">BBBxxIx", 0x5f, action, kind, len(data))
    return conn.scsi(cdb, data, timeout=timeout)


def status(conn, *args, **more):
    return out(conn, *args, **more)[0]


def report(conn, action):
    code, data, sense = conn.scsi(struct.pack(">BB5xHx", 0x5e, action, 0xffff), expect=0xffff)
    assert code == GOOD, sense_code(sense)
    return data


def keys(conn):
    data = report(conn, KEYS)
    generation, length = struct.unpack_from(">II", data)
    return generation, [key for (key,) in struct.iter_unpack(">Q", data[8:8 + length])]


def reservation(conn):
    """(key, type) of the reservation, or None."""
    data = report(conn, RESERVATION)
    return (struct.unpack_from(">Q", data, 8)[0], data[21]) if data[7] else None


def register(count):
    conns = [initiator(n) for n in range(count)]
    before = keys(conns[0])[0]
    times = []
    for number, conn in enumerate(conns):
        start = time.monotonic()
        code, _, sense = out(conn, REGISTER, new=0x1000 + number)
        times.append(time.monotonic() - start)
        if code != GOOD:
            check(f"registration {number} of {count}", False, f"{code:#x} {sense_code(sense)}")
            return
    check("all register", True)
    tenth = max(1, count // 10)
    print(f"milliseconds for a registration: the first {tenth} "
          f"{sum(times[:tenth]) / tenth * 1000:.1f}, the last {tenth} "
          f"{sum(times[-tenth:]) / tenth * 1000:.1f}, the slowest {max(times) * 1000:.1f}")
    check("none took longer than 5 s", max(times) < 5, max(times))
    conn = conns[1]
    check_eq("one of them reserves", GOOD,
             status(conn, RESERVE, 0x1001, kind=WRITE_EXCLUSIVE_REGISTRANTS))
    check_eq("all of them write", {GOOD}, {each.scsi(write10(0, 1), bytes(512))[0] for each in conns})
    stranger = Conn().login()
    stranger.ready()
    check_eq("who has not registered does not", CONFLICT, stranger.scsi(write10(0, 1), bytes(512))[0])
    generation, seen = keys(conn)
    check_eq("PRGENERATION counts registrations", count, generation - before)
    check_eq("all keys are there", [0x1000 + n for n in range(count)], seen)
    check_eq("PTPL_C and PTPL_A are told", (1, 1),
             tuple(byte & 1 for byte in report(conn, CAPABILITIES)[2:4]))


def restored(count):
    # The very first command of somebody who has not registered.
    stranger = Conn().login()
    code, _, sense = stranger.scsi(write10(0, 1), bytes(512))
    if code == CHECK and sense_code(sense)[0] == 6:
        code, _, sense = stranger.scsi(write10(0, 1), bytes(512))
    check_eq("the first write of one who has not registered is a conflict", CONFLICT, code)
    check_eq("but he reads", GOOD, stranger.scsi(read10(0, 1), expect=512)[0])
    generation, seen = keys(stranger)
    check_eq("PRGENERATION begins at 0 again", 0, generation)
    check_eq("all registrations are there again, in their order",
             [0x1000 + n for n in range(count)], seen)
    check_eq("and so is the reservation", (0x1001, WRITE_EXCLUSIVE_REGISTRANTS),
             reservation(stranger))
    check_eq("PTPL_A is told", 1, report(stranger, CAPABILITIES)[3] & 1)
    full = report(stranger, STATUS)
    check("the full status names the initiator ports",
          all(f"iqn.2026-01.org.example:host-{n},i,0x80feed{n:06x}".encode() in full
              for n in range(count)))
    for number in {0, 1, count - 1}:
        conn = initiator(number)
        check_eq(f"initiator {number} writes, without registering again", GOOD,
                 conn.scsi(write10(0, 1), bytes(512))[0])
        check_eq(f"initiator {number} does not register with a wrong key", CONFLICT,
                 status(conn, REGISTER, 0x999, 0x998))
        check_eq(f"initiator {number} has its key", GOOD,
                 status(conn, REGISTER, 0x1000 + number, 0x1000 + number))
    other = Conn().login(initiator="iqn.2026-01.org.example:host-1",
                         isid=bytes.fromhex("80feed00ffff"))
    other.ready()
    check_eq("another port of the same initiator is not let in", CONFLICT,
             other.scsi(write10(0, 1), bytes(512))[0])
    conn, others = initiator(1), [initiator(n) for n in {0, count - 1}]
    check_eq("the holder releases", GOOD,
             status(conn, RELEASE, 0x1001, kind=WRITE_EXCLUSIVE_REGISTRANTS))
    for each in others:
        check_eq("each other one who has registered is told", (6, 0x2a, 4), sense_code(each.scsi(bytes(6))[2]))
    check_eq("the stranger writes", GOOD, stranger.scsi(write10(0, 1), bytes(512))[0])
    check_eq("a registration without APTPL", GOOD,
             status(conn, REGISTER, 0x1001, 0x1001, aptpl=0))
    check_eq("ends the persistence of all", 0, report(conn, CAPABILITIES)[3] & 1)


def refused():
    conn = initiator(1)
    before = keys(conn)
    code, _, sense = out(conn, REGISTER, new=5)
    check_eq("a registration that cannot be written down is refused", (CHECK, SHORT_OF_PLACE),
             (code, sense_code(sense)))
    check_eq("and nothing has changed", before, keys(conn))
    check_eq("PTPL_A neither", 0, report(conn, CAPABILITIES)[3] & 1)
    check_eq("one that need not survive is taken", GOOD, status(conn, REGISTER, new=5, aptpl=0))
    check_eq("and can be given up", GOOD, status(conn, REGISTER, 5, 0, aptpl=0))


def abort(conn, itt):
    """ABORT TASK; returns its tag."""
    return conn.request(TASK_MGMT, 0x81, word20=itt, tail=struct.pack(">II", conn.cmd_sn, 0),
                        immediate=True)


def hung():
    a, b, c = (initiator(n) for n in range(3))
    check_eq("a registers", GOOD, status(a, REGISTER, new=0xa))
    with open("/tmp/hung", "w", encoding="ascii"):
        pass
    while os.path.exists("/tmp/hung"):
        time.sleep(0.05)
    data = struct.pack(">QQIB3x", 0, 0xb, 0, 1)
    cdb = struct.pack(">BBBxxIx", 0x5f, REGISTER, 0, len(data))
    waiting = b.command(cdb, data)
    behind = c.command(cdb, data)
    time.sleep(1)
    start = time.monotonic()
    check_eq("others see the registrations meanwhile", [0xa], keys(a)[1])
    check_eq("others read and write", (GOOD, GOOD),
             (a.scsi(write10(0, 1), bytes(512))[0], a.scsi(read10(0, 1), expect=512)[0]))
    check_eq("so do those whose command waits", GOOD, b.scsi(read10(0, 1), expect=512)[0])
    late = initiator(4)
    check_eq("another logs in, and reads", GOOD, late.scsi(read10(0, 1), expect=512)[0])
    check("and all that takes no time", time.monotonic() - start < 8, time.monotonic() - start)
    # What only waits for its turn is aborted at once.
    start = time.monotonic()
    tmf = abort(c, behind)
    answer = c.wait(TASK_MGMT_RESPONSE, tmf)
    check_eq("a command that waits for its turn is aborted", 0, answer.header[2])
    check("at once", time.monotonic() - start < 5, time.monotonic() - start)
    check_eq("nothing has come of it", [0xa], keys(a)[1])
    with open("/tmp/released", "w", encoding="ascii"):
        pass
    code, _, _ = b.result(waiting, data, 60)
    check_eq("when the file system goes on, so does the command", GOOD, code)
    check_eq("and b is registered", [0xa, 0xb], keys(a)[1])
    check_eq("c registers now", GOOD, status(c, REGISTER, new=0xc))
    check_eq("a clears", GOOD, status(a, CLEAR, 0xa))


if sys.argv[1] == "register":
    register(int(sys.argv[2]))
elif sys.argv[1] == "restored":
    restored(int(sys.argv[2]))
elif sys.argv[1] == "refused":
    refused()
else:
    hung()
