# SPDX-License-Identifier: GPL-2.0
"""CHAP, seen by an initiator that does not play by the rules.

The target has the portal group's user group-user with group-secret-1234, demo mode on.
"""

import os

from iscsi import Closed, Conn, Refused, check, check_eq, unhex

USER = ("group-user", "group-secret-1234")
WHO = [("InitiatorName", "iqn.2026-01.org.example:raw"), ("SessionType", "Normal"),
       ("TargetName", os.environ["IQN"])]


def status(**how):
    """The status of a login, or 0."""
    try:
        Conn().login(**how).close()
        return 0
    except Refused as refused:
        return refused.code
    except Closed:
        return "closed"


def chosen(offer):
    """The algorithm that the target picks out of an offer."""
    conn = Conn()
    conn.login_pdu([*WHO, ("AuthMethod", "CHAP")], 0, 0, transit=False)
    conn.login_answer()
    conn.login_pdu([("CHAP_A", offer)], 0, 0, transit=False)
    try:
        return conn.login_answer()[1]
    except Refused as refused:
        return refused.code
    finally:
        conn.close()


check_eq("the raw initiator logs in", 0, status(chap=USER))
for offer, best in (("5,6,7,8", "8"), ("5,7,6", "7"), ("6,5", "6"), ("8", "8")):
    check_eq(f"of CHAP_A={offer} the strongest is picked", best, chosen(offer)["CHAP_A"])
check_eq("CHAP_A=5 alone is an authentication failure", 0x0201, chosen("5"))
check_eq("unknown algorithms alone are an authentication failure", 0x0201, chosen("99,77"))
check_eq("a wrong secret is an authentication failure", 0x0201,
         status(chap=("group-user", "not-the-secret-at-all")))
check_eq("a wrong user is an authentication failure", 0x0201, status(chap=("x", USER[1])))
check_eq("an empty user is no way in", True,
         status(chap=("", USER[1])) in (0x0200, 0x0201, "closed"))
check_eq("AuthMethod=None is an authentication failure", 0x0201, status())

challenges = [unhex(chosen("7")["CHAP_C"]) for _ in range(8)]
check("challenges are 16 bytes at least", min(map(len, challenges)) >= 16)
check("no challenge comes twice", len(set(challenges)) == len(challenges))

# RFC 7143 12.1.3: a responder must not be answered with its own challenge.
conn = Conn()
conn.login_pdu([*WHO, ("AuthMethod", "CHAP")], 0, 0, transit=False)
conn.login_answer()
conn.login_pdu([("CHAP_A", "7")], 0, 0, transit=False)
_, keys = conn.login_answer()
answer = conn.chap_answer(keys, USER, None)
conn.login_pdu([*answer, ("CHAP_I", keys["CHAP_I"]), ("CHAP_C", keys["CHAP_C"])], 0, 1)
try:
    conn.login_answer()
    reflected = 0
except Refused as refused:
    reflected = refused.code
except Closed:
    reflected = "closed"
check("a reflected challenge is refused", reflected in (0x0200, 0x0201, "closed"), reflected)

# Straight to the full feature phase, without authentication.
conn = Conn()
conn.login_pdu(WHO, 1, 3)
try:
    conn.login_answer()
    skipped = 0
except Refused as refused:
    skipped = refused.code
except Closed:
    skipped = "closed"
check_eq("the security stage cannot be left out", 0x0201, skipped)
conn = Conn()
conn.login_pdu([*WHO, ("AuthMethod", "CHAP")], 0, 1)
try:
    _, keys = conn.login_answer()
    conn.login_pdu([], 1, 3)
    pdu, _ = conn.login_answer()
    skipped = 0 if pdu.flags & 0x83 == 0x83 else "no"
except (Refused, Closed):
    skipped = "no"
check_eq("the security stage cannot be left before it is done", "no", skipped)
