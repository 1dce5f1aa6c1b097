# SPDX-License-Identifier: GPL-2.0
"""Connections that end, or go silent, in the middle of something."""

import struct
import time

from host import in_use
from iscsi import DATA_OUT, R2T, Conn, check, check_eq, header, read10, write10

ISIDS = (bytes.fromhex(f"80feed04{n:04x}") for n in range(0xffff))
OLD, NEW = b"\x11" * 65536, b"\x22" * 65536

def fresh(**how):
    conn = Conn().login(isid=next(ISIDS), **how)
    conn.ready()
    return conn

conn = fresh()
assert conn.scsi(write10(0, 128), OLD)[0] == 0
torn = 0
for number in range(40):
    one = fresh(ImmediateData="No", InitialR2T="Yes", MaxBurstLength="16384", MaxOutstandingR2T="4")
    itt = one.command(write10(0, 128), NEW, immediate_data=b"")
    r2t = one.wait(R2T, itt)
    # A part of what was asked for, the last one cut off in a header or in data.
    for at in range(number % 3):
        one.send(header(DATA_OUT, 0, 0, itt, r2t.ttt, 0, one.exp_stat_sn, struct.pack(">IIII", 0, at, at * 4096, 0)), NEW[:4096])
    whole = one.pack(header(DATA_OUT, 0, 0, itt, r2t.ttt, 0, one.exp_stat_sn, struct.pack(">IIII", 0, number % 3, number % 3 * 4096, 0)), NEW[:4096])
    one.send_raw(whole[:(0, 20, 48, 1000)[number % 4]])
    one.reset()
    status, data, _ = conn.scsi(read10(0, 128), expect=65536)
    torn += status != 0 or data != OLD
check_eq("a WRITE that a reset cuts off is not carried out in part", 0, torn)
for _ in range(40):
    one = fresh()
    for at in range(16):
        one.command(read10(at * 128, 128), expect=65536)
    one.reset()
check("others go on after resets in the middle of READs", conn.ping())

silent = [fresh() for _ in range(5)]
end = time.monotonic() + 20
while in_use()["memory"] and time.monotonic() < end:
    time.sleep(0.1)
check_eq("no data of theirs is kept", 0, in_use()["memory"])
for one in silent:
    one.close()
while in_use()["connections"] > 1 and time.monotonic() < end:
    time.sleep(0.1)
check_eq("nor a connection", 1, in_use()["connections"])
conn.logout()
