# SPDX-License-Identifier: GPL-2.0
"""What a portal that sends initiators elsewhere says in its Login Response.

redirect.py PORTAL OTHER: demo mode is off, so nobody may log in.
"""

import sys

from iscsi import Conn, Refused, check

try:
    Conn().login()
    check("a stranger is refused", False, "logged in")
except Refused as refused:
    check("a stranger is refused for what it is, and not sent on", refused.code == 0x0202,
          f"{refused.code:#06x}")
    check("and is not told the address", sys.argv[2].encode() not in refused.data,
          repr(refused.data))
