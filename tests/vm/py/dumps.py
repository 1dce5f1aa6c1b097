# SPDX-License-Identifier: GPL-2.0
"""The list of all sessions is whole, and of one moment, however many there are and however it is read."""

import os
import threading
import time

from host import AT_ONCE, tpg, write
from iscsi import Conn, check, check_eq

NAME = "iqn.2026-01.org.example:dump"
PATH = f"{tpg()}/sessions"
MANY, FEW, DUMPS = 300, 5, 400
serial = iter(range(1 << 30))


def login(name):
    number = next(serial)
    return Conn().login(initiator=f"{NAME}-{name}", isid=bytes.fromhex(f"80fe{number:08x}"))


def read_by(size, meanwhile=lambda: None):
    """All of the file, so many bytes at a time; what is done after the first of them."""
    fd = os.open(PATH, os.O_RDONLY)
    try:
        pieces = [os.read(fd, size)]
        meanwhile()
        while pieces[-1]:
            pieces.append(os.read(fd, size))
    finally:
        os.close(fd)
    return b"".join(pieces).decode()


def parse(text):
    """The names of the lines of each session, by its initiator's suffix; fails for a part of one."""
    found = {}
    seen_end = False
    for line in text.split("\n"):
        word, _, rest = line.partition(" ")
        if not line:
            seen_end = True
            continue
        assert not seen_end, f"after empty lines: {line}"
        if word == "session":
            lines = [word]
        else:
            lines.append(word)
        if word == "initiator":
            suffix = rest.removeprefix(f"{NAME}-")
            assert suffix not in found, f"twice: {rest}"
            found[suffix] = lines
    return found


def faults(found, wanted):
    """The sessions that are missing, and those that are not whole."""
    missing = sorted(name for name in wanted if name not in found)
    # One that is on its way out may have no connection any more.
    return missing, sorted(name for name, lines in found.items()
                           if lines != SHAPE and (name in wanted or lines != SHAPE[:-1]))


write(f"{tpg()}/attrib/nopin_timeout", "0")
held = {str(n): login(str(n)) for n in range(MANY)}
start = time.monotonic()
text = read_by(1 << 24)
took = time.monotonic() - start
found = parse(text)
SHAPE = found["0"]
check_eq(f"{MANY} sessions are there in one read", ([], []), faults(found, held))
check_eq("and no other", MANY, len(found))
check_eq("each has what belongs to one, from its number to its connection",
         ("session", "connection", 1), (SHAPE[0], SHAPE[-1], SHAPE.count("connection")))
check("that takes no time", took < AT_ONCE, f"{took:.2f} s")
print(f"@figure a dump of {MANY} sessions: KiB, ms | {len(text) >> 10}, {took * 1000:.1f}")


def come_and_go():
    for n in range(0, MANY, 3):
        held.pop(str(n)).close()
    for n in range(100):
        held[f"new{n}"] = login(f"new{n}")


before = list(held)
found = parse(read_by(7, come_and_go))
check_eq("seven bytes at a time, while others come and go, it is what was there at first",
         ([], []), faults(found, before))
check_eq("and nothing else", len(before), len(found))
deadline = time.monotonic() + 10
while len(found := parse(read_by(4096))) != len(held) and time.monotonic() < deadline:
    time.sleep(0.05)
check_eq("the next one has those that came, and not those that went", ([], []), faults(found, held))
check_eq("and no other", len(held), len(found))

for name in list(held)[FEW:]:
    held.pop(name).close()
stop = threading.Event()
logins = 0


def storm():
    global logins
    while not stop.is_set():
        login(f"passing{next(serial)}").close()
        logins += 1


storms = [threading.Thread(target=storm, daemon=True) for _ in range(2)]
for thread in storms:
    thread.start()
wrong = []
seen = 0
for _ in range(DUMPS):
    found = parse(read_by(1 << 24))
    fault = faults(found, held)
    seen += any(name.startswith("passing") for name in found)
    if fault != ([], []):
        wrong.append(fault)
stop.set()
for thread in storms:
    thread.join()
check_eq(f"in {DUMPS} lists while others log in and out, none of those that stay is missing", [], wrong[:3])
check("and some have one that passed by", seen > 0 and logins > 0, (seen, logins))
for conn in held.values():
    conn.close()
print(f"@figure logins meanwhile | {logins}")
