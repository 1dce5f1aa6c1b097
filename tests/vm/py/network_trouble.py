# SPDX-License-Identifier: GPL-2.0
"""Connections that end, or go silent, in the middle of something."""

import socket
import struct
import subprocess
import time

from host import SLOWER, in_use, tpg, write
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

print(f"@figure network: resets in the middle of an R2T's data, and of READs: number, writes done in part | 80, {torn}")

# --- peers that are there no more ---------------------------------------------------------------
PEERS = 5
TCP_REPAIR = 19


def owing():
    """A session that owes data for which the target keeps memory."""
    one = fresh(ImmediateData="No", InitialR2T="Yes")
    one.wait(R2T, one.command(write10(0, 128), NEW, immediate_data=b""))
    return one


silent, half_open, cut_off = ([owing() for _ in range(PEERS)] for _ in range(3))
check("the target keeps memory for them", in_use()["memory"] > 0)
for one in half_open:
    # As after a reset of its machine: it is gone, and has said nothing.
    one.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    one.close()
ports = ", ".join(str(one.sock.getsockname()[1]) for one in cut_off)
subprocess.run(["nft", "-f", "-"], check=True, text=True, input=f"""
    table inet ferrite_trouble {{
        chain out {{
            type filter hook output priority 0;
            tcp sport {{ {ports} }} drop
            tcp dport {{ {ports} }} drop
        }}
    }}
""")
for name in ("nopin_timeout", "nopin_response_timeout"):
    write(f"{tpg()}/attrib/{name}", "3")
start = time.monotonic()
while in_use()["connections"] > 1 and time.monotonic() < start + 30:
    assert conn.ping()
    time.sleep(0.2)
took = time.monotonic() - start
check_eq("peers that are silent, half-open or cut off are given up", 1, in_use()["connections"])
check("in little more than the time that was set", took < 12 * SLOWER, f"{took:.1f} s")
check_eq("no data of theirs is kept", 0, in_use()["memory"])
check("those that can be told so were", all(one.closed_within(SLOWER) for one in silent))
check("who answers is still there", conn.ping())
print(f"@figure network: peers that are silent, half-open, cut off: number, ms until the last is given up | "
      f"{3 * PEERS}, {took * 1000:.0f}")
subprocess.run(["nft", "delete", "table", "inet", "ferrite_trouble"], check=True)
conn.logout()
