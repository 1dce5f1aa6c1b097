# SPDX-License-Identifier: GPL-2.0
"""Two initiators share a disk: a lock on it, taken and let go by COMPARE AND WRITE, and a counter
that whoever has the lock reads and writes, with O_DIRECT. One of them is fenced off by PREEMPT AND
ABORT while it is at it.

shared_lock.py DISK-A KEY-A DISK-B KEY-B SECTIONS
"""

import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import random
import struct
import sys
import time

from iscsi import check, check_eq

BLOCK = 512
LOCK, COUNTER, STAMP, LOG = 0, 8, 16, 64
GOOD, CONFLICT = 0x00, 0x18
# Whoever waits longer has been forgotten.
PATIENCE = 120


class SgIo(ctypes.Structure):
    """struct sg_io_hdr of <scsi/sg.h>."""

    _fields_ = [
        ("interface_id", ctypes.c_int), ("direction", ctypes.c_int), ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte), ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint), ("dxferp", ctypes.c_void_p), ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p), ("timeout", ctypes.c_uint), ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int), ("usr_ptr", ctypes.c_void_p), ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte), ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte), ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort), ("resid", ctypes.c_int), ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint)]


class Fenced(Exception):
    """The disk does not take our writes any more."""


class Disk:
    """A disk, as one initiator sees it."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_DIRECT)
        # O_DIRECT wants memory that begins at a page.
        self.page = mmap.mmap(-1, mmap.PAGESIZE)

    def read(self, block):
        """Eight-byte numbers of a block."""
        os.preadv(self.file, [memoryview(self.page)[:BLOCK]], block * BLOCK)
        return struct.unpack_from("<4Q", self.page)

    def write(self, block, *numbers):
        self.page[:BLOCK] = struct.pack(f"<{len(numbers)}Q", *numbers).ljust(BLOCK, b"\0")
        try:
            os.pwritev(self.file, [memoryview(self.page)[:BLOCK]], block * BLOCK)
        except OSError as error:
            # EBADE is the reservation conflict; EIO what was aborted.
            if error.errno in (errno.EBADE, errno.EIO):
                raise Fenced from None
            raise

    def compare_and_write(self, block, old, new):
        """Whether the block was `old`, and is `new` now."""
        out = b"".join(struct.pack(f"<{len(n)}Q", *n).ljust(BLOCK, b"\0") for n in (old, new))
        data = ctypes.create_string_buffer(out, len(out))
        cdb = ctypes.create_string_buffer(
            struct.pack(">BBQ3xBBB", 0x89, 0, block, 1, 0, 0), 16)
        sense = ctypes.create_string_buffer(64)
        while True:
            request = SgIo(ord("S"), -2, 16, 64, 0, len(out), ctypes.addressof(data),
                           ctypes.addressof(cdb), ctypes.addressof(sense), 30000)
            fcntl.ioctl(self.file, 0x2285, request)
            if request.host_status:
                raise Fenced
            if request.status == GOOD:
                return True
            if request.status != 2:
                # The conflict, or TASK ABORTED.
                raise Fenced
            descriptor = sense.raw[0] & 0x7e == 0x72
            key = sense.raw[1 if descriptor else 2] & 0xf
            if key == 0xe:
                return False
            if key != 6:
                raise OSError(f"COMPARE AND WRITE: sense {sense.raw[:18].hex()}")


class Node:
    """An initiator: `me` is its number, not 0."""

    def __init__(self, path, me):
        self.disk = Disk(path)
        self.me = me
        self.done = self.tries = self.lost = 0

    def lock(self, break_owner=None):
        """Takes the lock; returns its generation."""
        end = time.monotonic() + PATIENCE
        while True:
            now = self.disk.read(LOCK)
            if now[0] in (0, break_owner):
                self.tries += 1
                new = (self.me, now[1] + 1)
                if self.disk.compare_and_write(LOCK, now, new):
                    return new
                self.lost += 1
            if time.monotonic() > end:
                raise TimeoutError("the lock is never free")
            time.sleep(random.random() / 1000)

    def unlock(self, held):
        if not self.disk.compare_and_write(LOCK, held, (0, held[1])):
            raise AssertionError("somebody has taken the lock from us")

    def section(self, break_owner=None):
        """Adds one to the counter, and leaves a line in the log."""
        held = self.lock(break_owner)
        count = self.disk.read(COUNTER)[0]
        self.disk.write(LOG + count, count, self.me, self.done + 1)
        self.disk.write(COUNTER, count + 1)
        self.done += 1
        self.unlock(held)


def work(path, me, sections, pipe):
    node = Node(path, me)
    for _ in range(sections):
        node.section()
    pipe.send((node.done, node.tries, node.lost))


def work_until_fenced(path, me, pipe):
    """Goes on, section by section, and when it is refused writes without asking for the lock."""
    node = Node(path, me)
    stamp = 0
    try:
        while True:
            node.section()
            stamp += 1
            node.disk.write(STAMP, stamp)
            if stamp == 50:
                pipe.send("busy")
    except Fenced:
        pass
    refused = 0
    for _ in range(200):
        stamp += 1
        for block, number in ((STAMP, stamp), (COUNTER, 0)):
            try:
                node.disk.write(block, number)
            except Fenced:
                refused += 1
    pipe.send((node.done, refused))


def start(function, *args):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=function, args=(*args, theirs))
    process.start()
    return process, ours


def get(pipe):
    if not pipe.poll(PATIENCE):
        raise TimeoutError("the other process says nothing")
    return pipe.recv()


def log_is_whole(disk, count):
    """How many sections each node has done, if each line is there, once, and in its order."""
    done = {}
    for line in range(count):
        number, node, serial, _ = disk.read(LOG + line)
        if number != line or serial != done.get(node, 0) + 1:
            print(f"line {line}: {number} of {node}, its {serial}; before: {done}")
            return None
        done[node] = serial
    return done


def clear(disk):
    disk.write(LOCK)
    disk.write(COUNTER)
    disk.write(STAMP)


def main():
    path_a, _, path_b, key_b = sys.argv[1:5]
    key_a = sys.argv[2]
    sections = int(sys.argv[5])
    a, b = Node(path_a, 1), Node(path_b, 2)

    clear(a.disk)
    held = a.lock()
    check("a lock that another one has is not to be had",
          not b.disk.compare_and_write(LOCK, (0, held[1] - 1), (2, held[1])))
    check_eq("and is still the other's", held, b.disk.read(LOCK)[:2])
    a.unlock(held)
    b.unlock(b.lock())

    clear(a.disk)
    begin = time.monotonic()
    workers = [start(work, path, me, sections) for path, me in ((path_a, 1), (path_b, 2))]
    told = [get(pipe) for _, pipe in workers]
    took = time.monotonic() - begin
    for process, _ in workers:
        process.join()
    tries, lost = (sum(node[n] for node in told) for n in (1, 2))
    print(f"{2 * sections} sections in {took:.1f} s; {lost} of {tries} COMPARE AND WRITE for a "
          "free lock came second")
    check_eq(f"two nodes, {sections} critical sections each: the counter is exact", 2 * sections,
             a.disk.read(COUNTER)[0])
    check_eq("each section is in the log, once", {1: sections, 2: sections},
             log_is_whole(b.disk, 2 * sections))
    check_eq("the lock was taken as often", (0, 2 * sections), b.disk.read(LOCK)[:2])

    clear(a.disk)
    process, pipe = start(work_until_fenced, path_a, 1)
    while True:
        b.section()
        if pipe.poll():
            break
    get(pipe)
    status = os.system(f"sg_persist --out --preempt-abort --param-rk={key_b} --param-sark={key_a} "
                       f"--prout-type=5 --no-inquiry {path_b}")
    # What is on the disk from here on is not the other one's.
    stamp = b.disk.read(STAMP)[0]
    owner, _, _, _ = b.disk.read(LOCK)
    count = b.disk.read(COUNTER)[0]
    check_eq("PREEMPT AND ABORT fences one of them off, in the middle", 0, status)
    print(f"at that moment: {count} sections, the lock was {('free', 'its own', 'ours')[owner]}")
    for _ in range(sections // 4):
        b.section(break_owner=1)
    done, refused = get(pipe)
    process.join()
    check_eq("each of its writes is refused", 400, refused)
    check_eq("none arrives", stamp, b.disk.read(STAMP)[0])
    for _ in range(10):
        b.section()
    final = b.disk.read(COUNTER)[0]
    log = log_is_whole(b.disk, final)
    # What was aborted may have been done before.
    check("the counter is exact, again", log and log.get(2) == b.done
          and log.get(1) in (done, done + 1) and final == log[1] + log[2],
          f"{final}, the log says {log}, done were {done} and {b.done}")


main()
