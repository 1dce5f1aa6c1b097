# SPDX-License-Identifier: GPL-2.0
"""Tells in which blocks of 4 KiB a copy is not what was copied: differ.py FILE COPY"""

import sys

BLOCK = 4096


def main():
    with open(sys.argv[1], "rb") as file, open(sys.argv[2], "rb") as copy:
        right, wrong = file.read(), copy.read()
    print(f"{sys.argv[2]}: {len(wrong)} bytes instead of {len(right)}")
    places = {right[at:at + BLOCK]: at for at in range(0, len(right), BLOCK)}
    for at in range(0, len(right), BLOCK):
        block = wrong[at:at + BLOCK]
        if block != right[at:at + BLOCK]:
            print(f"  at {at}: {'zeros' if not any(block) else block[:16].hex()}"
                  f"{f', what belongs at {places[block]}' if block in places else ''}")


main()
