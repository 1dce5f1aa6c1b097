# SPDX-License-Identifier: GPL-2.0
"""Forty devices that hang, and one that does not.

LUN 0 is /dev/vdb. All others are the dm device "slow", but to the target each is a device of its own.
"""

import os
import struct
import time

from host import ROOT, SLOWER, make_store, resume, sleeping_workers, suspend, tpg, until, write
from iscsi import SCSI_RESPONSE, Conn, check, check_eq, counter, lun, read10

UNMAP = struct.pack(">BBIBHB", 0x42, 0, 0, 0, 24, 0)
DEVICES = 40
# More than a device may have workers.
EACH = 34
ALL = DEVICES * EACH
# If each might have 32, they would have more than the 1024 that a workqueue usually has.
MOST = 16 * 32 + 32 + (DEVICES - 16) * 4


def blocks(lba):
    return struct.pack(">HHIQII", 22, 16, 0, lba, 8, 0)


stores = [make_store(100 + n, f"many{n}", "/dev/mapper/slow", exclusive=0) for n in range(DEVICES)]
for n, path in enumerate(stores, 1):
    write(f"{path}/enable", "1")
    unit = f"{tpg()}/lun/lun_{n}"
    os.mkdir(unit)
    os.symlink(path, f"{unit}/{os.path.basename(path)}")

conn = Conn(timeout=60 * SLOWER).login()
conn.ready()
conns = []
for n in range(1, DEVICES + 1):
    new = Conn(timeout=60 * SLOWER).login(isid=bytes.fromhex("80feee00") + struct.pack(">H", n))
    new.ready(lun(n))
    conns.append(new)
waits = counter("slow_waits")
suspend("slow")
tags = [{new.command(UNMAP, blocks(k * 8), lun=lun(n)) for k in range(EACH)} for n, new in enumerate(conns, 1)]
check("all that have no worker wait in line", until(lambda: counter("slow_waits") - waits >= ALL - MOST, 60),
      counter("slow_waits") - waits)
held = sleeping_workers()
check("all devices together hold a bounded number of workers", 512 <= held <= MOST, held)
start = time.monotonic()
check_eq("UNMAP on another LUN goes on", 0, conn.scsi(UNMAP, blocks(0))[0])
check_eq("and so does READ", 0, conn.scsi(read10(0, 8), expect=4096)[0])
took = time.monotonic() - start
check("in little time", took < 5 * SLOWER, took)
print(f"@figure devices that hang, workers they hold, ms of an UNMAP and a READ on another one | "
      f"{DEVICES}, {held}, {took * 1000:.0f}")
resume("slow")
good = 0
for new, waiting in zip(conns, tags):
    while waiting:
        answer = new.recv()
        if answer.opcode == SCSI_RESPONSE:
            good += answer.header[3] == 0
            waiting.discard(answer.itt)
check_eq("when the devices go on, all commands are done", ALL, good)
for new in [conn, *conns]:
    new.logout()
