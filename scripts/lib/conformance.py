# SPDX-License-Identifier: GPL-2.0
"""Compares targets by the results of the case `conformance`.

The case runs every test of iscsi-test-cu on six kinds of disk, in a virtual machine with the
stock kernel: once for each target. What each test came to is in its log; here it is counted.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
LOG = os.path.join(PROJECT, "build", "test", "conformance.log")
OUT = os.path.join(PROJECT, "build", "conformance")
TARGETS = ("ferrite", "lio")
STATES = ("pass", "FAIL", "skip")


def run(target, build):
    """Runs the case for a target and returns {(kind, suite, test): (state, note)}."""
    print(f"conformance: running the suites against {target}", flush=True)
    command = [os.path.join(PROJECT, "scripts", "test"), "--target", target, "--jobs", "1", "--full",
               *([] if build else ["--no-build"]), "conformance"]
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, f"{target}.out"), "w", encoding="utf-8") as out:
        # Its verdict is about Ferrite; what is wanted here is the results alone.
        subprocess.run(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=out,
                       stderr=subprocess.STDOUT, check=False)
    with open(LOG, encoding="utf-8", errors="replace") as file:
        text = file.read()
    with open(os.path.join(OUT, f"{target}.log"), "w", encoding="utf-8") as file:
        file.write(text)
    results = parse(text)
    if not results:
        sys.exit(f"conformance: no test was run against {target}; see build/conformance/{target}.out")
    return results


def parse(text):
    results = {}
    for match in re.finditer(r"^\| @result (\S+) ([^.\s]+)\.(\S+) (pass|FAIL|skip) ?(.*)$", text,
                             re.MULTILINE):
        kind, suite, test, state, note = match.groups()
        results[kind, suite, test] = (state, note)
    return results


def count(results, chosen):
    """pass/FAIL/skip of the tests that are chosen."""
    states = collections.Counter(state for key, (state, _) in results.items() if chosen(key))
    return "/".join(str(states[state]) for state in STATES)


def table(rows):
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def show(results, targets, only):
    kinds = list(dict.fromkeys(kind for result in results.values() for kind, _, _ in result))
    for kind in kinds:
        if only and kind not in only:
            continue
        suites = sorted({suite for result in results.values() for k, suite, _ in result
                         if k == kind})
        print(f"\n{kind}: pass/FAIL/skip")
        rows = [["", *targets]]
        for suite in suites:
            rows.append([suite] + [count(results[target], lambda key, s=suite:
                                         key[0] == kind and key[1] == s) for target in targets])
        rows.append(["total"] + [count(results[target], lambda key: key[0] == kind)
                                 for target in targets])
        table(rows)
    print("\nall kinds: pass/FAIL/skip")
    table([["", *targets],
           ["total"] + [count(results[target], lambda key: True) for target in targets]])
    for target in targets:
        failed = [(key, note) for key, (state, note) in results[target].items() if state == "FAIL"]
        if failed:
            print(f"\nfailed against {target}:")
            for (kind, suite, test), note in failed:
                print(f"  {kind}: {suite}.{test}{': ' + note[:90] if note else ''}")


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/conformance",
        description="Runs every test of iscsi-test-cu on six kinds of disk against Ferrite and "
        "against the kernel's own target, and shows both side by side by suite. A test that "
        "skipped itself is not counted as passed. Takes five to twenty minutes for each target.",
        epilog="The results are also written to build/conformance/results.json. The exit status "
        "is 1 if a test failed against Ferrite.")
    parser.add_argument("--target", choices=TARGETS, action="append", dest="targets",
                        help="one target alone (both)")
    parser.add_argument("--kind", action="append", dest="kinds",
                        help="show this kind of disk alone (all)")
    parser.add_argument("--no-build", action="store_true",
                        help="use the module and the tool as they are")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    results = {target: run(target, not options.no_build and target == "ferrite")
               for target in targets}
    listed = [{"target": target, "kind": kind, "suite": suite, "test": test, "state": state,
               "note": note}
              for target, result in results.items()
              for (kind, suite, test), (state, note) in result.items()]
    with open(os.path.join(OUT, "results.json"), "w", encoding="utf-8") as file:
        json.dump(listed, file, indent=1)
    if options.json:
        print(json.dumps(listed, indent=1))
    else:
        show(results, targets, options.kinds)
    ours = results.get("ferrite", {})
    return 1 if any(state == "FAIL" for state, _ in ours.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
