# SPDX-License-Identifier: GPL-2.0
"""Third-party copies: EXTENDED COPY(LID1) and (LID4), RECEIVE COPY RESULTS (SPC-4 6.4 to 6.19).

LUN 0 and 1 are quick, and every initiator sees them but SHY, which sees LUN 0 alone. LUN 2 has
blocks of 4096 bytes. LUN 3 writes after half a second, to a device that is looked at. LUN 4 may not
be written.

xcopy.py BACKSTORE-OF-LUN-3 DEVICE-OF-LUN-0 DEVICE-UNDER-LUN-3
"""

import mmap
import os
import struct
import subprocess
import sys
import threading
import time

from iscsi import (TASK_MGMT, TASK_MGMT_RESPONSE, Conn, b2b, check, check_eq, cscd, extended_copy,
                   list1, lun, naa_of, read10, sense_code, write10)

SHY = "iqn.2026-01.org.example:shy"
IQN = os.environ["IQN"]
STORE, SOURCE, UNDER = sys.argv[1:]

COPY_ABORTED, ILLEGAL = 0xa, 5
UNREACHABLE, DEVICE_FAILURE, NOT_REACHABLE, WRONG_TYPE = (
    (COPY_ABORTED, 0x08, 4), (COPY_ABORTED, 0x0d, 1), (COPY_ABORTED, 0x0d, 2),
    (COPY_ABORTED, 0x0d, 3))
INVALID_CDB = (ILLEGAL, 0x24, 0)
INVALID_LIST = (ILLEGAL, 0x26, 0)
MIB = 1 << 20


# --- what is sent ---------------------------------------------------------------------------

def offset(source, destination, count, source_lba, destination_lba):
    return struct.pack(">BBHHHIQQHH", 0xa, 0, 0x1c, source, destination, count, source_lba,
                       destination_lba, 0, 0)


def list4(cscds, segments, list_id=1, usage=0, more=0):
    one, two = b"".join(cscds), b"".join(segments)
    head = struct.pack(">BBH11xBB3xI18xHHH", 1, usage << 3, 0x20, more, 0xff, list_id, len(one),
                       len(two), 0)
    assert len(head) == 48
    return head + one + two


def copy(conn, data, unit=0, action=0, timeout=60):
    return conn.scsi(extended_copy(len(data), action), data, lun=lun(unit), timeout=timeout)


def start(conn, data, unit=0, action=0):
    return conn.command(extended_copy(len(data), action), data, lun=lun(unit),
                        immediate_data=data[:conn.immediate()])


def results(conn, action, list_id, unit=0, length=512):
    identifier = list_id.to_bytes(4, "big") if action == 5 else bytes([list_id, 0, 0, 0])
    return conn.scsi(bytes([0x84, action]) + identifier + bytes(4) + struct.pack(">Ixx", length),
                     expect=length, lun=lun(unit))


def connect(number, units=(0, 1, 2, 3, 4), initiator="iqn.2026-01.org.example:raw"):
    conn = Conn().login(isid=bytes.fromhex("80feed0005") + bytes([number]), initiator=initiator)
    for unit in units:
        conn.ready(lun(unit))
    return conn


def fill(conn, unit, lba, data, block=512):
    status, _, sense = conn.scsi(write10(lba, len(data) // block), data, lun=lun(unit))
    assert status == 0, sense.hex()


def look(conn, unit, lba, blocks, block=512):
    status, data, sense = conn.scsi(read10(lba, blocks), expect=blocks * block, lun=lun(unit))
    assert status == 0, sense.hex()
    return data


def refused(name, want, got, segment=None):
    """A copy ended with that sense data: (key, ASC, ASCQ)."""
    status, _, sense = got
    good = status == 2 and sense_code(sense) == want
    if good and segment is not None:
        good = sense[10:12] == segment.to_bytes(2, "big")
    check(name, good, f"status {status}, sense {sense.hex()}")
    return sense


def fill_device(path, byte):
    """64 MiB of it, at once."""
    fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
    with mmap.mmap(-1, MIB) as piece:
        piece.write(bytes([byte]) * MIB)
        for at in range(0, 64 * MIB, MIB):
            assert os.pwrite(fd, piece, at) == MIB
    os.close(fd)


# What a copy of it leaves can be told from nothing.
fill_device(SOURCE, 0xa5)
one = connect(1)
NAA = [naa_of(one, unit) for unit in range(5)]
both = [cscd(NAA[0]), cscd(NAA[1])]
noise = os.urandom(512 * 64)

# --- what the unit says of itself -----------------------------------------------------------

_, inquiry, _ = one.scsi(bytes([0x12, 0, 0, 0, 96, 0]), expect=96)
check_eq("3PC is set", 8, inquiry[5] & 8)
_, page, _ = one.scsi(bytes([0x12, 1, 0x8f, 2, 0, 0]), expect=512)
check_eq("VPD page 8Fh is as long as it says", len(page) - 4, int.from_bytes(page[2:4], "big"))
for action in (0, 1, 0x1c):
    _, data, _ = one.scsi(bytes([0xa3, 0x0c, 2, 0x83, 0, action, 0, 0, 0, 64, 0, 0]), expect=64)
    check_eq(f"83h/{action:02x}h is reported as supported", 3, data[1] & 7)

# --- copies ---------------------------------------------------------------------------------

fill(one, 0, 100, noise)
check_eq("EXTENDED COPY(LID1) between two LUNs", 0,
         copy(one, list1(both, [b2b(0, 1, 64, 100, 200)]))[0])
check("copies the data", look(one, 1, 200, 64) == noise)
check_eq("EXTENDED COPY(LID4) does as well", 0,
         copy(one, list4(both, [b2b(0, 1, 32, 100, 500), offset(1, 0, 512 * 8, 500, 1000)],
                         0x11223344), action=1)[0])
check("and copies segment after segment", look(one, 0, 1000, 8) == noise[:512 * 8])
check_eq("another LUN can be asked to copy", 0,
         copy(one, list1(both, [b2b(0, 1, 64, 100, 700)]), unit=3)[0])
check("and does", look(one, 1, 700, 64) == noise)
check_eq("FFFFh is the LUN itself", 0,
         copy(one, list1([both[1]], [b2b(0xffff, 0, 64, 100, 900)]))[0])
check("and it is copied from", look(one, 1, 900, 64) == noise)
check_eq("no blocks are no error", 0, copy(one, list1(both, [b2b(0, 1, 0, 100, 900)]))[0])
check_eq("an empty list is none", 0, one.scsi(extended_copy(0))[0])

big = os.urandom(512 * 8192)
for at in range(0, 8192, 1024):
    fill(one, 0, 20000 + at, big[at * 512:(at + 1024) * 512])
for where in (20000 + 1, 20000 - 1, 20000 + 3000, 20000 - 3000, 20000):
    for at in range(0, 8192, 1024):
        fill(one, 0, 20000 + at, big[at * 512:(at + 1024) * 512])
    copy(one, list1(both, [b2b(0, 0, 8192, 20000, where)]))
    check(f"source and destination may overlap: {where - 20000:+} blocks",
          b"".join(look(one, 0, where + at, 1024) for at in range(0, 8192, 1024)) == big)

mixed = [both[0], cscd(NAA[2], 4096)]
check_eq("blocks of another size", 0, copy(one, list1(mixed, [b2b(0, 1, 64, 100, 10)]))[0])
check("are filled in order", look(one, 2, 10, 8, 4096) == noise)
check_eq("and the other way round, counted by the destination", 0,
         copy(one, list1(mixed, [b2b(1, 0, 64, 10, 3000, 2)]))[0])
check("as well", look(one, 0, 3000, 64) == noise)
refused("a part of a block is refused", (COPY_ABORTED, 0x26, 0x0a),
        copy(one, list1(mixed, [b2b(0, 1, 63, 100, 10)])), 0)
refused("a wrong block length is refused", WRONG_TYPE,
        copy(one, list1([both[0], cscd(NAA[2], 512)], [b2b(0, 1, 64, 100, 10)])), 0)
refused("and a device that is no disk", WRONG_TYPE,
        copy(one, list1([both[0], cscd(NAA[1], 512, 1)], [b2b(0, 1, 64, 100, 10)])), 0)

# --- what is told of them -------------------------------------------------------------------

copy(one, list1(both, [b2b(0, 1, 64, 100, 200), b2b(0, 1, 64, 100, 300)], 77))
status, data, _ = results(one, 0, 77)
check("RECEIVE COPY STATUS(LID1): all is done", (status, data) == (0, struct.pack(
    ">IBHBI", 8, 1, 2, 0, 128 * 512)), data.hex())
status, data, _ = results(one, 5, 77)
check("RECEIVE COPY STATUS(LID4) tells the same", status == 0 and data[5] == 1 and data[16:26]
      == struct.pack(">QH", 128 * 512, 2), data.hex())
check_eq("RECEIVE COPY DATA(LID1): nothing is held", (0, bytes(4)), results(one, 1, 77)[:2])
refused("another list identifier is not known", INVALID_CDB, results(one, 0, 78))
two = connect(2)
refused("nor is this one to another session", INVALID_CDB, results(two, 0, 77))
refused("nor on another LUN", INVALID_CDB, results(one, 0, 77, 1))
copy(one, list1(both, [b2b(0, 1, 64, 100, 200)], 0, 3))
refused("a copy without a list identifier is not told of", INVALID_CDB, results(one, 0, 0))
for number in range(20):
    copy(one, list1(both, [b2b(0, 1, 1, 100, 200)], 100 + number))
refused("old ones are forgotten", INVALID_CDB, results(one, 0, 77))
check_eq("the last are not", 0, results(one, 0, 119)[0])

# --- what is refused ------------------------------------------------------------------------

before = look(one, 1, 200, 8)
bad = bytearray(b2b(0, 1, 8, 2000, 200))
bad[0] = 3
sense = refused("a segment of another type is refused", (ILLEGAL, 0x26, 9),
                copy(one, list1(both, [b2b(0, 1, 8, 2000, 200), bytes(bad)])))
check_eq("by its place", (0x80, 16 + 64 + 28), (sense[15], int.from_bytes(sense[16:18], "big")))
check("and the segment before it has not been copied", look(one, 1, 200, 8) == before)
refused("a segment that names no descriptor is refused", UNREACHABLE,
        copy(one, list1(both, [b2b(0, 2, 8, 2000, 200)])), 0)
refused("with one before it nothing is copied", INVALID_LIST,
        copy(one, list1(both, [b2b(0, 1, 8, 2000, 200), b2b(0, 2, 8, 2000, 200)])))
check("nothing at all", look(one, 1, 200, 8) == before)
refused("IMMED is refused", INVALID_LIST,
        copy(one, list4(both, [b2b(0, 1, 8, 2000, 200)], more=1), action=1))
whole = list1(both, [b2b(0, 1, 8, 2000, 200)])
ends = {sense_code(one.scsi(extended_copy(n), whole[:n])[2]) for n in range(1, len(whole))}
check_eq("every prefix of a list is refused", {(ILLEGAL, 0x1a, 0)}, ends)
refused("less data than the CDB says is refused", (ILLEGAL, 0x1a, 0),
        one.scsi(extended_copy(len(whole) + 1), whole))
refused("more than a list may be long is refused", (ILLEGAL, 0x1a, 0), one.scsi(extended_copy(1 << 20),
                                                                                bytes(1 << 20)))
check("and nothing of it was copied", look(one, 1, 200, 8) == before)
sense = refused("a segment beyond the end ends the copy there", (COPY_ABORTED, 0, 0),
                copy(one, list1(both, [b2b(0, 1, 8, 100, 200), b2b(0, 1, 8, 100, 1 << 30)], 9)), 1)
check_eq("with a pointer into its descriptor", (0xa0, 20),
         (sense[15], int.from_bytes(sense[16:18], "big")))
check("what came before has been copied", look(one, 1, 200, 8) == noise[:512 * 8])
status, data, _ = results(one, 4, 9)
check("RECEIVE COPY FAILURE DETAILS(LID1) has the sense data",
      data[56:60] == bytes([2, 0, 0, len(sense)]) and data[60:] == sense, data.hex())
status, data, _ = results(one, 0, 9)
check_eq("RECEIVE COPY STATUS(LID1): one segment, with error", (2, 1), (data[4], data[6]))

# --- whom it serves -------------------------------------------------------------------------

shy = connect(3, (0,), SHY)
unknown = bytes.fromhex("60014050") + bytes(12)
answers = []
for name in (NAA[1], unknown):
    for segment in (b2b(0, 1, 8, 100, 200), b2b(1, 0, 8, 100, 200)):
        answers.append(copy(shy, list1([both[0], cscd(name)], [segment])))
check_eq("a LUN that the session does not see is not reachable", {NOT_REACHABLE},
         {sense_code(sense) for _, _, sense in answers})
check_eq("and answered like one that there is not", answers[:2], answers[2:])
answers = [copy(shy, list4([both[0], cscd(name)], [b2b(0, 1, 8, 100, 200)]), action=1)
           for name in (NAA[1], unknown)]
check_eq("so in the other form", answers[0], answers[1])
check("and it can copy what it sees", copy(shy, list1(both, [b2b(0, 0, 8, 100, 5000)]))[0] == 0)

sense = refused("a LUN that may not be written is not", DEVICE_FAILURE,
                copy(one, list1([both[0], cscd(NAA[4])], [b2b(0, 1, 8, 100, 200)])), 0)
check_eq("which says so itself", (18, 2, (7, 0x27, 0)), (sense[9], sense[18], sense_code(sense[19:])))
check_eq("it may be read", 0, copy(one, list1([both[0], cscd(NAA[4])], [b2b(1, 0, 8, 100, 6000)]))[0])


def pr_out(conn, action, kind, key, new, unit):
    return conn.scsi(struct.pack(">BBBxxIx", 0x5f, action, kind, 24),
                     struct.pack(">QQ8x", key, new), lun=lun(unit))


check_eq("somebody else registers with LUN 1", 0, pr_out(two, 0, 0, 0, 0xabc, 1)[0])
check_eq("and reserves it for itself: write exclusive", 0, pr_out(two, 1, 1, 0xabc, 0, 1)[0])
sense = refused("it is not written then", DEVICE_FAILURE,
                copy(one, list1(both, [b2b(0, 1, 8, 100, 200)])), 0)
check_eq("RESERVATION CONFLICT is the reason", (18, 0x18), (sense[9], sense[18]))
check_eq("it is read", 0, copy(one, list1(both, [b2b(1, 0, 8, 100, 200)]))[0])
check_eq("its owner does write it, by a LUN that is nobody's", 0,
         copy(two, list1(both, [b2b(0, 1, 8, 100, 200)]))[0])
pr_out(two, 2, 1, 0xabc, 0, 1)
pr_out(two, 1, 3, 0xabc, 0, 1)
sense = refused("exclusive access: it is not read either", DEVICE_FAILURE,
                copy(one, list1(both, [b2b(1, 0, 8, 100, 200)])), 0)
check_eq("and the source is the reason", (18, 0x18), (sense[8], sense[18]))
check_eq("a reservation of the LUN that is asked refuses all", 0x18,
         copy(one, list1(both, [b2b(0, 0, 8, 100, 200)]), unit=1)[0])
pr_out(two, 3, 0, 0xabc, 0, 1)
one.ready(lun(1))
check_eq("a SPC-2 reservation", 0, two.scsi(bytes([0x16, 0, 0, 0, 0, 0]), lun=lun(1))[0])
refused("keeps it out as well", DEVICE_FAILURE, copy(one, list1(both, [b2b(0, 1, 8, 100, 200)])), 0)
two.scsi(bytes([0x17, 0, 0, 0, 0, 0]), lun=lun(1))

tmf = two.request(TASK_MGMT, 0x85, lun(1), immediate=True)
check_eq("a reset of the other LUN", 0, two.wait(TASK_MGMT_RESPONSE, tmf).header[2])
check_eq("its unit attention does not matter", 0,
         copy(one, list1(both, [b2b(0, 1, 8, 100, 200)]))[0])
check_eq("and stays for its own", (6, 0x29, 3), sense_code(one.scsi(bytes(6), lun=lun(1))[2]))
two.ready(lun(1))

# --- a long one -----------------------------------------------------------------------------
# Each MiB takes half a second.
slow = [both[0], cscd(NAA[3])]
long = list1(slow, [offset(0, 1, 64 << 20, 0, 0)], 50)


def wipe():
    """Zeros on the device below LUN 3, at once."""
    fill_device(UNDER, 0)


def is_wiped():
    """Whether nothing has been written since, to the device below LUN 3."""
    fd = os.open(UNDER, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, MIB) as piece:
        same = all(os.preadv(fd, [piece], at) == MIB and piece[:] == bytes(MIB)
                   for at in range(0, 64 * MIB, MIB))
    os.close(fd)
    return same


def took(began):
    return time.monotonic() - began


def running(conn, list_id, unit=0):
    """Waits until something has been written."""
    for _ in range(200):
        status, data, _ = results(conn, 0, list_id, unit)
        if status == 0 and data[4] == 0 and data[8:12] != bytes(4):
            return True
        time.sleep(0.05)
    return False


itt = start(one, long)
check("a long copy is told of while it runs", running(one, 50))
refused("its list identifier is in use", (ILLEGAL, 0, 0x16), copy(one, list1(both, [], 50)))
check_eq("other copies go on beside it", 0, copy(one, list1(both, [b2b(0, 1, 8, 100, 200)]))[0])
began = time.monotonic()
tmf = one.request(TASK_MGMT, 0x81, word20=itt, immediate=True, tail=struct.pack(
    ">II", one.cmd_sn, 0))
answer = one.wait(TASK_MGMT_RESPONSE, tmf)
check_eq("ABORT TASK ends it", 0, answer.header[2])
check("at once", took(began) < 5, f"{took(began):.1f} s")
check_eq("and it is told of as aborted", 0x60, results(one, 5, 50)[1][5])
wipe()
time.sleep(1.5)
check("nothing is written any more", is_wiped())

itt = start(one, list1(slow, [offset(0, 1, 64 << 20, 0, 0)], 51))
check("another", running(one, 51))
abort = struct.pack(">BBI10x", 0x83, 0x1c, 51)
began = time.monotonic()
check_eq("COPY OPERATION ABORT", 0, one.scsi(abort)[0])
status, _, sense = one.result(itt)
check("ends it", sense_code(sense) == (COPY_ABORTED, 0, 0) and took(began) < 5, sense.hex())
left = int.from_bytes(sense[3:7], "big")
check("which tells what is left, in blocks", sense[0] & 0x80 and 0 < left < 131072 and left % 2048 == 0,
      left)
check_eq("RECEIVE COPY STATUS(LID4): aborted", 0x60, results(one, 5, 51)[1][5])
refused("there is nothing more to abort", INVALID_CDB, one.scsi(abort))

itt = start(one, list1(slow, [offset(0, 1, 64 << 20, 0, 0)], 52))
check("one more", running(one, 52))
began = time.monotonic()
check_eq("a reservation of the destination", 0, pr_out(two, 0, 0, 0, 0xabc, 3)[0])
check_eq("comes while it is written", 0, pr_out(two, 1, 1, 0xabc, 0, 3)[0])
sense = refused("and stops the copy", DEVICE_FAILURE, one.result(itt), 0)
check("at once", took(began) < 5, f"{took(began):.1f} s")
pr_out(two, 3, 0, 0xabc, 0, 3)
one.ready(lun(3))

check_eq("one registers with the destination", 0, pr_out(one, 0, 0, 0, 0x111, 3)[0])
check_eq("the other as well", 0, pr_out(two, 0, 0, 0, 0x222, 3)[0])
check_eq("and reserves: write exclusive, registrants only", 0, pr_out(two, 1, 5, 0x222, 0, 3)[0])
itt = start(one, list1(slow, [offset(0, 1, 64 << 20, 0, 0)], 53))
check("a registrant copies to it", running(one, 53))
status, _, sense = pr_out(two, 5, 5, 0x222, 0x111, 3)
check_eq("PREEMPT AND ABORT", 0, status)
wipe()
time.sleep(1.5)
check("nothing is written after it", is_wiped())
refused("the copy has ended", DEVICE_FAILURE, one.result(itt), 0)
pr_out(two, 3, 0, 0x222, 0, 3)
one.ready(lun(3))

# --- things that change under it ------------------------------------------------------------

itt = start(one, list1(slow, [offset(0, 1, 64 << 20, 0, 0)], 54))
check("the last but one", running(one, 54))
subprocess.run(["ferritectl", "lun", "delete", IQN, "3", "--force"], check=True)
refused("ends when its destination goes", NOT_REACHABLE, one.result(itt, timeout=60), 0)
subprocess.run(["ferritectl", "lun", "create", IQN, STORE, "--lun", "3"], check=True)
for unit in range(5):
    one.ready(lun(unit))
victim = connect(4, (0, 1, 3))
itt = start(victim, list1(slow, [offset(0, 1, 64 << 20, 0, 0)], 55))
check("the last", running(victim, 55))
victim.close()
one.ready(lun(3))
time.sleep(2)
wipe()
time.sleep(1.5)
check("ends with its session", is_wiped())

# Many at once, from several sessions: all of them end, and all is right.
conns = [connect(10 + n, (0, 1)) for n in range(4)]
bad = []


def many(conn, n):
    for turn in range(8):
        status, _, sense = copy(conn, list1(both, [b2b(0, 1, 2048, 20000, 40000 + 2048 * n)], turn))
        if status:
            bad.append(sense.hex())


threads = [threading.Thread(target=many, args=(conn, n)) for n, conn in enumerate(conns)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
check("many copies at once", not bad, bad[:1])
want = look(one, 0, 20000, 2048)
check("copy what they should", all(look(one, 1, 40000 + 2048 * n, 2048) == want for n in range(4)))
for conn in conns:
    conn.logout()

subprocess.run(["sh", "-c", f"echo 0 > /sys/kernel/config/ferrite/core/iblock_0/disk0/attrib/emulate_3pc"],
               check=True)
refused("emulate_3pc=0: the command does not exist", (ILLEGAL, 0x20, 0),
        copy(one, list1(both, [b2b(0, 1, 8, 100, 200)])))
check("nothing else has gone wrong", one.ping())
