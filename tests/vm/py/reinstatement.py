# SPDX-License-Identifier: GPL-2.0
"""Session reinstatement and connection replacement (RFC 7143 sections 6.3.4 and 6.3.5).

The target's LUN 0 is the dm device "slow".
"""

import os
import time

from host import in_use, resume, suspend, until, write
from iscsi import TARGET, Closed, Conn, Refused, check, check_eq, read10, write10

ISID = bytes.fromhex("80feed000021")
OTHER = bytes.fromhex("80feed000022")
CONNECTIONS = "/sys/module/ferrite/parameters/connections"


def sessions():
    with open(f"/sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1/dynamic_sessions", encoding="ascii") as file:
        return len(file.read().split())


def sessions_become(count, seconds=5):
    end = time.monotonic() + seconds
    while sessions() != count and time.monotonic() < end:
        time.sleep(0.05)
    return sessions()


first = Conn().login(isid=ISID)
first.ready()
bystander = Conn().login(isid=OTHER)
check_eq("two initiator ports have two sessions", 2, sessions())
second = Conn().login(isid=ISID)
check("the same port's second login ends its first session", first.closed_within(5))
check("the new session has a number of its own", second.tsih not in (0, first.tsih))
check_eq("two sessions are left", 2, sessions_become(2))
check("the other port has not noticed", bystander.ping())
check_eq("the new session works", 0, second.ready())

# The old session is stuck: its commands wait for a disk that does not answer.
check_eq("it writes at once, as the old one has nothing under way", 0, second.scsi(write10(0, 8), bytes(4096))[0])
suspend("slow")
for n in range(8):
    second.command(write10(n * 8, 8), os.urandom(4096))
second.command(read10(0, 8), expect=4096)
time.sleep(0.5)
start = time.monotonic()
third = Conn().login(isid=ISID)
took = time.monotonic() - start
check("a login does not wait for a session that is stuck", took < 3, f"{took:.1f} s")
check("the stuck session's connection is closed", second.closed_within(5))
check("the new session answers what needs no disk", third.ping())
status, data, _ = third.scsi(bytes([0x12, 0, 0, 0, 96, 0]), expect=96)
check("INQUIRY as well", status == 0 and len(data) > 36, status)
third.ready()
third = Conn().login(isid=ISID)
third.ready()
# What the first one of the three has written is still to come, and must not come after what the last one has
# been told is done.
check_eq("a WRITE of the new session is BUSY meanwhile", 8, third.scsi(write10(0, 8), bytes(4096))[0])
start = time.monotonic()
fourth = Conn()
# The numbers are the session's, and go on.
fourth.cmd_sn = third.cmd_sn
fourth.login(isid=ISID, tsih=third.tsih)
took = time.monotonic() - start
check("a connection is replaced without waiting", took < 3, f"{took:.1f} s")
check("the replaced connection is closed", third.closed_within(5))
check_eq("the session keeps its number", third.tsih, fourth.tsih)
resume("slow")
status = None
for _ in range(20):
    status = fourth.ready()
    if status == 0:
        break
    time.sleep(0.2)
check_eq("when the disk is back, the session works", 0, status)
data = os.urandom(4096)
check("it writes", until(lambda: fourth.scsi(write10(0, 8), data)[0] == 0))
check_eq("and reads what it wrote", data, fourth.scsi(read10(0, 8), expect=4096)[1])
check_eq("two sessions are left", 2, sessions_become(2))
try:
    Conn().login(isid=ISID, tsih=0x7fff)
    seen = 0
except Refused as refused:
    seen = refused.code
except Closed:
    seen = "closed"
check_eq("a session that does not exist cannot be joined", 0x020a, seen)
fourth.logout()
bystander.reset()
check_eq("a reset connection's session goes", 0, sessions_become(0))

# Again and again, while the disk hangs: what is replaced keeps its memory as long as it does.


def replace():
    """What one more login of the same port ends with; it leaves a READ with the disk."""
    try:
        conn = Conn().login(isid=ISID)
    except Refused as refused:
        return refused.code
    conn.ready()
    conn.command(read10(0, 8), expect=4096)
    conn.ping()
    time.sleep(0.2)
    held.append(conn)
    return 0


held = []
check("no connection is left", until(lambda: in_use()["connections"] == 0), in_use())
write(CONNECTIONS, "4")
suspend("slow")
check_eq("with connections=4 as many may be replaced as there may be, and no more", [0] * 8 + [0x0302] * 3,
         [replace() for _ in range(11)])
resume("slow")
check("when the disk is back they go", until(lambda: in_use()["connections"] <= 1), in_use())
check_eq("and the port can log in", 0, replace())
write(CONNECTIONS, "16384")
