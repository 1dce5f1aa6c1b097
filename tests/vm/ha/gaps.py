# SPDX-License-Identifier: GPL-2.0
"""gaps.py FILE REPORT: writes a block again and again, each time to the medium.

REPORT has the number of writes, and the longest time without one in ms since it was last removed.
"""

import mmap
import os
import sys
import time

name, report = sys.argv[1:]
fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_DIRECT | os.O_DSYNC)
block = mmap.mmap(-1, 4096)
count = longest = told = 0
last = time.monotonic()
while True:
    os.pwrite(fd, block, 0)
    now = time.monotonic()
    count += 1
    longest = max(longest, now - last)
    if now > told + 0.2:
        if not os.path.exists(report):
            longest = now - last
        with open(report + ".new", "w", encoding="ascii") as file:
            file.write(f"{count} {longest * 1000:.0f}\n")
        try:
            os.rename(report + ".new", report)
        except FileNotFoundError:
            # It was removed at that very moment, by the other end of the share: told again soon.
            pass
        told = now
    last = now
    time.sleep(0.02)
