# SPDX-License-Identifier: GPL-2.0
"""Runs the KUnit suites of rust/kunit in a kernel made for it, and reads what they say.

The module with the suites is loaded into the kernel, which runs them and prints KTAP; that is
printed here as well, and counted at the end. A report of the kernel (lockdep, a warning, KASAN)
is a failure whatever the tests say.
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

import vm

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
CACHE = vm.CACHE
TOOLCHAIN = os.path.join(PROJECT, "scripts", "toolchain")
VM = os.path.join(PROJECT, "scripts", "vm")

# Before a line of the kernel's log: when, and by whom.
STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")

EPILOG = """
SUITE is a name such as ferrite_task, or ferrite_task.TEST for one test; shell patterns are
understood. Without it all are run. The exit status is 0 only if every test was run and passed
and the kernel had nothing to report.
"""

# What the kernel runs. Every allocation may be made to fail, not only those that cannot wait.
SCRIPT = """
mkdir -p /sys/kernel/debug /sys/kernel/config
grep -q ' /sys/kernel/debug ' /proc/mounts || mount -t debugfs none /sys/kernel/debug
grep -q ' /sys/kernel/config ' /proc/mounts || mount -t configfs none /sys/kernel/config
for kind in failslab fail_page_alloc; do
	echo N >/sys/kernel/debug/$kind/ignore-gfp-wait
	echo 0 >/sys/kernel/debug/$kind/verbose
done
echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
ip link set lo up
dmesg -n 8
# insmod waits for all the tests.
echo 1800 >/proc/sys/kernel/hung_task_timeout_secs
insmod /ferrite/ferrite.ko || echo 'kunit: the module cannot be loaded'
rmmod ferrite || echo 'kunit: the module cannot be unloaded'
if [ -e /sys/kernel/debug/kmemleak ]; then
	# What is younger than 5 s is not looked at.
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak
	echo scan >/sys/kernel/debug/kmemleak
	cat /sys/kernel/debug/kmemleak
fi
"""


class Outcome:
    """What was said by a run: tests that passed, and what went wrong."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skips = []
        self.suites = collections.OrderedDict()


def read(lines):
    """Reads the log of a run."""
    outcome = Outcome()
    suite, words = None, []
    planned, planned_tests, tests, suites_seen = None, None, 0, 0
    done = reported = False
    for raw in lines:
        line = STAMP.sub("", raw.rstrip("\r\n"))
        if match := re.match(r"1\.\.(\d+)$", line):
            planned, suites_seen = int(match[1]), 0
        elif match := re.match(r"    # Subtest: (\S+)", line):
            suite, tests, planned_tests, words = match[1], 0, None, []
            outcome.suites[suite] = 0
        elif match := re.match(r"    1\.\.(\d+)$", line):
            planned_tests = int(match[1])
        elif suite and (match := re.match(r"    (not )?ok \d+ (\S+)(?: # (SKIP))?", line)):
            tests += 1
            name = f"{suite}.{match[2]}"
            if match[1]:
                outcome.failures.append(f"{name}: {'; '.join(words)}" if words else name)
            elif match[3]:
                outcome.skips.append(name)
            else:
                outcome.passed += 1
                outcome.suites[suite] += 1
            words = []
        elif match := re.match(r"(not )?ok \d+ (\S+)", line):
            suites_seen += 1
            if tests != planned_tests:
                outcome.failures.append(f"{match[2]}: {tests} of {planned_tests} tests were run")
            suite = None
        elif match := re.search(r"ferrite: does not hold: (.*)", line):
            words.append(match[1])
        elif match := re.match(r"kunit: (.*)", line):
            if match[1] == "done":
                done = True
            else:
                outcome.failures.append(match[1])
        if not reported and vm.REPORTS.search(raw):
            # What follows it belongs to it.
            reported = True
            outcome.failures.append(f"the kernel reported: {line}")
    if planned is None or suites_seen != planned:
        outcome.failures.append(
            f"{suites_seen} of {planned if planned is not None else '?'} suites were run"
            + (f"; {suite} was not finished" if suite else ""))
    if not done:
        outcome.failures.append("the kernel did not come to an end by itself")
    return outcome


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def run(command, limit):
    """Runs a command, prints what it prints, and returns the lines."""
    lines = []
    print(f"+ {' '.join(command)}", flush=True)
    with subprocess.Popen(["timeout", "-k", "10", str(limit), *command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            print(line, flush=True)
            lines.append(line)
    if process.returncode == 124:
        lines.append(f"kunit: it was not done after {limit} s")
    return lines


def in_uml(release, module, pattern, limit):
    """User Mode Linux: a program, run in the build root, with a file system in memory."""
    kernel = os.path.join(CACHE, "kernels", release, "linux")
    work = os.path.join(PROJECT, "build", "kunit")
    tree = os.path.join(work, "initrd")
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "dev", "ferrite", "proc", "sys", "tmp"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy(module, os.path.join(tree, "ferrite", "ferrite.ko"))
    shutil.copy(os.path.join(CACHE, "root", "bin", "busybox"), os.path.join(tree, "bin"))
    init = os.path.join(tree, "init")
    with open(init, "w", encoding="utf-8") as file:
        file.write("#!/bin/busybox sh\n/bin/busybox --install -s /bin\n"
                   "mount -t proc none /proc\nmount -t sysfs none /sys\n"
                   f"mount -t devtmpfs none /dev\n{SCRIPT}\n"
                   "echo 'kunit: done' >/dev/kmsg\npoweroff -f\n")
    os.chmod(init, 0o755)
    # It keeps its memory in a file of TMPDIR, which is in memory in the build root. There is no
    # KASAN: what is freed is filled, and looked at, by the allocator itself.
    words = ["mem=512M", "ncpus=4", "seccomp=on", "con0=fd:0,fd:1", "initrd=../initrd.cpio",
             "slab_debug=FZP", "panic=-1", "panic_on_warn=1", "hung_task_panic=1", f"kunit.filter_glob={pattern}"]
    return run([TOOLCHAIN, "enter", "sh", "-c",
                'cd "$1" && find . | cpio -o -H newc --quiet >../initrd.cpio && shift && '
                'exec env TMPDIR=/tmp "$@"', "-", tree, kernel, *words], limit)


def in_vm(module, pattern, limit):
    """The debug kernel, in a virtual machine."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh", prefix="kunit-") as script:
        script.write(f"dmesg -C\n{SCRIPT}\ndmesg\necho 'kunit: done'\n")
        script.flush()
        return run([VM, "run", "--kernel", "debug", "--module", module, "--timeout", str(limit),
                    "--append", f"kunit.filter_glob={pattern}", script.name], limit + 300)


def main():
    top = argparse.ArgumentParser(
        prog="scripts/kunit", description="Builds the module with its KUnit suites and runs them.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--kernel", default="uml", choices=("uml", "debug"),
                     help="uml (User Mode Linux; the default), or debug (in a virtual machine, "
                     "with KASAN and kmemleak; slower)")
    top.add_argument("--timeout", type=int, default=600, metavar="S",
                     help="seconds that the tests may take (600)")
    # Not the kernel's own suites.
    top.add_argument("suite", nargs="?", default="ferrite_*", metavar="SUITE",
                     help="what is run (all)")
    options = top.parse_args()
    if not re.fullmatch(r"[\w.*?\[\]-]+", options.suite):
        top.error(f"{options.suite}: not the name of a suite or a test")
    if subprocess.run([TOOLCHAIN, "kunit", options.kernel], check=False).returncode:
        return 1
    release = output(TOOLCHAIN, "release", options.kernel)
    module = os.path.join(PROJECT, "build", f"kunit-{release}", "stripped.ko")
    if options.kernel == "uml":
        lines = in_uml(release, module, options.suite, options.timeout)
    else:
        lines = in_vm(module, options.suite, options.timeout)
    outcome = read(lines)
    for suite, passed in outcome.suites.items():
        print(f"{suite}: {passed} passed")
    for text in outcome.failures:
        print(f"FAILED: {text}")
    print(f"{outcome.passed} passed, {len(outcome.failures)} failed, {len(outcome.skips)} skipped")
    return 1 if outcome.failures or not outcome.passed else 0


if __name__ == "__main__":
    sys.exit(main())
