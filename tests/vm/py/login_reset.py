# SPDX-License-Identifier: GPL-2.0
"""A target that is reset, again and again, while others log in: the session exists before the last
Login Response is sent, but nothing else may come before it (RFC 7143 6.3)."""

import os
import signal
import struct
import time

from iscsi import LOGIN_RESPONSE, TASK_MGMT, Closed, Conn, Refused, check

SECONDS = 6


def isid(number):
    return bytes([0x80, 0xfe, 0xed, 7, 7, number])


def resets():
    """TARGET COLD RESET: it ends all sessions of the target, also its own."""
    while True:
        try:
            conn = Conn().login(isid=isid(99))
            conn.request(TASK_MGMT, 0x87, tail=struct.pack(">I", 0), immediate=True)
            conn.closed_within(5)
            conn.close()
        except (Closed, Refused, OSError, AssertionError):
            pass


def logins(number, out):
    """Logs in; tells what came instead of a Login Response, if anything did."""
    who = [("InitiatorName", "iqn.2026-01.org.example:raw"), ("TargetName", os.environ["IQN"]),
           ("AuthMethod", "None")]
    count, wrong = 0, b""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and not wrong:
        try:
            conn = Conn()
            conn.login_pdu(who, 0, 1, isid=isid(number))
            conn.login_answer()
            conn.login_pdu([("MaxRecvDataSegmentLength", "8192")], 1, 3, isid=isid(number))
            pdu = conn.recv()
            if pdu.opcode != LOGIN_RESPONSE:
                wrong = bytes(pdu.header)
            count += 1
            conn.reset()
        except (Closed, Refused, OSError):
            pass
    os.write(out, f"{count} {wrong.hex() or '-'}\n".encode())


read, write = os.pipe()
pids = []
for job in [resets] + [lambda n=n: logins(n, write) for n in range(6)]:
    pid = os.fork()
    if pid == 0:
        try:
            job()
        finally:
            os._exit(0)
    pids.append(pid)
for pid in pids[1:]:
    os.waitpid(pid, 0)
os.kill(pids[0], signal.SIGKILL)
os.waitpid(pids[0], 0)
os.close(write)
with os.fdopen(read) as lines:
    results = [line.split() for line in lines]
count = sum(int(each[0]) for each in results)
wrong = [each[1] for each in results if each[1] != "-"]
print(f"{count} logins")
check("logins while the target is reset: some come to their end", count > 4, count)
check("what ends a login is its response, and nothing comes before it", not wrong, wrong)
