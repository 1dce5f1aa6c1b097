# SPDX-License-Identifier: GPL-2.0
"""Runs every test and counts every check.

A test is a step on this machine (cargo, clippy, a build) or a case: a file of tests/vm/cases,
run in a virtual machine by tests/vm/guest.sh. Cases that want the same machine share a boot.
"""

import argparse
import base64
import collections
import ctypes
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

from vm import PATCHED_TEXT

import kunit

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get("FERRITE_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ferrite")
LOGS = os.path.join(PROJECT, "build", "test")
VM_TESTS = os.path.join(PROJECT, "tests", "vm")
CASES = os.path.join(VM_TESTS, "cases")
TOOLCHAIN = os.path.join(PROJECT, "scripts", "toolchain")
VM = os.path.join(PROJECT, "scripts", "vm")
KUNIT = os.path.join(PROJECT, "scripts", "kunit")

# The disks that every machine has: /dev/vda is for use as it is, /dev/vdb to cut in pieces.
DISKS = ["--disk", "1G", "--disk", "512M"]
# Seconds of cases that share a boot, by their own estimate.
CHUNK = 240
# How many times the debug kernel's time is the stock one's, and how many times it may be.
SLOWER = 4
SLOWEST = 8
# How many times as long a case may take with --full.
FULL = 8
# Lines of a failed case's log that are shown; the whole is in build/test.
SHOWN = 40

# The least version of Rust that compiles the workspace.
RUST = (1, 85)

STATUS = {97: "the virtual machine ended by itself", 98: "the virtual machine never booted",
          99: "the kernel reported a fault", 124: "the virtual machine's time was over"}

# How many cases may be run a second time, when all is run. Two machines at a time on emulated CPUs
# bend every clock; but what fails in more places than that has another reason.
UNSTEADY = 4
# A leak may be that of another case of the same machine, so that running one again says nothing.
LEAKED = "nothing has leaked"

# The kernel patches its code also after it has booted, where scripts/lib/vm.py cannot tell whether
# the script may be started again.
PATCHED = re.compile(f"^vm: the kernel reported: .*{PATCHED_TEXT}", re.MULTILINE)

# A defect of the stock kernel's own initiator, which a logout meets once in some hundreds: its
# workqueue waits for one that may not be waited for. It says nothing of the target.
FOREIGN = re.compile(r"WQ_MEM_RECLAIM iscsi_ctrl_\S+:__iscsi_unbind_session .* is flushing "
                     r"!WQ_MEM_RECLAIM pm:pm_runtime_work")

EPILOG = """
Without names, everything is run. The logs are in build/test/. The last line is
`N passed, N failed, N skipped`; the exit status is 0 only if none failed.
"""


class Results:
    """What was counted, and what is said about it while it is counted."""

    def __init__(self):
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.skips = []
        self.unsteady = []
        self.faults = []

    def say(self, text):
        with self.lock:
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def count(self, name, passed, failures, skips, seconds, log_tail=()):
        """Adds the checks of one test and shows them: failures and skips are lists of texts."""
        with self.lock:
            self.passed += passed
            self.failed += len(failures)
            self.skipped += len(skips)
            self.failures += [f"{name}: {text}" for text in failures]
            self.skips += [f"{name}: {text}" for text in skips]
            parts = [f"{passed} passed"]
            if failures:
                parts.append(f"{len(failures)} FAILED")
            if skips:
                parts.append(f"{len(skips)} skipped")
            print(f"{time.strftime('%H:%M:%S')} {name}: {', '.join(parts)} ({seconds:.0f} s)",
                  flush=True)
            for text in failures:
                print(f"    FAILED: {text}")
            for text in skips:
                print(f"    skipped: {text}")
            if failures:
                for line in log_tail:
                    print(f"    | {line}")
            sys.stdout.flush()

    def doubt(self, name, failures, log_tail):
        """Shows what failed and does not count yet: it will be run once more, by itself."""
        with self.lock:
            self.unsteady += [f"{name}: {text}" for text in failures]
            print(f"{time.strftime('%H:%M:%S')} {name}: {len(failures)} failed; to be run again")
            for text in failures:
                print(f"    failed: {text}")
            for line in log_tail:
                print(f"    | {line}")
            sys.stdout.flush()

    def fault(self, name, report):
        """A report of the kernel, to be shown again at the end."""
        with self.lock:
            self.faults.append((name, report))

    def finish(self):
        for name, report in self.faults:
            print(f"\nWhat the kernel said in {name}:")
            for line in report:
                print(f"    {line}")
        if self.unsteady:
            print("\nUnsteady (failed the first time; what the second came to counts):")
            for text in self.unsteady:
                print(f"    {text}")
        if self.failures:
            print("\nFailed:")
            for text in self.failures:
                print(f"    {text}")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        return 1 if self.failed or not self.passed else 0


def die_with_parent():
    """In the child: however this process ends, what it has started ends as well."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def log_path(name):
    os.makedirs(LOGS, exist_ok=True)
    return os.path.join(LOGS, f"{name}.log")


def tail(path, count=SHOWN):
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in collections.deque(file, count)]


# --- steps on this machine ------------------------------------------------------------------

def host_cargo():
    """Whether this machine has all that the workspace's tests need, in versions that do."""
    def version(*command):
        try:
            out = subprocess.run([*command, "--version"], cwd=PROJECT, capture_output=True,
                                 text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return (0, 0)
        match = re.search(r"(\d+)\.(\d+)", out)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    libclang = "LIBCLANG_PATH" in os.environ or any(
        re.match(r"libclang(-[\d.]+)?\.so", name)
        for directory in ("/usr/lib/x86_64-linux-gnu", *(
            os.path.join("/usr/lib", d, "lib") for d in os.listdir("/usr/lib")
            if d.startswith("llvm-")))
        if os.path.isdir(directory) for name in os.listdir(directory))
    return (version("cargo") >= RUST and version("cargo", "clippy") > (0, 0)
            and version("rustfmt") > (0, 0) and shutil.which("cc") and libclang)


class Host:
    """The steps."""

    def __init__(self, results, kernel):
        self.results = results
        self.kernel = "primary" if kernel == "stock" else kernel
        self.own_cargo = host_cargo()

    def cargo(self, *arguments):
        """A command line for cargo: this machine's, or the build root's."""
        if self.own_cargo:
            return ["cargo", *arguments]
        return ["env", f"CARGO_TARGET_DIR={PROJECT}/target/build-root", TOOLCHAIN, "cargo",
                *arguments]

    def run(self, name, command, env=None):
        """Runs a command with its output in the step's log; returns whether it succeeded."""
        with open(log_path(name), "ab") as log:
            log.write(f"+ {' '.join(command)}\n".encode())
            log.flush()
            done = subprocess.run(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=subprocess.STDOUT, check=False,
                                  env={**os.environ, **(env or {})})
            log.write(f"= status {done.returncode}\n".encode())
        return done.returncode == 0

    def step(self, name, words, *commands):
        """A step that is one check."""
        self.results.say(f"{name}: {words}")
        start = time.monotonic()
        open(log_path(name), "wb").close()
        ok = all(self.run(name, command) for command in commands)
        self.results.count(name, 1 if ok else 0, [] if ok else [words], [],
                           time.monotonic() - start, tail(log_path(name)))
        return ok

    def sources(self, *suffixes):
        files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True,
                               text=True, check=True).stdout.split("\0")
        return [f for f in files if f and os.path.isfile(os.path.join(PROJECT, f))
                and (not suffixes or f.endswith(suffixes))]

    def scripts(self):
        found = []
        for path in self.sources():
            if path.endswith(".sh"):
                found.append(path)
                continue
            with open(os.path.join(PROJECT, path), "rb") as file:
                first = file.readline(64)
            if re.match(rb"#!.*\b(ba|da)?sh\b", first):
                found.append(path)
        return found

    # Each step is a method; its first line says what is checked.

    def do_fmt(self):
        """every Rust source is formatted"""
        rustfmt = ["rustfmt"] if shutil.which("rustfmt") else [TOOLCHAIN, "enter", "rustfmt"]
        self.step("fmt", self.do_fmt.__doc__,
                  [*rustfmt, "--edition", "2021", "--check", *self.sources(".rs")])

    def do_shell(self):
        """every shell script is clean by shellcheck"""
        self.step("shell", self.do_shell.__doc__, ["shellcheck", *self.scripts()])

    def do_layers(self):
        """no module uses one that it must not know"""
        self.step("layers", self.do_layers.__doc__, ["scripts/check-layers"])

    def do_unit(self):
        """the workspace's own tests"""
        name = "unit"
        self.results.say(f"{name}: {self.do_unit.__doc__} (cargo test)")
        start = time.monotonic()
        open(log_path(name), "wb").close()
        # The wire formats are compared with the kernel's header, in its source.
        ready = self.run(name, [TOOLCHAIN, "prepare"])
        ok = self.run(name, self.cargo("test", "--workspace", "--locked", "--no-fail-fast"))
        passed, failures, skips = 0, [], []
        with open(log_path(name), encoding="utf-8", errors="replace") as file:
            for line in file:
                match = re.match(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", line)
                if match:
                    passed += int(match[1])
                match = re.match(r"test (\S+).* \.\.\. (\w+)", line)
                if match and match[2] == "FAILED":
                    failures.append(match[1])
                elif match and match[2] == "ignored":
                    skips.append(match[1])
        if not ready:
            failures.append("the kernel's source is there")
        if not ok and not failures:
            failures.append("the tests are built")
        if ok and not passed:
            failures.append("some test is run")
        self.results.count(name, passed, failures, skips, time.monotonic() - start,
                           tail(log_path(name)))

    def do_clippy(self):
        """clippy has no word to say about the workspace"""
        self.step("clippy", self.do_clippy.__doc__, self.cargo(
            "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"))

    def do_tools(self):
        """ferritectl and the fuzzer are built"""
        self.step("tools", self.do_tools.__doc__, ["make", "userspace-tools", "test-tools"])

    def do_oldest_rust(self):
        """ferritectl is built by Debian 13's own Rust"""
        # Without optimising it: that is not what an old compiler can trip over.
        self.step("oldest-rust", self.do_oldest_rust.__doc__, [
            "env", f"CARGO_TARGET_DIR={PROJECT}/target/build-root", TOOLCHAIN, "cargo", "build",
            "--locked", "-p", "ferritectl"])

    def do_module(self):
        """the module is built for the kernel that it is tested on"""
        self.step("module", self.do_module.__doc__, [TOOLCHAIN, "module", self.kernel])

    def do_other_kernels(self):
        """the module is built for the other kernels of the suite"""
        name = "other-kernels"
        releases = {}
        for kernel in ("primary", "newest", "previous"):
            found = subprocess.run([TOOLCHAIN, "release", kernel], cwd=PROJECT,
                                   capture_output=True, text=True, check=False)
            if found.returncode == 0:
                releases.setdefault(found.stdout.strip(), kernel)
        commands = [[TOOLCHAIN, "module", kernel] for kernel in releases.values()
                    if kernel != "primary"]
        if commands:
            self.step(name, self.do_other_kernels.__doc__, *commands)
        else:
            self.results.count(name, 0, [], ["the suite has but one kernel"], 0)

    def do_debug_kernel(self):
        """the module is built for a kernel with KASAN, lockdep and kmemleak"""
        self.step("debug-kernel", self.do_debug_kernel.__doc__, [TOOLCHAIN, "module", "debug"])

    def do_kernel_clippy(self):
        """clippy has no word to say about the module"""
        self.step("kernel-clippy", self.do_kernel_clippy.__doc__, [TOOLCHAIN, "clippy", "primary"])

    def do_panics(self):
        """the module has no way to panic but those that are known"""
        self.step("panics", self.do_panics.__doc__, ["scripts/check-panics"])

    def do_kunit(self):
        """the KUnit suites, in a kernel with lockdep that is made for them"""
        name = "kunit"
        self.results.say(f"{name}: {self.do_kunit.__doc__}")
        start = time.monotonic()
        open(log_path(name), "wb").close()
        self.run(name, [KUNIT])
        with open(log_path(name), encoding="utf-8", errors="replace") as file:
            outcome = kunit.read(file)
        self.results.count(name, outcome.passed, outcome.failures, outcome.skips,
                           time.monotonic() - start, tail(log_path(name)))

    # Two lanes, each of which runs beside the other: the compiler has one thread for a module.
    LANES = (["fmt", "shell", "layers", "unit", "clippy", "tools", "oldest_rust"],
             ["module", "other_kernels", "kernel_clippy", "panics", "kunit", "debug_kernel"])

    def work_off(self, names):
        """Runs the steps of these names."""
        def lane(steps):
            for step in steps:
                if step.replace("_", "-") in names:
                    getattr(self, f"do_{step}")()

        lanes = [threading.Thread(target=lane, args=(steps,)) for steps in self.LANES]
        for thread in lanes:
            thread.start()
        for thread in lanes:
            thread.join()


# --- cases in virtual machines --------------------------------------------------------------

class Case:
    """A file of tests/vm/cases. Its head has lines `# key: value`:

    time     seconds that it usually takes (30)
    limit    seconds after which it counts as hung (eight times as many, at least 240)
    machine  further arguments for scripts/vm run; cases with the same share a boot
    runs     guest (the default), or host for a script that starts virtual machines itself
    kernels  kernels that it is run on when all is run: stock (the default), previous, debug
    draft    why it does not count yet: it is run only when it is named
    """

    def __init__(self, name, kernel="stock", full=False):
        self.name = name
        self.kernel = kernel
        self.label = name if kernel == "stock" else f"{name}@{kernel}"
        self.path = os.path.join(CASES, f"{name}.sh")
        head = {}
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                if not line.startswith("#"):
                    break
                match = re.match(r"# (time|limit|machine|runs|kernels|draft): (.*)", line)
                if match:
                    head[match[1]] = match[2].strip()
        self.seconds = int(head.get("time", "30"))
        self.limit = int(head.get("limit", str(max(240, 8 * self.seconds))))
        if kernel == "debug":
            # KASAN and lockdep, on an emulated CPU.
            self.seconds *= SLOWER
            self.limit *= SLOWEST
        if full:
            self.limit *= FULL
        self.machine = head.get("machine", "")
        self.kernels = head.get("kernels", "stock").split()
        self.on_host = head.get("runs") == "host"
        self.draft = head.get("draft")


class Outcome:
    """The checks of one case, as its lines come."""

    def __init__(self, case):
        self.case = case
        self.start = time.monotonic()
        self.passed = 0
        self.failures = []
        self.skips = []
        self.log = open(log_path(case.label), "w", buffering=1, encoding="utf-8")

    def line(self, line):
        self.log.write(line + "\n")
        kind, _, text = line.partition(" ")
        if kind == "@ok":
            self.passed += 1
        elif kind == "@fail":
            self.failures.append(text)
        elif kind == "@skip":
            self.skips.append(text)

    def close(self):
        """Nothing comes any more. Returns the end of the log."""
        self.log.close()
        if not self.passed + len(self.failures) + len(self.skips):
            self.failures.append("it checks something")
        return [re.sub(r"^\| ", "", line) for line in tail(self.log.name)]

    def finish(self, results):
        last = self.close()
        results.count(self.case.label, self.passed, self.failures, self.skips,
                      time.monotonic() - self.start, last)

    def doubt(self, results):
        last = self.close()
        results.doubt(self.case.label, self.failures, last)


class Runner:
    """Cases in machines, two at a time."""

    def __init__(self, results, options):
        self.results = results
        self.options = options
        self.jobs = collections.deque()
        self.lock = threading.Condition()
        self.running = 0
        self.boots = 0
        # Cases that failed and are to be run once more; None when it is what it is.
        self.again = [] if not options.names else None

    def run(self, cases):
        if self.options.target != "ferrite":
            # It may wait for what never comes, again and again, and is to be seen to its end.
            for case in cases:
                case.limit *= 3
        for group in chunks(cases):
            self.jobs.append((group, 1))
        self.work_off()
        if self.again:
            self.jobs.extend(([case], 1) for case in self.again)
            self.again = None
            self.work_off()

    def finish(self, outcome):
        """A case has come to its end."""
        with self.lock:
            doubtful = (outcome.failures and self.again is not None and len(self.again) < UNSTEADY
                        and not any(text.startswith(LEAKED) for text in outcome.failures))
            if doubtful:
                self.again.append(outcome.case)
        if doubtful:
            outcome.doubt(self.results)
        else:
            outcome.finish(self.results)

    def work_off(self):
        workers = [threading.Thread(target=self.work) for _ in range(self.options.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def work(self):
        while True:
            with self.lock:
                # One at work may leave something to do.
                while not self.jobs and self.running:
                    self.lock.wait()
                if not self.jobs:
                    return
                cases, attempt = self.jobs.popleft()
                self.running += 1
                self.boots += 1
                number = self.boots
            try:
                rest = self.boot(number, cases, attempt)
            finally:
                with self.lock:
                    self.running -= 1
                    self.lock.notify_all()
            if rest:
                with self.lock:
                    self.jobs.appendleft(rest)
                    self.lock.notify_all()

    def boot(self, number, cases, attempt):
        """Runs cases; returns what is left to be run, with the number of the attempt."""
        if cases[0].on_host:
            return self.run_on_host(cases[0])
        self.results.say(f"vm {number}: {', '.join(case.label for case in cases)}")
        with tempfile.NamedTemporaryFile("w", suffix=".sh", prefix="cases-") as script:
            script.write(guest_script(cases, self.options))
            script.flush()
            limit = 60 + sum(case.limit + 40 for case in cases)
            command = [VM, "run", "--timeout", str(limit), "--kernel", cases[0].kernel, *DISKS,
                       *cases[0].machine.split(), script.name]
            with open(log_path(f"vm-{number}"), "wb") as errors:
                vm = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=errors, preexec_fn=die_with_parent)
                todo = list(cases)
                outcome = None
                watch = threading.Timer(0, lambda: None)
                for raw in vm.stdout:
                    line = raw.decode("utf-8", "replace").rstrip("\r\n")
                    if line.startswith("@case "):
                        case = todo.pop(0)
                        outcome = Outcome(case)
                        # The guest itself ends what hangs, unless it hangs as a whole.
                        watch.cancel()
                        watch = threading.Timer(case.limit + 90, vm.terminate)
                        watch.start()
                    elif line.startswith("@end ") and outcome:
                        self.finish(outcome)
                        outcome = None
                    elif outcome:
                        outcome.line(line)
                watch.cancel()
                status = vm.wait()
        problem = STATUS.get(status, f"status {status}")
        words = tail(errors.name, 60)
        if outcome and status == 99 and attempt < 3 and is_foreign(errors.name):
            self.results.say(f"vm {number}: {outcome.case.label}: a defect of the kernel's "
                             "initiator, or of the emulation; trying again")
            outcome.log.close()
            return [outcome.case, *todo], attempt + 1
        if outcome:
            outcome.failures.append(f"going on: {problem}")
            outcome.log.write("\n".join(["| --- the virtual machine:", *words]) + "\n")
            if status == 99:
                self.results.fault(outcome.case.label, words)
            outcome.finish(self.results)
        elif status == 98 and attempt < 3:
            self.results.say(f"vm {number}: {problem}; trying again")
            return todo, attempt + 1
        elif status not in (0, 5):
            self.results.count(f"vm {number}", 0, [problem], [], 0, words)
            if len(todo) == len(cases):
                # Nothing was run: trying again would end the same way.
                for case in todo:
                    self.results.count(case.label, 0, [f"being run: {problem}"], [], 0)
                return None
        return (todo, 1) if todo else None

    def run_on_host(self, case):
        self.results.say(f"{case.label}: on this machine, with virtual machines of its own")
        outcome = Outcome(case)
        run = subprocess.Popen(
            ["timeout", "-k", "10", str(case.limit), "bash", case.path], cwd=PROJECT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent, env={**os.environ, "VM_KERNEL": case.kernel,
                                               "T_TARGET": self.options.target,
                                               "T_FULL": str(int(self.options.full))})
        for raw in run.stdout:
            outcome.line(raw.decode("utf-8", "replace").rstrip("\r\n"))
        status = run.wait()
        if status:
            outcome.failures.append(f"the case's own end (status {status})")
        self.finish(outcome)
        return None


def is_foreign(path):
    """Whether what the kernel reported is a known defect of its own, or of the emulation."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
        return FOREIGN.search(text) is not None or PATCHED.search(text) is not None


def chunks(cases):
    """Groups of cases for one boot each, the longest group first."""
    groups = []
    by_machine = {}
    for case in sorted(cases, key=lambda case: -case.seconds):
        if case.on_host:
            groups.append([case])
        else:
            by_machine.setdefault((case.kernel, case.machine), []).append(case)
    for same in by_machine.values():
        # The debug kernel also takes longer to boot.
        chunk = CHUNK * (2 if same[0].kernel == "debug" else 1)
        count = max(1, round(sum(case.seconds for case in same) / chunk))
        bins = [[] for _ in range(count)]
        for case in same:
            min(bins, key=lambda b: sum(c.seconds for c in b)).append(case)
        groups += [b for b in bins if b]
    return sorted(groups, key=lambda group: -sum(case.seconds for case in group))


def guest_script(cases, options):
    """A script that unpacks tests/vm in the guest and runs the cases."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(VM_TESTS, arcname=".", filter=lambda info: None if "__pycache__" in info.name
                else info)
    packed = base64.encodebytes(archive.getvalue()).decode("ascii")
    items = " ".join(f"{case.name}:{case.limit}" for case in cases)
    return (f"mkdir /tests && base64 -d <<'END' | tar xz -C /tests || exit 1\n{packed}END\n"
            f"export T_TARGET={options.target} T_KERNEL={cases[0].kernel} T_FULL={int(options.full)}\n"
            f"exec bash /tests/guest.sh {items}\n")


# --- what is asked for ----------------------------------------------------------------------

def all_cases():
    return sorted(name[:-3] for name in os.listdir(CASES) if name.endswith(".sh"))


def kernels_of(name, options):
    """The kernels that a case is to be run on."""
    if options.names:
        return [options.kernel] if name in options.names else []
    case = Case(name)
    if case.draft:
        return []
    return case.kernels if options.kernel == "stock" else [options.kernel]


def main():
    top = argparse.ArgumentParser(prog="scripts/test", description="Runs the tests.",
                                  epilog=EPILOG,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--list", action="store_true", help="print the names of all tests")
    top.add_argument("--kernel", default="stock", help="the kernel of the virtual machines "
                     "(stock), as for scripts/vm")
    top.add_argument("--jobs", type=int, default=2, metavar="N",
                     help="virtual machines at a time (2)")
    top.add_argument("--no-build", action="store_true",
                     help="run cases with the module and the tool as they are")
    top.add_argument("--target", default="ferrite", choices=("ferrite", "lio"),
                     help="lio: see how a case judges another target")
    top.add_argument("--full", action="store_true",
                     help="as much as a case can do, rather than what is enough to see a fault")
    top.add_argument("names", nargs="*", metavar="NAME", help="a step, or a case of tests/vm/cases")
    options = top.parse_args()

    steps = [name.replace("_", "-") for lane in Host.LANES for name in lane]
    cases = all_cases()
    if options.list:
        print("\n".join(steps + cases))
        return 0
    unknown = [name for name in options.names if name not in steps + cases]
    if unknown:
        print(f"scripts/test: there is no test {', '.join(unknown)}; "
              "`scripts/test --list` prints all", file=sys.stderr)
        return 2
    chosen_steps = [name for name in steps if not options.names or name in options.names]
    chosen_cases = [Case(name, kernel, options.full) for name in cases
                    for kernel in kernels_of(name, options)]
    if options.names and chosen_cases and not options.no_build:
        chosen_steps += [name for name in ("tools", "module") if name not in chosen_steps]

    results = Results()
    host = Host(results, options.kernel)
    host.work_off(chosen_steps)
    if chosen_cases:
        Runner(results, options).run(chosen_cases)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
