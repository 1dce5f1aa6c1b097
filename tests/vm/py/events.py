# SPDX-License-Identifier: GPL-2.0
"""Async Messages with AsyncEvent 0, as a raw initiator gets them. The disk is /dev/mapper/growing."""

import os

from host import dm, store
from iscsi import ASYNC, TARGET, Conn, check, check_eq, lun

TPG = f"/sys/kernel/config/ferrite/iscsi/{TARGET}/tpgt_1"
STORE = "/sys/kernel/config/ferrite/core"


def put(text, path):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def resize(sectors):
    for words in (["suspend", "growing"],
                  ["load", "growing", "--table", f"0 {sectors} linear /dev/vda 0"],
                  ["resume", "growing"]):
        dm(*words)


def event(conn, seconds):
    """(LUN field, sense key, ASC and ASCQ) of the next event; None if none comes."""
    conn.sock.settimeout(seconds)
    try:
        while True:
            pdu = conn.recv()
            if pdu.opcode == ASYNC:
                break
    except Exception:
        return None
    finally:
        conn.sock.settimeout(20)
    sense = pdu.data[2:]
    check_eq("SenseLength is the length of what follows", len(sense),
             int.from_bytes(pdu.data[:2], "big"))
    check_eq("AsyncEvent", 0, pdu.header[36])
    check_eq("the Initiator Task Tag is the reserved one", b"\xff" * 4, pdu.header[16:20])
    return pdu.header[8:16].hex(), sense[2] & 0xf, sense[12:14].hex()


def link(number, store):
    """Makes a LUN of a backstore."""
    for hba in os.listdir(STORE):
        path = os.path.join(STORE, hba, store)
        if os.path.isdir(path):
            os.mkdir(f"{TPG}/lun/lun_{number}")
            os.symlink(path, f"{TPG}/lun/lun_{number}/{store}")


def unlink(number, store):
    os.unlink(f"{TPG}/lun/lun_{number}/{store}")
    os.rmdir(f"{TPG}/lun/lun_{number}")


def luns(conn):
    status, data, _ = conn.scsi(bytes([0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]), expect=256)
    assert status == 0, status
    return [data[at + 1] for at in range(8, 8 + int.from_bytes(data[:4], "big"), 8)]


def attentions(conn, number):
    """What TEST UNIT READY tells of a unit until it is ready: ASC and ASCQ."""
    told = []
    while len(told) < 8:
        status, _, sense = conn.scsi(bytes(6), lun=lun(number))
        if status == 0:
            break
        told.append(sense[12:14].hex())
    return told


quiet = Conn().login()
quiet.ready()
resize(262144)
check("without scsi_events nothing comes", event(quiet, 4) is None)
check_eq("but the unit attention", (2, "2a09"), (lambda r: (r[0], r[2][12:14].hex()))(
    quiet.scsi(bytes(6))))

put("1", f"{TPG}/attrib/scsi_events")
resize(131072)
check_eq("the size of a disk has changed", (bytes(8).hex(), 6, "2a09"), event(quiet, 10))
check_eq("the unit attention comes as well", (2, "2a09"), (lambda r: (r[0], r[2][12:14].hex()))(
    quiet.scsi(bytes(6))))
link(7, "disk1")
check_eq("there is a new LUN", (bytes(8).hex(), 6, "3f0e"), event(quiet, 10))
check_eq("and REPORT LUNS lists it by then", [0, 7], luns(quiet))
check_eq("after which no unit tells of it", [[], ["2900"]], [attentions(quiet, n) for n in (0, 7)])
unlink(7, "disk1")
check_eq("it is gone", (bytes(8).hex(), 6, "3f0e"), event(quiet, 10))
check("the connection goes on", quiet.ping())
put("0", f"{TPG}/attrib/scsi_events")


def request_sense(conn):
    """ASC and ASCQ."""
    return conn.scsi(bytes([3, 0, 0, 0, 18, 0]), expect=18)[1][12:14].hex()


# UA_INTLCK_CTRL 10b: what is pending stays, whatever tells of it, until REQUEST SENSE.
interlock = f"{store('disk0')}/attrib/emulate_ua_intlck_ctrl"
while quiet.scsi(bytes(6))[0]:
    pass
put("1", interlock)
check_eq("the administrator has changed the mode parameters", "2a01", request_sense(quiet))
link(7, "disk1")
check_eq("there is a new LUN", [0, 7], luns(quiet))
check_eq("with the interlock, REPORT LUNS does not clear what is pending", [["3f0e"] * 8, ["2900"]],
         [attentions(quiet, n) for n in (0, 7)])
check_eq("REQUEST SENSE does", ("3f0e", []), (request_sense(quiet), attentions(quiet, 0)))
put("0", interlock)
check_eq("and so does anything without it", ["2a01"], attentions(quiet, 0))
unlink(7, "disk1")
quiet.logout()

# More LUNs than an answer of one page has room for.
many = range(1000, 1600)
for number in many:
    link(number, "disk1")
conn = Conn().login()
conn.ready()


def listed(most):
    """LUN LIST LENGTH, and the numbers that came."""
    status, data, _ = conn.scsi(b"\xa0" + bytes(5) + most.to_bytes(4, "big") + bytes(2), expect=most)
    assert status == 0, status
    return (int.from_bytes(data[:4], "big"),
            [int.from_bytes(data[at:at + 2], "big") & 0x3fff for at in range(8, len(data) - 7, 8)])


check_eq("REPORT LUNS lists all of many", (601 * 8, [0, *many]), listed(1 << 20))
check_eq("as far as there is room, and says how many there are", (601 * 8, [0, 1000, 1001]), listed(32))
check_eq("or only that", (601 * 8, []), listed(8))
conn.logout()
for number in many:
    unlink(number, "disk1")
