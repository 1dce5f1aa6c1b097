# SPDX-License-Identifier: GPL-2.0
"""The status of every refused login (RFC 7143 section 11.13.5), by a raw initiator.

The target is in demo mode.
"""

import os

from iscsi import LOGIN_RESPONSE, TARGET, Closed, Conn, Refused, check, check_eq

ENABLE = f"/sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1/enable"


def status(**how):
    try:
        Conn().login(**how).logout()
        return 0
    except Refused as refused:
        return refused.code
    except Closed:
        return "closed"


def first(keys, stage=0, following=1, change=None, **args):
    """The status that a first Login Request gets, or "closed"."""
    conn = Conn()
    if change:
        conn.pack_plain = conn.pack

        def pack(head, data=b"", ahs=b""):
            raw = bytearray(conn.pack_plain(head, data, ahs))
            change(raw)
            return bytes(raw)
        conn.pack = pack
    conn.login_pdu(keys, stage, following, **args)
    try:
        pdu, _ = conn.login_answer()
        return 0
    except Refused as refused:
        closed = conn.closed_within(10)
        return refused.code if closed else "left open"
    except Closed:
        return "closed"


def version(raw):
    raw[2] = raw[3] = 1


WHO = [("InitiatorName", "iqn.2026-01.org.example:raw"), ("TargetName", TARGET)]

check_eq("a good login", 0, status())
check_eq("an unknown target is not found", 0x0203, status(target="iqn.2026-01.org.example:nothing"))
check_eq("no InitiatorName is a missing parameter", 0x0207, first(WHO[1:]))
check_eq("no TargetName is a missing parameter", 0x0207, first(WHO[:1]))
check_eq("a version that is not ours is refused", 0x0205, first(WHO, change=version))
check_eq("an unknown session type is refused", 0x0209, first([*WHO, ("SessionType", "Magic")]))
check_eq("a TSIH of no session is refused", 0x020a, first(WHO, tsih=0x7777))
check("a bad InitiatorName is an initiator error",
      first([("InitiatorName", "not a name"), WHO[1]]) in (0x0200, "closed"))
check("a key twice is an initiator error", first([*WHO, WHO[0]]) in (0x0200, "closed"))
check("a key without a value is an initiator error",
      first(b"InitiatorName=iqn.2026-01.org.example:raw\0TargetName\0") in (0x0200, 0x0207, "closed"))

# A TSIH of a live session, from another initiator port and with another CID.
conn = Conn().login()
check_eq("joining somebody else's session is refused", True,
         first(WHO, tsih=conn.tsih, isid=bytes.fromhex("80feed0000ff"), cid=1)
         in (0x0208, 0x020a))
check_eq("a second connection is one too many", 0x0206, first(WHO, tsih=conn.tsih, cid=1))
check("the session has not noticed", conn.ping())
conn.close()

with open(ENABLE, "w", encoding="ascii") as file:
    file.write("0")
check_eq("a disabled portal group is unavailable", 0x0301, status())
with open(ENABLE, "w", encoding="ascii") as file:
    file.write("1")
check_eq("and open again once it is enabled", 0, status())

# Nothing but Login Requests before the full feature phase (RFC 7143 6.3).
for opcode, name in ((0x00, "NOP-Out"), (0x01, "SCSI Command"), (0x04, "Text Request"),
                     (0x05, "Data-Out"), (0x06, "Logout"), (0x3e, "unknown opcode")):
    conn = Conn()
    conn.request(opcode, data=b"")
    try:
        pdu = conn.recv(10)
        seen = pdu.opcode == LOGIN_RESPONSE and pdu.header[36] != 0 and conn.closed_within(10)
    except Closed:
        seen = True
    check(f"a first PDU that is a {name} ends the connection", seen)
check_eq("and others can log in as before", 0, status())

# The ISID and CID of a login stay; here they change halfway.
conn = Conn()
conn.login_pdu(WHO, 0, 1)
conn.login_answer()
conn.login_pdu([], 1, 3, isid=bytes.fromhex("80feed000099"))
try:
    conn.login_answer()
    seen = False
except (Refused, Closed):
    seen = True
check("an ISID that changes during the login is refused", seen)

# C-bit continuation: keys in three PDUs.
conn = Conn()
text = "".join(f"{k}={v}\0" for k, v in [*WHO, ("InitiatorAlias", "a" * 200)]).encode()
conn.login_pdu(text[:50], 0, 1, transit=False, cont=True)
pdu, keys = conn.login_answer()
check_eq("a continued Login Request is answered with an empty response", (b"", 0), (pdu.data, pdu.flags & 0x80))
conn.login_pdu(text[50:120], 0, 1, transit=False, cont=True)
conn.login_answer()
conn.login_pdu(text[120:], 0, 1)
pdu, keys = conn.login_answer()
check("keys in three PDUs are put together", pdu.flags & 0x81 == 0x81 and "TargetPortalGroupTag" in keys, keys)
conn.close()

# Without an end: the target must give up by itself.
conn = Conn()
try:
    conn.login_pdu(b"InitiatorName=iqn.2026-01.org.example:raw\0", 0, 0, transit=False, cont=True)
    conn.login_answer()
    for n in range(100):
        conn.login_pdu(b"X" * 8000, 0, 0, transit=False, cont=True)
        conn.login_answer()
    seen = "endless"
except Refused as refused:
    seen = refused.code
except Closed:
    seen = "closed"
check("keys without end are refused", seen != "endless", seen)

# Operational keys: what is answered to each (RFC 7143 section 13).
def negotiate(**keys):
    conn = Conn()
    try:
        conn.login(**keys)
        got = {key: conn.keys.get(key) for key in keys}
        conn.logout()
        return got
    except Refused as refused:
        return refused.code


def answers(name, want, **keys):
    check_eq(name, want, negotiate(**keys))


answers("an unknown key is NotUnderstood", {"X-org.example.x": "NotUnderstood"},
        **{"X-org.example.x": "1"})
answers("MaxConnections is 1 at most", {"MaxConnections": "1"}, MaxConnections="8")
answers("ErrorRecoveryLevel is 0 at most", {"ErrorRecoveryLevel": "0"}, ErrorRecoveryLevel="2")
answers("HeaderDigest takes the first that both have", {"HeaderDigest": "CRC32C"}, HeaderDigest="CRC32C,None")
answers("MaxBurstLength is the lower one", {"MaxBurstLength": "4096"}, MaxBurstLength="4096")
answers("DataPDUInOrder is Yes", {"DataPDUInOrder": "Yes"}, DataPDUInOrder="No")
answers("markers are rejected", {"IFMarker": "Reject", "OFMarker": "Reject"}, IFMarker="No", OFMarker="No")
check("MaxBurstLength out of range is refused or rejected",
      negotiate(MaxBurstLength="100") in ({"MaxBurstLength": "Reject"}, 0x0200))
check("a boolean that is none is refused or rejected",
      negotiate(InitialR2T="Perhaps") in ({"InitialR2T": "Reject"}, 0x0200))
with_irrelevant = negotiate(InitialR2T="Yes", ImmediateData="No", FirstBurstLength="4096")
check("FirstBurstLength without unsolicited data is irrelevant or answered",
      isinstance(with_irrelevant, dict)
      and with_irrelevant["FirstBurstLength"] in ("Irrelevant", "4096"), with_irrelevant)

sessions = os.popen(f"wc -w < /sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1/dynamic_sessions").read()
check("nothing of all this stays", int(sessions) == 0, sessions)
