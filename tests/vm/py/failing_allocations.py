# SPDX-License-Identifier: GPL-2.0
"""A configuration is made, read, changed and taken away, each step with each of its allocations failing."""

import errno
import os
import stat
import struct
import time

from failing import OWN, WORKERS, Steps
from host import ROOT, SLOWER, in_use, read, until, write
from iscsi import TARGET, Closed, Conn, check, check_eq, read10, write10

NAME = "iqn.2026-01.org.example:raw"
FULL = os.environ["T_FULL"] == "1"
DISK, OTHER_DISK = "/dev/ram0", "/dev/ram1"
# What is written where what is there does not tell what else may be; the second one stays.
VALUES = {
    "alias": ("one", "two"), "tag": ("one", "two"), "pd_text_id_info": ("one", "two"),
    "vendor_id": ("ONE", "TWO"), "product_id": ("one", "two"), "revision": ("1", "2"),
    "company_id": ("0x123456", "0x123457"), "naa_id": ("none", "auto"), "eui64_id": ("0123456789abcdef", "none"),
    "t10_id": ("EXAMPLE one", "auto"), "vpd_unit_serial": ("123", "456"),
    "thin_pool": ("1/2", "none"), "lba_map": ("0 0;0 7 7:O;8 15 7:U", "NULL"), "cgroup": ("/storage", "none"),
    "members": ("iqn.2026-01.org.example:b* iqn.2026-01.org.example:c", "iqn.2026-01.org.example:a*"),
    "redirect": ("temporary 127.0.0.1:3262", "none"), "chap_algorithms": ("SHA1,SHA256", "SHA256"),
    "userid": ("one", "NULL"), "password": ("twelve-chars-1", "NULL"),
    "userid_mutual": ("two", "NULL"), "password_mutual": ("twelve-chars-2", "NULL"),
    "alua_tg_pt_gp": ("group", "default_tg_pt_gp"), "alua_access_type": ("1", "3"), "alua_access_status": ("1", "0"),
    "alua_tg_pt_status": ("1", "0"), "TargetAlias": ("one", "two"), "AuthMethod": ("None", "CHAP,None"),
    "HeaderDigest": ("None", "CRC32C,None"), "DataDigest": ("None", "CRC32C,None"),
    "max_bytes_per_second": ("65536", "0"), "demo_mode_max_bytes_per_second": ("65536", "0"),
    "dbroot": ("/tmp", "/etc"), "pr_dir": ("/tmp/other", "/tmp/pr"),
}
# There, at that moment, is but one that they take.
SINGLE = {"alua_support_lba_dependent", "alua_write_metadata", "alua_tg_pt_write_md", "udev_path", "unmap_zeroes_data",
          "default_erl", "members", "DataPDUInOrder", "DataSequenceInOrder", "IFMarker", "IFMarkInt", "OFMarker", "OFMarkInt"}

run = Steps()
step = run.step
# Files that were written, and those of which no other value could be written.
written, single = set(), set()


def make(path, **how):
    step(f"mkdir {path}", lambda: os.mkdir(f"{ROOT}/{path}"), lambda: os.rmdir(f"{ROOT}/{path}"), **how)


def link(to, path, **how):
    step(f"link {path}", lambda *_: os.symlink(f"{ROOT}/{to}", f"{ROOT}/{path}"), lambda: os.unlink(f"{ROOT}/{path}"), **how)


def drop(path):
    """A directory or link; what was removed in spite of a failure is not there the next time."""
    remove = os.unlink if os.path.islink(f"{ROOT}/{path}") else os.rmdir

    def act():
        try:
            remove(f"{ROOT}/{path}")
        except FileNotFoundError:
            pass
    step(f"removing {path}", act)


def put(path, value, undo=None, before=None, tasks=OWN, **how):
    """The file is open already: opening is not the module's business."""
    full = f"{ROOT}/{path}"
    readable = os.stat(full).st_mode & stat.S_IRUSR
    file = None

    def begin():
        nonlocal file
        if before:
            before()
        file = os.open(full, os.O_WRONLY)
        return file

    def act(fd):
        os.write(fd, value.encode())

    def state():
        return readable and read(full)

    def opened():
        if file is not None:
            os.close(file)
        return begin()

    step(f"{path} = {value}", act, undo, opened, state, tasks, **how)
    os.close(file)
    written.add(path)


def wrong(name, act):
    """What is wrong is called so, also without memory to put it into words."""
    def tried():
        try:
            act()
            run.fault(f"{name}: is taken")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    step(name, tried)


def show(path):
    def opened():
        fds.append(os.open(f"{ROOT}/{path}", os.O_RDONLY))
        return fds[-1]

    def act(fd):
        while os.read(fd, 65536):
            pass

    fds = []
    step(f"reading {path}", act, before=opened)
    for fd in fds:
        os.close(fd)


def takes(path, value):
    try:
        write(f"{ROOT}/{path}", value)
        return True
    except OSError:
        return False


def other_values(old):
    yield from (value for value in ("0", "1", "Yes", "No") if value != old)
    try:
        number = int(old, 0)
        yield from (str(value) for value in (number + 1, number - 1, number * 2, number // 2) if value >= 0)
    except ValueError:
        pass


def change(path):
    """To another value and back; what takes none gets its own."""
    new, old = VALUES.get(os.path.basename(path), (None, None))
    if not new or not takes(path, new):
        try:
            old = read(f"{ROOT}/{path}").strip()
        except OSError as error:
            single.add(f"{path} ({error})")
            return
        new = next((value for value in other_values(old) if takes(path, value) and read(f"{ROOT}/{path}").strip() != old), None)
    if not takes(path, old):
        single.add(f"{path} (not even {old!r})")
        return
    if not new:
        single.add(path)
        put(path, old)
        return
    put(path, new, lambda: write(f"{ROOT}/{path}", old))
    put(path, old, lambda: write(f"{ROOT}/{path}", new))


def files(top):
    for where, dirs, names in os.walk(f"{ROOT}/{top}"):
        # Of two directories of the same kind one is enough.
        dirs[:] = sorted(name for name in dirs if FULL or name not in ("default_tg_pt_gp", "@hosts"))
        for name in sorted(names):
            if not os.path.islink(f"{where}/{name}"):
                yield os.path.relpath(f"{where}/{name}", ROOT), os.lstat(f"{where}/{name}").st_mode


def walk(*tops, changes=True):
    for top in tops:
        for path, mode in files(top):
            if mode & stat.S_IRUSR:
                show(path)
            if changes and mode & 0o600 == 0o600 and os.path.basename(path) not in ("enable", "tg_pt_gp_id"):
                change(path)


def phase(name):
    print(f"after {time.monotonic() - START:.0f} s: {name}, {run.steps} steps, {run.failures} failures")


START = time.monotonic()
hba = "core/iblock_0"
store, tpg = f"{hba}/disk0", f"iscsi/{TARGET}/tpgt_1"
lun, acl, hosts = f"{tpg}/lun/lun_0", f"{tpg}/acls/{NAME}", f"{tpg}/acls/@hosts"
alua = f"{store}/alua/group"

# --- before there is anything ---------------------------------------------------------------------

for directory in ("/tmp/pr", "/tmp/other"):
    os.makedirs(directory, exist_ok=True)
for path in ("dbroot", "pr_dir", "latency_statistics"):
    show(path)
    change(path)
put("dbroot", "/tmp", lambda: write(f"{ROOT}/dbroot", "/etc"), tasks=WORKERS)
walk("iscsi/discovery_auth")

# --- a backstore ----------------------------------------------------------------------------------


def make_store():
    os.mkdir(f"{ROOT}/{store}")
    write(f"{ROOT}/{store}/udev_path", DISK)


def remake_store():
    os.rmdir(f"{ROOT}/{store}")
    make_store()


def remake_group():
    os.rmdir(f"{ROOT}/{alua}")
    os.mkdir(f"{ROOT}/{alua}")


for path in (hba, store):
    make(path)
put(f"{store}/control", f"udev_path={DISK},readonly=1,exclusive=0", lambda: write(f"{ROOT}/{store}/udev_path", OTHER_DISK))
put(f"{store}/control", "readonly=0,exclusive=1")
put(f"{store}/udev_path", OTHER_DISK, lambda: write(f"{ROOT}/{store}/udev_path", DISK))
change(f"{store}/wwn/vpd_unit_serial")
# Paths are looked up, and disks opened, by a worker.
for tasks in (OWN, WORKERS):
    remake_store()
    put(f"{store}/enable", "1", remake_store, tasks=tasks)
for tasks in (OWN, WORKERS):
    put(f"{store}/replace", OTHER_DISK, lambda: write(f"{ROOT}/{store}/replace", DISK), tasks=tasks)
put(f"{store}/replace", DISK)
for tasks in (OWN, WORKERS):
    put(f"{store}/wwn/vpd_unit_serial", "789", lambda: write(f"{ROOT}/{store}/wwn/vpd_unit_serial", "456"), tasks=tasks)
    write(f"{ROOT}/{store}/wwn/vpd_unit_serial", "456")
    put(f"{store}/attrib/write_through", "1", lambda: write(f"{ROOT}/{store}/attrib/write_through", "0"), tasks=tasks)
    write(f"{ROOT}/{store}/attrib/write_through", "0")
make(alua)
put(f"{alua}/tg_pt_gp_id", "7", remake_group)
walk(hba)
phase("a backstore")

# --- a target -------------------------------------------------------------------------------------

for path in (f"iscsi/{TARGET}", tpg, lun, acl, f"{acl}/lun_0", hosts, f"{hosts}/lun_5"):
    make(path)
for portal in ("127.0.0.1:3260", "[::1]:3261"):
    # Without memory for a socket, and for a port, the kernel's own words are these.
    make(f"{tpg}/np/{portal}", errors=(errno.ENOMEM, errno.ENFILE, errno.EADDRINUSE, errno.ENOBUFS))
link(store, f"{lun}/disk0")
link(lun, f"{acl}/lun_0/lun")
link(lun, f"{hosts}/lun_5/lun")
put(f"{tpg}/enable", "1", lambda: write(f"{ROOT}/{tpg}/enable", "0"))
write(f"{ROOT}/{tpg}/enable", "0")
walk(f"iscsi/{TARGET}")
change(f"{hosts}/attrib/members")
wrong("a wrong value", lambda: write(f"{ROOT}/{tpg}/attrib/login_timeout", "99"))
wrong("a wrong name", lambda: os.mkdir(f"{ROOT}/{tpg}/lun/lun_99999"))
wrong("a wrong link", lambda: os.symlink(f"{ROOT}/{hba}", f"{ROOT}/{hosts}/lun_5/other"))
phase("a target")
for path, value in (("enable", "1"), ("attrib/authentication", "0"), ("attrib/nopin_response_timeout", "60"),
                    (f"acls/{NAME}/attrib/nopin_timeout", "0")):
    write(f"{ROOT}/{tpg}/{path}", value)

# --- with a session -------------------------------------------------------------------------------

conn = None
logins = 0


def session():
    """There is one. It may have ended, as one does that cannot be told for want of memory which LUNs it has."""
    global conn, logins
    try:
        if conn and conn.ping():
            return
    except Closed:
        conn.close()
    conn = Conn(timeout=10 * SLOWER).login(initiator=NAME)
    conn.ready()
    logins += 1


def register():
    """A registration that survives a loss of power."""
    session()
    conn.ready()
    status, _, sense = conn.scsi(struct.pack(">BBBxxIx", 0x5f, 6, 0, 24), struct.pack(">QQIB3x", 0, 1, 0, 1))
    assert status == 0, sense.hex()


session()
data = os.urandom(4096)
check_eq("what was made serves a WRITE", 0, conn.scsi(write10(0, 8), data)[0])
check("and a READ of it", conn.scsi(read10(0, 8), expect=4096)[1] == data)
if FULL:
    walk("", changes=False)
else:
    # What shows sessions, or is about all that there is.
    for path in ("version", "statistics", "in_use", "closing", f"{tpg}/sessions", f"{tpg}/dynamic_sessions", f"{acl}/info",
                 f"{store}/info", f"{alua}/members"):
        show(path)
    walk(f"{acl}/param", f"{lun}/statistics", changes=False)
phase("with a session, reading")
put(f"{acl}/lun_0/write_protect", "1", lambda: write(f"{ROOT}/{acl}/lun_0/write_protect", "0"), session)
put(f"{acl}/lun_0/write_protect", "0", lambda: write(f"{ROOT}/{acl}/lun_0/write_protect", "1"), session)
put(f"{tpg}/attrib/demo_mode_write_protect", "0", before=session)
put(f"{acl}/cmdsn_depth", "64", before=session)
put(f"{lun}/alua_tg_pt_gp", "group", lambda: write(f"{ROOT}/{lun}/alua_tg_pt_gp", "default_tg_pt_gp"), session)
put(f"{alua}/alua_access_state", "1", lambda: write(f"{ROOT}/{alua}/alua_access_state", "0"), session)
put(f"{store}/thin_pool", "1/2", lambda: write(f"{ROOT}/{store}/thin_pool", "none"), session)
for tasks in (OWN, WORKERS):
    # EIO is what is said when the file cannot be written.
    put(f"{store}/pr/clear", "1", before=register, tasks=tasks, errors=(errno.ENOMEM, errno.EIO))
    check_eq("cleared, nothing is left", "0", read(f"{ROOT}/{store}/pr/registrants").strip())
    check_eq("nor is it written down", [], os.listdir("/tmp/pr"))
for path in (f"{acl}/lun_1", f"{tpg}/lun/lun_1"):
    make(path)
link(store, f"{tpg}/lun/lun_1/disk0", before=session)
link(f"{tpg}/lun/lun_1", f"{acl}/lun_1/lun", before=session)
for way in (f"{NAME} 3600", NAME, "*"):
    put(f"{tpg}/close_sessions", way, before=session)
    check(f"close_sessions, {way}: it has ended, or has been asked to", " " in way or conn.closed_within(5 * SLOWER))
session()
phase("with a session, changing")
check("what was written is there", conn.scsi(read10(0, 8), expect=4096)[1] == data)
print(f"{logins} sessions")

# --- the end --------------------------------------------------------------------------------------

put(f"{tpg}/enable", "0", lambda: write(f"{ROOT}/{tpg}/enable", "1"))
check("disabled, the session is gone", conn.closed_within(5 * SLOWER))
for path in (f"{hosts}/lun_5/lun", f"{acl}/lun_1/lun", f"{acl}/lun_0/lun", f"{tpg}/lun/lun_1/disk0", f"{lun}/disk0",
             f"{hosts}/lun_5", hosts, f"{acl}/lun_1", f"{acl}/lun_0", acl, f"{tpg}/np/[::1]:3261", f"{tpg}/np/127.0.0.1:3260",
             f"{tpg}/lun/lun_1", lun, tpg, f"iscsi/{TARGET}", alua, store, hba):
    drop(path)
    check(f"{path} is gone", not os.path.exists(f"{ROOT}/{path}"))
phase("the end")
check("no memory is kept", until(lambda: not any(in_use().values())), in_use())
check_eq("all files were written with more than one value that take more", set(), {os.path.basename(path) for path in single} - SINGLE)
print(f"{len(written)} files were written")
run.tell("an administrator's steps")
