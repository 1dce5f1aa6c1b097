# SPDX-License-Identifier: GPL-2.0
"""A block device that does not open, and a file system for reservations that hangs.

/dev/loop6 is on the dm device "slow", with partitions looked for; pr_dir is in a file system on the
dm device "pr". LUN 0 is /dev/vdb, as disk0; disk1 is enabled, and exported by nobody.
"""

import os
import subprocess
import struct

from host import AT_ONCE, PATIENCE, attempt, attempts, make_store, put, read, resume, store, suspend, until, write
from iscsi import Conn, check, check_eq, read10


def make(number, device):
    return make_store(number, f"hung{number}", device)


conn = Conn().login()
conn.ready()

# --- the device -----------------------------------------------------------------------------
one, two = make(60, "/dev/loop6"), make(61, "/dev/loop6")
suspend("slow")
# Keeps everybody else from opening it.
scan = subprocess.Popen(["blockdev", "--rereadpt", "/dev/loop6"])
check("somebody hangs with the device", until(
    lambda: read(f"/proc/{scan.pid}/stat").rpartition(")")[2].split()[0] == "D"))
check_eq("enabling a device that does not open is given up", "ETIMEDOUT", put(f"{one}/enable", "1", PATIENCE))
check_eq("it is not enabled", "0", read(f"{one}/enable").strip())
check_eq("it is still being opened", "EBUSY", put(f"{one}/enable", "1", AT_ONCE))
check_eq("its path cannot change now", "EBUSY", put(f"{one}/udev_path", "/dev/vda", AT_ONCE))
check_eq("it can be read", None, attempt("info", lambda: read(f"{one}/info"), AT_ONCE))
check_eq("and removed", None, attempt("rmdir", lambda: os.rmdir(one), AT_ONCE))
check("others work", conn.scsi(read10(0, 8), expect=4096)[0] == 0)
busy = subprocess.run(["rmmod", "ferrite"], stderr=subprocess.DEVNULL).returncode
check("the module stays", busy != 0)
resume("slow")
scan.wait()


def enabled():
    try:
        write(f"{two}/enable", "1")
    except OSError:
        return False
    return True


check("when the device opens, it is let go again, and another may have it",
      until(lambda: read(f"{two}/enable").strip() == "1" or enabled()))
os.rmdir(two)

# --- where reservations are kept ------------------------------------------------------------
three = make(62, "/dev/mapper/spare2")
# Nothing of the file system is in memory.
subprocess.run(["umount", "/mnt"], check=True)
subprocess.run(["mount", "/dev/mapper/pr", "/mnt"], check=True)
write("/proc/sys/vm/drop_caches", "3")
suspend("pr")
check_eq("enabling, while pr_dir hangs, is given up", "ETIMEDOUT", put(f"{three}/enable", "1", PATIENCE))
check_eq("a new serial number as well", "ETIMEDOUT", put(f"{store('disk1')}/wwn/vpd_unit_serial", "4711", PATIENCE))
check_eq("a device whose reservations are being read can be removed", None,
         attempt("rmdir", lambda: os.rmdir(three), AT_ONCE))
check("the disk works", conn.scsi(read10(0, 8), expect=4096)[0] == 0)
resume("pr")
register = struct.pack(">BB5xHx", 0x5f, 0x06, 24)
parameters = struct.pack(">QQIBxxx", 0, 0x1234, 0, 1)
check_eq("a registration that survives a loss of power", 0, conn.scsi(register, parameters)[0])
suspend("pr")
clear = f"{store('disk0')}/pr/clear"
check_eq("clearing reservations is not waited for", "ETIMEDOUT", put(clear, "1", PATIENCE))
check_eq("nor begun twice", "EBUSY", put(clear, "1", AT_ONCE))
check("it has not been done yet", int(read(f"{store('disk0')}/pr/registrants")) == 1)
check("the disk works", conn.scsi(read10(0, 8), expect=4096)[0] == 0)
check_eq("reservations can be read", 0, conn.scsi(struct.pack(">BB5xHx", 0x5e, 0, 512), expect=512)[0])
resume("pr")
check("when the file system goes on, they are cleared", until(lambda: int(read(f"{store('disk0')}/pr/registrants")) == 0))
check("and can be changed again", until(lambda: conn.scsi(register, parameters)[0] == 0))
check_eq("cleared by the administrator", None, put(clear, "1", PATIENCE))
conn.logout()
given_up, at_once = (round(1000 * max(took for limit, took in attempts if limit == which)) for which in (PATIENCE, AT_ONCE))
print(f"@figure a device that does not open, a path or pr_dir that hangs: operations, ms until given up, ms of all others | "
      f"{len(attempts)}, {given_up}, {at_once}")
