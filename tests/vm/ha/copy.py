# SPDX-License-Identifier: GPL-2.0
"""copy.py SUMS FILES DIRECTORY STOP: copies what is in FILES, each to the medium before the next.

That is done again and again until STOP is there, and once at least. SUMS has the files' SHA-512
sums, as sha512sum prints them: what is written has its sum, so that a copy with another one is
wrong on the disk, and not in what it was made from. When each was copied is printed, in seconds
since the machine was booted, as the kernel's log has them.
"""

import hashlib
import os
import sys
import time

PIECE = 1 << 20


def source(path, right):
    for _ in range(3):
        with open(path, "rb") as file:
            data = file.read()
        if hashlib.sha512(data).hexdigest() == right:
            return data
        print(f"{path}: not read as it was written", flush=True)
    sys.exit(f"{path}: three times not read as it was written")


def copy(data, path):
    began = time.monotonic()
    with open(path, "wb") as file:
        for at in range(0, len(data), PIECE):
            file.write(data[at:at + PIECE])
        file.flush()
        os.fsync(file.fileno())
    print(f"{path}: {began:.3f} to {time.monotonic():.3f}", flush=True)


def main():
    sums, files, directory, stop = sys.argv[1:]
    with open(sums, encoding="ascii") as file:
        right = {name: value for value, name in map(str.split, file)}
    rounds = 0
    while rounds == 0 or not os.path.exists(stop):
        for name in sorted(right):
            copy(source(os.path.join(files, name), right[name]), os.path.join(directory, name))
            if rounds and os.path.exists(stop):
                break
        rounds += 1
    print(f"copied {rounds} times")


main()
