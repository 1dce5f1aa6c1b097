# SPDX-License-Identifier: GPL-2.0
"""Sessions that the administrator closes: with a request to log out, and without."""

import os
import struct
import subprocess
import threading
import time

from host import tpg, write
from iscsi import ASYNC, SCSI_RESPONSE, Closed, Conn, check, check_eq, write10

NAME = "iqn.2026-01.org.example:raw"
ISIDS = (bytes.fromhex(f"80feed00{n:04x}") for n in range(0x100, 0xffff))


def close(*words):
    subprocess.run(["ferritectl", "session", "close", os.environ["IQN"], *words], check=True)


def event(conn, timeout=5):
    """(AsyncEvent, Parameter1, Parameter2, Parameter3) of the Async Message that comes."""
    pdu = conn.wait(ASYNC, timeout=timeout)
    return (pdu.header[36], *struct.unpack_from(">HHH", pdu.header, 38))


def session():
    conn = Conn().login(isid=next(ISIDS))
    conn.ready()
    return conn


asked, other = session(), session()
close(NAME, "--wait", "20")
check_eq("an initiator is asked to log out within so many seconds", (1, 0, 0, 20), event(asked))
check_eq("each of its sessions is", (1, 0, 0, 20), event(other))
check("meanwhile the session works", asked.ping())
check_eq("it logs out", 0, asked.logout().header[2])
check("and is gone", asked.closed_within(5))
check("the others have their time", other.ping())
other.logout()

late = session()
start = time.monotonic()
close("--all", "--wait", "2")
check_eq("one that does not log out was asked, too", (1, 0, 0, 2), event(late))
check_eq("is told that its session drops", 3, event(late, 8)[0])
check("is dropped", late.closed_within(3))
check("and not before its time", time.monotonic() - start > 1.5)

cut = session()
close(NAME)
check_eq("without a wait the session drops at once", 3, event(cut)[0])
check("and the connection with it", cut.closed_within(3))
check("the initiator may log in again", session().ping())

# Whatever is under way at that moment ends with the connection: an initiator that is told that there is no such
# unit gives its disk up for lost.
told = closed = 0
data = bytes(4096)
for n in range(20):
    busy = session()
    tags = [busy.command(write10(8 * at, 8), data, immediate_data=data) for at in range(40)]
    closer = threading.Timer(0.004 * n, write, (f"{tpg()}/close_sessions", "*"))
    closer.start()
    try:
        while True:
            if tags:
                tags.pop()
                tags.append(busy.command(write10(0, 8), data, immediate_data=data))
            pdu = busy.recv(5)
            told += pdu.opcode == SCSI_RESPONSE and pdu.header[3] == 2
    except Closed:
        closed += 1
    closer.join()
check_eq("sessions are closed while they write", 20, closed)
check_eq("and no command ends as if there were no such unit", 0, told)
check("the disk is there", session().ready() == 0)
try:
    close("iqn.2026-01.org.example:none")
    check("closing a session that is not there fails", False)
except subprocess.CalledProcessError as error:
    check_eq("closing a session that is not there fails", 3, error.returncode)
