# SPDX-License-Identifier: GPL-2.0
"""Logs in, reads a block, logs out: the quickest whole session.

raw_login.py [COUNT]
"""

import sys

from iscsi import Conn, read10

for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
    conn = Conn().login()
    if conn.ready() != 0:
        sys.exit("not ready")
    status, data, _ = conn.scsi(read10(0, 8), expect=4096)
    if status or len(data) != 4096:
        sys.exit(f"status {status}, {len(data)} bytes")
    conn.logout()
    conn.close()
