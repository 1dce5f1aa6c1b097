# SPDX-License-Identifier: GPL-2.0
"""CHAP for discovery sessions with every digest: finder/finder-secret-1, shower/shower-secret-2."""

from iscsi import Conn, Refused, check, check_eq

USER, MUTUAL = ("finder", "finder-secret-1"), ("shower", "shower-secret-2")


def status(**how):
    try:
        Conn().login(target=None, session="Discovery", **how).logout()
        return 0
    except Refused as refused:
        return refused.code


for number, name in (("8", "SHA3-256"), ("7", "SHA256"), ("6", "SHA1")):
    check_eq(f"one-way CHAP with {name}", 0, status(chap=USER, algorithms=number))
    check_eq(f"mutual CHAP with {name}", 0, status(chap=USER, mutual=MUTUAL, algorithms=number))
check_eq("CHAP with MD5", 0x0201, status(chap=USER, algorithms="5"))
check_eq("no CHAP", 0x0201, status())
check_eq("a wrong secret", 0x0201, status(chap=("finder", "not-the-secret-at-all")))
try:
    status(chap=USER, mutual=("shower", "not-the-secret-at-all"))
    check("the target proves its own secret, no other", False)
except AssertionError as error:
    check("the target proves its own secret, no other", "secret" in str(error), error)
