# SPDX-License-Identifier: GPL-2.0
"""Commands that wait for a limit: what still goes by, and what ends them.

LUN 0 is a disk; the initiator "raw" has an entry, with no limits.
"""

import os
import subprocess
import time

from iscsi import (DATA_IN, SCSI_RESPONSE, TASK_MGMT_RESPONSE, Conn, check, check_eq, lun,
                   read10, sense_code, write10)

IQN = os.environ["IQN"]
NAME = "iqn.2026-01.org.example:raw"
TPG = f"/sys/kernel/config/ferrite/iscsi/{IQN}/tpgt_1"
ISIDS = (bytes.fromhex(f"80feed00{n:04x}") for n in range(0x100, 0xffff))
# A MiB at 64 KiB in a second: the next command waits for 16 s.
SLOW, LONG, COUNT = 65536, 2048, 8


def tool(*words):
    subprocess.run(["ferritectl", *words], check=True)


def limit(number=0, **limits):
    tool("lun", "set", IQN, str(number), *(f"{key}={value}" for key, value in limits.items()))


def counters(number=0):
    with open(f"{TPG}/lun/lun_{number}/statistics/counters", encoding="ascii") as file:
        return {key: int(value) for key, value in (line.split() for line in file)}


def wait_until(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def session(name=NAME):
    conn = Conn().login(initiator=name, isid=next(ISIDS))
    for number in range(2):
        conn.ready(lun(number))
    return conn


def hold(conn, cdb=read10(0, 8), count=COUNT, number=0):
    """Commands that wait for a limit; their tags."""
    # A limit that is set anew forgets what was used before.
    limit(number, max_bytes_per_second=0)
    limit(number, max_bytes_per_second=SLOW)
    before = counters(number)["held"]
    assert conn.scsi(read10(0, LONG), expect=LONG * 512, lun=lun(number))[0] == 0
    tags = [conn.command(cdb, expect=4096, lun=lun(number)) for _ in range(count)]
    check("commands over the limit wait", wait_until(lambda: counters(number)["held"] == before + count),
          counters(number)["held"] - before)
    return tags


def results(conn, tags):
    """What all of them come to, in whatever order: status, data and sense by tag."""
    got, data = {}, {}
    while set(tags) - set(got):
        pdu = conn.recv(20)
        if pdu.opcode == DATA_IN:
            data[pdu.itt] = data.get(pdu.itt, b"") + pdu.data
        if pdu.opcode == SCSI_RESPONSE or (pdu.opcode == DATA_IN and pdu.flags & 1):
            sense = pdu.data[2:] if pdu.opcode == SCSI_RESPONSE else b""
            got[pdu.itt] = pdu.header[3], data.get(pdu.itt, b""), sense
    return got


def manage(conn, function, tag=0xffffffff, number=0):
    """The response of a task management function, and the seconds that it took."""
    start = time.monotonic()
    itt = conn.manage(function, tag, lun(number))
    answer = conn.wait(TASK_MGMT_RESPONSE, itt, 10)
    return answer.header[2], time.monotonic() - start


# What does not wait.
conn = session()
tags = hold(conn)
start = time.monotonic()
check_eq("TEST UNIT READY does not wait", 0, conn.scsi(bytes(6))[0])
check_eq("nor does INQUIRY", 0, conn.scsi(bytes([0x12, 0, 0, 0, 36, 0]), expect=36)[0])
check_eq("nor PERSISTENT RESERVE IN", 0, conn.scsi(bytes([0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0]), expect=64)[0])
check_eq("nor a command that is HEAD OF QUEUE", 0, conn.result(conn.command(read10(0, 8), expect=4096, attr=3))[0])
check_eq("nor one for another LUN", 0, conn.scsi(read10(0, 8), expect=4096, lun=lun(1))[0])
took = time.monotonic() - start
check("all that in little time", took < 8, took)
check_eq("the others wait", COUNT, counters()["outstanding"])

# What ends those that wait.
answer, took = manage(conn, 1, tags[-1])
check_eq("one that waits is aborted", 0, answer)
check("at once", took < 5, took)
check_eq("and is gone", COUNT - 1, counters()["outstanding"])
answer, took = manage(conn, 5)
check_eq("the LUN is reset", 0, answer)
check("at once, too", took < 5, took)
check_eq("and none is left", 0, counters()["outstanding"])
conn.ready()

hold(conn)
answer, took = manage(conn, 2)
check_eq("the task set is aborted", 0, answer)
check("at once as well", took < 5, took)
check_eq("and is empty", 0, counters()["outstanding"])

tags = hold(conn)
start = time.monotonic()
limit(max_bytes_per_second=0)
status = [status for status, _, _ in results(conn, tags).values()]
took = time.monotonic() - start
check_eq("without the limit they are carried out", [0] * COUNT, status)
check("before they would have been", took < 8, took)

# Order.
tags = hold(conn, count=1)
before = counters()["held"]
data = [bytes([n]) * 4096 for n in range(3)]
writes = [conn.command(write10(64, 8), part, attr=attr) for part, attr in zip(data, (1, 2, 1))]
tags += [conn.command(read10(64, 8), expect=4096, attr=2)]
check("an ORDERED command waits, too", wait_until(lambda: counters()["held"] > before))
limit(max_bytes_per_second=0)
got = results(conn, tags + writes)
check_eq("what is ORDERED after them is carried out after them", data[2], got[tags[-1]][1])
check_eq("and all have ended", 0, counters()["outstanding"])

# Sessions that go.
hold(conn)
start = time.monotonic()
check_eq("a session with commands that wait logs out", 0, conn.logout().header[2])
check("its commands end", wait_until(lambda: counters()["outstanding"] == 0))
took = time.monotonic() - start
check("at once", took < 5, took)

conn = session()
hold(conn)
conn.reset()
check("those of a connection that breaks end", wait_until(lambda: counters()["outstanding"] == 0, 5),
      counters()["outstanding"])

conn = session()
hold(conn)
tool("session", "close", IQN, NAME)
check("those of a session that is closed end", wait_until(lambda: counters()["outstanding"] == 0, 5),
      counters()["outstanding"])

# The initiator's own limit.
conn = session()
limit(max_bytes_per_second=0)
tool("acl", "set", IQN, NAME, f"max_bytes_per_second={SLOW}")
check_eq("an initiator with a limit reads", 0, conn.scsi(read10(0, LONG), expect=LONG * 512)[0])
other = session("iqn.2026-01.org.example:other")
before = [counters(n)["held"] for n in range(2)]
tags = [conn.command(read10(0, 8), expect=4096, lun=lun(n % 2)) for n in range(COUNT)]
check("then it waits, on all its LUNs", wait_until(lambda: [counters(n)["held"] - before[n] for n in range(2)] == [4, 4]))
start = time.monotonic()
check_eq("another initiator does not", 0, other.scsi(read10(0, LONG), expect=LONG * 512)[0])
took = time.monotonic() - start
check("at all", took < 8, took)
tool("acl", "set", IQN, NAME, "max_bytes_per_second=0")
check_eq("until the limit is taken away", [0] * COUNT,
         [status for status, _, _ in results(conn, tags).values()])

# LUNs and portal groups that go.
tags = hold(conn, number=1)
start = time.monotonic()
tool("lun", "delete", IQN, "1", "--force")
took = time.monotonic() - start
check("a LUN goes while commands wait", took < 5, took)
ends = {(status, sense_code(sense)) for status, _, sense in results(conn, tags).values()}
check_eq("which end LOGICAL UNIT NOT SUPPORTED", {(2, (5, 0x25, 0))}, ends)
took = time.monotonic() - start
check("soon", took < 5, took)
conn.ready()

hold(conn)
start = time.monotonic()
tool("tpg", "disable", IQN, "--force")
took = time.monotonic() - start
check("a portal group is disabled while commands wait", took < 5, took)
check("which end", wait_until(lambda: counters()["outstanding"] == 0, 5), counters()["outstanding"])
check("and so does the session", conn.closed_within(5))
limit(max_bytes_per_second=0)
tool("tpg", "enable", IQN)
