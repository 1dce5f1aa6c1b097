# SPDX-License-Identifier: GPL-2.0
"""Paths that lead through a file system that hangs.

/mnt is a file system on the dm device "pr"; there are no backstores yet. /mnt/links has "disk", a
link to /dev/mapper/spare2, and "node", the node of the same device.
"""

import os
import subprocess

from host import AT_ONCE, PATIENCE, ROOT, attempt, make_store, put, read, resume, suspend, until, write
from iscsi import check, check_eq

DBROOT = f"{ROOT}/dbroot"


def remount(*options):
    """So that nothing of the file system is in memory."""
    check("the file system is given back", until(lambda: subprocess.run(["umount", "/mnt"]).returncode == 0))
    subprocess.run(["mount", *options, "/dev/mapper/pr", "/mnt"], check=True)
    write("/proc/sys/vm/drop_caches", "3")


one = make_store(63, "hung63", "/mnt/links/disk")
remount()
suspend("pr")
check_eq("enabling by a path that hangs is given up", "ETIMEDOUT", put(f"{one}/enable", "1", PATIENCE))
check_eq("it is not enabled", "0", read(f"{one}/enable").strip())
check_eq("its path can be read", None, attempt("udev_path", lambda: read(f"{one}/udev_path"), AT_ONCE))
check_eq("and set to another", None, put(f"{one}/udev_path", "/dev/mapper/spare2", AT_ONCE))
check_eq("it can be removed", None, attempt("rmdir", lambda: os.rmdir(one), AT_ONCE))
before = read(DBROOT)
check_eq("a dbroot that hangs is given up", "ETIMEDOUT", put(DBROOT, "/mnt/links", PATIENCE))
check_eq("the old one stays", before, read(DBROOT))
resume("pr")
check_eq("a directory that answers is taken", None, put(DBROOT, "/mnt/links", PATIENCE))
check_eq("a file is not", "ENOTDIR", put(DBROOT, "/mnt/links/node", PATIENCE))
check_eq("nor what is not there", "ENOENT", put(DBROOT, "/mnt/links/no", PATIENCE))
check_eq("it is set to another", None, put(DBROOT, "/etc", PATIENCE))

# Paths are those of whoever writes: here a process with mounts of its own.
two = make_store(64, "hung64", "/media/disk")
check_eq("a path that is not there", "ENOENT", put(f"{two}/enable", "1", PATIENCE))
script = f"mount --bind /mnt/links /media && echo 1 >{two}/enable"
check_eq("is there for a process that sees it", 0, subprocess.run(["unshare", "--mount", "sh", "-c", script]).returncode)
check_eq("it is enabled", "1", read(f"{two}/enable").strip())
os.rmdir(two)
three = make_store(65, "hung65", "/mnt/links/node")
remount("-o", "nodev")
check_eq("a node in a file system without devices", "EACCES", put(f"{three}/enable", "1", PATIENCE))
remount()
check_eq("and in one with them", None, put(f"{three}/enable", "1", PATIENCE))
os.rmdir(three)
four = make_store(66, "hung66", "/mnt/links")
check_eq("a directory is no device", "ENOTBLK", put(f"{four}/enable", "1", PATIENCE))
os.rmdir(four)
