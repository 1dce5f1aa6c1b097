# SPDX-License-Identifier: GPL-2.0
"""How much there may be of everything, and what it costs."""

import os
import resource
import statistics
import time

from host import SLOWER, in_use, read, store, tpg, until, used_by, write
from iscsi import SCSI_RESPONSE, Conn, Refused, check, check_eq, read10, write10

FULL = os.environ.get("T_FULL") == "1"
SESSIONS, CYCLES, OBJECTS = (1000, 10000, 1000) if FULL else (100, 100, 100)
TPG = tpg()
PARAMETERS = "/sys/module/ferrite/parameters"


def isid(number):
    return bytes.fromhex(f"80fe{number:08x}")


def meminfo(*names):
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":") for line in file)
    return sum(int(lines[name].split()[0]) for name in names)


def rss():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4


def kthreads():
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                count += file.read().startswith("ferrite")
        except OSError:
            pass
    return count


resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))

# --- sessions held ----------------------------------------------------------------------------
warm = [Conn().login(isid=isid(n)) for n in range(20)]
for conn in warm:
    conn.logout()
    conn.close()
until(lambda: in_use()["connections"] == 0)
threads = kthreads()
before, own = meminfo("MemAvailable"), rss()
start = time.monotonic()
held = []
took = []
for number in range(SESSIONS):
    began = time.monotonic()
    held.append(Conn().login(isid=isid(1000 + number)))
    took.append(time.monotonic() - began)
each = (before - meminfo("MemAvailable") - (rss() - own)) / SESSIONS
print(f"{SESSIONS} sessions in {time.monotonic() - start:.1f} s, {each:.1f} KiB each, both ends of their sockets included")
check_eq("all are there", SESSIONS, in_use()["connections"])
check("no thread was made for them", kthreads() <= threads + 2, (threads, kthreads()))
check("each takes a bounded amount of memory", each < 256, f"{each:.0f} KiB")
quarter = SESSIONS // 4
first, last = statistics.median(took[:quarter]), statistics.median(took[-quarter:])
check("the last login takes about as long as the first", last < 4 * first + 0.005, f"{first * 1000:.1f} ms, {last * 1000:.1f} ms")
good = sum(conn.ready() == 0 and conn.scsi(read10(0, 8), expect=4096)[0] == 0 for conn in held)
check_eq("each of them works", SESSIONS, good)
start = time.monotonic()
Conn().login(isid=isid(1)).logout()
check("another login takes less than a second", time.monotonic() - start < SLOWER, time.monotonic() - start)
start = time.monotonic()
with open(f"{TPG}/enable", "w", encoding="ascii") as file:
    file.write("0")
ended = time.monotonic() - start
check("all of them end at once", ended < 2 * SLOWER, f"{ended:.1f} s")
check("and are gone", until(lambda: in_use()["connections"] == 0), in_use())
for conn in held:
    conn.close()
held.clear()
with open(f"{TPG}/enable", "w", encoding="ascii") as file:
    file.write("1")
print(f"@figure sessions held at once: number, KiB each, ms for a login | {SESSIONS}, {each:.0f}, {last * 1000:.1f}")
print(f"@figure all of them ended by disabling the portal group | {ended * 1000:.0f} ms")

# --- logins and logouts -----------------------------------------------------------------------

def cycle(number):
    conn = Conn().login(isid=isid(number % 7))
    conn.scsi(bytes(6))
    if number % 3:
        conn.logout()
        conn.close()
    elif number % 2:
        conn.reset()
    else:
        conn.close()


for number in range(CYCLES // 5):
    cycle(number)
until(lambda: in_use()["connections"] == 0)
time.sleep(2)
before = meminfo("SUnreclaim", "KernelStack", "PageTables", "Percpu")
start = time.monotonic()
for number in range(CYCLES):
    cycle(number)
took = time.monotonic() - start
check("after many logins no session is left", until(lambda: in_use()["connections"] == 0), in_use())
check_eq("and no memory for data", 0, in_use()["memory"])
time.sleep(2)
grown = meminfo("SUnreclaim", "KernelStack", "PageTables", "Percpu") - before
print(f"{CYCLES} logins in {took:.1f} s, the kernel's memory has changed by {grown} KiB")
check("what the kernel has allocated is about what it was", grown < 4096, f"{grown} KiB more")
print(f"@figure login-logout cycles: number, ms each | {CYCLES}, {took / CYCLES * 1000:.1f}")
print(f"@figure bytes by which the kernel's memory has grown for each of them | {max(0, grown) * 1024 // CYCLES}")

# --- LUNs and ACLs ----------------------------------------------------------------------------
disk = store("disk0")


def make_lun(n):
    os.mkdir(f"{TPG}/lun/lun_{n}")
    os.symlink(disk, f"{TPG}/lun/lun_{n}/disk")


def make_acl(n):
    path = f"{TPG}/acls/iqn.2026-01.org.example:n{n}"
    os.mkdir(path)
    os.mkdir(f"{path}/lun_0")
    os.symlink(f"{TPG}/lun/lun_{n}", f"{path}/lun_0/lun")


def drop_acl(n):
    path = f"{TPG}/acls/iqn.2026-01.org.example:n{n}"
    os.unlink(f"{path}/lun_0/lun")
    os.rmdir(f"{path}/lun_0")
    os.rmdir(path)


def drop_lun(n):
    os.unlink(f"{TPG}/lun/lun_{n}/disk")
    os.rmdir(f"{TPG}/lun/lun_{n}")


worst = 0
for what, act, order in (("making LUNs", make_lun, range(1, OBJECTS + 1)), ("making ACLs", make_acl, range(1, OBJECTS + 1)),
                         ("removing ACLs", drop_acl, range(OBJECTS, 0, -1)), ("removing LUNs", drop_lun, range(1, OBJECTS + 1))):
    times = []
    for n in order:
        start = time.monotonic()
        act(n)
        times.append((time.monotonic() - start) * 1000)
        if what == "making ACLs" and n == OBJECTS:
            began = time.monotonic()
            conn = Conn().login(isid=isid(2), initiator=f"iqn.2026-01.org.example:n{n}")
            check_eq("one of many sees its one LUN", 0, conn.ready())
            conn.logout()
            check("and logs in within a second", time.monotonic() - began < SLOWER)
    size = len(times) // 4
    first, last = statistics.median(times[:size]), statistics.median(times[-size:])
    worst = max(worst, max(times))
    print(f"{what}: {first:.2f} ms each at first, {last:.2f} ms at last, {max(times):.1f} ms at most")
    few, many = (first, last) if what.startswith("making") else (last, first)
    check(f"{what}: the time for one does not grow with their number", many < 4 * few + 2, f"{few:.2f} ms, {many:.2f} ms")
    print(f"@figure {what}: number, ms with few, ms with many | {OBJECTS}, {few:.2f}, {many:.2f}")
check("none of it takes long", worst < 2000 * SLOWER, f"{worst:.0f} ms")

# --- limits -----------------------------------------------------------------------------------

def limit(name, value):
    with open(f"{PARAMETERS}/{name}", "w", encoding="ascii") as file:
        file.write(str(value))


def refused(name, value):
    try:
        limit(name, value)
        return False
    except OSError:
        return True


def shown(name):
    with open(f"{PARAMETERS}/{name}", encoding="ascii") as file:
        return int(file.read())


LIMITS = {"logins": (1024, 15, 65537), "logins_per_address": (256, 3, 65537), "connections": (16384, 0, 1048577),
          "connections_per_address": (4096, 0, 1048577), "session_memory": (64, 15, 4097), "memory": (0, -1, 1048577),
          "memory_per_address": (0, -1, 1048577), "commands": (4194304, 63, 16777217),
          "commands_per_address": (1048576, 63, 16777217)}
OTHER = "127.0.0.9"
for name, (default, low, high) in LIMITS.items():
    check_eq(f"{name} is {default} at first", default, shown(name))
    check(f"{name}: what is out of range is refused", refused(name, low) and refused(name, high) and refused(name, "x"))
    check_eq(f"{name} is what it was", default, shown(name))
until(lambda: in_use()["connections"] == 0)


def status(number):
    """What a login ends with."""
    try:
        held.append(Conn().login(isid=isid(number)))
        return 0
    except Refused as refusal:
        return refusal.code


for name in ("connections", "connections_per_address"):
    limit(name, 3)
    check_eq(f"{name}=3: three sessions", [0, 0, 0], [status(n) for n in range(3)])
    check_eq(f"{name}=3: not four, the target is out of resources", 0x0302, status(3))
    check_eq(f"{name}=3: one that takes another one's place may come", 0, status(1))
    check("its session works", held[-1].ping())
    check("as do the others", held[0].ping() and held[2].ping())
    limit(name, 4)
    # The one that was replaced is on its way out.
    check(f"{name}=4: a fourth", until(lambda: status(3) == 0))
    for conn in held:
        conn.close()
    held.clear()
    until(lambda: in_use()["connections"] == 0)
    limit(name, LIMITS[name][0])


def still_open(conns):
    return sum(not conn.closed_within(0.02) for conn in conns)


for name, most in (("logins", 16), ("logins_per_address", 4)):
    limit(name, most)
    silent = [Conn() for _ in range(most + 8)]
    # Long before their time is over.
    check(f"{name}={most}: of connections that say nothing the oldest have to go",
          until(lambda: 0 < still_open(silent) <= most, 8), still_open(silent))
    check_eq(f"{name}={most}: and a login gets in", 0, status(5))
    check(f"{name}={most}: it is told how many there are", until(lambda: 0 < in_use()["logins"] <= most), in_use())
    for conn in [*silent, *held]:
        conn.close()
    held.clear()
    limit(name, LIMITS[name][0])
    until(lambda: in_use()["logins"] + in_use()["connections"] == 0)

# Commands: what a session may have under way.
depth = f"{TPG}/attrib/default_cmdsn_depth"
usual = read(depth)
write(depth, "4")
conn = Conn().login(isid=isid(6))
conn.ready()
check_eq("default_cmdsn_depth=4: the window of a session", 4, conn.max_cmd_sn - conn.exp_cmd_sn + 1)
waits = [conn.command(write10(n * 8, 8), bytes(4096), immediate_data=b"") for n in range(6)]
asked = set()
try:
    while True:
        asked.add(conn.recv(1).itt)
except TimeoutError:
    pass
check_eq("default_cmdsn_depth=4: of six commands four are begun", set(waits[:4]), asked)
conn.reset()
write(depth, usual)
until(lambda: in_use()["connections"] == 0)



def window(conn):
    return conn.max_cmd_sn - conn.exp_cmd_sn + 1


# A session gets its places for commands when it logs in: 128 for its window, and 16 more for immediate ones.
for name in ("commands", "commands_per_address"):
    limit(name, 200)
    held += [Conn().login(isid=isid(n)) for n in range(2)]
    held[1].ready()
    check_eq(f"{name}=200: of two sessions the second one has a smaller window", 200 - 144 - 16, window(held[1]))
    check_eq(f"{name}=200: it is told what they use", (200, 200), (in_use()["commands"], used_by("127.0.0.1")["commands"]))
    check_eq(f"{name}=200: there is no third one, the target is out of resources", 0x0302, status(2))
    check_eq(f"{name}=200: one that takes another one's place may come", 0, status(1))
    check("its session works", held[-1].ping())
    other = Conn(source=(OTHER, 0))
    try:
        came = other.login(isid=isid(3)).ping()
    except Refused:
        came = False
    check_eq(f"{name}=200: so may one from another address, if only each has a limit", name == "commands_per_address", came)
    for conn in [*held, other]:
        conn.close()
    held.clear()
    check(f"{name}=200: all places are given back", until(lambda: in_use()["commands"] == 0), in_use())
    limit(name, LIMITS[name][0])


def heavy(count, blocks=16384, source=None):
    """Statuses of so many WRITEs of 8 MiB that have come before their data."""
    conn = Conn(source=source).login(isid=isid(9), ImmediateData="No", InitialR2T="Yes")
    conn.ready()
    tags = []
    for _ in range(count):
        tags.append(conn.request(1, 0xa1, 0, word20=blocks * 512, tail=write10(0, blocks).ljust(16, b"\0")))
    busy = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            pdu = conn.recv(0.3)
        except TimeoutError:
            break
        busy += pdu.opcode == SCSI_RESPONSE and pdu.header[3] == 8
    used = in_use()["memory"]
    # Without data, for which there is no memory.
    good = conn.ping(b"")
    conn.reset()
    return busy, used, good


limit("session_memory", 16)
busy, used, good = heavy(5)
check("session_memory=16: what is too much for a session ends BUSY", busy >= 3, busy)
check("and it holds no more", used <= 16 << 20, used)
check("the session goes on", good)
limit("session_memory", 64)
until(lambda: in_use()["memory"] == 0)
busy, used, _ = heavy(5)
check("session_memory=64: there is room", busy == 0 and used >= 40 << 20, (busy, used))
until(lambda: in_use()["memory"] == 0)
limit("memory", 16)
busy, used, good = heavy(5)
check("memory=16: the same for all together", busy >= 3 and used <= 16 << 20 and good, (busy, used))
limit("memory", 0)
until(lambda: in_use()["memory"] == 0)
limit("memory_per_address", 16)
first = Conn().login(isid=isid(10), ImmediateData="No", InitialR2T="Yes")
first.ready()
for _ in range(2):
    first.request(1, 0xa1, 0, word20=8 << 20, tail=write10(0, 16384).ljust(16, b"\0"))
check("memory_per_address=16: one session has it all", until(lambda: used_by("127.0.0.1")["memory"] == 16 << 20))
busy, _, good = heavy(2)
check("memory_per_address=16: there is nothing left for another one from there", busy == 2 and good, busy)
busy, used, _ = heavy(2, source=(OTHER, 0))
check("memory_per_address=16: there is for one from elsewhere", busy == 0 and used == 32 << 20, (busy, used))
first.reset()
limit("memory_per_address", 0)
check("all of it is given back", until(lambda: in_use()["memory"] == 0), in_use())

# --- fairness ---------------------------------------------------------------------------------

def rounds(conn, seconds):
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        assert conn.scsi(read10(0, 8), expect=4096)[0] == 0
        count += 1
    return count


conn = Conn().login(isid=isid(20))
conn.ready()
greedy = [Conn().login(isid=isid(21 + n)) for n in range(4)]
for one in greedy:
    one.ready()
alone = rounds(conn, 1.5)
for one in greedy:
    # Reads that nobody takes off the wire.
    for n in range(100):
        one.command(read10(0, 512), expect=512 * 512)
beside = rounds(conn, 1.5)
print(f"{alone} reads alone, {beside} beside four sessions that do not read what they asked for")
check("sessions that do not read starve nobody", beside * 4 > alone, (alone, beside))
print(f"@figure speed beside sessions that read nothing | {100 * beside // alone} %")
for one in greedy:
    one.reset()
check("and leave nothing", until(lambda: in_use()["memory"] == 0), in_use())
conn.logout()
