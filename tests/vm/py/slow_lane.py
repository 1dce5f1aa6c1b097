# SPDX-License-Identifier: GPL-2.0
"""Many commands for a device that hangs, and one for another device.

LUN 0 is the dm device "slow", LUN 1 is another disk, LUN 2 is made of the dm devices "first" and
"second".
"""

import struct
import subprocess
import time

from host import resume, suspend
from iscsi import (SCSI_RESPONSE, TASK_MGMT, TASK_MGMT_RESPONSE, Conn, check, check_eq, counter, lun,
                   read10)

UNMAP = struct.pack(">BBIBHB", 0x42, 0, 0, 0, 24, 0)
COUNT = 64


def blocks(lba):
    return struct.pack(">HHIQII", 22, 16, 0, lba, 8, 0)


def workers():
    """Kernel workers that wait for a disk."""
    done = subprocess.run(["ps", "-eo", "stat=,comm="], capture_output=True, text=True, check=True)
    return sum(line.startswith("D") and "kworker" in line for line in done.stdout.splitlines())


conn = Conn().login()
conn.ready()
conn.ready(lun(1))
before = counter("slow_waits")
suspend("slow")
tags = [conn.command(UNMAP, blocks(n * 8)) for n in range(COUNT)]
end = time.monotonic() + 10
while counter("slow_waits") - before < COUNT - 32 and time.monotonic() < end:
    time.sleep(0.05)
check_eq("of so many commands for a device that hangs the rest wait in line", COUNT - 32, counter("slow_waits") - before)
check("a bounded number of workers hangs", workers() <= 33, workers())
start = time.monotonic()
check_eq("UNMAP on another LUN goes on", 0, conn.scsi(UNMAP, blocks(0), lun=lun(1))[0])
check_eq("and so does READ", 0, conn.scsi(read10(0, 8), expect=4096, lun=lun(1))[0])
took = time.monotonic() - start
check("in little time", took < 5, took)

# One that waits in line has not touched the disk, and never will: its abort is complete at once.
start = time.monotonic()
tag = conn.request(TASK_MGMT, 0x81, word20=tags[-1], immediate=True, tail=struct.pack(">IIII", conn.cmd_sn - 1, 0, 0, 0))
answer = conn.wait(TASK_MGMT_RESPONSE, tag, 10)
check_eq("an abort of a command that waits in line is complete", 0, answer.header[2])
took = time.monotonic() - start
check("in little time, too", took < 5, took)

# A connection that goes takes its own out of the line.
other = Conn().login(isid=bytes.fromhex("80feed000002"))
other.ready()
for n in range(8):
    other.command(UNMAP, blocks(1024 + n * 8))
time.sleep(0.5)
other.reset()
resume("slow")
waiting = set(tags[:-1])
while waiting:
    answer = conn.recv(20)
    if answer.opcode == SCSI_RESPONSE and answer.header[3] == 0:
        waiting.discard(answer.itt)
check("when the device goes on, all others are done", True)
check("the session works", conn.ping())

# Workers that have been with one command, and hang with the next: what is slow elsewhere does not
# wait for them, also where it gets the memory of a command that has ended.
conn.ready(lun(2))
half = 262144
suspend("first")
suspend("second")
before = counter("slow_waits")
tags = [conn.command(UNMAP, blocks(n * 8), lun=lun(2)) for n in range(32)]
late = [conn.command(UNMAP, blocks(half + n * 8), lun=lun(2)) for n in range(32)]
end = time.monotonic() + 10
while counter("slow_waits") - before < 32 and time.monotonic() < end:
    time.sleep(0.05)
check_eq("32 commands wait in line", 32, counter("slow_waits") - before)
resume("first")
for _ in tags:
    conn.wait(SCSI_RESPONSE)
end = time.monotonic() + 10
while workers() < 32 and time.monotonic() < end:
    time.sleep(0.05)
check("those before them are done, and they hang", workers() >= 32, workers())
others = {conn.command(UNMAP, blocks(n * 8), lun=lun(1)) for n in range(64)}
try:
    while others:
        others.discard(conn.wait(SCSI_RESPONSE, timeout=10).itt)
except TimeoutError:
    pass
check_eq("64 UNMAPs of another LUN go on", 0, len(others))
resume("second")
waiting = set(late)
while waiting:
    answer = conn.recv(20)
    if answer.opcode == SCSI_RESPONSE:
        waiting.discard(answer.itt)
check("and all is done", conn.ping())
