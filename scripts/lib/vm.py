# SPDX-License-Identifier: GPL-2.0
"""Boots a stock Debian kernel under QEMU and runs a script in it, as root.

The guest has four channels: its console (serial port, kept in a log and scanned for kernel
reports), "out" (what the script prints), "ctl" (ready, exit status) and, if asked for,
a directory by 9p. All end in this process, which alone decides about the exit status.
"""

import argparse
import contextlib
import ctypes
import mmap
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get("FERRITE_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "ferrite")
LOGS = os.environ.get("FERRITE_VM_LOGS") or os.path.join(PROJECT, "build", "vm")
# Consoles of this many runs are kept.
KEEP_LOGS = 100

STATUS_ENDED = 97
STATUS_NO_BOOT = 98
STATUS_REPORT = 99
STATUS_TIMEOUT = 124

EPILOG = f"""
The script runs with bash in a fresh Debian guest: /ferrite/ferrite.ko is the module built
for the kernel (not loaded), ferritectl, lio_node and tcm_node are in PATH, the directory of
--share is /share, the disks of --disk are /dev/vda, /dev/vdb, ... in the order given (and
/dev/disk/by-id/virtio-disk0, ...). Standard input is empty; what the script prints goes to
standard output as it comes. Nothing that the script leaves unflushed is written back.

exit status:
  the script's own, or
  {STATUS_ENDED}   the virtual machine ended before the script did
  {STATUS_NO_BOOT}   the virtual machine never booted (each try was given up and repeated)
  {STATUS_REPORT}   the kernel reported something: oops, WARNING, BUG, lockdep, KASAN, KFENCE,
       UBSAN, hung task, lockup, stall, leak (whatever the script's status was)
  {STATUS_TIMEOUT}  the script was not done in the time of --timeout

The console of every run is kept in build/vm/ (or FERRITE_VM_LOGS) and shown on failure.
FERRITE_ACCEL=tcg or kvm overrides the choice of the accelerator.
"""

# What a kernel says when something is wrong. Each is the beginning of a report, so that the
# first line found is the one to show.
REPORTS = re.compile("|".join((
    r"\bBUG: ",
    r"\bBUG \S+ \(.*\): ",  # SLUB: BUG kmalloc-64 (Tainted: ...): Poison overwritten
    r"^(?:\[[^\]]*\] ?)+WARNING: ",  # Not md's "md0: WARNING: ..."
    r"\bOops\b",
    r"\bKernel panic\b",
    r"\bgeneral protection fault\b",
    r"\binvalid opcode: ",
    r"\bdouble fault\b",
    r"\bKASAN: ",
    r"\bUBSAN: ",
    r"\bODEBUG: ",
    r"\bINFO: task .* blocked for more than\b",
    r"\bINFO: (?:rcu\S*|\S+) (?:self-)?detected (?:expedited )?stalls?\b",
    r"\bINFO: possible recursive locking\b",
    r"\bINFO: trying to register non-static key\b",
    r"\bINFO: inconsistent lock state\b",
    r"\bsoft lockup\b",
    r"\bhard LOCKUP\b",
    r"\bsuspicious RCU usage\b",
    r"\bturning off the locking correctness validator\b",
    r"\bkmemleak: [1-9]\d* new suspected memory leaks\b",
    r"\brefcount_t: ",
    r"\blist_(?:add|del) corruption\b",
    r"\bkernel stack overflow\b",
    r"\bunregister_netdevice: waiting for\b",
    r"------------\[ cut here \]------------",
)))

# While the kernel boots it patches its code; under TCG a CPU at times runs into the breakpoint
# of a patch that is done already. Before the script has begun this says nothing of us.
PATCHED_TEXT = "Oops: int3"

# What a guest with systemd does not start: the kernel's own target, and what takes time.
MASKED = ("rtslib-fb-targetctl.service", "nvmefc-boot-connections.service",
          "nvmf-autoconnect.service", "e2scrub_reap.service", "e2scrub_all.timer", "fstrim.timer",
          "xfs_scrub_all.timer", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
          "getty.target", "systemd-logind.service", "logd.service", "uuidd.socket",
          "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "modprobe@efi_pstore.service",
          "modprobe@fuse.service", "sys-fs-fuse-connections.mount", "modprobe@drm.service",
          "systemd-pstore.service", "dev-hugepages.mount", "dev-mqueue.mount")
# How long, in seconds, such a guest may take to shut down.
SHUTDOWN = 120

# Bits of /proc/sys/kernel/tainted that mean a report: machine check, bad page, oops, warning,
# soft lockup. (Out-of-tree and unsigned modules taint as well; that is no fault.)
TAINT_REPORTS = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14


def log(text):
    print(f"vm: {text}", file=sys.stderr, flush=True)


def fail(text, status=2):
    log(text)
    sys.exit(status)


def die_with_parent():
    """In the child: when this process is killed outright, QEMU goes as well."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def tsc_khz():
    """How fast this machine's time stamp counter is; None if that cannot be told."""
    if os.uname().machine != "x86_64":
        return None
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        # Nobody may make code here.
        return None
    # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
    code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)
    began, ticks = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), rdtsc()
    time.sleep(0.05)
    ended, ticks = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), rdtsc() - ticks
    return ticks * 10**6 // (ended - began)


class Images:
    def __init__(self, kernel):
        done = subprocess.run([os.path.join(HERE, "vm-images"), kernel],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(done.returncode)
        (self.release, self.vmlinux, self.initrd, self.modules,
         self.root) = done.stdout.splitlines()

    @property
    def is_debug(self):
        return self.release.endswith("-ferrite-debug")


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMGT]?)i?B?", text, re.IGNORECASE)
    if not match:
        return None
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[match[2].upper()]


class Disk:
    """SIZE or FILE, then options: bus=virtio|nvme|scsi, ro, shared, serial=TEXT, block=BYTES."""

    BUSES = {"virtio": "virtio-blk-pci", "nvme": "nvme", "scsi": "scsi-hd"}

    def __init__(self, text, index):
        what, *options = text.split(",")
        self.index = index
        self.bus = "virtio"
        self.read_only = False
        self.shared = False
        self.serial = f"disk{index}"
        self.block = None
        for option in options:
            key, _, value = option.partition("=")
            if key == "bus" and value in self.BUSES:
                self.bus = value
            elif key == "ro" and not value:
                self.read_only = True
            elif key == "shared" and not value:
                self.shared = True
            elif key == "serial" and re.fullmatch(r"[A-Za-z0-9_.-]{1,20}", value):
                self.serial = value
            elif key == "block" and value in ("512", "1024", "2048", "4096"):
                self.block = int(value)
            else:
                fail(f"--disk {text}: \"{option}\" is not one of bus=virtio|nvme|scsi, ro, shared, "
                     "serial=TEXT (20 of A-Za-z0-9_.-), block=512|1024|2048|4096")
        self.size = parse_size(what)
        self.path = None if self.size is not None else os.path.abspath(what)
        if self.path is not None and not os.path.exists(self.path):
            fail(f"--disk {text}: \"{what}\" is neither a size such as 512M or 2G nor a file")
        if self.size is not None and (self.size == 0 or self.size % 4096):
            fail(f"--disk {text}: the size must be a multiple of 4096 bytes, and not 0")

    def arguments(self, scratch):
        if self.path is None:
            # The file has no name: it goes with QEMU, however QEMU ends.
            file = tempfile.TemporaryFile(dir=scratch)
            file.truncate(self.size)
            path, cache = f"/proc/self/fd/{file.fileno()}", "cache=unsafe"
            fds = [file]
        else:
            # What the guest flushed is in the file, and nothing else is promised.
            path, cache, fds = self.path, "cache=none", []
            if not self.takes_direct_io():
                cache = "cache=writeback"
        name = f"disk{self.index}"
        drive = f"if=none,id={name},format=raw,discard=unmap,{cache},file={path.replace(',', ',,')}"
        device = f"{self.BUSES[self.bus]},drive={name},serial={self.serial}"
        if self.read_only:
            drive += ",readonly=on"
        if self.shared:
            drive += ",file.locking=off"
            device += ",share-rw=on"
        if self.block:
            device += f",logical_block_size={self.block},physical_block_size={self.block}"
        return ["-drive", drive, "-device", device], fds

    def takes_direct_io(self):
        try:
            os.close(os.open(self.path, os.O_RDONLY | os.O_DIRECT))
        except OSError:
            return False
        return True


def net_arguments(net):
    kind, _, rest = net.partition(":")
    device = ["-device", "virtio-net-pci,netdev=net0"]
    if net == "none":
        return []
    if net == "user":
        return ["-netdev", "user,id=net0", *device]
    if kind == "mcast" and re.fullmatch(r"[\d.]+:\d+", rest):
        backend = f"socket,id=net0,mcast={rest},localaddr=127.0.0.1"
    elif kind == "tap" and re.fullmatch(r"[\w.-]{1,15}", rest):
        backend = f"tap,id=net0,ifname={rest},script=no,downscript=no"
    elif kind in ("listen", "connect") and rest:
        server = "on" if kind == "listen" else "off"
        backend = (f"stream,id=net0,server={server},addr.type=unix,"
                   f"addr.path={os.path.abspath(rest).replace(',', ',,')}")
    else:
        fail(f"--net {net}: not one of none, user, mcast:ADDRESS:PORT, listen:PATH, "
             "connect:PATH, tap:INTERFACE")
    # Machines on one segment need addresses of their own.
    mac = "52:54:00:" + ":".join(f"{b:02x}" for b in os.urandom(3))
    return ["-netdev", backend, "-device", f"virtio-net-pci,netdev=net0,mac={mac}"]


class Machine:
    """One boot of one virtual machine."""

    def __init__(self, options, images, console_log):
        self.options = options
        self.images = images
        self.console_log = console_log
        self.booted = False     # the console said something
        self.ready = False      # the script was started
        self.status = None      # the script's exit status
        self.report = None      # first line of a kernel report
        self.complaint = None   # what the guest's own set-up says is wrong
        self.hung = False       # it did not shut down
        self.console = []
        self.partial = b""
        self.control = b""
        self.qemu = None
        self.ctl = None

    # --- what QEMU is told ---------------------------------------------------------------

    def command_line(self):
        # A serial port takes time for every character: booting is quiet, and the guest's init
        # turns the console up (and RCU down) before the script is started.
        # The watchdog of a busy machine's clock would call the TSC unstable, in the midst of a
        # case, and patch sched_clock for it: see PATCHED_TEXT.
        words = ["console=ttyS0", "loglevel=5", "tsc=nowatchdog", "rcupdate.rcu_expedited=1", "panic=-1", "panic_on_warn=1", "oops=panic",
                 "hung_task_panic=1", "softlockup_panic=1", "kfence.sample_interval=100",
                 "sysctl.kernel.hung_task_timeout_secs=60", "random.trust_cpu=on",
                 "no_timer_check", "net.ifnames=0"]
        if self.options.kernel == "debug":
            # kmemleak's thread is nice: on a machine that is busy it may be kept from its CPU, in
            # the midst of what RCU waits for, for longer than the usual 26 s.
            words += ["rcupdate.rcu_cpu_stall_timeout=120"]
        if self.options.accel == "tcg" and not self.options.icount and (khz := tsc_khz()):
            # An emulated CPU shows the host's counter. A kernel that measures it while the host is
            # busy takes it for several times slower than it is, and has its timeouts too early.
            words += [f"tsc_early_khz={khz}"]
        if self.options.accel == "tcg":
            # QEMU translates a program anew wherever it is put: with each start of a shell at
            # addresses of its own, that is most of what a test script costs.
            words += ["norandmaps"]
        if self.options.debug_mem:
            words += ["slub_debug=FZPU", "init_on_free=1", "page_poison=1"]
        if self.options.icount:
            words += ["nokaslr"]
        if self.options.systemd:
            # The same machine each time it boots, and nobody at its console to be asked.
            words += ["systemd.machine_id=fe221e00000000000000000000000000", "systemd.firstboot=no",
                      "systemd.condition_needs_update=no", "systemd.getty_auto=no",
                      "systemd.show_status=no",
                      *(f"systemd.mask={unit}" for unit in MASKED)]
        return " ".join(words + self.options.append)

    def run_archive(self, scratch):
        """The initramfs, with /ferrite of this run behind it."""
        options = self.options
        module = options.module or os.path.join(
            PROJECT, "build", self.images.release, "stripped.ko")
        # The tool, and the fuzzer of tests/wire-fuzz, as far as they were built.
        tools = [os.path.join(PROJECT, "target", "release", name)
                 for name in ("ferritectl", "ferrite-wire-fuzz")]
        with tempfile.TemporaryDirectory(prefix="ferrite-vm-", dir=scratch) as stage:
            top = os.path.join(stage, "ferrite")
            os.mkdir(top)
            shutil.copyfile(options.script, os.path.join(top, "script"))
            with open(os.path.join(top, "run"), "w", encoding="utf-8",
                      errors="surrogateescape") as file:
                file.write(shlex.join(["exec", "bash", "/ferrite/script", *options.args]) + "\n")
            with open(os.path.join(top, "config"), "w", encoding="ascii") as file:
                file.write(f"share={'1' if options.share else ''}\n"
                           f"udev={'1' if options.udev else ''}\n"
                           f"net={options.net.split(':')[0].replace('none', '')}\n"
                           f"ip={options.ip or ''}\n"
                           f"systemd={'1' if options.systemd else ''}\n")
            if os.path.exists(module):
                shutil.copyfile(module, os.path.join(top, "ferrite.ko"))
            for tool in filter(os.path.exists, tools):
                name = os.path.join(top, os.path.basename(tool))
                shutil.copyfile(tool, name)
                os.chmod(name, 0o755)
            names = b"\0".join(os.fsencode(os.path.relpath(os.path.join(d, f), stage))
                               for d, dirs, files in os.walk(stage) for f in dirs + files)
            archive = subprocess.run(["cpio", "--null", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
                                     cwd=stage, input=names, stdout=subprocess.PIPE, check=True)
        file = tempfile.TemporaryFile(dir=scratch)
        with open(self.images.initrd, "rb") as initrd:
            shutil.copyfileobj(initrd, file)
        # An archive begins at a multiple of 4 bytes.
        file.write(b"\0" * (-file.tell() % 4))
        file.write(archive.stdout)
        file.flush()
        return file

    def arguments(self, scratch):
        options = self.options
        cpu = "max"
        if options.accel == "kvm":
            accel, cpu = "kvm", "host"
        elif options.icount:
            # `rep movsb` counts a byte as an instruction.
            accel, cpu = "tcg,thread=single", "max,-erms,-fsrm"
        else:
            accel = "tcg,thread=multi"
        images = (options.root or self.images.root, self.images.modules)
        room = 1024 + sum(os.path.getsize(image) for image in images) // 2**20
        arguments = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-machine", "q35,nvdimm=on", "-accel", accel, "-cpu", cpu,
            "-smp", str(options.smp), "-m", f"{options.mem}M,slots=2,maxmem={options.mem + room}M",
        ]
        if options.icount:
            arguments += ["-icount", "shift=0,sleep=off"]
        for index, image in enumerate(images):
            # Shown to the guest as memory. A private mapping: what the guest writes is this
            # QEMU's own, what it reads is shared with every other run.
            share = "on" if image == options.root else "off"
            arguments += [
                "-object", f"memory-backend-file,id=image{index},share={share},mem-path="
                f"{image.replace(',', ',,')},size={os.path.getsize(image)}",
                "-device", f"nvdimm,memdev=image{index},id=nvdimm{index}"]
        archive = self.run_archive(scratch)
        files = [archive]
        arguments += ["-kernel", self.images.vmlinux,
                      "-initrd", f"/proc/self/fd/{archive.fileno()}",
                      "-append", self.command_line(),
                      "-device", "virtio-rng-pci",
                      "-device", "virtio-serial-pci"]
        if any(disk.bus == "scsi" for disk in options.disk):
            arguments += ["-device", "virtio-scsi-pci"]
        for disk in options.disk:
            more, fds = disk.arguments(scratch)
            arguments += more
            files += fds
        arguments += net_arguments(options.net)
        if options.share:
            arguments += ["-virtfs", "local,mount_tag=share,security_model=none,multidevs=remap,"
                          f"path={os.path.abspath(options.share).replace(',', ',,')}"]
        return arguments + options.qemu, files

    def start(self):
        scratch = os.path.join(CACHE, "run")
        os.makedirs(scratch, exist_ok=True)
        arguments, files = self.arguments(scratch)
        self.channels = {}
        theirs = []
        for name in ("console", "out", "ctl"):
            mine, other = socket.socketpair()
            self.channels[name] = mine
            theirs.append(other)
            arguments += ["-chardev", f"socket,id={name},fd={other.fileno()}"]
            arguments += (["-serial", f"chardev:{name}"] if name == "console" else
                          ["-device", f"virtserialport,chardev={name},name={name}"])
        self.ctl = self.channels["ctl"]
        if self.options.verbose:
            log(" ".join(arguments))
        self.qemu = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
            pass_fds=[f.fileno() for f in files + theirs])
        for file in files + theirs:
            file.close()

    # --- what comes back -----------------------------------------------------------------

    def on_console(self, data):
        self.console_log.write(data)
        self.booted = True
        *lines, self.partial = (self.partial + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace").rstrip("\r")
            self.console.append(line)
            if self.options.verbose:
                print(line, file=sys.stderr, flush=True)
            if self.report is None and REPORTS.search(line):
                self.report = line

    def on_control(self, data):
        *lines, self.control = (self.control + data).split(b"\n")
        for raw in lines:
            word, _, rest = raw.decode("utf-8", "replace").partition(" ")
            if word == "ready":
                self.ready = True
            elif word == "exit":
                self.status = int(rest)
            elif word == "taint" and int(rest) & TAINT_REPORTS and self.report is None:
                self.report = f"/proc/sys/kernel/tainted is {rest}"
            elif word == "fail":
                self.complaint = rest

    @staticmethod
    def on_out(data):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view):]

    def run(self, first_line, ready, script):
        """Runs to the end and gives one of "ended", "silent", "unready", "timeout".

        The arguments are seconds: until the first line of the console, until the script is
        started, and for the script.
        """
        selector = selectors.DefaultSelector()
        handlers = {"console": self.on_console, "out": self.on_out, "ctl": self.on_control}
        self.start()
        try:
            for name, channel in self.channels.items():
                selector.register(channel, selectors.EVENT_READ, handlers[name])
            selector.register(self.qemu.stdout, selectors.EVENT_READ, None)
            began = time.monotonic()
            started = ending = None
            said = b""
            while selector.get_map():
                for key, _ in selector.select(0.2):
                    data = os.read(key.fd, 65536) if key.data is None else self.receive(key.fileobj)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.data is None:
                        said += data
                    else:
                        key.data(data)
                now = time.monotonic()
                if self.ready and started is None:
                    started = now
                    if self.options.verbose:
                        log(f"the script starts {now - began:.1f} s after QEMU")
                if not self.booted and now - began > first_line:
                    return "silent"
                if started is None and now - began > ready:
                    return "unready"
                # A panic ends QEMU by itself; a guest that is past its end is given a moment.
                if (self.status is not None or self.report) and ending is None:
                    ending = now + (30 if self.status is None else
                                    SHUTDOWN if self.options.systemd else 5)
                if ending is not None and now > ending:
                    self.hung = self.options.systemd and self.status is not None
                    return "ended"
                if started is not None and ending is None and now - started > script:
                    self.ask_for_tasks(selector)
                    return "timeout"
            if said and not self.booted:
                fail("QEMU did not start: " + said.decode("utf-8", "replace").strip(), STATUS_NO_BOOT)
            if said:
                log("QEMU says: " + said.decode("utf-8", "replace").strip())
            return "ended"
        finally:
            self.kill()
            selector.close()
            for channel in self.channels.values():
                channel.close()

    @staticmethod
    def receive(channel):
        try:
            return channel.recv(65536)
        except ConnectionError:
            return b""

    def ask_for_tasks(self, selector):
        """Has the guest print its blocked tasks, for the log of a script that hangs."""
        try:
            self.ctl.sendall(b"l\nw\n")
        except OSError:
            return
        until = time.monotonic() + 4
        while time.monotonic() < until:
            for key, _ in selector.select(0.2):
                data = os.read(key.fd, 65536) if key.data is None else self.receive(key.fileobj)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data is not None:
                    key.data(data)

    def kill(self):
        if self.qemu is not None:
            if self.qemu.poll() is None:
                self.qemu.kill()
            self.qemu.wait()
            self.qemu.stdout.close()


# --- what the status is -------------------------------------------------------------------

def open_log(options):
    os.makedirs(LOGS, exist_ok=True)
    old = [os.path.join(LOGS, n) for n in os.listdir(LOGS) if n.endswith(".console")]
    # Other machines may be started at this moment, and take away the same.
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(old, key=os.path.getmtime)[:-KEEP_LOGS]:
            os.unlink(path)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", os.path.basename(options.script))
    path = os.path.join(LOGS, f"{time.strftime('%m%d-%H%M%S')}-{name}-{os.getpid()}.console")
    return open(path, "wb", buffering=0)


def show_console(machine, lines, around=None):
    shown = machine.console
    if around in shown:
        first = shown.index(around)
        shown = shown[max(0, first - 5):first + lines]
    else:
        shown = shown[-lines:]
    for line in shown:
        print(f"| {line}", file=sys.stderr)
    log(f"the whole console: {machine.console_log.name}")


def run(options, images):
    """Runs the script and gives the exit status."""
    patience = 4 if images.is_debug or options.icount else 1
    first_line, ready = 12 * patience, 75 * patience
    with open_log(options) as console_log:
        for attempt in range(1, options.tries + 1):
            console_log.truncate(0)
            machine = Machine(options, images, console_log)
            end = machine.run(first_line, ready, options.timeout)
            if machine.report and not machine.ready and PATCHED_TEXT in machine.report:
                log(f"the virtual machine stumbled over patched code, try {attempt} of {options.tries}")
                continue
            if machine.ready or machine.report or machine.complaint or end == "ended":
                break
            # TCG at times hangs before the first line; a busy machine only is slow.
            log(f"the virtual machine did not boot ({'no console output' if end == 'silent' else 'not ready'}"
                f" after {first_line if end == 'silent' else ready} s), try {attempt} of {options.tries}")
            first_line, ready = first_line * 2, ready * 2
        else:
            show_console(machine, 20)
            return STATUS_NO_BOOT
        if machine.report:
            log(f"the kernel reported: {machine.report}")
            show_console(machine, 60, around=machine.report)
            return STATUS_REPORT
        if machine.complaint:
            log(machine.complaint)
            show_console(machine, 20)
            return STATUS_NO_BOOT
        if not machine.ready:
            log("the virtual machine ended before the script was started")
            show_console(machine, 20)
            return STATUS_NO_BOOT
        if machine.hung:
            log(f"the virtual machine was not shut down after {SHUTDOWN} s; the end of the console:")
            show_console(machine, 60)
            return STATUS_TIMEOUT
        if machine.status is not None:
            return machine.status
        if end == "timeout":
            log(f"the script was not done after {options.timeout} s; the end of the console:")
            show_console(machine, 60)
            return STATUS_TIMEOUT
        log("the virtual machine ended before the script did")
        show_console(machine, 20)
        return STATUS_ENDED


# --- KVM ----------------------------------------------------------------------------------

def kvm_works(images):
    """Whether a guest really runs under KVM; /dev/kvm may be there and yet not work."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    answer = os.path.join(CACHE, f"kvm-{images.release}")
    try:
        with open(answer, encoding="ascii") as file:
            known, result = file.read().split()
        if known == boot:
            return result == "yes"
    except (OSError, ValueError):
        pass
    log("trying whether KVM works here (once a boot)")
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
        script.write("exit 42\n")
        script.flush()
        options = parser().parse_args(["run", "--accel", "kvm", script.name])
        check(options, images)
        with open(os.devnull, "wb", buffering=0) as sink:
            machine = Machine(options, images, sink)
            try:
                machine.run(10, 20, 10)
            except SystemExit:
                pass
    works = machine.status == 42 and machine.report is None
    log("KVM works" if works else "KVM does not work here; going on with TCG, which is slower")
    with open(answer + ".new", "w", encoding="ascii") as file:
        file.write(f"{boot} {'yes' if works else 'no'}\n")
    os.replace(answer + ".new", answer)
    return works


# --- options ------------------------------------------------------------------------------

def parser():
    top = argparse.ArgumentParser(
        prog="scripts/vm", description="Runs scripts in virtual machines with the stock kernel.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    kernel = argparse.ArgumentParser(add_help=False)
    kernel.add_argument("--kernel", default="stock", metavar="KERNEL",
                        help="stock (the default), newest, previous, debug, or a release")
    commands.add_parser("prepare", parents=[kernel], help="make or fetch the images, run nothing")
    one = commands.add_parser(
        "run", parents=[kernel], help="run a script in a fresh virtual machine", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    one.add_argument("--smp", type=int, default=None, metavar="N", help="CPUs (2; 1 with --icount)")
    one.add_argument("--mem", type=int, default=None, metavar="M",
                     help="memory in MiB (1024; 2048 with the debug kernel)")
    one.add_argument("--icount", action="store_true",
                     help="count instructions: one, of whatever CPU, is a nanosecond of the guest's time")
    one.add_argument("--disk", action="append", default=[], metavar="SIZE|FILE[,OPTION...]",
                     help="a disk: empty, of SIZE (512M, 2G), or an existing raw FILE, written "
                     "through: what the guest flushed is in it. Options: bus=virtio|nvme|scsi, ro, "
                     "shared (with other machines), serial=TEXT, block=BYTES")
    one.add_argument("--share", metavar="DIR", help="a directory, read-write at /share")
    one.add_argument("--timeout", type=float, default=900, metavar="S",
                     help="seconds that the script may take (900)")
    one.add_argument("--debug-mem", action="store_true",
                     help="poison freed memory: slub_debug=FZPU init_on_free=1 page_poison=1")
    one.add_argument("--udev", action="store_true", help="start udev before the script "
                     "(a script may do it itself with `start-udev`)")
    one.add_argument("--systemd", action="store_true",
                     help="boot with systemd; the script is run when all else is started, and the "
                     "system then shut down, which has to be done in two minutes")
    one.add_argument("--root", metavar="FILE",
                     help="the guest's own disk: what it writes stays in FILE, which is made if it is "
                     "not there")
    one.add_argument("--net", default="none", metavar="NET",
                     help="eth0: none, user (the host's network), mcast:ADDRESS:PORT (a segment "
                     "of the host's loopback), listen:PATH and connect:PATH (two machines), "
                     "tap:INTERFACE")
    one.add_argument("--ip", metavar="ADDRESS/LENGTH", help="eth0's address")
    one.add_argument("--module", metavar="FILE", help="another /ferrite/ferrite.ko")
    one.add_argument("--append", action="append", default=[], metavar="WORDS",
                     help="more words for the kernel's command line")
    one.add_argument("--qemu", action="append", default=[], metavar="ARGUMENT",
                     help="one more argument for QEMU (--qemu=-device --qemu=...)")
    one.add_argument("--accel", choices=("auto", "tcg", "kvm"), help="the accelerator (auto)")
    one.add_argument("--tries", type=int, default=4, metavar="N",
                     help="how often to try to boot (4)")
    one.add_argument("-v", "--verbose", action="store_true", help="show the console as it comes")
    one.add_argument("script", metavar="SCRIPT")
    one.add_argument("args", nargs=argparse.REMAINDER, metavar="ARG")
    return top


def check(options, images):
    if not os.path.isfile(options.script):
        fail(f"the script {options.script} is not a file")
    if options.share and not os.path.isdir(options.share):
        fail(f"--share {options.share}: not a directory")
    if options.module and not os.path.isfile(options.module):
        fail(f"--module {options.module}: not a file")
    if options.ip and not re.fullmatch(r"[0-9a-fA-F.:]+/\d+", options.ip):
        fail(f"--ip {options.ip}: not an address with a prefix length, such as 192.0.2.1/24")
    if options.root:
        options.root = os.path.abspath(options.root)
        if not os.path.exists(options.root):
            # Holes stay holes.
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", images.root, options.root],
                           check=True)
    if options.net == "user" and not options.ip:
        options.ip = "10.0.2.15/24"
    if options.icount:
        if options.accel == "kvm":
            fail("--icount needs TCG")
        options.smp, options.accel = options.smp or 1, "tcg"
    options.smp = options.smp or 2
    options.mem = options.mem or (2048 if images.is_debug else 1024)
    if not 1 <= options.smp <= 64:
        fail(f"--smp {options.smp}: not between 1 and 64")
    if options.mem < 256:
        fail(f"--mem {options.mem}: the guest needs 256 MiB at least")
    options.disk = [Disk(text, index) for index, text in enumerate(options.disk)]
    options.accel = options.accel or os.environ.get("FERRITE_ACCEL") or "auto"


def main():
    options = parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    images = Images(options.kernel)
    if options.command == "prepare":
        print(images.release)
        return 0
    check(options, images)
    if options.accel == "auto":
        options.accel = "kvm" if kvm_works(images) else "tcg"
    try:
        return run(options, images)
    except BrokenPipeError:
        # Whoever read the output has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
