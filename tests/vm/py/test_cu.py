# SPDX-License-Identifier: GPL-2.0
"""Runs suites of iscsi-test-cu, each in a process of its own, and tells each test truthfully.

CUnit counts a test that skipped itself as passed and ends with 0 whatever happened; a test that
ran out of a broken context is "skipped" as well. So the log is read, line by line.

test_cu.py [--kind KIND] [--second URL] [--skips PATTERN,...] [--alone] URL SUITE...

A suite is FAMILY.SUITE or FAMILY.SUITE.TEST, or `all but SUITE,SUITE` of a family: `ALL-X,Y`.
--skips has patterns for SUITE.TEST: those skip themselves. They have to, and for a reason that is
true of the device: it is asked. --kind is the kind of logical unit, for the names; --second
another way to the same one; --alone gives each test a process of its own.

Each test also gives a line `@result KIND SUITE.TEST STATE NOTE`, for the comparison of targets.
"""

import argparse
import fnmatch
import re
import subprocess
import time

from iscsi import Conn, check, lun, tell

# Operation codes by the names that the suite has for them.
CODES = {
    "COMPAREANDWRITE": 0x89, "ORWRITE": 0x8b, "PERSISTENT RESERVE IN": 0x5e, "PROUT": 0x5f,
    "WRITEVERIFY10": 0x2e, "WRITEVERIFY12": 0xae, "WRITEVERIFY16": 0x8e, "UNMAP": 0x42,
    "WRITE_ATOMIC16": 0x9c, "WRITEATOMIC16": 0x9c, "SANITIZE": 0x48, "READDEFECTDATA10": 0x37,
    "READDEFECTDATA12": 0xb7, "EXTENDED COPY": 0x83, "EXTENDEDCOPY": 0x83,
    "RECEIVECOPYRESULT": 0x84, "RECEIVE_COPY_RESULTS": 0x84,
}
# Service actions of SANITIZE.
SANITIZE = {"OVERWRITE": 1, "BLOCK_ERASE": 2, "CRYPTO_ERASE": 3, "EXIT FAILURE MODE": 0x1f}


class Device:
    """The logical unit, seen by an initiator that is not the suite's."""

    def __init__(self, number):
        self.lun = lun(number)
        # LIO sends data of no length, without end, to an initiator that does not say how much
        # it takes, though there is a default (RFC 7143 section 13.12).
        self.conn = Conn().login(MaxRecvDataSegmentLength="65536")
        self.conn.ready(self.lun)

    def ask(self, cdb, length):
        status, data, sense = self.conn.scsi(
            cdb.ljust(16, b"\0"), expect=length, lun=self.lun)
        assert status == 0, f"status {status}, sense {sense.hex()}"
        return data

    def lacks(self, code, action=None):
        """REPORT SUPPORTED OPERATION CODES, for one: 001b is "not supported" (SPC-4 6.35.3)."""
        options = 1 if action is None else 2
        return self.ask(bytes([0xa3, 0x0c, options, code, 0, action or 0, 0, 0, 0, 64]),
                        64)[1] & 7 == 1

    def is_thin(self):
        """LBPME in READ CAPACITY(16)."""
        return self.ask(bytes([0x9e, 0x10]) + bytes(11) + b"\x20", 32)[14] & 0x80 != 0

    def is_true(self, reason):
        """Whether a reason to skip a test is true of the device."""
        match = re.fullmatch(
            r"SANITIZE (.+) is not implemented according to REPORT_SUPPORTED_OPCODES\.", reason)
        if match:
            return match[1] in SANITIZE and self.lacks(0x48, SANITIZE[match[1]])
        if reason == "Third-party Copy VPD page is not implemented.":
            return 0x8f not in self.ask(bytes([0x12, 1, 0, 0, 255]), 255)[4:]
        match = re.fullmatch(r"(.+?) (?:is not implemented\.|Not Supported)", reason)
        if match:
            return match[1] in CODES and self.lacks(CODES[match[1]])
        if reason == "device too small to handle maxlen XCOPY":
            # RECEIVE COPY RESULTS, OPERATING PARAMETERS: MAXIMUM SEGMENT LENGTH, in bytes.
            limits = self.ask(bytes([0x84, 3]) + bytes(8) + bytes([0, 0, 1, 0]), 256)
            capacity = self.ask(bytes([0x9e, 0x10]) + bytes(11) + b"\x20", 32)
            blocks = int.from_bytes(capacity[:8], "big") + 1
            size = blocks * int.from_bytes(capacity[8:12], "big")
            return size < 2 * int.from_bytes(limits[16:20], "big")
        if reason == "Logical unit is fully provisioned. Skipping test":
            return not self.is_thin()
        if reason in ("Media is not removable.", "Logical unit is not removable. Skipping test."):
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


class Runner:
    def __init__(self, options):
        self.options = options
        self.prefix = f"{options.kind}: " if options.kind else ""
        self.skipping = options.skips.split(",") if options.skips else []

    def result(self, name, state, note=""):
        print(f"@result {self.options.kind or '-'} {name} {state} {note}")

    def is_true(self, reason):
        # A session of its own each time: one that is silent for long is ended.
        try:
            device = Device(int(self.options.url.rpartition("/")[2]))
            answer = device.is_true(reason)
            device.conn.logout()
        except Exception as error:
            # Another target may not even know the question.
            print(f"asking whether \"{reason}\" is true: {error!r}")
            return False
        return answer

    def run(self, suite):
        """A suite, or one test of it."""
        urls = [self.options.url]
        if self.options.second:
            urls.append(self.options.second)
        parts = suite.split(".")
        began = time.monotonic()
        try:
            done = subprocess.run(
                ["iscsi-test-cu", "--dataloss", "--allow-sanitize", "-v", "-t", suite, *urls],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=150, check=False)
            text = done.stdout.decode("utf-8", "replace")
            ended = done.returncode >= 0
        except subprocess.TimeoutExpired as late:
            text, ended = (late.stdout or b"").decode("utf-8", "replace"), False
        print(f"--- {suite}: {time.monotonic() - began:.1f} s")
        print(text)
        tests = parse(text)
        if not ended:
            check(f"{self.prefix}{suite} goes to its end", False, "killed or timed out")
        if not tests:
            check(f"{self.prefix}{suite} runs some test", False, text[-200:].replace("\n", " "))
            self.result(".".join(parts[1:]), "FAIL", "no test was run")
        for name, state, skips, failures in tests:
            self.judge(f"{parts[1]}.{name}", state or "FAIL", list(dict.fromkeys(skips)),
                       list(dict.fromkeys(failures)))

    def judge(self, name, state, skips, failures):
        note = "; ".join(skips + failures)[:300]
        self.result(name, state, note)
        what = self.prefix + name
        expected = any(fnmatch.fnmatchcase(name, pattern) for pattern in self.skipping)
        if state != "skip" or not expected:
            check(what, state == "pass" and not expected,
                  "it skips itself no longer" if state == "pass" else f"{state}: {note}")
            return
        untrue = [reason for reason in skips if not self.is_true(reason)]
        if untrue:
            check(what, False, f"skipped, and that is not true: {'; '.join(untrue)}")
        else:
            tell("skip", f"{what}: {note}")


def list_all():
    done = subprocess.run(["iscsi-test-cu", "-l"], stdin=subprocess.DEVNULL, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return [line.strip() for line in done.stdout.decode().splitlines()]


def expand(item, alone):
    """The suites that an argument stands for, or their tests."""
    known = list_all()
    if "." in item:
        suites = [item]
    else:
        family, _, without = item.partition("-")
        without = without.split(",")
        suites = [name for name in known if name.startswith(f"{family}.")
                  and name.count(".") == 1 and name.split(".")[1] not in without]
    if not alone:
        return suites
    return [name for suite in suites for name in
            ([suite] if suite.count(".") > 1 else
             [full for full in known if full.startswith(f"{suite}.")])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind")
    parser.add_argument("--second")
    parser.add_argument("--skips")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("url")
    parser.add_argument("suites", nargs="+")
    options = parser.parse_args()
    runner = Runner(options)
    for item in options.suites:
        suites = expand(item, options.alone)
        check(f"{runner.prefix}{item} names some suite", bool(suites), "none")
        for suite in suites:
            runner.run(suite)


main()
