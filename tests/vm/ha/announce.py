# SPDX-License-Identifier: GPL-2.0
"""Announces each address that it reads to the segment of eth0."""

import socket
import sys

link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0x0806))
mac = link.getsockname()[4]
for line in sys.stdin:
    address = socket.inet_aton(line.strip())
    arp = bytes.fromhex("0806 0001 0800 06 04 0001")
    for _ in range(3):
        link.send(b"\xff" * 6 + mac + arp + mac + address + bytes(6) + address)
