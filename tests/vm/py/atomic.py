# SPDX-License-Identifier: GPL-2.0
"""COMPARE AND WRITE and ORWRITE have their blocks to themselves (SBC-3 5.2, 5.8).

LUN 0 is a device that answers reads at once and writes after half a second; LUN 1 is quick.
"""

import os
import struct
import threading
import time

from iscsi import Conn, check, check_eq, read10, sense_code, write10

BLOCK = 512


def caw(lba, blocks=1):
    return struct.pack(">BBQ3xBxx", 0x89, 0, lba, blocks)


def orwrite(lba, blocks):
    return struct.pack(">BBQIBB", 0x8b, 0, lba, blocks, 0, 0)


def connect(number):
    conn = Conn().login(isid=bytes.fromhex("80feed0003") + bytes([number]))
    for lun in (0, 1):
        conn.ready(lun << 48)
    return conn


def fill(text, blocks=1):
    return text.encode() * (BLOCK * blocks // len(text))


LUN1 = 1 << 48
one, two, three = connect(1), connect(2), connect(3)

# What began before has ended when the comparison is made.
one.scsi(write10(0, 8), fill("old ", 8))
itt = one.command(write10(3, 1), fill("user"))
time.sleep(0.1)
status, _, sense = two.scsi(caw(3), fill("old ") + fill("new "))
check("COMPARE AND WRITE sees a WRITE that was under way", status == 2 and sense_code(sense) == (0xe, 0x1d, 0),
      f"status {status}, sense {sense.hex()}")
check_eq("which has ended well", 0, one.result(itt)[0])
check("and whose data stays", three.scsi(read10(3, 1), expect=BLOCK)[1] == fill("user"))

# A longer one elsewhere is nobody's business.
start = time.monotonic()
caw_itt = two.command(caw(100), bytes(BLOCK) + fill("caw "))
_, before, _ = three.scsi(read10(200, 1), expect=BLOCK)
took = time.monotonic() - start
check("a READ elsewhere does not wait for it", took < 0.4, f"{took:.2f} s")
two.result(caw_itt)

# What comes while it is carried out waits for it.
one.scsi(write10(0, 8), fill("old ", 8))
start = time.monotonic()
caw_itt = two.command(caw(0, 4), fill("old ", 4) + fill("new ", 4))
time.sleep(0.1)
read_itt = three.command(read10(3, 2), expect=2 * BLOCK)
write_itt = one.command(write10(2, 1), fill("last"))
verify_itt = one.command(bytes([0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0]), fill("new "))
status, data, _ = three.result(read_itt)
took = time.monotonic() - start
check("a READ of the same blocks waits for it", took > 0.4, f"{took:.2f} s")
check("and reads what it wrote", data == fill("new ") + fill("old "), data[:8])
check_eq("it succeeds", 0, two.result(caw_itt)[0])
check_eq("a VERIFY waits as well", 0, one.result(verify_itt)[0])
check_eq("a WRITE of the same blocks comes after it", 0, one.result(write_itt)[0])
check("and stays", three.scsi(read10(1, 3), expect=3 * BLOCK)[1]
      == fill("new ") + fill("last") + fill("new "))

# Both of two that overlap are carried out, one after the other.
one.scsi(write10(0, 8), fill("old ", 8))
first = one.command(caw(0, 2), fill("old ", 2) + fill("one ", 2))
second = two.command(caw(1, 2), fill("old ", 2) + fill("two ", 2))
got = sorted([one.result(first)[0], two.result(second)[0]])
check_eq("of two that overlap one finds what it wants", [0, 2], got)

# ORWRITE as well.
one.scsi(write10(0, 1), bytes(BLOCK))
first = one.command(orwrite(0, 1), b"\x0f" * BLOCK)
second = two.command(orwrite(0, 1), b"\xf0" * BLOCK)
check_eq("two ORWRITEs succeed", [0, 0], [one.result(first)[0], two.result(second)[0]])
check("and no bit is lost", three.scsi(read10(0, 1), expect=BLOCK)[1] == b"\xff" * BLOCK)

# Aborted while it waits for others, it ends, and has not written.
one.scsi(write10(0, 1), fill("old "))
write_itt = one.command(write10(0, 1), fill("user"))
time.sleep(0.1)
caw_itt = two.command(caw(0), fill("user") + fill("new "))
time.sleep(0.1)
# ABORT TASK, RFC 7143 section 11.5.
tmf = two.request(2, 0x81, word20=caw_itt, tail=struct.pack(">I", two.cmd_sn - 1), immediate=True)
answer = two.wait(0x22, tmf)
check_eq("one that waits can be aborted", 0, answer.header[2])
one.result(write_itt)
check("and has not written", three.scsi(read10(0, 1), expect=BLOCK)[1] == fill("user"))

# Many at once on a quick device: a number that everybody increments.
EACH, CONNS = 40, 4
conns = [connect(10 + n) for n in range(CONNS)]
one.scsi(write10(0, 64), bytes(64 * BLOCK), lun=LUN1)
misses = []


def count(conn, number):
    done = 0
    while done < EACH:
        _, now, _ = conn.scsi(read10(0, 2), expect=2 * BLOCK, lun=LUN1)
        if now[:BLOCK] != now[BLOCK:]:
            misses.append("torn")
        value = struct.unpack(">Q", now[:8])[0]
        wanted = (struct.pack(">Q", value + 1) * (BLOCK // 8)) * 2
        # Others write beside it meanwhile.
        other = conn.command(write10(8 + number, 1), os.urandom(BLOCK), lun=LUN1)
        status, _, sense = conn.scsi(caw(0, 2), now + wanted, lun=LUN1)
        conn.result(other) if not any(p.itt == other for p in conn.aside) else None
        conn.aside.clear()
        if status == 0:
            done += 1
        elif sense_code(sense) != (0xe, 0x1d, 0):
            misses.append(sense.hex())
            return


threads = [threading.Thread(target=count, args=(conn, n)) for n, conn in enumerate(conns)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
_, now, _ = one.scsi(read10(0, 1), expect=BLOCK, lun=LUN1)
check_eq("a number that four initiators increment is the sum", EACH * CONNS, struct.unpack(">Q", now[:8])[0])
check_eq("and nothing else went wrong", [], misses)
for conn in [one, two, three, *conns]:
    conn.logout()
