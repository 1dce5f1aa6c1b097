# SPDX-License-Identifier: GPL-2.0
"""What is likely to leave something behind: broken logins, tasks that are cut off at every stage,
aborts, late data, resets, PDUs in pieces, connections that vanish.

LUN 0 is the dm device "slow".
"""

import os
import struct
import time

from host import resume, suspend
from iscsi import (DATA_OUT, R2T, TASK_MGMT, TASK_MGMT_RESPONSE, TEXT, Closed, Conn, Refused, check, header,
                   read10, write10)

ISIDS = (bytes.fromhex(f"80feed00{n:04x}") for n in range(0x100, 0xffff))
DATA = os.urandom(65536)


def fresh(**keys):
    conn = Conn().login(isid=next(ISIDS), **keys)
    conn.ready()
    return conn


for n in range(10):
    # Logins that end at each point.
    conn = Conn()
    if n > 0:
        conn.login_pdu([("InitiatorName", "iqn.2026-01.org.example:raw"), ("TargetName", os.environ["IQN"]),
                        ("AuthMethod", "CHAP,None")], 0, 1 if n % 2 else 0, transit=n % 2 == 1)
    if n > 2:
        try:
            conn.login_answer()
        except (Refused, Closed):
            pass
    if n > 4:
        try:
            conn.login_pdu(b"CHAP_A=7\0" if n % 2 == 0 else b"MaxBurstLength=1\0", 0 if n % 2 == 0 else 1, 3, transit=False)
            if n > 6:
                conn.login_answer()
        except (Refused, Closed):
            pass
    if n % 3:
        conn.close()
    else:
        conn.reset()
for name in ("iqn.2026-01.org.example:nothing", os.environ["IQN"] + "x"):
    try:
        Conn().login(target=name)
    except Refused:
        pass

for n in range(6):
    conn = fresh(HeaderDigest="CRC32C" if n % 2 else "None", DataDigest="CRC32C" if n % 3 else "None")
    # A write that waits for data; half of it comes.
    itt = conn.command(write10(0, 64), DATA[:32768], immediate_data=DATA[:4096])
    r2t = conn.wait(R2T, itt)
    conn.send(header(DATA_OUT, 0, 0, itt, r2t.ttt, 0, conn.exp_stat_sn, struct.pack(">IIII", 0, 0, r2t.u32(40), 0)), DATA[:4096])
    # A command that waits for one that does not come.
    conn.command(write10(64, 8), DATA[:4096], cmd_sn=conn.cmd_sn + 3)
    conn.command(read10(64, 8), expect=4096, cmd_sn=conn.cmd_sn + 2)
    # A text in pieces, a PDU in pieces.
    conn.request(TEXT, 0x40, word20=0xffffffff, data=b"SendTargets", immediate=True)
    conn.send_raw(conn.pack(header(0x01, 0xa1, 0, 99, 4096, conn.cmd_sn, conn.exp_stat_sn, write10(0, 8).ljust(16, b"\0")), DATA[:4096])[:1000])
    if n % 2:
        conn.reset()
    else:
        conn.close()

conn = fresh()
for n in range(8):
    itt = conn.command(write10(0, 64), DATA[:32768], immediate_data=DATA[:4096])
    r2t = conn.wait(R2T, itt)
    tag = conn.manage(1, itt) if n % 2 else conn.manage(2)
    response = conn.wait(TASK_MGMT_RESPONSE, tag)
    conn.data_out(r2t, DATA)
check("aborted writes: the last function is complete", response.header[2] == 0, response)

# Tasks in the disk when their connection goes, and when their unit is reset.
conn.scsi(write10(0, 8), DATA[:4096])
suspend("slow")
for n in range(16):
    conn.command(write10(n * 8, 8), DATA[:4096])
    conn.command(read10(n * 8, 8), expect=4096)
second = fresh()
for n in range(4):
    second.command(read10(n * 8, 8), expect=4096)
second.request(TASK_MGMT, 0x85, word20=0xffffffff, immediate=True)
third = fresh()
third.command(read10(0, 8), expect=4096)
time.sleep(0.3)
conn.reset()
time.sleep(0.3)
resume("slow")
check("after all that a session works", fresh().ready() == 0)
# SYNCHRONIZE CACHE, WRITE SAME and UNMAP on their way when the connection goes.
for n in range(8):
    conn = fresh()
    conn.command(struct.pack(">BBIBHB", 0x35, 0, 0, 0, 0, 0))
    conn.command(struct.pack(">BBQIBB", 0x93, 0, 0, 4096, 0, 0), bytes(512))
    conn.command(struct.pack(">BBIBHB", 0x42, 0, 0, 0, 24, 0), struct.pack(">HHIQII", 22, 16, 0, 0, 8, 0))
    conn.reset()
for n in range(3):
    conn = fresh()
    conn.send_raw(os.urandom(100 + n))
    conn.close()
