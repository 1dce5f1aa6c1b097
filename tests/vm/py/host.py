# SPDX-License-Identifier: GPL-2.0
"""The machine that the target runs on: configfs, and the disks."""

import errno
import os
import subprocess
import time

from iscsi import TARGET, check

# How many times slower than the stock kernel the kernel is.
SLOWER = int(os.environ.get("T_SLOWER", "1"))
ROOT = "/sys/kernel/config/ferrite"


def write(path, value):
    """One write, as a tool does it."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def in_use():
    """How much of what is limited is used."""
    return {name: int(value) for name, value in map(str.split, read(f"{ROOT}/in_use").splitlines())}


def used_by(address):
    """The same for one address."""
    for line in read(f"{ROOT}/addresses").splitlines():
        host, *usage = line.split()
        if host == address:
            return dict(zip(usage[::2], map(int, usage[1::2])))
    return {}


def tpg(target=TARGET):
    return f"{ROOT}/iscsi/{target}/tpgt_1"


def store(name):
    """The directory of a backstore."""
    for hba in os.listdir(f"{ROOT}/core"):
        path = f"{ROOT}/core/{hba}/{name}"
        if os.path.isdir(path):
            return path
    raise AssertionError(f"no backstore {name}")


def unlink_all(path):
    """Removes the links of a directory, then the directory."""
    for name in os.listdir(path):
        if os.path.islink(f"{path}/{name}"):
            os.unlink(f"{path}/{name}")
    os.rmdir(path)


def until(what, seconds=20):
    """Whether it comes to be so in time."""
    end = time.monotonic() + seconds * SLOWER
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.1)
    return what()


def dm(*words):
    subprocess.run(["dmsetup", *words], check=True)


def suspend(name):
    """A disk of device mapper hangs."""
    dm("suspend", "--noflush", "--nolockfs", name)


def resume(name):
    """And goes on."""
    dm("resume", name)


def sleeping_workers():
    """Kernel workers that sleep in the midst of their work, as those do that wait for a disk."""
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        count += "(kworker" in text and text.rpartition(")")[2].split()[0] == "D"
    return count


# Seconds that a write to configfs may take: one that waits for nobody, and one that is given up.
AT_ONCE = 2 * SLOWER
PATIENCE = 5 * SLOWER + 2

# What `attempt` has allowed, and measured.
attempts = []


class Longest:
    """Times what is done while something is as `state` says; that it is done in time is a check."""

    def __init__(self, state):
        self.state = state
        self.ms, self.name = 0, "nothing"

    def timed(self, name, act, seconds=AT_ONCE):
        """What `act` returns."""
        start = time.monotonic()
        result = act()
        took = round((time.monotonic() - start) * 1000)
        print(f"{name}: {took} ms")
        if took > self.ms:
            self.ms, self.name = took, name
        check(f"{self.state}: {name} takes less than {seconds} s", took < seconds * 1000, f"{took} ms")
        return result

    def close_session(self, initiator, conn):
        # For a part of the time the tool is being started.
        self.timed("ferritectl session close", lambda: subprocess.run(
            ["ferritectl", "session", "close", TARGET, initiator], check=True), 2 * AT_ONCE)
        check(f"{self.state}: its connection is closed", conn.closed_within(2 * SLOWER))

    def remove_acl(self, path, conn):
        """An ACL with two LUNs, and one session."""
        for name in ("lun_0", "lun_1"):
            self.timed("taking a LUN from an ACL in use", lambda name=name: unlink_all(f"{path}/{name}"))
        self.timed("removing an ACL", lambda: os.rmdir(path))
        check(f"{self.state}: its session ends", conn.closed_within(2 * SLOWER))

    def remove_portal(self, path, conn):
        """One by which a session has come."""
        self.timed("removing a portal", lambda: os.rmdir(path))
        check(f"{self.state}: the session that came through it stays", conn.ping())

    def tell(self):
        print(f"@figure {self.state}: longest operation | {self.ms} ms ({self.name})")


def attempt(name, act, limit):
    """The name of the error that `act` ends with; that it does so in time is a check."""
    start = time.monotonic()
    try:
        act()
        result = None
    except OSError as error:
        result = errno.errorcode[error.errno]
    took = time.monotonic() - start
    print(f"{name}: {result} after {took:.2f} s")
    attempts.append((limit, took))
    check(f"{name}: does not wait for ever", took < limit, f"{took:.1f} s")
    return result


def put(path, value, limit):
    return attempt(f"{path.removeprefix(ROOT)} = {value}", lambda: write(path, value), limit)


def make_store(hba, name, device, **control):
    """A backstore that is not enabled."""
    path = f"{ROOT}/core/iblock_{hba}/{name}"
    os.makedirs(path)
    write(f"{path}/control", ",".join(f"{key}={value}" for key, value in
                                      {"udev_path": device, **control}.items()))
    return path
