# SPDX-License-Identifier: GPL-2.0
"""Sessions that are drained: one that logs out when it is asked, one that does not."""

import json
import os
import struct
import subprocess
import time

from iscsi import ASYNC, Conn, Refused, check, check_eq

IQN = os.environ["IQN"]
NAME = "iqn.2026-01.org.example:drained"
ISIDS = (bytes.fromhex(f"80feed00{n:04x}") for n in range(0x300, 0xffff))


def session(name=NAME):
    conn = Conn().login(initiator=name, isid=next(ISIDS))
    conn.ready()
    return conn


def drain(*words):
    return subprocess.Popen(["ferritectl", "session", "drain", IQN, *words],
                            stdout=subprocess.PIPE, text=True)


def event(conn, timeout=10):
    pdu = conn.wait(ASYNC, timeout=timeout)
    return (pdu.header[36], *struct.unpack_from(">HHH", pdu.header, 38))


polite, deaf = session(), session(f"{NAME}-deaf")
start = time.monotonic()
draining = drain("--within", "4", "--json")
check_eq("an initiator is asked to log out within so many seconds", (1, 0, 0, 4), event(polite))
polite.logout()
check_eq("another one is asked, too", (1, 0, 0, 4), event(deaf))
check("until its time is over its session works", deaf.ping())
check_eq("then it is told that the session is dropped", 3, event(deaf, 15)[0])
took = time.monotonic() - start
check("not before its time", took > 3.5, took)
check("and the connection closes", deaf.closed_within(5))
told = json.loads(draining.communicate(timeout=30)[0])
check_eq("the drain ends well", 0, draining.returncode)
check_eq("and tells who logged out and who was closed", {NAME: True, f"{NAME}-deaf": False},
         {s["initiator"]: s["logged_out"] for s in told["drained"]})
check_eq("nobody is left", [], told["left"])

# One of two sessions.
first, second = session(), session()
with open(f"/sys/kernel/config/ferrite/iscsi/{IQN}/tpgt_1/sessions", encoding="utf-8") as file:
    numbers = [line.split()[1] for line in file if line.startswith("session ")]
draining = drain("--session", numbers[0], "--within", "20")
check_eq("one session alone is asked", (1, 0, 0, 20), event(first))
first.logout()
check("in words", "logged out after" in draining.communicate(timeout=30)[0])
check("the other one stays", second.ping())
second.logout()
draining = drain("--initiator", "iqn.2026-01.org.example:none", "--within", "1")
draining.communicate(timeout=30)
check_eq("there is none of another name", 3, draining.returncode)

# Somebody is refused, for the events.
try:
    Conn().login(target=f"{IQN}-none", initiator=f"{NAME}-lost")
    check("a target that is not there takes no login", False)
except Refused:
    check("a target that is not there takes no login", True)
events = subprocess.run(["ferritectl", "monitor", "--old", "--json", "--seconds", "1"],
                        stdout=subprocess.PIPE, text=True, check=True).stdout
found = [json.loads(line) for line in events.splitlines()]
check("the refusal is an event, with its initiator",
      any(e["event"] == "login_refused" and e.get("initiator") == f"{NAME}-lost" for e in found),
      events[-400:])
check("so is the end of the session that was closed, with the reason",
      any(e["event"] == "connection_ended" and e.get("initiator") == f"{NAME}-deaf"
          and "address" in e for e in found), events[-400:])
