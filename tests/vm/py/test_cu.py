# SPDX-License-Identifier: GPL-2.0
"""Runs suites of iscsi-test-cu, each in a process of its own, and tells each test truthfully.

CUnit counts a test that skipped itself as passed and ends with 0 whatever happened; a test that
ran out of a broken context is "skipped" as well. So the log is read, line by line.

test_cu.py URL FAMILY.SUITE[.TEST]... ; a suite may be followed by =TEST,TEST: tests that skip
themselves. They have to, and for a reason that is true of the device: it is asked.
"""

import re
import subprocess
import sys

from iscsi import Conn, check, lun, tell

# Operation codes by the names that the suite has for them.
CODES = {
    "COMPAREANDWRITE": 0x89, "ORWRITE": 0x8b, "PERSISTENT RESERVE IN": 0x5e, "PROUT": 0x5f,
    "WRITEVERIFY10": 0x2e, "WRITEVERIFY12": 0xae, "WRITEVERIFY16": 0x8e,
}


class Device:
    """The logical unit, seen by an initiator that is not the suite's."""

    def __init__(self, number):
        self.lun = lun(number)
        self.conn = Conn().login()
        self.conn.ready(self.lun)

    def ask(self, cdb, length):
        status, data, sense = self.conn.scsi(
            cdb.ljust(16, b"\0"), expect=length, lun=self.lun)
        assert status == 0, f"status {status}, sense {sense.hex()}"
        return data

    def lacks(self, code):
        """REPORT SUPPORTED OPERATION CODES, for one: 001b is "not supported" (SPC-4 6.35.3)."""
        return self.ask(bytes([0xa3, 0x0c, 1, code, 0, 0, 0, 0, 0, 64]), 64)[1] & 7 == 1

    def is_true(self, reason):
        """Whether a reason to skip a test is true of the device."""
        match = re.fullmatch(r"(.+?) (?:is not implemented\.|Not Supported)", reason)
        if match:
            return match[1] in CODES and self.lacks(CODES[match[1]])
        if reason == "Media is not removable.":
            return self.ask(bytes([0x12, 0, 0, 0, 36]), 36)[1] & 0x80 == 0
        if reason == "LBPPB < 2. Skipping test":
            return self.ask(bytes([0x9e, 0x10]) + bytes(11) + b"\x20", 32)[13] & 0xf == 0
        if reason == "SWP is not changeable":
            # MODE SENSE(6), changeable values of the control page.
            return self.ask(bytes([0x1a, 8, 0x4a, 0, 255]), 255)[4 + 4] & 8 == 0
        return False


def parse(text):
    """[test, state, reasons to skip, failures] of a log; the state is pass, FAIL, skip or None."""
    tests = []
    for line in text.splitlines():
        match = re.match(r"\s*Test: (\S+) \.\.\.(.*)", line)
        if match:
            tests.append([match[1], None, [], []])
            line = match[2]
        if not tests:
            continue
        if line.startswith("Run Summary"):
            break
        test = tests[-1]
        state = line.strip()
        if test[1] is not None:
            # What is said after the last test has ended is said of the cleaning up.
            continue
        if state.startswith("passed"):
            test[1] = "pass"
        elif state.startswith("FAILED"):
            test[1] = "FAIL"
        elif "[SKIPPED]" in line:
            test[2].append(line.split("[SKIPPED]")[1].strip())
        elif state.endswith("SWP is not changeable"):
            # This one goes without the word.
            test[2].append("SWP is not changeable")
        elif "[FAILED]" in line:
            # For the eye alone: a test may expect that a command fails, and then passes.
            test[3].append(line.split("[FAILED]")[1].strip())
    for test in tests:
        if test[1] == "pass" and test[2]:
            test[1] = "skip"
    return tests


def run(url, suite, skipping):
    try:
        done = subprocess.run(
            ["iscsi-test-cu", "--dataloss", "-v", "-t", suite, url], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=150, check=False)
        text = done.stdout.decode("utf-8", "replace")
        ended = done.returncode >= 0
    except subprocess.TimeoutExpired as late:
        text, ended = (late.stdout or b"").decode("utf-8", "replace"), False
    print(f"--- {suite}")
    print(text)
    tests = parse(text)
    device = None
    if not ended:
        check(f"{suite} goes to its end", False, "killed or timed out")
    if not tests:
        check(f"{suite} runs some test", False, text[-200:].replace("\n", " "))
    for name, state, skips, failures in tests:
        what = f"{suite.rpartition('.')[0] if suite.count('.') > 1 else suite}.{name}"
        skips, failures = list(dict.fromkeys(skips)), list(dict.fromkeys(failures))
        note = "; ".join(skips + failures)[:300]
        expected = name in skipping
        if state == "skip" and expected:
            device = device or Device(int(url.rpartition("/")[2]))
            untrue = [reason for reason in skips if not device.is_true(reason)]
            if untrue:
                check(what, False, f"skipped, and that is not true: {'; '.join(untrue)}")
            else:
                tell("skip", f"{what}: {note}")
        else:
            check(what, state == "pass" and not expected,
                  "it skips itself no longer" if state == "pass" else f"{state}: {note}")
    if device:
        device.conn.logout()


for item in sys.argv[2:]:
    suite_name, _, names = item.partition("=")
    run(sys.argv[1], suite_name, names.split(",") if names else [])
