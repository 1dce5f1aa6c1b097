# SPDX-License-Identifier: GPL-2.0
"""Known commands, and what the target says that it has counted."""

import json
import os
import pty
import subprocess
import time

from iscsi import (Conn, R2T, Refused, SCSI_RESPONSE, check, check_eq, lun, read10, sense_code, write10)

IQN = os.environ["IQN"]
ROOT = "/sys/kernel/config/ferrite"
TPG = f"{ROOT}/iscsi/{IQN}/tpgt_1"
LUN = f"{TPG}/lun/lun_0/statistics"
NAME = "iqn.2026-01.org.example:counted"
BLOCK = 512
STAGES = ("received_sent", "received_submitted", "submitted_completed", "completed_sent")


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [line.split() for line in file if line.strip()]


def counters():
    return {name: int(value) for name, value in lines(f"{LUN}/counters")}


def latency():
    return {name: values for name, *values in lines(f"{LUN}/latency")}


def total(stage):
    return sum(map(int, latency()[stage]))


def sessions():
    found = []
    for name, *values in lines(f"{TPG}/sessions"):
        if name == "session":
            found.append({"connections": []})
        if name == "connection":
            found[-1]["connections"].append(values)
        else:
            found[-1][name] = " ".join(values)
    return found


def tool(*words):
    done = subprocess.run(["ferritectl", *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def grown(before, after):
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


conn = Conn().login(initiator=NAME, isid=bytes.fromhex("80feed000100"))
conn.ready()
before, stages = counters(), {name: total(name) for name in STAGES}
for n in range(7):
    conn.scsi(read10(8 * n, 8), expect=8 * BLOCK)
for n in range(3):
    conn.scsi(write10(64 * n, 64), data=bytes([n + 1]) * 64 * BLOCK)
for n in range(2):
    conn.scsi(bytes(6))
status, _, sense = conn.scsi(read10(0xfffffff0, 8), expect=8 * BLOCK)
check_eq("a READ beyond the end is refused", (2, 5), (status, sense_code(sense)[0]))
want = {"commands": 13, "reads": 7, "writes": 3, "other_commands": 3, "read_bytes": 7 * 8 * BLOCK,
        "write_bytes": 3 * 64 * BLOCK, "sense_illegal_request": 1}
check_eq("the LUN has counted exactly these commands", want, grown(before, counters()))
check_eq("each is in the histogram of the whole time, those of the disk in the others",
         {"received_sent": 13, "received_submitted": 10, "submitted_completed": 10,
          "completed_sent": 13},
         {name: total(name) - count for name, count in stages.items()})
spent = {name: int(latency()[f"{name}_sum_ns"][0]) for name in STAGES}
check("the stages are no longer than the whole",
      0 < sum(spent[name] for name in STAGES[1:]) <= spent["received_sent"], spent)
bounds = latency()["below_us"]
check_eq("the classes are powers of two of a microsecond",
         [str(1 << n) for n in range(23)] + ["inf"], bounds)

# A disk that fails.
conn.ready(lun=lun(1))
status, _, sense = conn.scsi(read10(16, 8), expect=8 * BLOCK, lun=lun(1))
check_eq("a READ that the disk fails ends MEDIUM ERROR", (2, 3), (status, sense_code(sense)[0]))
of_bad = dict(lines(f"{TPG}/lun/lun_1/statistics/counters"))
check_eq("and is counted by its sense key, without bytes", ("1", "1", "0"),
         (of_bad["sense_medium_error"], of_bad["reads"], of_bad["read_bytes"]))
events = [json.loads(line) for line in tool("monitor", "--old", "--json", "--seconds", "1")
          .splitlines()]
check("it is an event", any(e["event"] == "io_error" and e["object"].endswith("/disk1")
                            for e in events), events[-3:])

own = [s for s in sessions() if s["initiator"] == NAME]
check_eq("the session is listed once", 1, len(own))
session = own[0]
all_of_lun = counters()
check_eq("it has counted what its LUNs have",
         [all_of_lun["reads"] + 1] + [all_of_lun[n] for n in ("writes", "read_bytes", "write_bytes")],
         [int(session[n]) for n in ("reads", "writes", "read_bytes", "write_bytes")])
check_eq("its histogram has all of its commands", int(session["commands"]),
         sum(map(int, session["received_sent"].split())))
check_eq("its depth, window and state are told", ("128", "logged_in", "1"),
         (session["queue_depth"], session["state"], session["dynamic"]))
cid, state, peer, local, *keys = session["connections"][0]
check_eq("so are both ends of its connection", (conn.sock.getsockname(), conn.sock.getpeername()),
         tuple((a, int(p)) for a, p in (end.rsplit(":", 1) for end in (peer, local))))
check("and its digests", "HeaderDigest=None" in keys and "DataDigest=None" in keys, keys)
check("it is no older than this test", int(session["age_ms"]) < 600_000, session["age_ms"])

# A WRITE whose data does not come is outstanding.
itt = conn.command(write10(0, 64), data=bytes(64 * BLOCK), immediate_data=b"")
r2t = conn.wait(R2T, itt)
check_eq("a command whose data has not come is outstanding", 1, counters()["outstanding"])
check_eq("in its session, too", "1", sessions()[0]["outstanding"])
conn.data_out(r2t, bytes(64 * BLOCK))
conn.wait(SCSI_RESPONSE, itt)
check_eq("and then it is not", 0, counters()["outstanding"])

# More sessions than fit a page.
many = [Conn().login(initiator=f"{NAME}-{n}", isid=bytes.fromhex(f"80feed0002{n:02x}"))
        for n in range(12)]
listed = sessions()
check_eq("all sessions are listed, though they are longer than a page",
         {f"{NAME}-{n}" for n in range(12)} | {NAME}, {s["initiator"] for s in listed})
with open(f"{TPG}/sessions", "rb") as file:
    check("which they are", len(file.read()) > 8192)

# One session of an initiator alone is closed.
victim = next(s for s in listed if s["initiator"] == f"{NAME}-3")["session"]
with open(f"{TPG}/close_sessions", "w", encoding="ascii") as file:
    file.write(f"#{victim}")
check("a session is closed by its number", many[3].closed_within(5))
check("and no other", all(c.ping() for n, c in enumerate(many) if n != 3))

# The portal that they came by: what its sessions have done, also those that are gone.
def of_portal():
    return {name: int(value) for name, value in lines(f"{TPG}/np/127.0.0.1:3260/statistics/counters")}


deadline = time.monotonic() + 10
while of_portal()["sessions"] > 12 and time.monotonic() < deadline:
    time.sleep(0.05)
portal, other = of_portal(), dict(lines(f"{TPG}/lun/lun_1/statistics/counters"))
check_eq("a portal has counted what its sessions have done",
         {name: counters()[name] + int(other[name]) for name in counters()},
         {name: portal[name] for name in counters()})
check_eq("and the sessions that are there", (12, 0), (portal["sessions"], portal["outstanding"]))
check_eq("and their logins", (13, 0, 0),
         tuple(portal[f"logins{name}"] for name in ("", "_refused", "_redirected")))
try:
    Conn().login(initiator=NAME, tsih=0x7777)
    check("a login to a session that is not there is refused", False)
except Refused as refused:
    check_eq("a login to a session that is not there is refused", 0x020a, refused.code)
with open(f"{TPG}/np/127.0.0.1:3260/redirect", "w", encoding="ascii") as file:
    file.write("temporary 127.0.0.2:3260")
try:
    Conn().login(initiator=NAME)
    check("another one is redirected", False)
except Refused as refused:
    check_eq("another one is redirected", 0x0101, refused.code)
with open(f"{TPG}/np/127.0.0.1:3260/redirect", "w", encoding="ascii") as file:
    file.write("none")
check_eq("which is counted", {"logins_refused": 1, "logins_redirected": 1},
         grown(portal, of_portal()))

# Single commands.
TRACING = "/sys/kernel/tracing"
if not os.path.isdir(f"{TRACING}/events"):
    subprocess.run(["mount", "-t", "tracefs", "none", TRACING], check=True)


def trace(file, text):
    with open(f"{TRACING}/{file}", "w", encoding="ascii") as out:
        out.write(text)


trace("events/ferrite/ferrite_command/enable", "1")
conn.scsi(read10(24, 8), expect=8 * BLOCK)
conn.scsi(read10(0xfffffff0, 8), expect=8 * BLOCK)
trace("events/ferrite/ferrite_command/enable", "0")
with open(f"{TRACING}/trace", encoding="utf-8") as file:
    traced = [dict(pair.split("=", 1) for pair in line.split("ferrite_command: ")[1].split())
              for line in file if "ferrite_command: " in line]
check_eq("a tracepoint tells of each command",
         [("read", "24", str(8 * BLOCK), "0x0", "0"), ("other", "0", "0", "0x2", "5")],
         [tuple(t[n] for n in ("kind", "lba", "bytes", "status", "sense_key")) for t in traced])
check("with its session, LUN and times",
      traced and traced[0]["session"] == own[0]["session"] and traced[0]["lun"] == "0"
      and 0 < int(traced[0]["disk_ns"]) <= int(traced[0]["total_ns"]), traced)

# Without clocks.
with open(f"{ROOT}/latency_statistics", "w", encoding="ascii") as file:
    file.write("0")
before, timed = counters(), total("received_sent")
conn.scsi(read10(0, 8), expect=8 * BLOCK)
check_eq("without timing commands are counted", 1, counters()["reads"] - before["reads"])
check_eq("and not timed", timed, total("received_sent"))
with open(f"{ROOT}/latency_statistics", "w", encoding="ascii") as file:
    file.write("1")

# The tool shows the same.
listed = json.loads(tool("session", "list", "--json"))
own = next(s for s in listed if s["initiator"] == NAME)
check_eq("ferritectl lists the sessions", 12, len(listed))
check_eq("with their numbers", sessions()[0]["reads"], str(own["detail"]["numbers"]["reads"]))
shown = tool("session", "show", IQN, NAME)
check("and shows one with its digests and keys",
      "HeaderDigest None" in shown and "MaxBurstLength" in shown and "to 127.0.0.1:3260" in shown,
      shown)
metrics = tool("metrics")
labels = f'target="{IQN}",tpg="1",lun="0",backstore="iblock_'
samples = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
           for line in metrics.splitlines() if not line.startswith("#")}
of_lun = {name: value for name, value in samples.items() if labels in name}


def sample(metric, *words):
    return sum(value for name, value in of_lun.items()
               if name.startswith(metric + "{") and all(word in name for word in words))


counted = counters()
check_eq("the metrics have the same numbers",
         [counted[n] for n in ("reads", "writes", "write_bytes", "sense_illegal_request")],
         [int(sample("ferrite_lun_commands_total", 'type="read"')),
          int(sample("ferrite_lun_commands_total", 'type="write"')),
          int(sample("ferrite_lun_bytes_total", 'direction="write"')),
          int(sample("ferrite_lun_errors_total", 'reason="illegal_request"'))])
of_portals = f'target="{IQN}",tpg="1",portal="127.0.0.1:3260"'
check_eq("those of the portal as well", [of_portal()["writes"], 1],
         [int(samples[f'ferrite_portal_commands_total{{{of_portals},type="write"}}']),
          int(samples[f'ferrite_portal_logins_total{{{of_portals},result="redirected"}}'])])
check_eq("and the histogram ends with all that was timed", total("received_sent"),
         int(sample("ferrite_lun_latency_seconds_bucket", 'stage="received_sent"', 'le="+Inf"')))
tool("metrics", "--output", "/tmp/ferrite.prom", "--no-sessions")
with open("/tmp/ferrite.prom", encoding="utf-8") as file:
    text = file.read()
check("a file for the textfile collector is readable by all, and has no sessions if so wanted",
      os.stat("/tmp/ferrite.prom").st_mode & 0o777 == 0o644
      and "ferrite_lun_commands_total{" in text and "ferrite_session_" not in text)

looking = subprocess.Popen(["ferritectl", "top", "--interval", "2000", "--json"],
                           stdout=subprocess.PIPE, text=True)
busy = 0
while looking.poll() is None:
    conn.scsi(read10(0, 8), expect=8 * BLOCK)
    busy += 1
view = json.loads(looking.communicate()[0])
rates = view["luns"][0]
check("top tells who works", rates["reads"] > 0 and rates["p99_us"] and
      rates["read_bytes"] == rates["reads"] * 8 * BLOCK, rates)
check("for LUNs as for sessions", next(s for s in view["sessions"] if s["initiator"] == NAME)
      ["reads"] > 0 and view["total"]["reads"] > 0, view["sessions"])
once = tool("top", "--once", "--interval", "100")
check("and for people", "IOPS" in once and "P99" in once and IQN in once, once)
# The depth of an initiator's window is changed under its session.
acl = f"{TPG}/acls/{NAME}-deep"
os.mkdir(acl)
deep = Conn().login(initiator=f"{NAME}-deep", isid=bytes.fromhex("80feed000301"))
with open(f"{acl}/cmdsn_depth", "w", encoding="ascii") as file:
    file.write("32")
check_eq("another depth of the window is told of the session that there is", ["32"],
         [s["queue_depth"] for s in sessions() if s["initiator"] == f"{NAME}-deep"])
deep.logout()
os.rmdir(acl)

# As they see it: a terminal, until q is pressed.
child, terminal = pty.fork()
if child == 0:
    os.execvp("ferritectl", ["ferritectl", "top"])
seen = b""
try:
    while chunk := os.read(terminal, 65536):
        if b"IOPS" not in seen and b"IOPS" in seen + chunk:
            os.write(terminal, b"q")
        seen += chunk
except OSError:
    pass
check("the live view is shown until it is left, and the terminal is as it was",
      os.waitpid(child, 0)[1] == 0 and b"IOPS" in seen and seen.endswith(b"\x1b[?25h\x1b[?1049l"), seen)
