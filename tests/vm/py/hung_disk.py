# SPDX-License-Identifier: GPL-2.0
"""What can be done while a disk hangs, and how long it takes at most.

The argument says how it hangs: `dm` for a suspended dm device, "slow"; `loop` for a loop device
on top of it, whose driver has taken the requests. /dev/vdb is a disk that works.
"""

import errno
import mmap
import os
import struct
import subprocess
import sys
import time

from host import AT_ONCE, ROOT, SLOWER, Longest, read, resume, store, suspend, tpg, unlink_all, until, write
from iscsi import (DATA_IN, LOGOUT, LOGOUT_RESPONSE, SCSI_RESPONSE, TARGET, TASK_MGMT_RESPONSE, Closed, Conn,
                   check, check_eq, lun, read10, write10)

DISK = sys.argv[1]
# Milliseconds; those that wait for commands on the disk are answered before initiators give up.
FUNCTION_LIMIT = 13500 * SLOWER
OTHER = TARGET + "-other"
SECOND = ("127.0.0.1", 3261)
BLOCK = 512
# Each command is for its own 4 KiB.
PIECE = 8
AREA = 4096
NAME = "iqn.2026-01.org.example:raw"
OLD = struct.pack(">II", 0xffffffff, 0xffffffff) * (BLOCK // 8)

longest = Longest(f"{DISK} hangs")
timed = longest.timed
isids = (bytes.fromhex(f"80feed01{n:04x}") for n in range(0xffff))


def put(path, value):
    """The name of the error that it ends with, or None."""
    try:
        write(path, value)
        return None
    except OSError as error:
        return errno.errorcode[error.errno]


def pattern(owner, number):
    return struct.pack(">II", owner, number) * (PIECE * BLOCK // 8)


class User:
    """A session with commands on the disk that hangs."""

    count = 0

    def __init__(self, target=TARGET, name=NAME, **how):
        self.number = User.count
        User.count += 1
        self.isid = next(isids)
        self.name = name
        self.target = target
        self.conn = Conn(**how).login(target=target, initiator=name, isid=self.isid)
        self.conn.ready(lun(0))
        self.conn.ready(lun(1))
        self.tags = []

    def load(self, count=6):
        """Writes, and one read of what is being written."""
        base = self.number * 64
        for n in range(count):
            at = base + n * PIECE
            self.tags.append(self.conn.command(write10(at, PIECE), pattern(self.number, n)))
        self.tags.append(self.conn.command(read10(base, PIECE), expect=PIECE * BLOCK))
        return self

    def drain(self):
        """All that is under way ends well."""
        left = set(self.tags)
        while left:
            pdu = self.conn.recv(20 * SLOWER)
            if pdu.opcode == SCSI_RESPONSE or pdu.opcode == DATA_IN and pdu.flags & 1:
                assert pdu.header[3] == 0, f"status {pdu.header[3]:#x}"
                left.discard(pdu.itt)


class Bystander:
    """Another session, on the other disk, in a process of its own."""

    def __init__(self):
        self.shared = mmap.mmap(-1, 4096)
        self.pid = os.fork()
        if self.pid:
            return
        try:
            conn = Conn().login(initiator=NAME + "-by", isid=bytes.fromhex("80feed02ffff"))
            conn.ready(lun(1))
            number = 0
            while True:
                data = pattern(0x1000, number)
                status, _, sense = conn.scsi(write10(number % 64 * PIECE, PIECE), data, lun=lun(1))
                if status == 2 and sense[2] & 0xf == 6:
                    # That the list of LUNs has changed.
                    continue
                assert status == 0, f"status {status:#x}, sense {sense.hex()}"
                status, got, sense = conn.scsi(read10(number % 64 * PIECE, PIECE), expect=len(data), lun=lun(1))
                if status == 2 and sense[2] & 0xf == 6:
                    continue
                assert status == 0 and got == data, "what was written is not read"
                number += 1
                self.shared[:8] = struct.pack(">Q", number)
        finally:
            os._exit(1)

    def rounds(self, seconds):
        before = struct.unpack(">Q", self.shared[:8])[0]
        time.sleep(seconds)
        return struct.unpack(">Q", self.shared[:8])[0] - before

    def end(self):
        gone, _ = os.waitpid(self.pid, os.WNOHANG)
        if gone == 0:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        return gone == 0


def mean(conn, opcode, tag, timeout):
    return conn.wait(opcode, tag, timeout).header[2]


# --- what is there before ---------------------------------------------------------------------

filler = Conn().login(initiator=NAME, isid=next(isids))
filler.ready()
for at in range(0, AREA, 64):
    assert filler.scsi(write10(at, 64), OLD * 64)[0] == 0
filler.logout()

bystander = Bystander()
while bystander.rounds(0.05) == 0:
    pass
# Once is enough: what a busy machine does to one of two windows is not what this is about.
for _ in range(6):
    idle = bystander.rounds(0.3 * SLOWER)
    suspend("slow")
    user = User().load()
    time.sleep(0.1)
    hanging = bystander.rounds(0.3 * SLOWER)
    resume("slow")
    user.drain()
    user.conn.logout()
    if hanging * 3 > idle * 2:
        break
print(f"{DISK}: another session on another disk: {idle} rounds, and {hanging} while the disk hangs")
check(f"{DISK} hangs: others on other disks go on at full speed", hanging * 3 > idle * 2,
      f"{hanging} rounds instead of {idle}")
print(f"@figure {DISK} hangs: speed of others | {100 * hanging // max(1, idle)} %")

# --- while it hangs ----------------------------------------------------------------------------

aborter, resetter, quitter, remaker, stays = (User() for _ in range(5))
closed = User(name=NAME + "-closed")
second = User(portal=SECOND)
masked = User(name=NAME + "-masked")
acl = User(name=NAME + "-acl")
other = User(target=OTHER)
everybody = [aborter, resetter, quitter, remaker, closed, stays, second, masked, acl, other]
suspend("slow")
for user in everybody:
    user.load()
# As many as there are, they are on the disk, or in line for it.
time.sleep(0.3)

# Functions that have to wait for the disk do so while all of the rest goes on.
functions = time.monotonic()
abort = aborter.conn.manage(1, aborter.tags[0])
reset = resetter.conn.manage(5)

timed("reading another LUN of a session that waits",
      lambda: stays.conn.command(read10(0, 8), expect=4096, lun=lun(1)))
tag = stays.conn.itt
status = timed("the answer to it", lambda: stays.conn.result(tag)[0])
check_eq(f"{DISK} hangs: that LUN works", 0, status)
check(f"{DISK} hangs: a session that waits is alive", timed("a NOP-Out", stays.conn.ping))
newcomer = timed("a login", lambda: Conn().login(initiator=NAME, isid=next(isids)))
timed("REPORT LUNS and INQUIRY", lambda: (
    newcomer.scsi(struct.pack(">B5xIxx", 0xa0, 4096), expect=4096),
    newcomer.scsi(bytes.fromhex("120000006000"), expect=96)))
check("it is a good session", newcomer.ping())

tag = quitter.conn.request(LOGOUT, 0x80, word20=0, immediate=True)
answer = timed("logout", lambda: mean(quitter.conn, LOGOUT_RESPONSE, tag, 20))
print(f"logout was answered with {answer}")
check(f"{DISK} hangs: the connection ends after the logout", quitter.conn.closed_within(2 * SLOWER))


def reinstate():
    conn = Conn().login(initiator=NAME, isid=remaker.isid)
    assert conn.ping()
    return conn


timed("session reinstatement", reinstate)
check(f"{DISK} hangs: the old session is gone", remaker.conn.closed_within(2 * SLOWER))
longest.close_session(closed.name, closed.conn)

for name in sorted(os.listdir(f"{store('disk0')}/attrib")) + ["../info", "../pr/res_holder", "../alua/default_tg_pt_gp/alua_access_state"]:
    start = time.monotonic()
    read(f"{store('disk0')}/attrib/{name}")
    if time.monotonic() - start > AT_ONCE:
        check(f"{DISK} hangs: its {name} can be read", False)
timed("reading the list of sessions", lambda: read(f"{tpg()}/dynamic_sessions"))
acls = f"{tpg()}/acls"
timed("taking a LUN from an ACL", lambda: unlink_all(f"{acls}/{NAME}-masked/lun_0"))
longest.remove_acl(f"{acls}/{NAME}-acl", acl.conn)
longest.remove_portal(f"{tpg()}/np/{SECOND[0]}:{SECOND[1]}", second.conn)
check_eq(f"{DISK} hangs: reservations can be cleared", None, timed("pr/clear", lambda: put(f"{store('disk0')}/pr/clear", "1")))
timed("removing a LUN", lambda: unlink_all(f"{tpg()}/lun/lun_0"))
status, _, sense = timed("a command to it", lambda: second.conn.scsi(bytes(6)))
check_eq(f"{DISK} hangs: it is not there any more", (2, 5, 0x25), (status, sense[2] & 0xf, sense[12]))
check(f"{DISK} hangs: the other LUN is", timed("a command to the other", lambda: second.conn.ready(lun(1))) == 0)

timed("disabling a portal group", lambda: write(f"{tpg(OTHER)}/enable", "0"))
check(f"{DISK} hangs: its sessions end", other.conn.closed_within(2 * SLOWER))
os.unlink(f"{tpg(OTHER)}/lun/lun_0/disk0")
for what in ("lun/lun_0", "np/127.0.0.1:3260"):
    os.rmdir(f"{tpg(OTHER)}/{what}")
timed("removing a portal group", lambda: os.rmdir(tpg(OTHER)))
timed("removing a target", lambda: os.rmdir(f"{ROOT}/iscsi/{OTHER}"))
timed("removing the backstore", lambda: os.rmdir(store("disk0")))
check_eq(f"{DISK} hangs: that it may yet be written to is told", 1, len(read(f"{ROOT}/closing").splitlines()))
status = timed("rmmod", lambda: subprocess.run(["rmmod", "ferrite"], stderr=subprocess.DEVNULL).returncode)
check(f"{DISK} hangs: the module stays", status != 0 and os.path.isdir("/sys/module/ferrite"))
timed("making a target", lambda: os.makedirs(tpg(OTHER)))
os.rmdir(tpg(OTHER))
os.rmdir(f"{ROOT}/iscsi/{OTHER}")

for name, user, tag in (("ABORT TASK", aborter, abort), ("LOGICAL UNIT RESET", resetter, reset)):
    try:
        answer = mean(user.conn, TASK_MGMT_RESPONSE, tag, FUNCTION_LIMIT / 1000)
    except (Closed, TimeoutError) as error:
        answer = repr(error)
    took = round((time.monotonic() - functions) * 1000)
    print(f"{name}: {answer} after {took} ms")
    check(f"{DISK} hangs: {name} does not wait for ever", took < FUNCTION_LIMIT, f"{took} ms")
    # 0 would say that the disk is never touched by them again; they are still with it.
    check_eq(f"{DISK} hangs: {name} does not say that it is complete", 255, answer)

# --- when it is back ---------------------------------------------------------------------------

resume("slow")
gone = False
for _ in range(100):
    try:
        # Nobody has it any more when the last command has ended.
        os.close(os.open(f"/dev/{'mapper/slow' if DISK == 'dm' else 'loop7'}", os.O_RDWR | os.O_EXCL))
        gone = True
        break
    except OSError:
        time.sleep(0.1)
check(f"{DISK} is back: the last command ends, and the device is let go", gone)
check(f"{DISK} is back: nothing more is told of it", until(lambda: not read(f"{ROOT}/closing")))


def contents():
    fd = os.open("/dev/mapper/slow", os.O_RDONLY | os.O_DIRECT)
    try:
        buf = mmap.mmap(-1, AREA * BLOCK)
        assert os.preadv(fd, [buf], 0) == AREA * BLOCK
        return bytes(buf)
    finally:
        os.close(fd)


if DISK == "loop":
    subprocess.run(["blockdev", "--flushbufs", "/dev/loop7"], check=True)
    os.sync()
seen = contents()
wrong = 0
written = 0
for at in range(0, AREA, PIECE):
    piece = seen[at * BLOCK:(at + PIECE) * BLOCK]
    owner, number = at // 64, at % 64 // PIECE
    if piece == pattern(owner, number):
        written += 1
    elif piece != OLD * PIECE:
        wrong += 1
        print(f"block {at}: {piece[:16].hex()}")
check_eq(f"{DISK} is back: nothing was written to the wrong place", 0, wrong)
print(f"{DISK} is back: {written} writes are on the disk")
time.sleep(1)
check(f"{DISK} is back: nothing is written late", contents() == seen)
check("the bystander has noticed nothing", bystander.rounds(0.3 * SLOWER) > 0 and bystander.end())
longest.tell()
