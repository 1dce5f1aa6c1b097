# SPDX-License-Identifier: GPL-2.0
"""Runs suites of iscsi-test-cu, each in a process of its own, and tells each test truthfully.

CUnit counts a test that skipped itself as passed and ends with 0 whatever happened; a test that
ran out of a broken context is "skipped" as well. So the log is read, line by line.

test_cu.py URL FAMILY.SUITE[.TEST]... ; a suite may be followed by =TEST,TEST: tests that may
skip themselves.
"""

import re
import subprocess
import sys

from iscsi import check, tell


def parse(text):
    """[(test, state, notes)] of a log; the state is pass, FAIL, skip or none."""
    tests = []
    for line in text.splitlines():
        match = re.match(r"\s*Test: (\S+) \.\.\.(.*)", line)
        if match:
            tests.append([match[1], None, []])
            line = match[2]
        if not tests:
            continue
        if line.startswith("Run Summary"):
            break
        test = tests[-1]
        if test[1] == "pass":
            continue
        state = line.strip()
        if state.startswith("passed"):
            # What follows, on this line even, is the suite tidying up, which tells what it
            # cannot tidy as skipped.
            test[1] = "pass"
            continue
        if state.startswith("FAILED"):
            test[1] = "FAIL"
        if "[SKIPPED]" in line:
            test[2].append("skip: " + line.split("[SKIPPED]")[1].strip())
        elif "[FAILED]" in line:
            test[2].append("fail: " + line.split("[FAILED]")[1].strip())
    for test in tests:
        if test[1] == "pass" and any(note.startswith("fail") for note in test[2]):
            test[1] = "FAIL"
        elif test[1] == "pass" and test[2]:
            test[1] = "skip"
    return tests


def run(url, suite, may_skip):
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
    if not ended:
        check(f"{suite} goes to its end", False, "killed or timed out")
    if not tests:
        check(f"{suite} runs some test", False, text[-200:].replace("\n", " "))
    for name, state, notes in tests:
        what = f"{suite.rpartition('.')[0] if suite.count('.') > 1 else suite}.{name}"
        note = "; ".join(dict.fromkeys(notes))[:300]
        if state == "pass":
            check(what, True)
        elif state == "skip" and (name in may_skip or "*" in may_skip):
            tell("skip", f"{what}: {note}")
        else:
            check(what, False, f"{state}: {note}")


for item in sys.argv[2:]:
    suite_name, _, allowed = item.partition("=")
    run(sys.argv[1], suite_name, allowed.split(","))
