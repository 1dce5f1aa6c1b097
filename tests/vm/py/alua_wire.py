# SPDX-License-Identifier: GPL-2.0
"""One device behind two portal groups: LUN 0 at 127.0.0.1:3260 and at 127.0.0.1:3261."""

import host
from iscsi import Conn, sense_code

PORTALS = {1: ("127.0.0.1", 3260), 2: ("127.0.0.1", 3261)}


def get(path):
    return host.read(path).rstrip("\n")


def put(value, path):
    """The errno of a store, 0 if it was taken."""
    try:
        host.write(path, str(value))
        return 0
    except OSError as e:
        return e.errno


def connect(tpg, number):
    conn = Conn(PORTALS[tpg]).login(isid=bytes.fromhex("80feed0004") + bytes([number]))
    conn.ready()
    return conn


def attentions(conn):
    """What unit attentions are pending, in their order; TEST UNIT READY takes them."""
    seen = []
    for _ in range(8):
        status, _, sense = conn.scsi(bytes(6))
        code = sense_code(sense)
        if status != 2 or code[0] != 6:
            break
        seen.append(code)
    return seen


def answer(conn, cdb, data=b"", expect=0):
    """The data, or why there is none."""
    status, got, sense = conn.scsi(cdb, data, expect)
    return got if status == 0 else sense_code(sense) or status
