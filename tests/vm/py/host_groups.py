# SPDX-License-Identifier: GPL-2.0
"""What initiators get from the host groups that host-groups.sh has made."""

import json
import os
import struct
import subprocess

from iscsi import TARGET, Closed, Conn, Refused, check, check_eq

ACLS = f"/sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1/acls"
ORG = "iqn.2026-01.org.example:"
GATEWAY = "iqn.2026-01.net.example:gateway"


def put(text, path):
    with open(os.path.join(ACLS, path), "w", encoding="ascii") as file:
        file.write(text)


def tool(*words):
    return subprocess.run(["ferritectl", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def luns(conn):
    conn.ready(0)
    status, data, _ = conn.scsi(bytes([0xa0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0]), expect=256)
    assert status == 0, status
    count = struct.unpack_from(">I", data)[0] // 8
    return [data[8 + 8 * n + 1] for n in range(count)]


def seen(initiator, **how):
    """The LUNs of an initiator, or the status of its refused login."""
    try:
        conn = Conn().login(initiator=initiator, **how)
    except Refused as refused:
        return f"{refused.code:04x}"
    got = luns(conn)
    conn.logout()
    return got


def alive(conn):
    try:
        return conn.ping()
    except (Closed, OSError):
        return False


check_eq("a pattern lets an initiator in, with its LUNs", [0], seen(f"{ORG}db1"))
check_eq("a closer pattern of another group goes first", [1], seen(f"{ORG}web1"))
check_eq("a * may stand for nothing", [1], seen(f"{ORG}web"))
check_eq("upper case in a name makes no difference", [1], seen("IQN.2026-01.org.example:WEB2"))
check_eq("a member in full", [1], seen(GATEWAY))
check_eq("an ACL of its own counts instead of a group", [0, 1], seen(f"{ORG}web9"))
check_eq("who is in no group is not let in", "0202", seen("iqn.2026-01.net.example:other"))

# The group's info has room for some of them.
dbs = [Conn().login(initiator=f"{ORG}db{n}") for n in range(12)]
acls = json.loads(tool("acl", "list", "--json"))
check_eq("ferritectl counts all sessions of a group", [12],
         [acl["sessions"] for acl in acls if acl["initiator"] == "@all"])
tpg = json.loads(tool("status", "--json"))["targets"][TARGET]["tpgs"]["1"]
check_eq("and shows them", [sorted(f"{ORG}db{n}" for n in range(12))],
         [sorted(s["initiator"] for s in acl["sessions"]) for acl in tpg["acls"] if acl["initiator"] == "@all"])
for conn in dbs:
    conn.logout()

# Sessions follow the members.
web = Conn().login(initiator=f"{ORG}web1")
gateway = Conn().login(initiator=GATEWAY)
db = Conn().login(initiator=f"{ORG}db1")
check_eq("two initiators of a group are logged in at once", [[1], [1]], [luns(web), luns(gateway)])
with open(os.path.join(ACLS, "@web", "info"), encoding="ascii") as info:
    text = info.read()
check("the group's info shows both", f"{ORG}web1" in text and GATEWAY in text, text)
put(f"{ORG}web*", "@web/attrib/members")
check("the session of one that is no member any more ends", gateway.closed_within(5))
check("that of another goes on", alive(web))
check_eq("and it is not let in again", "0202", seen(GATEWAY))
put(f"{ORG}web* {ORG}db1", "@web/attrib/members")
check("who is in another group now has to log in again", db.closed_within(5))
check_eq("and has its LUNs then", [1], seen(f"{ORG}db1"))
put("none", "@web/attrib/members")
check("a group without members has no sessions", web.closed_within(5))
check_eq("the wider group has them now", [0], seen(f"{ORG}web1"))
put(f"{ORG}web*", "@web/attrib/members")

# CHAP: one secret for all of them.
for key, value in (("userid", "web-user"), ("password", "web-secret-0123456"),
                   ):
    put(value, f"@web/auth/{key}")
put("1", "@web/attrib/authentication")
check_eq("without CHAP a member is refused then", "0201", seen(f"{ORG}web1"))
check_eq("with the group's secret it is let in", [1],
         seen(f"{ORG}web1", chap=("web-user", "web-secret-0123456"), algorithms="7"))
check_eq("and with another one not", "0201",
         seen(f"{ORG}web1", chap=("web-user", "web-secret-6543210"), algorithms="7"))
check_eq("others need none", [0], seen(f"{ORG}db1"))
