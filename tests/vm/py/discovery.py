# SPDX-License-Identifier: GPL-2.0
"""SendTargets in its forms (RFC 7143 appendix C), by a raw initiator."""

import socket

from host import in_use, until
from iscsi import NOP_OUT, REJECT, TARGET, TEXT, TEXT_RESPONSE, Closed, Conn, check, check_eq


def send_targets(conn, value):
    itt = conn.request(TEXT, word20=0xffffffff, data=f"SendTargets={value}".encode() + b"\0")
    pdu = conn.wait(TEXT_RESPONSE, itt)
    return pdu, [pair for pair in pdu.data.decode().split("\0") if pair]


conn = Conn().login(target=None, session="Discovery")
_, pairs = send_targets(conn, "All")
check("SendTargets=All shows the target", f"TargetName={TARGET}" in pairs, pairs)
check("with its address and portal group", "TargetAddress=127.0.0.1:3260,1" in pairs, pairs)
pdu, pairs = send_targets(conn, TARGET)
check_eq("SendTargets with a name shows that target alone", [f"TargetName={TARGET}"],
         [pair for pair in pairs if pair.startswith("TargetName=")])
check("the response is final", pdu.flags & 0x80)
_, pairs = send_targets(conn, "iqn.2026-01.org.example:nothing")
check_eq("an unknown name shows nothing", [], pairs)


def rejected(send):
    """Whether what is sent is rejected, or ends the connection."""
    send()
    try:
        return conn.recv().opcode == REJECT
    except Closed:
        return True


# RFC 7143 4.3: a discovery session takes SendTargets and Logout, nothing else.
check("another key in a discovery session is rejected", rejected(
    lambda: conn.request(TEXT, word20=0xffffffff, data=b"X-org.example.unheard-of=1\0")))
conn = Conn().login(target=None, session="Discovery")
check("a SCSI command in a discovery session is rejected", rejected(lambda: conn.command(bytes(6))))
conn = Conn().login(target=None, session="Discovery")
check("a NOP-Out in a discovery session is rejected",
      rejected(lambda: conn.request(NOP_OUT, immediate=True)))
conn = Conn().login(target=None, session="Discovery")
check_eq("logout of a discovery session succeeds", 0, conn.logout().header[2])

conn = Conn().login()
itt = conn.request(TEXT, word20=0xffffffff, data=b"X-org.example.unheard-of=1\0")
pdu = conn.wait(TEXT_RESPONSE, itt)
check_eq("an unknown key is NotUnderstood", b"X-org.example.unheard-of=NotUnderstood\0", pdu.data)
_, pairs = send_targets(conn, "")
check_eq("SendTargets= in a normal session shows its own target", [f"TargetName={TARGET}"],
         [pair for pair in pairs if pair.startswith("TargetName=")])
response = conn.logout()
check_eq("logout succeeds", 0, response.header[2])
check("and the target closes the connection", conn.closed_within(10))


def connections():
    used = in_use()
    return used["logins"] + used["connections"]


# A Text Request that is out of the command window has no answer, and the peer may go while it is
# looked at. In a discovery session nobody asks the peer whether it is there.
until(lambda: connections() == 0)
for _ in range(20):
    conn = Conn().login(target=None, session="Discovery")
    # Two of them and the end in one segment, so that the end comes before the second is read.
    conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    for _ in range(2):
        conn.request(TEXT, word20=0xffffffff, data=b"SendTargets=All\0", cmd_sn=conn.cmd_sn + 1000)
    conn.close()
check("peers that go after a request that has no answer are gone", until(lambda: connections() == 0),
      connections())

# Nor does one who has gone say so when his reset is lost. TCP asks him.
TCP_REPAIR = 19
conn = Conn().login(target=None, session="Discovery")
conn.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
conn.close()
check("a peer that has gone without a word is still there", connections() == 1, connections())
check("but not for long", until(lambda: connections() == 0, 30), connections())
