# SPDX-License-Identifier: GPL-2.0
"""Wrong digests (RFC 7143 sections 7.7 and 7.8 at ErrorRecoveryLevel 0)."""

from iscsi import (DATA_OUT, NOP_OUT, R2T, REASONS, REJECT, SCSI_RESPONSE, Conn, check, check_eq, header,
                   kernel_log, mark, sense_code, write10)

conn = Conn().login(HeaderDigest="CRC32C", DataDigest="CRC32C")
check("both digests are negotiated", conn.header_digest and conn.data_digest)
conn.ready()
data = bytes(range(256)) * 32
check_eq("a write with digests", 0, conn.scsi(write10(0, 16), data)[0])

# An additional header segment is under the header digest as well. It is one that holds a CDB
# longer than 16 bytes, which no command of ours has.
status, _, sense = conn.scsi(b"\x7f" + bytes(6) + b"\x18" + bytes(24))
check("a long CDB in an additional header segment is read", status == 2 and sense_code(sense) == (5, 0x20, 0), (status, sense_code(sense)))

# Data digest error in immediate data: Reject with reason 2, and the command ends.
since = mark("data digest")
itt = conn.next_itt()
raw = bytearray(conn.pack(header(0x01, 0xa1, 0, itt, 8192, conn.next_cmd_sn(), conn.exp_stat_sn,
                                 write10(0, 16).ljust(16, b"\0")), data))
raw[100] ^= 1
conn.send_raw(bytes(raw))
pdu = conn.recv()
check_eq("a data digest error is rejected", (REJECT, REASONS["data digest error"]), (pdu.opcode, pdu.header[2]))
check("the Reject carries the header of the bad PDU", pdu.data[:48] == bytes(raw[:48]), pdu.data.hex())
check("the connection goes on", conn.ping())
check("the kernel log names the initiator", "iqn.2026-01.org.example:raw" in kernel_log(since), kernel_log(since))

# And in the data of an R2T.
conn2 = Conn().login(DataDigest="CRC32C", ImmediateData="No", InitialR2T="Yes",
                     isid=bytes.fromhex("80feed000002"))
conn2.ready()
itt = conn2.command(write10(0, 16), data, immediate_data=b"")
r2t = conn2.wait(R2T, itt)
raw = bytearray(conn2.pack(header(DATA_OUT, 0x80, 0, itt, r2t.ttt, 0, conn2.exp_stat_sn, bytes(16)), data))
raw[60] ^= 0x80
conn2.send_raw(bytes(raw))
pdu = conn2.recv()
check_eq("a data digest error in Data-Out is rejected", (REJECT, REASONS["data digest error"]), (pdu.opcode, pdu.header[2]))
pdu = conn2.recv()
check("and its command ends with CHECK CONDITION", pdu.opcode == SCSI_RESPONSE and pdu.itt == itt and pdu.header[3] == 2, pdu)
sense = pdu.data[2:]
check("because of a protocol service CRC error", sense_code(sense) == (0xb, 0x47, 0x05), sense_code(sense))
check_eq("a good write goes on", 0, conn2.scsi(write10(0, 16), data)[0])
conn2.close()

# A wrong header digest ends the connection: where the next PDU begins is not known.
since = mark("header digest")
raw = bytearray(conn.pack(header(NOP_OUT | 0x40, 0x80, 0, 77, 0xffffffff, conn.cmd_sn, conn.exp_stat_sn)))
raw[50] ^= 1
conn.send_raw(bytes(raw))
check("a header digest error ends the connection", conn.closed_within(10))
check("and is told in the kernel log with the initiator's name",
      "iqn.2026-01.org.example:raw: header digest error" in kernel_log(since), kernel_log(since))
