# SPDX-License-Identifier: GPL-2.0
"""Holds so much memory that hardly any is left, and follows what others do.

balloon.py LEFT-MIB FILE: FILE is written when it is so; it goes on until it is killed. It is the
first that the kernel may kill.
"""

import mmap
import sys
import time

LEFT, DONE = int(sys.argv[1]) << 10, sys.argv[2]
STEP = 1 << 20


def available():
    """KiB that could be had, also from caches."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))


with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
    score.write("1000")
held = []
told = False
while True:
    now = available()
    if now > LEFT + 1024:
        # Half of what is too much at a time: others take as well.
        for _ in range(max(1, (now - LEFT) // 2048)):
            held.append(mmap.mmap(-1, STEP))
            held[-1].write(b"\1" * STEP)
        continue
    if now < LEFT * 3 // 4 and held:
        held.pop().close()
    if not told:
        told = True
        with open(DONE, "w", encoding="ascii") as file:
            file.write(f"{len(held)} MiB\n")
    time.sleep(0.02)
