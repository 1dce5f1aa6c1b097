# SPDX-License-Identifier: GPL-2.0
"""Allocations of the kernel that fail: the first one that something needs, then the second, and so on.

What is written to a task's fail-nth says which one of its allocations fails; what is read there says how
many are left until then.
"""

import errno
import os

from iscsi import check, check_eq

FAULTS = "/sys/kernel/debug"
# More than any step needs.
MOST = 400
# How often a step is begun anew because the kernel has made workers meanwhile.
MOST_NEW = 20


def put(path, value):
    """Writes to a file that may have gone."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError:
        pass


def workers(bound=True):
    """The kernel's workers: their process numbers."""
    start = "kworker/" if bound else "kworker/u"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                if file.read().startswith(start):
                    yield pid
        except OSError:
            pass


class Tasks:
    """Tasks whose allocations fail: `find` gives their directories in /proc."""

    def __init__(self, find):
        self.find = find
        self.files = {}
        self.renew()

    def renew(self):
        """Whether there are new ones."""
        new = False
        for path in self.find():
            try:
                if path not in self.files:
                    self.files[path] = os.open(f"{path}/fail-nth", os.O_RDWR)
                    new = True
            except OSError:
                pass
        return new

    def arm(self, number):
        for file in self.files.values():
            try:
                os.pwrite(file, str(number).encode(), 0)
            except OSError:
                # It has ended.
                pass

    def disarm(self):
        """Whether an allocation has failed."""
        failed = False
        for file in self.files.values():
            try:
                failed |= int(os.pread(file, 16, 0)) == 0
            except OSError:
                pass
        self.arm(0)
        return failed


OWN = Tasks(lambda: ["/proc/thread-self"])
# Those of no particular CPU: who works for the module in process context is one of these.
WORKERS = Tasks(lambda: [f"/proc/{pid}" for pid in workers(bound=False)])


class Steps:
    """What is done with each allocation failing."""

    def __init__(self):
        self.steps = self.failures = self.refused = self.wrong = 0

    def fault(self, text):
        print(text, flush=True)
        self.wrong += 1

    def step(self, name, act, undo=None, before=None, state=None, tasks=OWN, errors=(errno.ENOMEM,)):
        """Does it again and again until nothing of it fails; it is done then. What was done in spite of a
        failure is undone, and what is refused must have left the `state` as it was. `act` gets what `before`
        returns."""
        self.steps += 1
        tasks.renew()
        number = 1
        renewed = 0
        while number < MOST:
            args = (before(),) if before else ()
            was = state and state()
            error = None
            tasks.arm(number)
            try:
                act(*args)
            except OSError as failure:
                error = failure.errno
            failed = tasks.disarm()
            if not failed:
                # There were not as many, unless somebody new has done it.
                if error:
                    self.fault(f"{name}: {errno.errorcode[error]}, though nothing failed")
                elif tasks.renew() and undo and renewed < MOST_NEW:
                    renewed += 1
                    undo()
                    continue
                return
            number += 1
            self.failures += 1
            if error:
                self.refused += 1
                if error not in errors:
                    self.fault(f"{name}: {errno.errorcode[error]} for want of memory, at {number - 1}")
                if state and state() != was:
                    self.fault(f"{name}: refused at {number - 1}, and yet {state()!r} instead of {was!r}")
            elif undo:
                undo()
        self.fault(f"{name} needs {MOST} allocations, or more")

    def tell(self, what):
        check_eq(f"{what}: each does without, or is refused and has done nothing", 0, self.wrong)
        check(f"{what}: allocations have failed", self.failures > self.steps, (self.steps, self.failures))
        print(f"@figure {what}, each allocation failing: steps, allocations failed, refused | "
              f"{self.steps}, {self.failures}, {self.refused}")
