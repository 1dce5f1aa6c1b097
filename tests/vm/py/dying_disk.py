# SPDX-License-Identifier: GPL-2.0
"""LUN 0 dies under I/O, LUN 1 is well. The arguments: how it dies, the file that kills it, and
what is written to it (default: 1)."""

import os
import sys
import threading
import time

from host import ROOT, SLOWER, Longest, store, tpg, unlink_all, until, write
from iscsi import (DATA_IN, SCSI_RESPONSE, TARGET, Conn, b2b, check, check_eq, cscd, extended_copy, list1, lun,
                   naa_of, read10, sense_code, write10)

KIND, KILLER, WORD = (sys.argv[1:] + ["1"])[:3]
NAME = "iqn.2026-01.org.example:raw"
OTHER = TARGET + "-other"
isids = (bytes.fromhex(f"80feed05{n:04x}") for n in range(0xffff))

longest = Longest(KIND)
timed = longest.timed


class User:
    """Another session with commands on the disk."""

    def __init__(self, name=NAME, target=TARGET, **how):
        self.isid = next(isids)
        self.conn = Conn(**how).login(target=target, initiator=name, isid=self.isid)
        self.conn.ready()

    def load(self):
        for n in range(2):
            self.conn.command(write10(1024 + n * 8, 8), bytes([0xff]) * 4096)
            self.conn.command(read10(1024 + n * 8, 8), expect=4096)


conn = Conn().login(isid=next(isids))
conn.ready()
conn.ready(lun(1))
copying = list1([cscd(naa_of(conn, 0))], [b2b(0, 0xffff, 8, 0, 0)], 0, 3)
closed, remaker, second = User(NAME + "-closed"), User(), User(portal=("127.0.0.1", 3261))
acl, elsewhere = User(NAME + "-acl"), User(target=OTHER)
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


def speed():
    before = rounds
    time.sleep(0.3 * SLOWER)
    return rounds - before


bystander = threading.Thread(target=go_on)
bystander.start()
while rounds == 0:
    time.sleep(0.01)
idle = speed()
waiting = {}
for n in range(16):
    waiting[conn.command(write10(n * 8, 8), bytes([n]) * 4096)] = "write"
    waiting[conn.command(read10(n * 8, 8), expect=4096)] = "read"
for user in (closed, remaker, second, acl, elsewhere):
    user.load()
killer = None
if KILLER:
    time.sleep(0.05)
    killer = threading.Thread(target=write, args=(KILLER, WORD))
    killer.start()
# Once is enough: what a busy machine does to one of two moments is not what this is about.
for _ in range(3):
    dying_speed = speed()
    if dying_speed * 3 > idle:
        break
check(f"{KIND}: others on other disks go on", dying_speed * 3 > idle, f"{dying_speed} rounds instead of {idle}")


# --- what can be done while the disk does not answer, or answers with errors only ---------------

def reinstate():
    again = Conn().login(isid=remaker.isid, initiator=NAME)
    assert again.ping()
    return again


timed("a login", lambda: Conn().login(isid=next(isids))).logout()
remade = timed("session reinstatement", reinstate)
check(f"{KIND}: the old session is gone", remaker.conn.closed_within(2 * SLOWER))
longest.close_session(NAME + "-closed", closed.conn)
timed("removing a LUN", lambda: unlink_all(f"{tpg(OTHER)}/lun/lun_0"))
longest.remove_acl(f"{tpg()}/acls/{NAME}-acl", acl.conn)
longest.remove_portal(f"{tpg()}/np/127.0.0.1:3261", second.conn)
timed("disabling a portal group", lambda: write(f"{tpg(OTHER)}/enable", "0"))
check(f"{KIND}: its sessions end", elsewhere.conn.closed_within(2 * SLOWER))
os.rmdir(f"{tpg(OTHER)}/np/127.0.0.1:3260")
timed("removing a portal group", lambda: os.rmdir(tpg(OTHER)))
timed("removing a target", lambda: os.rmdir(f"{ROOT}/iscsi/{OTHER}"))

# --- how the commands end -----------------------------------------------------------------------
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
if KIND in ("error", "flakey", "a null_blk all of whose blocks are bad", "a null_blk that times out"):
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


def copy_failure():
    """What the dead disk itself says to a copy from it to the other LUN."""
    sense = conn.scsi(extended_copy(len(copying)), copying, lun=lun(1))[2]
    return sense_code(sense[sense[8] + 1:]) if len(sense) > 18 and sense[8] else sense.hex()


if KILLER:
    # NOT READY, and not that it has no such blocks.
    check(f"{KIND}: it is not ready for a copy", until(lambda: copy_failure() == (2, 4, 0)), copy_failure())
timed("removing a LUN", lambda: unlink_all(f"{tpg()}/lun/lun_0"))
dying = store("dying")
timed("removing the backstore", lambda: os.rmdir(dying))
os.rmdir(os.path.dirname(dying))
if killer:
    killer.join(20 * SLOWER)
    check(f"{KIND}: the disk goes when it may", not killer.is_alive())
stop.set()
bystander.join(10)
check(f"{KIND}: another session on another disk has noticed nothing", not wrong and rounds > 3, (rounds, wrong[:3]))
for one in (conn, other, remade, second.conn):
    one.logout()
longest.tell()
print(f"@figure {KIND}: speed of others | {100 * dying_speed // max(1, idle)} %")
