# SPDX-License-Identifier: GPL-2.0
"""Load, export, log in, read, clear, unload: as often as it is told, by system calls alone.

reload.py COUNT DEVICE
"""

import ctypes
import os
import sys
import time

from iscsi import TARGET, Conn, read10

ROOT = "/sys/kernel/config/ferrite"
LIBC = ctypes.CDLL(None, use_errno=True)
FINIT_MODULE, DELETE_MODULE = 313, 176


def syscall(number, *args):
    if LIBC.syscall(number, *args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def write(path, value):
    fd = os.open(f"{ROOT}/{path}", os.O_WRONLY)
    os.write(fd, value.encode())
    os.close(fd)


def cycle(device):
    fd = os.open("/ferrite/ferrite.ko", os.O_RDONLY)
    syscall(FINIT_MODULE, fd, b"", 0)
    os.close(fd)
    store, target = "core/iblock_0/disk0", f"iscsi/{TARGET}"
    tpg = f"{target}/tpgt_1"
    made = ["core/iblock_0", store, target, tpg, f"{tpg}/lun/lun_0", f"{tpg}/np/127.0.0.1:3260"]
    for directory in made:
        os.mkdir(f"{ROOT}/{directory}")
    write(f"{store}/control", f"udev_path={device}")
    write(f"{store}/enable", "1")
    os.symlink(f"{ROOT}/{store}", f"{ROOT}/{tpg}/lun/lun_0/disk0")
    write(f"{tpg}/attrib/authentication", "0")
    write(f"{tpg}/attrib/generate_node_acls", "1")
    write(f"{tpg}/enable", "1")
    conn = Conn().login(initiator="iqn.2026-01.org.example:raw")
    if conn.ready() != 0:
        raise RuntimeError("the disk is not ready")
    status, data, _ = conn.scsi(read10(0, 8), expect=4096)
    if status or len(data) != 4096:
        raise RuntimeError(f"a READ gave status {status} and {len(data)} bytes")
    conn.logout()
    conn.close()
    write(f"{tpg}/enable", "0")
    os.unlink(f"{ROOT}/{tpg}/lun/lun_0/disk0")
    for directory in reversed(made):
        os.rmdir(f"{ROOT}/{directory}")
    end = time.monotonic() + 10
    while True:
        try:
            return syscall(DELETE_MODULE, b"ferrite", os.O_NONBLOCK)
        except OSError:
            # The device's close may still hold the module for a moment.
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


for n in range(int(sys.argv[1])):
    start = time.monotonic()
    cycle(sys.argv[2])
    print(f"cycle {n}: {time.monotonic() - start:.2f} s", flush=True)
