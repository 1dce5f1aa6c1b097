# SPDX-License-Identifier: GPL-2.0
"""Sessions come and go, and have slow commands carried out, while allocations of the kernel's workers fail: each one
in turn, and then some at random."""

import functools
import os
import struct
import time

from failing import FAULTS, MOST, MOST_NEW, WORKERS, put, workers
from host import SLOWER, in_use, tpg, until, write
from iscsi import TEXT, TEXT_RESPONSE, Closed, Conn, Refused, Rejected, check, check_eq, read10, sense_code, write10

LOGINS = 300 if os.environ["T_FULL"] == "1" else 20
GOOD, BUSY, TASK_SET_FULL = 0, 8, 0x28
# What is open, to be closed when it has been done.
conns = []
isids = (bytes.fromhex(f"80feed0b{number:04x}") for number in range(0x10000))


class Outcomes:
    """How sessions, or commands, have ended."""

    def __init__(self):
        self.good = self.failures = self.closed = 0
        self.refusals, self.wrong = {}, []

    def of(self, act):
        """Whether all went well. What it has opened is closed."""
        try:
            act()
            self.good += 1
            return True
        except Refused as refusal:
            self.refusals[refusal.code] = self.refusals.get(refusal.code, 0) + 1
            # Who is refused for want of memory may try again.
            if refusal.code >> 8 != 3:
                self.wrong.append(f"refused with {refusal.code:04x}")
        except (Closed, Rejected, ConnectionError):
            self.closed += 1
        except TimeoutError as error:
            # TCP itself may have had no memory to tell of the end: who asks learns of it.
            if asks_in_vain():
                self.closed += 1
            else:
                self.wrong.append(repr(error))
        except AssertionError as error:
            self.wrong.append(repr(error))
        finally:
            while conns:
                conns.pop().close()
        return False

    def each_failure(self, act):
        """With the first allocation of each worker failing, then the second, until none fails."""
        WORKERS.renew()
        number = 1
        renewed = 0
        while number < MOST:
            WORKERS.arm(number)
            good = self.of(act)
            if WORKERS.disarm():
                self.failures += 1
                number += 1
            elif WORKERS.renew() and renewed < MOST_NEW:
                renewed += 1
            else:
                if not good:
                    self.wrong.append(f"nothing failed at {number}, and yet it did not go well")
                return
        self.wrong.append(f"{MOST} allocations, or more")

    def refused(self):
        return sum(self.refusals.values())

    def tell(self, what):
        for line in self.wrong:
            print(f"{what}: {line}")
        print(f"{what}: {self.good} good, {self.closed} closed, refused {self.refusals}")
        check_eq(f"{what}: each goes well, or says that there is no memory", [], self.wrong[:5])
        check(f"{what}: some go well", self.good > 0)


def conn_of(**how):
    conns.append(Conn(timeout=5 * SLOWER))
    return conns[-1].login(isid=next(isids), **how)


def asks_in_vain():
    """Whether the last connection is closed when more is sent by it."""
    if not conns:
        return False
    conn = conns[-1]
    try:
        conn.send_raw(bytes(48))
        return conn.closed_within(5 * SLOWER)
    except Closed:
        return True


def session():
    conn = conn_of()
    data = os.urandom(4096)
    if conn.ready() == GOOD and conn.scsi(write10(0, 8), data)[0] == GOOD:
        status, got, _ = conn.scsi(read10(0, 8), expect=4096)
        assert status != GOOD or got == data, "what was read is not what was written"
        conn.logout()


def recovery():
    """A session of ErrorRecoveryLevel 2 keeps more, and has more connections."""
    conn = conn_of(ErrorRecoveryLevel="2", MaxConnections="4")
    assert conn.ready() == GOOD and conn.keys["ErrorRecoveryLevel"] == "2"
    conn.logout()


def discovery():
    conn = conn_of(target=None, session="Discovery")
    itt = conn.request(TEXT, 0x80, data=b"SendTargets=All\0", immediate=True)
    assert b"TargetName=" in conn.wait(TEXT_RESPONSE, itt).data
    conn.logout()


def fail(percent):
    """Of all allocations of the workers that there are."""
    for which in ("failslab", "fail_page_alloc"):
        write(f"{FAULTS}/{which}/probability", str(percent))
        write(f"{FAULTS}/{which}/times", "-1")
    for pid in workers():
        put(f"/proc/{pid}/make-it-fail", "1" if percent else "0")


# Nobody here answers pings.
for path, value in (("attrib/nopin_timeout", "0"), ("param/ErrorRecoveryLevel", "2"), ("param/MaxConnections", "4")):
    write(f"{tpg()}/{path}", value)
stays = conn_of()
stays.ready()
conns.clear()
each = Outcomes()
for way in (session, recovery, discovery):
    start = time.monotonic()
    each.each_failure(way)
    print(f"{way.__name__}: {time.monotonic() - start:.1f} s")
each.tell("logins")
check("who was there has noticed nothing", stays.ping() and stays.ready() == GOOD)

# --- commands that a worker carries out ---------------------------------------------------------

slow = conn_of()
slow.ready()
conns.clear()
block = bytes(512)


def token_cdb(action, length):
    return struct.pack(">BB4xIIxx", 0x83, action, 1, length)


# 16 blocks from block 64 on, and to block 128.
one_range = struct.pack(">QI4x", 64, 16)
populate = struct.pack(">HBBIIHH", 14 + len(one_range), 0, 0, 0, 0, 0, len(one_range)) + one_range
page = slow.scsi(bytes.fromhex("120183020000"), expect=512)[1]
unit = struct.pack(">BBHBBBB", 0xe4, 0, 0, 1, 3, 0, 16) + page[8:24].ljust(20, b"\0") + struct.pack(">I", 512)
segment = struct.pack(">BBHHHHHQQ", 2, 0, 0x18, 0, 0, 0, 16, 64, 128)
copy = struct.pack(">BBHIII", 1, 0, len(unit), 0, len(segment), 0) + unit + segment
COMMANDS = {
    "UNMAP": (bytes.fromhex("42000000000000001800"), struct.pack(">HHIQII", 22, 16, 0, 16, 8, 0), 0),
    "WRITE SAME": (struct.pack(">BBQIBB", 0x93, 0, 16, 8, 0, 0), block, 0),
    "VERIFY": (struct.pack(">BBIBHB", 0x2f, 2, 16, 0, 1, 0), block, 0),
    "COMPARE AND WRITE": (struct.pack(">BBQ3xBBB", 0x89, 0, 16, 1, 0, 0), block * 2, 0),
    "REPORT TARGET PORT GROUPS": (struct.pack(">BB4xIBB", 0xa3, 0x0a, 256, 0, 0), b"", 256),
    # REPORT CAPABILITIES, and a registration that is written down.
    "PERSISTENT RESERVE IN": (struct.pack(">BB5xHB", 0x5e, 2, 256, 0), b"", 256),
    "PERSISTENT RESERVE OUT": (struct.pack(">BBBxxIx", 0x5f, 6, 0, 24), struct.pack(">QQIB3x", 0, 1, 0, 1), 0),
    "POPULATE TOKEN": (token_cdb(0x10, len(populate)), populate, 0),
    "EXTENDED COPY": (struct.pack(">BB8xIxx", 0x83, 0, len(copy)), copy, 0),
    "START STOP UNIT": (bytes.fromhex("1b0000000100"), b"", 0),
}
# SYSTEM RESOURCE FAILURE and all that is called insufficient.
RESOURCES = 0x55


def command(name, right, seen):
    cdb, data, expect = COMMANDS[name]
    status, got, sense = slow.scsi(cdb, data, expect, timeout=5 * SLOWER)
    how = status, sense_code(sense)
    seen[how] = seen.get(how, 0) + 1
    if status == GOOD:
        assert got == right, f"{name}: {got.hex()} instead of {right.hex()}"
    else:
        assert status in (BUSY, TASK_SET_FULL) or how[1] and how[1][1] == RESOURCES, f"{name}: {how}"


# A token that was made with memory is used without.
check_eq("a token is made", GOOD, slow.scsi(token_cdb(0x10, len(populate)), populate)[0])
token = slow.scsi(struct.pack(">BBI4xIxx", 0x84, 7, 1, 1024), expect=1024)[1][38:]
use = struct.pack(">HB5xQ", 534 + len(one_range), 0, 0) + token + struct.pack(">6xHQI4x", len(one_range), 128, 16)
COMMANDS["WRITE USING TOKEN"] = (token_cdb(0x11, len(use)), use, 0)
commands = Outcomes()
for title, words in COMMANDS.items():
    answer = slow.scsi(*words, timeout=5 * SLOWER)
    check_eq(f"{title} is carried out", GOOD, answer[0])
    ends, began = {}, time.monotonic()
    commands.each_failure(functools.partial(command, title, answer[1], ends))
    print(f"{title}: {ends}, {time.monotonic() - began:.1f} s")
commands.tell("commands that a worker carries out")
check("their session goes on", slow.ping())
slow.logout()
slow.close()

# --- at random ----------------------------------------------------------------------------------

for kind in ("failslab", "fail_page_alloc"):
    write(f"{FAULTS}/{kind}/task-filter", "Y")
random = Outcomes()
for number in range(LOGINS):
    if number % 20 == 0:
        # There are others by now.
        fail(10)
    random.of(session if number % 4 else discovery)
fail(0)
random.tell("with 10 % of the allocations failing, logins")
check("who was there has noticed nothing of that", stays.ping() and stays.ready() == GOOD)
stays.logout()
stays.close()
check("nothing is left of all that", until(lambda: not any(in_use().values()), 30), in_use())
session()
print(f"@figure logins, each allocation of a worker failing: allocations failed, gone well, refused, closed | "
      f"{each.failures}, {each.good}, {each.refused()}, {each.closed}")
print(f"@figure slow commands, each allocation of a worker failing: commands, allocations failed | "
      f"{commands.good}, {commands.failures}")
print(f"@figure a tenth of the workers' allocations failing: logins, gone well, refused, closed | "
      f"{LOGINS}, {random.good}, {random.refused()}, {random.closed}")
