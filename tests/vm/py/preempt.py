# SPDX-License-Identifier: GPL-2.0
"""PREEMPT AND ABORT (SPC-4 5.9.11.5) of commands that are with a disk that hangs.

LUN 0 is the dm device "slow".
"""

import struct
import time

from host import SLOWER, read, resume, sleeping_workers, suspend, tpg, until
from iscsi import (DATA_OUT, R2T, SCSI_COMMAND, SCSI_RESPONSE, TASK_MGMT_RESPONSE, Conn, check,
                   check_eq, counter, header, read10, write10)

LUN_RESET = 5
REGISTER, RESERVE, PREEMPT_AND_ABORT, CLEAR = 6, 1, 5, 3
MANY = 20


def login(n, **wanted):
    conn = Conn().login(initiator=f"iqn.2026-01.org.example:raw-{n}", isid=bytes.fromhex("80feed0003") + bytes([n]),
                        **wanted)
    conn.ready()
    return conn


def reserve_out(conn, action, key, other=0, kind=0):
    data = struct.pack(">QQIBxxx", key, other, 0, 0)
    return conn.command(struct.pack(">BBB2xIx", 0x5f, action, kind, len(data)), data)


def status(conn, *args):
    return conn.result(reserve_out(conn, *args))[0]


def hanging_read(conn):
    """A READ that the disk keeps."""
    before = counter("bio_slow")
    tag = conn.command(read10(0, 8), expect=4096)
    check("a READ is with the disk", until(lambda: counter("bio_slow") > before))
    return tag


def is_gone(key, conn):
    """Whether nobody has registered with it: then who has preempted it has been carried out."""
    return struct.pack(">Q", key) not in conn.scsi(struct.pack(">BB5xHx", 0x5e, 0, 64), expect=64)[1]


def silent(conn):
    """Whether nothing comes but the answer of a ping."""
    return conn.ping() and not conn.aside


def hang():
    suspend("slow")
    return sleeping_workers()


one, two = login(1), login(2)

# --- whose commands are aborted -----------------------------------------------------------------

check_eq("one registers", 0, status(one, REGISTER, 0, 1))
check_eq("two registers", 0, status(two, REGISTER, 0, 2))
check_eq("one reserves", 0, status(one, RESERVE, 1, 0, 5))
hang()
own, others = hanging_read(one), hanging_read(two)
tag = reserve_out(one, PREEMPT_AND_ABORT, 1, 1, 6)
check("who preempts himself waits for his own READ", silent(one), one.aside)
resume("slow")
check_eq("then it is done", (0, b""), one.result(tag)[:2])
check("the READ is not answered", silent(one), one.aside)
check_eq("that of another one, who stays registered, is", (0, 4096), (lambda end: (end[0], len(end[1])))(two.result(others)))
two.ready()

hang()
own, others = hanging_read(one), hanging_read(two)
tag = reserve_out(one, PREEMPT_AND_ABORT, 1, 2, 6)
check("who preempts another waits for his READ", silent(one), one.aside)
resume("slow")
ends = [one.recv(), one.recv()]
check_eq("it is done, and so is one's own READ", {tag, own}, {pdu.itt for pdu in ends})
check_eq("that of the other one ends TASK ABORTED", (others, 0x40), (lambda pdu: (pdu.itt, pdu.header[3]))(two.recv()))
check_eq("he has a unit attention", 2, two.scsi(bytes(6))[0])
two.ready()

# --- in the middle of a PDU ---------------------------------------------------------------------


def half_a_command(conn):
    """A WRITE of whose immediate data half has come: its tag, and the bytes that are missing."""
    tag = conn.next_itt()
    whole = conn.pack(header(SCSI_COMMAND, 0xa1, 0, tag, 4096, conn.next_cmd_sn(), conn.exp_stat_sn,
                             write10(0, 8).ljust(16, b"\0")), bytes(4096))
    conn.send_raw(whole[:2000])
    return tag, whole[2000:]


def half_a_data_out(conn):
    """The same of a Data-Out PDU."""
    tag = conn.command(write10(0, 8), flags=0xa1, expect=4096)
    r2t = conn.wait(R2T, tag)
    whole = conn.pack(header(DATA_OUT, 0x80, 0, tag, r2t.ttt, 0, conn.exp_stat_sn, bytes(16)), bytes(4096))
    conn.send_raw(whole[:2000])
    return tag, whole[2000:]


def reset_unit():
    tag = one.manage(LUN_RESET, ref=0)
    return one.wait(TASK_MGMT_RESPONSE, tag).header[2]


victim = login(4, DataDigest="CRC32C", InitialR2T="Yes")
check_eq("a fourth one registers", 0, status(victim, REGISTER, 0, 4))
for what, begin in (("its command", half_a_command), ("a Data-Out", half_a_data_out)):
    for how, end in (("a reset", reset_unit), ("PREEMPT AND ABORT", lambda: status(one, PREEMPT_AND_ABORT, 1, 4, 6))):
        tag, rest = begin(victim)
        time.sleep(0.5)
        start = time.monotonic()
        check_eq(f"{how} ends a WRITE of which half of {what} has come", 0, end())
        took = time.monotonic() - start
        check("and does not wait for the rest", took < 10 * SLOWER, f"{took:.1f} s")
        check_eq("the WRITE ends TASK ABORTED", 0x40, victim.wait(SCSI_RESPONSE, tag).header[3])
        victim.send_raw(rest)
        check("when the rest comes it is taken for what it is", silent(victim), victim.aside)
        victim.ready()
        one.ready()
    check_eq("it registers again", 0, status(victim, REGISTER, 0, 4))
check_eq("it writes", 0, victim.scsi(write10(0, 8), bytes(4096))[0])
victim.logout()
two.ready()

# --- many that wait -----------------------------------------------------------------------------

third = login(3)
check_eq("two registers", 0, status(two, REGISTER, 0, 2))
idle = hang()
own = hanging_read(two)
tags = []
for _ in range(MANY):
    check_eq("two registers again", 0, status(two, REGISTER, 0, 2))
    tags.append(reserve_out(one, PREEMPT_AND_ABORT, 1, 2, 6))
    check("two is preempted", until(lambda: is_gone(2, third)))
    while two.scsi(bytes(6))[0] == 2:
        pass
check("all of them wait", silent(one), one.aside)
took = sleeping_workers() - idle
check(f"{MANY} that wait take one worker", took <= 2, took)
resume("slow")
ends = [one.recv(30) for _ in tags]
check_eq("when the disk goes on all are done", {(tag, 0) for tag in tags}, {(pdu.itt, pdu.header[3]) for pdu in ends})
check_eq("the next one is, too", 0, status(two, REGISTER, 0, 2))
check_eq("and has nothing to wait for", 0, status(one, PREEMPT_AND_ABORT, 1, 2, 6))

# One that waits is aborted with its session, and those that wait with it go on.
two.ready()
check_eq("two registers", 0, status(two, REGISTER, 0, 2))
check_eq("the third does", 0, status(third, REGISTER, 0, 3))
hang()
hanging_read(two)
reserve_out(third, PREEMPT_AND_ABORT, 3, 2, 6)
check("the third waits", silent(third), third.aside)
check("it has preempted two", until(lambda: is_gone(2, one)))
two.ready()
check_eq("two registers again", 0, status(two, REGISTER, 0, 2))
tag = reserve_out(one, PREEMPT_AND_ABORT, 1, 2, 6)
check("one waits", silent(one), one.aside)
third.reset()
check("and waits on when the third is gone", silent(one), one.aside)
resume("slow")
check_eq("until the disk goes on", 0, one.result(tag)[0])

# --- those of a session that is gone ------------------------------------------------------------


def lose(conn, n):
    """Ends a session that has a READ with the disk."""
    hang()
    hanging_read(conn)
    conn.reset()
    check("a session is gone", until(lambda: f"raw-{n}" not in read(f"{tpg()}/dynamic_sessions")))


def waits(conn):
    """Whether nothing comes for a while."""
    time.sleep(0.5)
    return silent(conn)


two.ready()
check_eq("two registers", 0, status(two, REGISTER, 0, 2))
lose(two, 2)
tag = reserve_out(one, PREEMPT_AND_ABORT, 1, 2, 6)
check("who preempts waits for what it has left with the disk", waits(one), one.aside)
resume("slow")
check_eq("until the disk goes on", 0, one.result(tag)[0])
check_eq("all is cleared", 0, status(one, CLEAR, 1))
lose(login(2), 2)
tag = one.manage(LUN_RESET, ref=0)
check("so does who resets the unit", waits(one), one.aside)
resume("slow")
check_eq("until the disk goes on", 0, one.wait(TASK_MGMT_RESPONSE, tag).header[2])
check_eq("and the unit works", 0, one.ready())
