# SPDX-License-Identifier: GPL-2.0
"""Many commands for a device that hangs, and one for another device.

LUN 0 is the dm device "slow", LUN 1 is another disk, LUN 2 is made of the dm devices "first" and
"second", LUN 3 takes 60 ms or more for each I/O, LUN 4 some seconds for each WRITE.
"""

import errno
import os
import struct
import time

from host import in_use, resume, sleeping_workers, store, suspend, tpg, until, write
from iscsi import (SCSI_RESPONSE, TASK_MGMT_RESPONSE, Conn, b2b, check, check_eq, counter, cscd,
                   extended_copy, list1, lun, naa_of, read10, tell, write10)

UNMAP = struct.pack(">BBIBHB", 0x42, 0, 0, 0, 24, 0)
COUNT = 64


def blocks(lba):
    return struct.pack(">HHIQII", 22, 16, 0, lba, 8, 0)


def waiting(count, before):
    """As many more than before wait in line."""
    return until(lambda: counter("slow_waits") - before >= count)


def ended(tags):
    """Receives until these are answered, and gives the statuses."""
    left, ends = set(tags), []
    while left:
        answer = conn.recv(20)
        if answer.opcode == SCSI_RESPONSE and answer.itt in left:
            left.remove(answer.itt)
            ends.append(answer.header[3])
    return ends


conn = Conn().login()
conn.ready()
conn.ready(lun(1))
before = counter("slow_waits")
suspend("slow")
tags = [conn.command(UNMAP, blocks(n * 8)) for n in range(COUNT)]
waiting(COUNT - 32, before)
check_eq("of so many commands for a device that hangs the rest wait in line", COUNT - 32, counter("slow_waits") - before)
check("a bounded number of workers hangs", sleeping_workers() <= 33, sleeping_workers())
start = time.monotonic()
check_eq("UNMAP on another LUN goes on", 0, conn.scsi(UNMAP, blocks(0), lun=lun(1))[0])
check_eq("and so does READ", 0, conn.scsi(read10(0, 8), expect=4096, lun=lun(1))[0])
took = time.monotonic() - start
check("in little time", took < 5, took)

# One that waits in line has not touched the disk, and never will: its abort is complete at once.
start = time.monotonic()
tag = conn.manage(1, tags[-1])
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
check_eq("when the device goes on, all others are done", {0}, set(ended(tags[:-1])))
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
waiting(32, before)
check_eq("32 commands wait in line", 32, counter("slow_waits") - before)
resume("first")
for _ in tags:
    conn.wait(SCSI_RESPONSE)
until(lambda: sleeping_workers() >= 32)
check("those before them are done, and they hang", sleeping_workers() >= 32, sleeping_workers())
others = {conn.command(UNMAP, blocks(n * 8), lun=lun(1)) for n in range(64)}
try:
    while others:
        others.discard(conn.wait(SCSI_RESPONSE, timeout=10).itt)
except TimeoutError:
    pass
check_eq("64 UNMAPs of another LUN go on", 0, len(others))
resume("second")
ended(late)
check("and all is done", conn.ping())

# A VERIFY that reads without comparing may be as long as the disk is. More of them than there are
# workers for one device: a COMPARE AND WRITE that comes after them all is done before any is.
conn.ready(lun(3))
verify = struct.pack(">BBQIBB", 0x8f, 0, 0, 32768, 0, 0)
tags = {conn.command(verify, lun=lun(3)) for _ in range(34)}
swap = struct.pack(">BBQIBB", 0x89, 0, 65000, 1, 0, 0)
conn.aside.clear()
check_eq("COMPARE AND WRITE after many long VERIFYs", 0, conn.scsi(
    swap, conn.scsi(read10(65000, 1), expect=512, lun=lun(3))[1] * 2, lun=lun(3))[0])
check_eq("is done before they are", 0, sum(pdu.itt in tags for pdu in conn.aside))
early = {pdu.itt: pdu.header[3] for pdu in conn.aside if pdu.itt in tags}
check_eq("and all of them end well", {0}, {*early.values(), *ended(tags - set(early))})
past = struct.pack(">BBQIBB", 0x8f, 0, 60000, 8192, 0, 0)
check_eq("one that is too long ends as it should", 2, conn.scsi(past, lun=lun(3))[0])

# When the cache is switched off, nothing that is acknowledged after that is in it, also what had begun
# before.
conn.ready(lun(4))
page = conn.scsi(bytes([0x1a, 8, 8, 0, 255, 0]), expect=255, lun=lun(4))[1][4:]
if page[2] & 4:
    off = bytes(4) + bytes([page[0] & 0x3f, page[1], page[2] & ~4]) + page[3:]
    begun = conn.command(write10(0, 8), bytes(4096), lun=lun(4))
    time.sleep(0.5)
    tag = conn.command(bytes([0x15, 0x10, 0, 0, len(off), 0]), off, lun=lun(4))
    ends = [conn.wait(SCSI_RESPONSE) for _ in range(2)]
    check_eq("MODE SELECT of WCE waits for a WRITE that has begun", [(begun, 0), (tag, 0)],
             [(answer.itt, answer.header[3]) for answer in ends])
    off = bytes(4) + page
    check_eq("the cache is on again", 0, conn.scsi(bytes([0x15, 0x10, 0, 0, len(off), 0]), off, lun=lun(4))[0])
    begun = conn.command(write10(0, 8), bytes(4096), lun=lun(4))
    time.sleep(0.5)
    write(f"{store('disk4')}/attrib/write_through", "1")
    done = time.monotonic()
    conn.wait(SCSI_RESPONSE, begun)
    check("and so does write_through", time.monotonic() - done < 0.7, time.monotonic() - done)
    write(f"{store('disk4')}/attrib/write_through", "0")
else:
    tell("skip", "MODE SELECT of WCE: the device has no write cache")

# A WRITE SAME writes 1 MiB at a time. What it needs for that counts, and an abort ends it after one.
PART = 2048
pattern = os.urandom(512)
conn.aside.clear()
before = in_use()["memory"]
suspend("slow")
tag = conn.command(struct.pack(">BBQIBB", 0x93, 0, 0, 4 * PART, 0, 0), pattern)
check("what a WRITE SAME writes counts as used memory", until(lambda: in_use()["memory"] >= before + PART * 512),
      (before, in_use()))
tag = conn.manage(1, tag)
check("its abort waits for the disk", conn.ping() and not conn.aside, conn.aside)
resume("slow")
check_eq("and is complete then", 0, conn.wait(TASK_MGMT_RESPONSE, tag, 10).header[2])
check("with most of it not written", all(
    conn.scsi(read10(at, 1), expect=512)[1] != pattern for at in (PART, 4 * PART - 1)))

# What waits in line when writing is forbidden does not write any more.
before = counter("slow_waits")
suspend("slow")
tags = [conn.command(UNMAP, blocks(n * 8)) for n in range(36)]
check("four commands wait in line", waiting(4, before))
write(f"{tpg()}/attrib/demo_mode_write_protect", "1")
resume("slow")
ends = [conn.wait(SCSI_RESPONSE) for _ in tags]
check_eq("those that wait when the LUN may only be read are refused", 4, sum(
    answer.header[3] == 2 and answer.data[4] & 0xf == 7 for answer in ends))
write(f"{tpg()}/attrib/demo_mode_write_protect", "0")

# Nor does what waits for blocks that another command has to itself, nor that one, which has read
# them, and not written yet.
old = conn.scsi(read10(0, 1), expect=512)[1]
suspend("slow")
swap = conn.command(struct.pack(">BBQIBB", 0x89, 0, 0, 1, 0, 0), old + b"N" * 512)
check("a COMPARE AND WRITE reads", until(lambda: sleeping_workers() > 0))
same = conn.command(struct.pack(">BBQIBB", 0x93, 1, 0, 8, 0, 0))
tag = conn.command(UNMAP, blocks(0))
time.sleep(0.5)
write(f"{tpg()}/attrib/demo_mode_write_protect", "1")
resume("slow")
ends = {answer.itt: answer for answer in (conn.wait(SCSI_RESPONSE) for _ in range(3))}
for what, itt in ("COMPARE AND WRITE", swap), ("WRITE SAME", same), ("UNMAP", tag):
    answer = ends[itt]
    check_eq(f"then {what} is refused", (2, 7), (answer.header[3], answer.data[4] & 0xf if answer.data else 0))
check("and nothing is written", conn.scsi(read10(0, 1), expect=512)[1] == old)
write(f"{tpg()}/attrib/demo_mode_write_protect", "0")

# A LUN is taken away with a command under way: the device keeps its block size until that has ended.
path = f"{tpg()}/lun/lun_0"
name = next(name for name in os.listdir(path) if os.path.islink(f"{path}/{name}"))
size = f"{store('disk0')}/attrib/block_size"


def resized(to):
    try:
        write(size, to)
    except OSError as error:
        return error.errno
    return 0


def taken_away(what, tag):
    os.unlink(f"{path}/{name}")
    check_eq(f"under {what} the block size of the device cannot be changed", errno.EBUSY, resized("4096"))
    resume("slow")
    check_eq("it is done", 0, conn.result(tag)[0])
    check("and then it can", until(lambda: resized("4096") == 0))
    check_eq("and back", 0, resized("512"))
    os.symlink(store("disk0"), f"{path}/{name}")


before = counter("bio_slow")
suspend("slow")
tag = conn.command(read10(0, 8), expect=4096)
check("a READ is under way", until(lambda: counter("bio_slow") > before))
taken_away("a READ", tag)

# Also while another LUN, which was told to, copies from it.
conn.ready()
conn.ready(lun(1))
parameters = list1([cscd(naa_of(conn, 0))], [b2b(0, 0xffff, 8, 0, 0)], 0, 3)
suspend("slow")
tag = conn.command(extended_copy(len(parameters)), parameters, lun=lun(1))
check("an EXTENDED COPY is under way", until(lambda: sleeping_workers() > 0))
taken_away("an EXTENDED COPY from it", tag)

# So many wait in line that not each function that aborts some can look for them: they end all the
# same, and in time.
SESSIONS, EACH = 20, 120
crowd = [Conn().login(isid=bytes.fromhex("80feed0003") + bytes([n])) for n in range(SESSIONS)]
for other in crowd:
    other.ready()
verify = struct.pack(">BBQIBB", 0x8f, 0, 0, 8, 0, 0)
before = counter("slow_waits")
suspend("slow")
tags = [[other.command(verify) for _ in range(EACH)] for other in crowd]
check("more than two thousand commands wait in line",
      until(lambda: counter("slow_waits") - before >= SESSIONS * EACH - 32), counter("slow_waits") - before)
start = time.monotonic()
for other, of_it in zip(crowd, tags):
    tag = other.manage(1, of_it[-1])
    answer = other.wait(TASK_MGMT_RESPONSE, tag, 10).header[2]
    if answer != 0:
        break
check_eq("aborts of commands among them are complete", 0, answer)
took = time.monotonic() - start
check("each within half a second or so", took < SESSIONS, took)
check("as they are looked for twice a second", took > SESSIONS / 4, took)
for other in crowd:
    other.reset()
resume("slow")
conn.ready()
check_eq("the unit works", 0, conn.scsi(verify)[0])
