# SPDX-License-Identifier: GPL-2.0
"""Inputs that have broken other targets, each under the name that the hole was given.

Each test says what is wrong, or nothing. After each the target has to serve a newcomer.
"""

import glob
import os
import socket
import struct
import subprocess
import time

from host import store, tpg, unlink_all
from iscsi import (DATA_OUT, IMMEDIATE, INITIATOR, LOGIN, R2T, REASONS, REJECT, RESERVED_TAG, SCSI_COMMAND,
                   SCSI_RESPONSE, TARGET, TASK_MGMT_RESPONSE, TEXT, TEXT_RESPONSE, Closed, Conn, Refused, Rejected,
                   check, header, read10, sense_code, unhex, write10)

CHAP = TARGET + "-chap"
USER, MUTUAL = ("user", "twelve-chars-1"), ("target", "twelve-chars-2")
ISIDS = (bytes.fromhex(f"80feed03{n:04x}") for n in range(0xffff))
TESTS = []
inputs = 0


def hole(name, what):
    """Registers a test for what is known under that name."""
    def register(test):
        TESTS.append((name, what, test))
        return test
    return register


def fresh(**how):
    conn = Conn().login(isid=next(ISIDS), **how)
    conn.ready()
    return conn


def outcome(act):
    """What a login ended with: a status, "closed", "silent", or "in"."""
    global inputs
    inputs += 1
    try:
        act()
        return "in"
    except Refused as refused:
        return refused.code
    except Closed:
        return "closed"
    except TimeoutError:
        return "silent"


def refusals(name, got, want=()):
    """A text if one of the outcomes is not a refusal."""
    wrong = [one for one in got if one in ("in", "silent") or want and one not in want]
    return f"{name}: {wrong[:4]}" if wrong else None


def begun(target=CHAP, algorithms="5"):
    """A login that has the target's challenge: the connection and its keys."""
    conn = Conn()
    args = {"isid": next(ISIDS)}
    conn.login_pdu([("InitiatorName", INITIATOR), ("SessionType", "Normal"), ("TargetName", target),
                    ("AuthMethod", "CHAP")], 0, 0, transit=False, **args)
    conn.login_answer()
    conn.login_pdu([("CHAP_A", algorithms)], 0, 0, transit=False, **args)
    _, keys = conn.login_answer()
    return conn, keys, args


def answer(pairs, **begin):
    def act():
        conn, keys, args = begun(**begin)
        conn.login_pdu(pairs(conn, keys) if callable(pairs) else pairs, 0, 1, **args)
        conn.login_answer()
    return outcome(act)


@hole("CVE-2026-63886", "CHAP_R in base64, longer than a digest")
def _():
    good = [answer([("CHAP_N", "user"), ("CHAP_R", value)])
            for n in (21, 22, 24, 43, 44, 64, 100, 127, 128, 255, 1000, 7000)
            for value in ("0b" + "A" * n, "0B" + "/" * n, "0x" + "41" * n, "0x" + "4" * (2 * n + 1))
            if len(value) < 8100]
    good += [answer([("CHAP_N", "user"), ("CHAP_R", value)]) for value in ("0b", "0x", "0b=", "0b====", "", "0", "1", "0z00")]
    return refusals("not refused", good)


@hole("CVE-2026-63887", "2048 keys that nobody knows, in one Login Request")
def _():
    got = []
    for keys in (b"a=b\0" * 2048, b"a=\0" * 2700, b"".join(b"X%d=1\0" % n for n in range(1000)), b"=\0" * 4096, b"\0" * 8192):
        def act(keys=keys):
            conn = Conn()
            conn.login_pdu([("InitiatorName", INITIATOR), ("TargetName", TARGET), ("AuthMethod", "None")], 0, 1, isid=next(ISIDS))
            conn.login_answer()
            conn.login_pdu(keys, 1, 3, isid=next(ISIDS))
            conn.login_answer()
        got.append(outcome(act))
    return refusals("not refused", got)


@hole("CVE-2026-63888", "Text Requests with data digests, and with wrong ones")
def _():
    global inputs
    for level in ("0", "1"):
        conn = fresh(DataDigest="CRC32C", ErrorRecoveryLevel=level)
        for length in (1, 2, 3, 4, 5, 100, 1001):
            text = b"X-a=" + b"b" * length + b"\0"
            itt = conn.request(TEXT, word20=0xffffffff, data=text)
            if conn.wait(TEXT_RESPONSE, itt).data != b"X-a=NotUnderstood\0":
                return f"a Text Request of {length} bytes is not answered"
        for again in (True, False):
            inputs += 1
            itt = conn.next_itt()
            raw = bytearray(conn.pack(header(TEXT | IMMEDIATE, 0x80, 0, itt, 0xffffffff, conn.cmd_sn, conn.exp_stat_sn), b"X-a=b\0"))
            raw[-1] ^= 1
            conn.send_raw(bytes(raw))
            try:
                pdu = conn.recv(5)
            except Closed:
                if level == "0":
                    conn = fresh(DataDigest="CRC32C", ErrorRecoveryLevel=level)
                    continue
                return "a wrong digest ends the connection at ErrorRecoveryLevel 1"
            if (pdu.opcode, pdu.header[2]) != (REJECT, REASONS["data digest error"]):
                return f"a wrong digest is answered with {pdu}"
            if again:
                conn.request(TEXT, itt=itt, word20=0xffffffff, data=b"X-a=b\0", immediate=True)
                conn.wait(TEXT_RESPONSE, itt)
            if not conn.ping():
                return "the session is gone"
        conn.reset()
    return None


@hole("CVE-2026-23216, SCST 0655c3e76, SCST 90485f0c9", "connections that go while their last command does")
def _():
    global inputs
    for n in range(60):
        inputs += 1
        conn = fresh()
        for at in range(8):
            conn.command(read10(at * 8, 8), expect=4096)
        if n % 3 == 0:
            conn.request(6, 0x80, word20=0, immediate=True)
        (conn.reset if n % 2 else conn.close)()
    return None


@hole("CVE-2026-53021", "UNMAP with a range that wraps round")
def _():
    global inputs
    conn = fresh()
    for lba, blocks in ((2**64 - 8, 16), (2**64 - 1, 1), (2**64 - 1, 2**32 - 1), (2**63, 2**31), (1 << 33, 0xffffffff), (0, 0xffffffff)):
        inputs += 1
        data = struct.pack(">HH4xQI4x", 22, 16, lba, blocks)
        status, _, sense = conn.scsi(bytes([0x42]) + bytes(6) + struct.pack(">Hx", len(data)), data)
        if status != 2 or sense_code(sense)[0] != 5:
            return f"UNMAP of {blocks} at {lba:#x}: status {status}, {sense.hex()}"
    for opcode in (0x93, 0x8a, 0x88, 0x8f, 0x89, 0x91, 0x90, 0x8b, 0x8e, 0x9c):
        for lba in (2**64 - 1, 2**64 - 4, 2**63 - 1):
            inputs += 1
            cdb = struct.pack(">BBQIBB", opcode, 0, lba, 8, 0, 0)
            status, _, sense = conn.scsi(cdb, bytes(4096) if opcode not in (0x88, 0x91, 0x90) else b"", expect=4096 if opcode == 0x88 else 0)
            if status != 2 or sense_code(sense)[0] != 5:
                return f"{opcode:02x}h at {lba:#x}: status {status}, {sense.hex()}"
    return None


@hole("CVE-2026-53176", "a Login Request that is shorter than its header")
def _():
    global inputs
    whole = Conn().pack(bytes([LOGIN | IMMEDIATE, 0x87, 0, 0]) + bytes(44), b"InitiatorName=x\0")
    for cut in (*range(0, 52), 60, 63):
        inputs += 1
        conn = Conn()
        conn.send_raw(whole[:cut])
        conn.sock.shutdown(socket.SHUT_WR)
        if not conn.closed_within(5):
            return f"{cut} bytes leave the connection open"
        conn.close()
    return None


def transport_ids():
    """TransportIDs that break SPC-4 7.6.4.6, most of them by their length."""
    name = b"iqn.2026-01.org.example:x"
    yield struct.pack(">BBH", 5, 0, 20) + b"i" * 20
    yield struct.pack(">BBH", 5, 0, 0xffff) + name.ljust(28, b"\0")
    yield struct.pack(">BBH", 5, 0, 0) + name.ljust(28, b"\0")
    yield struct.pack(">BBH", 5, 0, 19) + name.ljust(28, b"\0")
    yield struct.pack(">BBH", 0x45, 0, 28) + name.ljust(28, b"\0")
    yield struct.pack(">BBH", 0x45, 0, 32) + (name + b",i,0x")[:32]
    yield struct.pack(">BBH", 0x45, 0, 36) + (name + b",i,0x12345").ljust(36, b"4")
    yield struct.pack(">BBH", 0x45, 0, 48) + (name + b",i,0xzzzzzzzzzzzz").ljust(48, b"\0")
    yield struct.pack(">BBH", 0x45, 0, 64) + (name + b",i,0x" + b"1" * 30).ljust(64, b"\0")
    yield struct.pack(">BBH", 5, 0, 224) + b"iqn." + b"a" * 220
    yield struct.pack(">BBH", 5, 0, 28) + bytes(28)
    yield struct.pack(">BBH", 0x85, 0, 28) + name.ljust(28, b"\0")
    yield struct.pack(">BBH", 6, 0, 28) + name.ljust(28, b"\0")
    yield b"\x05"
    yield b""


@hole("LIO, June 2026", "TransportIDs without an end, in REGISTER and in REGISTER AND MOVE")
def _():
    global inputs
    conn = fresh()

    def out(action, data, length=None):
        return conn.scsi(struct.pack(">BB3xIx", 0x5f, action, len(data) if length is None else length), data)

    for one in transport_ids():
        for slack in (0, 4, 0xfffc):
            if not one and not slack:
                # No TransportID at all is no fault.
                continue
            inputs += 2
            spec = struct.pack(">QQIBxxx", 0, 5, 0, 8) + struct.pack(">I", len(one) + slack) + one
            status, _, sense = out(0, spec)
            if status != 2 or sense_code(sense)[0] != 5:
                return f"SPEC_I_PT {one.hex()}: status {status}, {sense.hex()}"
            assert out(6, struct.pack(">QQIBxxx", 0, 5, 0, 0))[0] == 0
            move = struct.pack(">QQxBHI", 5, 6, 0, 1, len(one) + slack) + one
            status, _, sense = out(7, move)
            if status == 0:
                return f"REGISTER AND MOVE {one.hex()}: status {status}, {sense.hex()}"
            assert out(6, struct.pack(">QQIBxxx", 0, 0, 0, 0))[0] == 0
    for action in range(8):
        for length in (*range(0, 24), 25, 27, 28, 8192):
            inputs += 1
            data = bytes(min(length, 64))
            try:
                status, _, _ = conn.scsi(struct.pack(">BB3xIx", 0x5f, action, length), data)
            except Closed:
                return f"a list of {length} bytes ends the session"
            if status == 0 and action not in (3,):
                return f"PERSISTENT RESERVE OUT {action} with {length} bytes is carried out"
    return None


@hole("CVE-2025-68782", "CDBs in additional header segments")
def _():
    global inputs
    for length, kind, body in ((17, 1, 16), (32, 1, 31), (0, 1, 4), (1, 1, 4), (0xffff, 1, 4), (241, 1, 240), (1017, 1, 1016),
                               (5, 2, 4), (5, 0x7f, 4), (3, 1, 12)):
        inputs += 1
        conn = fresh()
        ahs = struct.pack(">HBB", length, kind, 0) + b"\x7f" * body
        ahs += bytes(-len(ahs) % 4)
        try:
            conn.command(bytes([0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0, 9]), expect=512, ahs=ahs[:1020])
            pdu = conn.recv(5)
            if pdu.opcode == SCSI_RESPONSE and pdu.header[3] == 0 or pdu.opcode not in (SCSI_RESPONSE, REJECT):
                return f"AHS of {length}, type {kind}: {pdu}"
            if not conn.ping():
                return "the session is gone"
        except Closed:
            pass
    return None


@hole("CVE-2025-39998, CVE-2026-46149", "long names and lists in configfs")
def _():
    disk = store("disk0")
    for name in ("alias", "wwn/pd_text_id_info"):
        for length in (255, 511, 512, 4000, 4095):
            try:
                with open(f"{disk}/{name}", "wb", buffering=0) as file:
                    file.write(b"x" * length)
            except OSError:
                continue
            with open(f"{disk}/{name}", "rb") as file:
                if len(file.read()) > 4096:
                    return f"{name} of {length} bytes"
    luns = [f"{tpg()}/lun/lun_{n}" for n in range(100, 200)]
    for path in luns:
        os.mkdir(path)
        os.symlink(disk, f"{path}/disk")
    try:
        text = page(f"{disk}/alua/default_tg_pt_gp/members")
    finally:
        for path in luns:
            unlink_all(path)
    members = [f"iSCSI/{TARGET}/tpgt_1/lun_{n}" for n in (0, *range(100, 200))]
    if not text or not set(text.splitlines()) <= set(members):
        return f"the members of a target port group are {text}"
    return None if page(f"{disk}/info") else "info is longer than a page"


def page(path):
    """What a file says; nothing if that is more than a page, or ends within a line."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return text if len(text) <= 4096 and text.endswith("\n") else None


@hole("LIO, info of an ACL", "an initiator with more sessions than a page has room for")
def _():
    global inputs
    name = "iqn.2026-01.org.example:many"
    os.mkdir(f"{tpg()}/acls/{name}")
    try:
        conns = [Conn().login(isid=next(ISIDS), initiator=name) for _ in range(20)]
        inputs += len(conns)
        text = page(f"{tpg()}/acls/{name}/info")
        for conn in conns:
            conn.logout()
    finally:
        os.rmdir(f"{tpg()}/acls/{name}")
    return None if text and f"InitiatorName: {name}" in text else f"it says {text}"


@hole("LIO, aborted WRITE_PENDING", "WRITEs that are aborted while their data is due")
def _():
    global inputs
    conn = fresh(ImmediateData="No", InitialR2T="Yes")
    before = conn.scsi(read10(0, 8), expect=4096)[1]
    for code in (1, 2, 5):
        for late in (True, False):
            inputs += 1
            one = fresh(ImmediateData="No", InitialR2T="Yes")
            itt = one.command(write10(0, 8), bytes([code]) * 4096, immediate_data=b"")
            r2t = one.wait(R2T, itt)
            tag = one.manage(code, itt if code == 1 else RESERVED_TAG)
            if late:
                one.data_out(r2t, bytes([code]) * 4096)
            if one.wait(TASK_MGMT_RESPONSE, tag, 5).header[2] != 0:
                return f"function {code} is not complete"
            if not one.ping():
                return "the session is gone"
            (one.logout if late else one.reset)()
    conn.ready()
    return None if conn.scsi(read10(0, 8), expect=4096)[1] == before else "an aborted WRITE is on the disk"


@hole("LIO, several LUN RESETs", "resets from all sides at once, with commands under way")
def _():
    global inputs
    conns = [fresh() for _ in range(4)]
    waits = []
    for _ in range(8):
        for conn in conns:
            inputs += 1
            conn.command(read10(0, 128), expect=65536)
            waits.append((conn, conn.manage(5)))
    for conn, tag in waits:
        if conn.wait(TASK_MGMT_RESPONSE, tag, 15).header[2] != 0:
            return "a reset is not complete"
    for conn in conns:
        conn.aside.clear()
        if conn.ready() != 0 or not conn.ping():
            return "a session is gone"
        conn.logout()
    return None


@hole("LIO, TAS and connections that go", "a reset by one, while the other one's connection ends")
def _():
    global inputs
    resetter = fresh()
    for n in range(20):
        inputs += 1
        conn = fresh()
        for at in range(8):
            conn.command(read10(at * 8, 8), expect=4096)
        tag = resetter.manage(5)
        (conn.reset if n % 2 else conn.close)()
        if resetter.wait(TASK_MGMT_RESPONSE, tag, 15).header[2] != 0:
            return "a reset is not complete"
    resetter.ready()
    return None if resetter.ping() else "the session is gone"


@hole("LIO, races of a login", "connections that go in the middle of their login")
def _():
    global inputs
    for n in range(60):
        inputs += 1
        conn, isid = Conn(), next(ISIDS)
        conn.login_pdu([("InitiatorName", INITIATOR), ("TargetName", TARGET), ("AuthMethod", "None")], 0, 1, isid=isid)
        if n % 4 >= 2:
            conn.login_answer()
            conn.login_pdu([("HeaderDigest", "None")], 1, 3, isid=isid)
        (conn.reset if n % 2 else conn.close)()
    return None


@hole("CVE-2020-28374, CVE-2021-3139", "EXTENDED COPY with the name of a disk that is not mapped")
def _():
    global inputs
    owner = Conn().login(target=CHAP, isid=next(ISIDS), chap=USER, mutual=MUTUAL)
    owner.ready()
    secret = os.urandom(4096)
    assert owner.scsi(write10(0, 8), secret)[0] == 0
    conn = fresh()
    assert conn.scsi(write10(0, 8), bytes(4096))[0] == 0
    names = []
    for one in (conn, owner):
        _, page, _ = one.scsi(bytes([0x12, 1, 0x83, 2, 0, 0]), expect=512)
        names.append(struct.pack(">BBHBBBB", 0xe4, 0, 0, 1, 3, 0, 16) + page[8:24].ljust(20, b"\0") + (512).to_bytes(4, "big"))
    for ends in ((0, 1), (1, 0), (1, 1)):
        inputs += 1
        segment = struct.pack(">BBHHHHHQQ", 2, 0, 0x18, *ends, 0, 8, 0, 0)
        data = struct.pack(">BBHIII", 1, 0, 64, 0, len(segment), 0) + b"".join(names) + segment
        status, _, sense = conn.scsi(struct.pack(">BB8xIxx", 0x83, 0, len(data)), data)
        if status != 2 or sense_code(sense) != (0xa, 0x0d, 2):
            return f"{ends}: status {status}, {sense.hex()}"
    if conn.scsi(read10(0, 8), expect=4096)[1] != bytes(4096) or owner.scsi(read10(0, 8), expect=4096)[1] != secret:
        return "something has been copied"
    return None


@hole("CVE-2013-2850", "an unknown key with a long name, before authentication")
def _():
    global inputs
    for length in (63, 64, 65, 100, 255, 1000, 8000):
        def act(length=length):
            conn = Conn()
            conn.login_pdu([("InitiatorName", INITIATOR), ("TargetName", CHAP), ("AuthMethod", "CHAP"), ("K" * length, "1")],
                           0, 0, transit=False, isid=next(ISIDS))
            _, keys = conn.login_answer()
            if any(len(key) > 63 for key in keys):
                raise AssertionError("a key of more than 63 bytes is answered")
        got = outcome(act)
        if length > 63 and got == "in" or got == "silent":
            return f"a name of {length} bytes: {got}"
    return None


@hole("LIO, CHAP_I", "identifiers in other forms, and out of range")
def _():
    def with_id(value):
        def pairs(conn, keys):
            return [*conn.chap_answer(keys, USER, None), ("CHAP_I", value), ("CHAP_C", "0x" + "11" * 16)]
        return answer(pairs)
    return refusals("not refused", [with_id(value) for value in ("256", "0x100", "-1", "4294967296", "", "0x", "zz", "1 ", "0b")])


@hole("CHAP reflection", "our own challenge, and our own response")
def _():
    def reflected(conn, keys):
        return [*conn.chap_answer(keys, USER, None), ("CHAP_I", keys["CHAP_I"]), ("CHAP_C", keys["CHAP_C"])]
    return refusals("not refused", [answer(reflected) for _ in range(3)])


@hole("CVE-2024-45751", "challenges that repeat")
def _():
    seen = set()
    for _ in range(40):
        conn, keys, _ = begun()
        seen.add(unhex(keys["CHAP_C"]))
        conn.close()
    return None if len(seen) == 40 and all(len(one) >= 16 for one in seen) else f"{len(seen)} different ones of 40"


@hole("CVE-2011-0001", "more data than a PDU may have, before the login")
def _():
    got = []
    for length in (8193, 8196, 65536, 0xffffff):
        def act(length=length):
            conn = Conn()
            conn.send_raw(bytes([LOGIN | IMMEDIATE, 0x87, 0, 0, 0]) + length.to_bytes(3, "big") + bytes(8) + struct.pack(">I", 1) + bytes(28))
            for _ in range(min(length, 1 << 18) // 4096 + 1):
                conn.send_raw(b"K=" + b"v" * 4093 + b"\0")
            conn.login_answer()
        got.append(outcome(act))
    return refusals("not refused", got)


@hole("CVE-2010-2221, CVE-2010-0743", "messages of iSNS")
def _():
    try:
        socket.create_connection(("127.0.0.1", 3205), 2).close()
        return "somebody listens for them"
    except ConnectionRefusedError:
        return None


@hole("SCST e34a4e097", "a login without InitiatorName")
def _():
    def act(keys):
        conn = Conn()
        conn.login_pdu(keys, 0, 1, isid=next(ISIDS))
        conn.login_answer()
    named = [("TargetName", TARGET), ("AuthMethod", "None")]
    return refusals("not refused", [outcome(lambda: act(named)), outcome(lambda: act([])),
                                    outcome(lambda: act([*named, ("InitiatorName", "")]))])


@hole("CVE-2021-28361", "a Text Request with the C bit and nothing in it")
def _():
    global inputs
    for how in ({}, {"target": None, "session": "Discovery"}):
        inputs += 1
        conn = Conn().login(isid=next(ISIDS), **how)
        itt = conn.request(TEXT, 0x40, word20=0xffffffff)
        try:
            pdu = conn.recv(5)
            if pdu.opcode not in (TEXT_RESPONSE, REJECT):
                return f"answered with {pdu}"
            for _ in range(50):
                conn.request(TEXT, 0x40, itt=itt, word20=pdu.ttt if pdu.opcode == TEXT_RESPONSE else 0xffffffff)
                pdu = conn.recv(5)
        except Closed:
            pass
    return None


@hole("SPDK, before 19.07, and LIO", "commands that expect another amount of data than they move")
def _():
    global inputs
    conn = fresh()
    for cdb, moves in ((read10(0, 8), 4096), (bytes([0x12, 0, 0, 0, 96, 0]), 96), (bytes.fromhex("9e10000000000000000000000020") + bytes(2), 32)):
        for expect in (0, 1, moves - 1, moves + 1, 65536, 0xffffffff):
            inputs += 1
            itt = conn.request(SCSI_COMMAND, 0xc1, 0, word20=expect, tail=cdb.ljust(16, b"\0"))
            status, data, _ = conn.result(itt)
            if len(data) > expect:
                return f"{cdb.hex()} with {expect}: {len(data)} bytes"
            if not conn.ping():
                return "the session is gone"
    return None


@hole("CVE-2025-57275", "more registrants than there is room for in an array")
def _():
    global inputs
    conns = [fresh() for _ in range(40)]
    for key, conn in enumerate(conns, 1):
        inputs += 1
        status, _, sense = conn.scsi(struct.pack(">BB3xIx", 0x5f, 0, 24), struct.pack(">QQIBxxx", 0, key, 0, 0))
        if status != 0:
            return f"registration {key}: {sense.hex()}"
    for action in (0, 3):
        for length in (8, 16, 100, 4096, 8192):
            status, data, _ = conns[0].scsi(struct.pack(">BB5xHx", 0x5e, action, length), expect=length)
            if status != 0 or len(data) > length:
                return f"PERSISTENT RESERVE IN {action} of {length}: {status}, {len(data)} bytes"
    keys = {int.from_bytes(data[at:at + 8], "big") for data in [conns[0].scsi(
        struct.pack(">BB5xHx", 0x5e, 0, 4096), expect=4096)[1]] for at in range(8, len(data), 8)}
    if keys != set(range(1, 41)):
        return f"keys {sorted(keys)}"
    conns[0].scsi(struct.pack(">BB3xIx", 0x5f, 3, 24), struct.pack(">QQIBxxx", 1, 0, 0, 0))
    for conn in conns:
        conn.close()
    return None


@hole("CVE-2024-42416", "REPORT SUPPORTED OPERATION CODES for every code and service action")
def _():
    global inputs
    conn = fresh()
    for options in (1, 2, 3):
        for opcode in range(256):
            for action in (0, 1, 0x1f, 0x20, 0xffff):
                inputs += 1
                status, data, sense = conn.scsi(struct.pack(">BBBBHIxx", 0xa3, 0x0c, options, opcode, action, 255), expect=255)
                if status not in (0, 2) or status == 2 and sense_code(sense)[0] != 5 or len(data) > 255:
                    return f"{options} {opcode:#x} {action:#x}: {status} {sense.hex()}"
    return None


@hole("CVE-2024-8178, CVE-2024-43110, CVE-2024-45063", "READ BUFFER, WRITE BUFFER, and memory that nobody has cleared")
def _():
    global inputs
    conn = fresh()
    for opcode in (0x3b, 0x3c):
        for mode in range(32):
            inputs += 1
            data = {"data": bytes(512)} if opcode == 0x3b else {"expect": 512}
            status, got, sense = conn.scsi(bytes([opcode, mode, 0, 0, 0, 0, 0, 2, 0, 0]), **data)
            if status != 2 or got or sense_code(sense) != (5, 0x20, 0):
                return f"{opcode:#x} mode {mode}: status {status}, {sense.hex()}, {got[:16].hex()}"
    for desc in (0, 1):
        for length in (0, 1, 3, 8, 18, 252, 255):
            status, got, _ = conn.scsi(bytes([3, desc, 0, 0, length, 0]), expect=max(1, length))
            if status != 0 or len(got) > length or got[8:18].strip(b"\0") or got[18:].strip(b"\0"):
                return f"REQUEST SENSE of {length}: {got.hex()}"
    return None


@hole("CVE-2026-64534, CVE-2026-64535", "data digests that do not match, in the middle of a WRITE")
def _():
    global inputs
    for level in ("0", "1"):
        for kind in ("immediate", "solicited"):
            inputs += 1
            conn = fresh(DataDigest="CRC32C", ErrorRecoveryLevel=level, ImmediateData="Yes" if kind == "immediate" else "No", InitialR2T="Yes")
            before = conn.scsi(read10(64, 8), expect=4096)[1]
            data = os.urandom(4096)
            itt, sn = conn.next_itt(), conn.next_cmd_sn()
            head = header(SCSI_COMMAND, 0xa1, 0, itt, 4096, sn, conn.exp_stat_sn, write10(64, 8).ljust(16, b"\0"))
            try:
                if kind == "immediate":
                    raw = bytearray(conn.pack(head, data))
                    raw[-1] ^= 0x55
                    conn.send_raw(bytes(raw))
                else:
                    conn.send(head)
                    r2t = conn.wait(R2T, itt)
                    for _ in range(2):
                        raw = bytearray(conn.pack(header(DATA_OUT, 0x80, 0, itt, r2t.ttt, 0, conn.exp_stat_sn, bytes(16)), data))
                        raw[-1] ^= 0x55
                        conn.send_raw(bytes(raw))
                # Rejected, and at level 0 at the latest now over; at level 1 asked for again.
                asked = False
                while True:
                    pdu = conn.recv(3)
                    if pdu.opcode == R2T:
                        asked = True
                        at, length = pdu.u32(40), pdu.u32(44)
                        conn.send(header(DATA_OUT, 0x80, 0, itt, pdu.ttt, 0, conn.exp_stat_sn,
                                         struct.pack(">IIII", 0, 0, at, 0)), data[at:at + length])
                    if pdu.opcode == SCSI_RESPONSE:
                        if pdu.header[3] == 0 and not asked:
                            return f"{kind} at level {level}: the write is said to be done"
                        if pdu.header[3] == 0:
                            before = data
                        break
            except (Closed, TimeoutError):
                pass
            conn.close()
            after = fresh()
            if after.scsi(read10(64, 8), expect=4096)[1] != before:
                return f"{kind} at level {level}: the disk is not what it should be"
            after.logout()
    return None


@hole("CVE-2020-10699, CVE-2020-13867", "files and sockets that anybody may use")
def _():
    subprocess.run(["ferritectl", "save", "/tmp/known-holes.json"], check=True)
    mode = os.stat("/tmp/known-holes.json").st_mode & 0o777
    os.unlink("/tmp/known-holes.json")
    if mode & 0o077:
        return f"what is saved has mode {mode:o}"
    for path in glob.glob("/sys/kernel/config/ferrite/iscsi/*/tpgt_1/acls/*/auth/password*"):
        # Whether there is one is no secret.
        if not path.endswith("_set") and os.stat(path).st_mode & 0o077:
            return f"{path} has mode {os.stat(path).st_mode:o}"
    return None


table = []
for name, what, test in TESTS:
    start = time.monotonic()
    try:
        wrong = test()
    except (AssertionError, Closed, Refused, Rejected, OSError, subprocess.CalledProcessError) as error:
        wrong = repr(error)
    if wrong is None:
        # Somebody else is served, at once.
        try:
            began = time.monotonic()
            conn = fresh()
            if not conn.ping():
                wrong = "a newcomer gets no answer"
            conn.logout()
            conn.close()
        except (Closed, Refused, Rejected, OSError, AssertionError) as error:
            wrong = f"a newcomer is not served: {error!r}"
    check(f"{name}: {what}", wrong is None, wrong)
    table.append((name, what, "held" if wrong is None else "FAILED", time.monotonic() - start))
for name, what, result, took in table:
    print(f"{name:48} {result:8} {took:5.1f} s  {what}")
print(f"@figure known holes: inputs, holes, open | {inputs}, {len(table)}, {sum(1 for row in table if row[2] != 'held')}")
