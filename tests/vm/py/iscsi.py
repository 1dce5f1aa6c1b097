# SPDX-License-Identifier: GPL-2.0
"""A small iSCSI initiator for tests: it sends whatever it is told, right or wrong.

Only what the standards say (RFC 7143, RFC 7144, SPC-4, SBC-3) is known here, nothing about the
target. Checks are told to the case on descriptor 3, see lib.sh.
"""

import hashlib
import os
import re
import socket
import struct
import sys
import time

PORTAL = ("127.0.0.1", 3260)
TARGET = os.environ.get("IQN", "iqn.2026-01.org.example:store")
INITIATOR = "iqn.2026-01.org.example:raw"

# Opcodes, RFC 7143 section 11.2.1.2.
NOP_OUT, SCSI_COMMAND, TASK_MGMT, LOGIN, TEXT, DATA_OUT, LOGOUT, SNACK = (
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10)
(NOP_IN, SCSI_RESPONSE, TASK_MGMT_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, DATA_IN,
 LOGOUT_RESPONSE, R2T, ASYNC, REJECT) = (
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f)
IMMEDIATE = 0x40
RESERVED_TAG = 0xffffffff

# Reasons of a Reject, RFC 7143 section 11.17.1.
REASONS = {"data digest error": 0x02, "SNACK reject": 0x03, "protocol error": 0x04,
           "command not supported": 0x05, "immediate command reject": 0x06,
           "task in progress": 0x07, "invalid SNACK": 0x08, "invalid PDU field": 0x09,
           "out of resources": 0x0a, "negotiation reset": 0x0b, "waiting for logout": 0x0c}


# --- checks ---------------------------------------------------------------------------------

def tell(kind, text):
    os.write(3, f"@{kind} {text}\n".encode())
    print(f"=== {kind}: {text}", flush=True)


def check(name, good, why=""):
    """Counts a check; `why` is what was seen."""
    if good:
        tell("ok", name)
    else:
        tell("fail", f"{name} ({why})" if why != "" else name)
    return bool(good)


def check_eq(name, want, got):
    return check(name, want == got, f"{got!r} instead of {want!r}")


def counter(name):
    """One of the module's counters."""
    with open("/sys/kernel/config/ferrite/statistics", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.split()[0] == name)


def kernel_log(since=""):
    """The kernel log after the line `since`."""
    with os.popen("dmesg --notime") as log:
        text = log.read()
    return text.rpartition(since + "\n")[2] if since else text


def mark(text):
    """Writes a line to the kernel log that kernel_log() can look for."""
    line = f"ferrite-test: {text}"
    with open("/dev/kmsg", "w", encoding="ascii") as log:
        log.write(line)
    return line


# --- CRC32C ---------------------------------------------------------------------------------

def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xff]
    return (crc ^ 0xffffffff).to_bytes(4, "little")


# --- PDUs -----------------------------------------------------------------------------------

class Pdu:
    """A PDU: 48 bytes of header, additional header segments, data."""

    def __init__(self, header, data=b"", ahs=b""):
        self.header = bytearray(header)
        self.data = data
        self.ahs = ahs

    opcode = property(lambda self: self.header[0] & 0x3f)
    flags = property(lambda self: self.header[1])
    itt = property(lambda self: self.u32(16))
    ttt = property(lambda self: self.u32(20))
    stat_sn = property(lambda self: self.u32(24))
    exp_cmd_sn = property(lambda self: self.u32(28))
    max_cmd_sn = property(lambda self: self.u32(32))

    def u32(self, at):
        return struct.unpack_from(">I", self.header, at)[0]

    def __repr__(self):
        return f"<opcode {self.opcode:#04x} {self.header.hex()} data {len(self.data)}>"


def header(opcode, flags=0x80, lun=0, itt=0, word20=RESERVED_TAG, cmd_sn=0, exp_stat_sn=0,
           tail=b""):
    """The 48 bytes that most requests are built of; tail is what follows byte 32."""
    return (bytes([opcode, flags, 0, 0]) + bytes(4) + struct.pack(">Q", lun)
            + struct.pack(">IIII", itt, word20, cmd_sn, exp_stat_sn)
            + tail.ljust(16, b"\0"))


def lun(number):
    """LUN in single-level peripheral device or flat space addressing."""
    return number << 48 if number < 256 else (0x4000 | number) << 48


class Closed(Exception):
    """The target closed the connection."""


class Rejected(Exception):
    """Something was rejected while another answer was waited for."""

    def __init__(self, pdu):
        super().__init__(f"rejected with reason {pdu.header[2]:#04x}: {pdu.data.hex()}")
        self.reason = pdu.header[2]


class Refused(Exception):
    """A login ended with another status than success."""

    def __init__(self, status, detail, data=b""):
        super().__init__(f"login status {status:02x}{detail:02x}")
        self.code = status << 8 | detail
        self.data = data


class Conn:
    """A TCP connection with the numbers of its session."""

    def __init__(self, portal=PORTAL, timeout=20, source=None):
        self.sock = socket.create_connection(portal, timeout, source)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cmd_sn = 1
        self.exp_stat_sn = 0
        self.exp_cmd_sn = self.max_cmd_sn = None
        self.itt = 0
        self.header_digest = self.data_digest = False
        self.tsih = 0
        self.keys = {}
        # What came while something else was waited for.
        self.aside = []

    # -- bytes

    def bytes_in(self, count):
        got = b""
        while len(got) < count:
            try:
                part = self.sock.recv(count - len(got))
            except ConnectionError as error:
                raise Closed(str(error)) from None
            if not part:
                raise Closed("end of stream")
            got += part
        return got

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except ConnectionError as error:
            raise Closed(str(error)) from None

    def pack(self, head, data=b"", ahs=b""):
        """The bytes of a PDU: lengths, padding and digests are put in."""
        assert len(head) == 48 and len(ahs) % 4 == 0
        head = bytearray(head)
        head[4] = len(ahs) // 4
        head[5:8] = len(data).to_bytes(3, "big")
        out = bytes(head) + ahs
        if self.header_digest:
            out += crc32c(out)
        if data:
            padded = data + bytes(-len(data) % 4)
            out += padded
            if self.data_digest:
                out += crc32c(padded)
        return out

    def send(self, head, data=b"", ahs=b""):
        self.send_raw(self.pack(head, data, ahs))

    def recv(self, timeout=None):
        """The next PDU."""
        if timeout is not None:
            self.sock.settimeout(timeout)
        head = self.bytes_in(48)
        ahs = self.bytes_in(head[4] * 4)
        if self.header_digest:
            digest = self.bytes_in(4)
            assert digest == crc32c(head + ahs), "header digest of the target is wrong"
        length = int.from_bytes(head[5:8], "big")
        data = self.bytes_in(length + -length % 4)
        if self.data_digest and length:
            digest = self.bytes_in(4)
            assert digest == crc32c(data), "data digest of the target is wrong"
        assert not any(data[length:]), "padding is not zero"
        pdu = Pdu(head, data[:length], ahs)
        if pdu.opcode in (SCSI_RESPONSE, TASK_MGMT_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE,
                          LOGOUT_RESPONSE, ASYNC, REJECT) or (
                pdu.opcode == DATA_IN and pdu.flags & 1) or (
                pdu.opcode == NOP_IN and pdu.itt != RESERVED_TAG):
            self.exp_stat_sn = (pdu.stat_sn + 1) & 0xffffffff
        if pdu.opcode != DATA_IN or pdu.flags & 1:
            self.exp_cmd_sn, self.max_cmd_sn = pdu.exp_cmd_sn, pdu.max_cmd_sn
        return pdu

    def closed_within(self, seconds):
        """Whether the target closes the connection; PDUs that come before are kept aside."""
        end = time.monotonic() + seconds
        try:
            while True:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.aside.append(self.recv(left))
        except Closed:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # -- requests

    def next_itt(self):
        self.itt += 1
        return self.itt

    def next_cmd_sn(self):
        number = self.cmd_sn
        self.cmd_sn = (number + 1) & 0xffffffff
        return number

    def request(self, opcode, flags=0x80, lun=0, itt=None, word20=RESERVED_TAG, tail=b"",
                data=b"", ahs=b"", immediate=False, cmd_sn=None):
        """Sends a request with the next numbers; returns its tag."""
        if itt is None:
            itt = self.next_itt()
        if cmd_sn is None:
            cmd_sn = self.cmd_sn if immediate else self.next_cmd_sn()
        self.send(header(opcode | (IMMEDIATE if immediate else 0), flags, lun, itt, word20,
                         cmd_sn, self.exp_stat_sn, tail), data, ahs)
        return itt

    def wait(self, opcode, itt=None, timeout=20):
        """The next PDU of that kind; others are kept aside."""
        end = time.monotonic() + timeout
        while True:
            pdu = self.recv(max(0.01, end - time.monotonic()))
            if pdu.opcode == opcode and (itt is None or pdu.itt == itt):
                return pdu
            if pdu.opcode == REJECT:
                raise Rejected(pdu)
            self.aside.append(pdu)

    def manage(self, function, tag=RESERVED_TAG, lun=0, ref=None):
        """Sends a task management function, for the last command if nothing else is said; returns its tag."""
        return self.request(TASK_MGMT, 0x80 | function, lun, word20=tag, immediate=True,
                            tail=struct.pack(">I12x", self.cmd_sn - 1 if ref is None else ref))

    def command(self, cdb, data=b"", expect=0, lun=0, itt=None, flags=None, immediate_data=None,
                ahs=b"", immediate=False, cmd_sn=None, attr=1):
        """Sends a SCSI command: data goes out, expect bytes come in."""
        if flags is None:
            flags = 0x80 | (0x40 if expect else 0) | (0x20 if data else 0) | attr
        if immediate_data is None:
            immediate_data = data
        if len(cdb) > 16:
            spill = cdb[16:]
            ahs += struct.pack(">HBB", len(spill) + 1, 1, 0) + spill + bytes(-len(spill) % 4)
        return self.request(SCSI_COMMAND, flags, lun, itt, len(data) or expect,
                            cdb[:16].ljust(16, b"\0"), immediate_data, ahs, immediate, cmd_sn)

    def result(self, itt, data=b"", timeout=20):
        """Serves a command to its end, R2Ts included: (status, what came in, sense)."""
        got = {}
        while True:
            pdu = self.recv(timeout)
            if pdu.itt != itt or pdu.opcode not in (SCSI_RESPONSE, DATA_IN, R2T, REJECT):
                self.aside.append(pdu)
                continue
            if pdu.opcode == DATA_IN:
                got[pdu.u32(40)] = pdu.data
                if pdu.flags & 1:
                    return pdu.header[3], self.join(got), b""
            elif pdu.opcode == R2T:
                self.data_out(pdu, data)
            elif pdu.opcode == SCSI_RESPONSE:
                sense = pdu.data[2:2 + int.from_bytes(pdu.data[:2], "big")]
                return pdu.header[3], self.join(got), sense
            else:
                raise Rejected(pdu)

    @staticmethod
    def join(got):
        out = b""
        for offset in sorted(got):
            assert offset == len(out), "data is not contiguous"
            out += got[offset]
        return out

    def data_out(self, r2t, data, segment=8192):
        """Answers an R2T."""
        offset, length = r2t.u32(40), r2t.u32(44)
        sn = 0
        at = offset
        while at < offset + length:
            part = data[at:min(at + segment, offset + length)]
            last = at + len(part) == offset + length
            self.send(header(DATA_OUT, 0x80 if last else 0, struct.unpack_from(
                ">Q", r2t.header, 8)[0], r2t.itt, r2t.ttt, 0, self.exp_stat_sn,
                struct.pack(">IIII", 0, sn, at, 0)), part)
            at += len(part)
            sn += 1

    def scsi(self, cdb, data=b"", expect=0, lun=0, timeout=20):
        """A command from its beginning to its end."""
        itt = self.command(cdb, data, expect, lun, immediate_data=data[:self.immediate()])
        return self.result(itt, data, timeout)

    def immediate(self):
        if self.keys.get("ImmediateData", "Yes") != "Yes":
            return 0
        return min(8192, int(self.keys.get("FirstBurstLength", 65536)))

    def ready(self, lun=0):
        """TEST UNIT READY until no unit attention is left."""
        for _ in range(8):
            status, _, sense = self.scsi(bytes(6), lun=lun)
            if status != 2 or sense[2] & 0xf != 6:
                return status
        return status

    def ping(self, data=b"ping"):
        """A NOP-Out and its answer: whether all is well."""
        itt = self.request(NOP_OUT, data=data, immediate=True)
        return self.wait(NOP_IN, itt).data == data

    def logout(self, reason=0):
        itt = self.request(LOGOUT, 0x80 | reason, word20=0, immediate=True)
        return self.wait(LOGOUT_RESPONSE, itt)

    # -- login

    def login_pdu(self, keys, stage, following, transit=True, isid=bytes.fromhex("80feed000001"),
                  tsih=0, cid=0, cont=False):
        """Sends one Login Request; keys are pairs or ready bytes."""
        if not isinstance(keys, bytes):
            keys = b"".join(f"{k}={v}".encode() + b"\0" for k, v in keys)
        flags = (0x80 if transit else 0) | (0x40 if cont else 0) | stage << 2 | (
            following if transit else 0)
        head = (bytes([LOGIN | IMMEDIATE, flags, 0, 0]) + bytes(4) + isid
                + struct.pack(">HIHHII", tsih, 1, cid, 0, self.cmd_sn, self.exp_stat_sn)
                + bytes(16))
        self.send(head, keys)

    def login_answer(self):
        """(PDU, keys) of a Login Response; raises Refused if it is a refusal."""
        pdu = self.recv()
        if pdu.opcode != LOGIN_RESPONSE:
            raise AssertionError(f"no Login Response: {pdu}")
        if pdu.header[36]:
            raise Refused(pdu.header[36], pdu.header[37], pdu.data)
        keys = dict(pair.split("=", 1) for pair in pdu.data.decode().split("\0") if pair)
        self.keys.update(keys)
        return pdu, keys

    def login(self, target=TARGET, initiator=INITIATOR, chap=None, mutual=None,
              algorithms="7,6,5", isid=bytes.fromhex("80feed000001"), tsih=0, cid=0,
              session="Normal", **wanted):
        """Logs in; wanted holds operational keys, chap is (user, secret), mutual as well."""
        who = [("InitiatorName", initiator), ("SessionType", session)]
        if target:
            who.append(("TargetName", target))
        operational = {"HeaderDigest": "None", "DataDigest": "None", **wanted}
        args = {"isid": isid, "tsih": tsih, "cid": cid}
        if chap:
            self.login_pdu([*who, ("AuthMethod", "CHAP")], 0, 0, transit=False, **args)
            self.login_answer()
            self.login_pdu([("CHAP_A", algorithms)], 0, 0, transit=False, **args)
            _, keys = self.login_answer()
            self.login_pdu(self.chap_answer(keys, chap, mutual), 0, 1, **args)
            pdu, keys = self.login_answer()
            if mutual:
                self.check_mutual(keys, mutual)
        else:
            self.login_pdu([*who, ("AuthMethod", "None")], 0, 1, **args)
            pdu, _ = self.login_answer()
        for _ in range(8):
            self.login_pdu(list(operational.items()), 1, 3, **args)
            pdu, keys = self.login_answer()
            if pdu.flags & 0x80:
                break
            # What the target proposes is taken as it is.
            operational = {key: value for key, value in keys.items()
                           if key not in wanted and key not in self.DECLARED
                           and not key.endswith("Digest")}
        self.tsih = struct.unpack_from(">H", pdu.header, 14)[0]
        self.header_digest = self.keys.get("HeaderDigest") == "CRC32C"
        self.data_digest = self.keys.get("DataDigest") == "CRC32C"
        return self

    DECLARED = ("TargetPortalGroupTag", "TargetAlias", "TargetAddress", "TargetName",
                "MaxRecvDataSegmentLength")
    DIGESTS = {"5": hashlib.md5, "6": hashlib.sha1, "7": hashlib.sha256, "8": hashlib.sha3_256}

    def chap_answer(self, keys, chap, mutual):
        digest = self.DIGESTS[keys["CHAP_A"]]
        challenge = unhex(keys["CHAP_C"])
        proof = digest(bytes([int(keys["CHAP_I"])]) + chap[1].encode() + challenge).hexdigest()
        answer = [("CHAP_N", chap[0]), ("CHAP_R", "0x" + proof)]
        if mutual:
            self.challenge = os.urandom(len(challenge))
            self.digest = digest
            answer += [("CHAP_I", "77"), ("CHAP_C", "0x" + self.challenge.hex())]
        return answer

    def check_mutual(self, keys, mutual):
        proof = self.digest(bytes([77]) + mutual[1].encode() + self.challenge).digest()
        assert keys.get("CHAP_N") == mutual[0], f"the target names itself {keys.get('CHAP_N')}"
        assert unhex(keys.get("CHAP_R", "0x")) == proof, "the target does not know its secret"


def unhex(text):
    """A binary value of a text, RFC 7143 section 6.1 (hexadecimal only)."""
    match = re.fullmatch(r"0[xX]([0-9a-fA-F]*)", text)
    assert match, f"not hexadecimal: {text}"
    digits = match[1]
    return bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)


# --- SCSI -----------------------------------------------------------------------------------

def read10(lba, blocks, flags=0):
    return struct.pack(">BBIBHB", 0x28, flags, lba, 0, blocks, 0)


def write10(lba, blocks, flags=0):
    return struct.pack(">BBIBHB", 0x2a, flags, lba, 0, blocks, 0)


def sense_code(sense):
    """(key, ASC, ASCQ) of fixed or descriptor sense data."""
    if not sense:
        return None
    if sense[0] & 0x7e == 0x72:
        return sense[1] & 0xf, sense[2], sense[3]
    return sense[2] & 0xf, sense[12], sense[13]


# --- EXTENDED COPY, SPC-4 6.4 -----------------------------------------------------------------

def naa_of(conn, unit):
    """The NAA designator of VPD page 83h."""
    _, page, _ = conn.scsi(bytes([0x12, 1, 0x83, 2, 0, 0]), expect=512, lun=lun(unit))
    assert page[4:8] == bytes([1, 3, 0, 16]), page.hex()
    return page[8:24]


def cscd(naa, block=512, kind=0):
    """An identification CSCD descriptor."""
    return (struct.pack(">BBHBBBB", 0xe4, kind, 0, 1, 3, 0, len(naa)) + naa.ljust(20, b"\0")
            + block.to_bytes(4, "big"))


def b2b(source, destination, blocks, source_lba, destination_lba, flags=0):
    """A segment descriptor: block to block."""
    return struct.pack(">BBHHHHHQQ", 2, flags, 0x18, source, destination, 0, blocks, source_lba,
                       destination_lba)


def list1(cscds, segments, list_id=1, usage=0):
    """The parameter list of (LID1)."""
    one, two = b"".join(cscds), b"".join(segments)
    return struct.pack(">BBHIII", list_id, usage << 3, len(one), 0, len(two), 0) + one + two


def extended_copy(length, action=0):
    """The CDB, with a parameter list of so many bytes."""
    return struct.pack(">BB8xIxx", 0x83, action, length)


if __name__ == "__main__":
    print(__doc__)
    sys.exit(2)
