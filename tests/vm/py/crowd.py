# SPDX-License-Identifier: GPL-2.0
"""Many COMPARE AND WRITEs for one block, and READs of it among them, on a device whose I/O is
started by workers: those that have a block to themselves and those that wait for it share a line.

LUN 0 is the dm device "slow".
"""

import struct
import time

from iscsi import DATA_IN, SCSI_RESPONSE, Conn, check, check_eq, read10, write10

ROUNDS = 6
COUNT = 100
BLOCK = 512


def compare_and_write(old, new):
    cdb = struct.pack(">BBQ3xBBB", 0x89, 0, 0, 1, 0, 0)
    return cdb, struct.pack(">I", old) * (BLOCK // 4) + struct.pack(">I", new) * (BLOCK // 4)


conn = Conn().login()
conn.ready()
conn.scsi(write10(0, 1), bytes(BLOCK))
value = 0
start = time.monotonic()
for number in range(ROUNDS):
    waiting = {}
    for n in range(COUNT):
        if n % 4 == 3:
            waiting[conn.command(read10(0, 1), expect=BLOCK)] = "read"
        else:
            # All from the same value: one of them finds it.
            cdb, data = compare_and_write(value, value + 1)
            waiting[conn.command(cdb, data)] = "swap"
    swapped = torn = 0
    while waiting:
        pdu = conn.recv(30)
        if pdu.opcode not in (SCSI_RESPONSE, DATA_IN) or pdu.itt not in waiting:
            continue
        if pdu.opcode == DATA_IN:
            words = {pdu.data[at:at + 4] for at in range(0, BLOCK, 4)}
            torn += len(words) != 1
            if not pdu.flags & 1:
                continue
        elif waiting[pdu.itt] == "swap" and pdu.header[3] == 0:
            swapped += 1
        del waiting[pdu.itt]
    check_eq(f"round {number}: one of all has found the value", 1, swapped)
    check_eq(f"round {number}: no read saw half a block", 0, torn)
    value += 1
took = time.monotonic() - start
check("nobody waited for ever", took < 60, took)
