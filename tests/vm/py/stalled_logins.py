# SPDX-License-Identifier: GPL-2.0
"""Five hundred connections that stall in login, and a real login among them."""

import os
import socket
import time

from host import SLOWER
from iscsi import PORTAL, Closed, Conn, check, check_eq

SILENT = 500


def kthreads():
    return sum(1 for pid in os.listdir("/proc") if pid.isdigit()
               and os.path.exists(f"/proc/{pid}/stat")
               and open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace").read().split(" ")[1].startswith("(ferrite"))


def timed_login(**how):
    start = time.monotonic()
    conn = Conn().login(isid=os.urandom(1).join([b"\x80\xfe\xed\0\0", b""]), **how)
    return conn, time.monotonic() - start


def is_open(sock):
    sock.setblocking(False)
    try:
        return sock.recv(4096) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


threads = kthreads()
conn, alone = timed_login()
conn.logout()

start = time.monotonic()
silent = [socket.create_connection(PORTAL, 10) for _ in range(SILENT)]
took = time.monotonic() - start
check(f"{SILENT} connections are accepted", True)
conn, among = timed_login()
print(f"@figure silent connections, ms for a login among them | {SILENT}, {among * 1000:.0f}")
# Slow machines: what counts is that nothing is waited for.
check("a login among them takes less than a second", among < max(SLOWER, 3 * alone), f"{among:.2f} s, alone {alone:.2f} s")
check("and its session works", conn.ready() == 0)
check_eq("no thread was made for them", threads, kthreads())
kept = sum(map(is_open, silent))
check("of those from one address a bounded number is kept in login", kept <= 256, kept)
print(f"{kept} are still open, connecting took {took:.2f} s")
time.sleep(max(0, 33 - (time.monotonic() - start)))
check_eq("after the login timeout none is left", 0, sum(map(is_open, silent)))
check("the session that logged in is still there", conn.ping())
for sock in silent:
    sock.close()

# A login that begins and stops halfway, in its header, in its data, and between its PDUs.
half = []
for cut in (1, 47, 48, 60):
    sock = Conn()
    whole = sock.pack(bytes([0x43, 0x87]) + bytes(46), b"InitiatorName=iqn.2026-01.org.example:slow\0")
    sock.send_raw(whole[:cut])
    half.append(sock)
sock = Conn()
sock.login_pdu([("InitiatorName", "iqn.2026-01.org.example:slow"), ("TargetName", os.environ["IQN"]),
                ("AuthMethod", "None")], 0, 1)
sock.login_answer()
half.append(sock)
start = time.monotonic()
other, among = timed_login()
check("a login beside half-done ones takes less than a second", among < max(SLOWER, 3 * alone), f"{among:.2f} s")
gone = [one.closed_within(max(0.1, 30 - (time.monotonic() - start))) for one in half]
check("those that stop halfway are closed in time", all(gone), gone)
check("others stay", conn.ping() and other.ping())

# One byte at a time is slow, and no fault.
slow = Conn()
slow.pack_plain = slow.pack
slow.sock.settimeout(30)
whole = []
slow.send_raw = whole.append
slow.login_pdu([("InitiatorName", "iqn.2026-01.org.example:slow"), ("TargetName", os.environ["IQN"]),
                ("AuthMethod", "None")], 0, 1)
del slow.send_raw
try:
    for byte in b"".join(whole):
        slow.sock.sendall(bytes([byte]))
        time.sleep(0.002)
    pdu, _ = slow.login_answer()
    check("a Login Request that comes byte by byte is answered", pdu.flags & 0x80)
except Closed:
    check("a Login Request that comes byte by byte is answered", False, "closed")
