# SPDX-License-Identifier: GPL-2.0
"""LUN 0 dies under I/O, LUN 1 is well. The arguments: how it dies, the file that kills it, and
what is written to it (default: 1)."""

import os
import sys
import threading
import time

from host import SLOWER, store, tpg, unlink_all, write
from iscsi import DATA_IN, SCSI_RESPONSE, Conn, check, check_eq, lun, read10, sense_code, write10

KIND, KILLER, WORD = (sys.argv[1:] + ["1"])[:3]
isids = (bytes.fromhex(f"80feed05{n:04x}") for n in range(0xffff))

conn = Conn().login(isid=next(isids))
conn.ready()
conn.ready(lun(1))
other = Conn().login(isid=next(isids))
other.ready(lun(1))
wrong = []
stop = threading.Event()
rounds = 0


def go_on():
    global rounds
    while not stop.is_set():
        status, _, sense = other.scsi(read10(0, 8), expect=4096, lun=lun(1))
        if status != 0 and sense_code(sense)[0] != 6:
            wrong.append(sense.hex())
        rounds += 1


bystander = threading.Thread(target=go_on)
bystander.start()
waiting = {}
for n in range(16):
    waiting[conn.command(write10(n * 8, 8), bytes([n]) * 4096)] = "write"
    waiting[conn.command(read10(n * 8, 8), expect=4096)] = "read"
killer = None
if KILLER:
    time.sleep(0.05)
    killer = threading.Thread(target=write, args=(KILLER, WORD))
    killer.start()
start = time.monotonic()
seen = {}
while waiting and time.monotonic() - start < 30 * SLOWER:
    pdu = conn.recv(30 * SLOWER)
    if pdu.opcode == SCSI_RESPONSE or pdu.opcode == DATA_IN and pdu.flags & 1:
        what = waiting.pop(pdu.itt, "?")
        code = sense_code(pdu.data[2:]) if pdu.header[3] == 2 else None
        seen[what, pdu.header[3], code] = seen.get((what, pdu.header[3], code), 0) + 1
took = time.monotonic() - start
print(KIND, seen, f"{took:.2f} s")
check(f"{KIND}: each command ends", not waiting, waiting)
# MEDIUM ERROR, HARDWARE ERROR, ABORTED COMMAND or NOT READY, or it was done before.
check(f"{KIND}: well, or with a reason", all(
    status == 0 or status in (8, 0x28) or code and code[0] in (2, 3, 4, 0xb) for _, status, code in seen), seen)
if KIND in ("error", "flakey"):
    check(f"{KIND}: no write is said to be done", ("write", 0, None) not in seen, seen)
if KIND == "flakey":
    check(f"{KIND}: reads are", seen.get(("read", 0, None)) == 16, seen)
if KIND == "delay":
    check(f"{KIND}: all are done, late", all(status == 0 for _, status, _ in seen), seen)
if killer:
    # Some wait until the disk is closed, some do not.
    killer.join(1)
status, _, _ = conn.scsi(bytes.fromhex("1201b000ff00"), expect=255)
check(f"{KIND}: what is known of its limits is told, or not", status in (0, 2), status)
check(f"{KIND}: the session goes on", conn.ping())
check_eq(f"{KIND}: so does its other LUN", 0, conn.ready(lun(1)))
start = time.monotonic()
unlink_all(f"{tpg()}/lun/lun_0")
dying = store("dying")
os.rmdir(dying)
os.rmdir(os.path.dirname(dying))
took = time.monotonic() - start
check(f"{KIND}: LUN and backstore are removed at once", took < 2 * SLOWER, f"{took:.2f} s")
if killer:
    killer.join(20 * SLOWER)
    check(f"{KIND}: the disk goes when it may", not killer.is_alive())
stop.set()
bystander.join(10)
check(f"{KIND}: another session on another disk has noticed nothing", not wrong and rounds > 3, (rounds, wrong[:3]))
conn.logout()
other.logout()
print(f"@figure {KIND}: ms for removing LUN and backstore | {took * 1000:.0f}")
