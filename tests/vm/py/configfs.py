# SPDX-License-Identifier: GPL-2.0
"""configfs: what each file takes and refuses, what the log says of it, when the module may go.

The module is not loaded when it begins, and not when it ends.
"""

import errno
import os
import random
import subprocess
import sys
import time

from iscsi import check

ROOT = "/sys/kernel/config/ferrite"
seen = wrong = 0


def fail(text):
    global wrong
    wrong += 1
    print("WRONG:", text, flush=True)


def section(name):
    """Tells what was seen since the last one."""
    global seen, wrong
    print(f"{name}: {seen} seen")
    check(f"{name}", seen and not wrong, f"{wrong} of {seen} wrong, see the log")
    seen = wrong = 0


def same(what, wanted, got):
    global seen
    seen += 1
    if wanted != got:
        fail(f"{what}: wanted {wanted!r}, got {got!r}")


def at(path):
    return path if path.startswith("/") else f"{ROOT}/{path}"


def attempt(act, *args):
    """The name of the error that it ends with, or None."""
    try:
        act(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


def write(path, value):
    fd = os.open(at(path), os.O_WRONLY)
    try:
        os.write(fd, value if isinstance(value, bytes) else value.encode())
    finally:
        os.close(fd)


def read(path):
    with open(at(path), "rb", buffering=0) as f:
        return f.read(4096).decode()


def shows(path, wanted):
    same(path, wanted + "\n", read(path))


def takes(path, value, shown=None):
    same(f"{path} <- {value!r}", None, attempt(write, path, value + "\n"))
    if shown is not None:
        shows(path, shown)


def refuses(path, error, value):
    """The write fails with the error, and the file stays as it is."""
    readable = os.stat(at(path)).st_mode & 0o400
    before = read(path) if readable else None
    same(f"{path} <- {value!r}", error, attempt(write, path, value))
    same(f"{path} after {value!r}", before, read(path) if readable else None)


def may(act, *args):
    same(f"{act.__name__}{args}", None, attempt(act, *map(at, args)))


def may_not(error, act, *args):
    same(f"{act.__name__}{args}", error, attempt(act, *map(at, args)))


def run(*command, **kwargs):
    return subprocess.run(command, capture_output=True, **kwargs).returncode


def logs(line, act, *args):
    """What is done leaves this line in the kernel log."""
    attempt(act, *args)
    log = subprocess.run(["dmesg"], capture_output=True).stdout.decode(errors="replace")
    same("the log", line, [x for x in log.splitlines() if "ferrite: " in x][-1].split("] ", 1)[1])


def load(*parameters):
    return run("insmod", "/ferrite/ferrite.ko", *parameters)


def unload():
    # A block device that was just closed may hold the module a moment longer.
    for _ in range(50):
        if run("rmmod", "ferrite") == 0:
            return 0
        time.sleep(0.1)
    return 1


# --- the name of the root -------------------------------------------------------
for name in "a/b", ".hidden", "", "x" * 65:
    same(f"configfs_root={name}", 1, load(f"configfs_root={name}"))
same("configfs_root=target", 0, load("configfs_root=target"))
same("its tree", True, os.path.isdir("/sys/kernel/config/target/iscsi/discovery_auth"))
same("rmmod", 0, run("rmmod", "ferrite"))
same("insmod", 0, load())

section("the name of the root")

# --- backstores -----------------------------------------------------------------
for name in "iblock_00", "iblock_", "iblock_-1", "iblock_4294967296", "fileio_0", "x":
    may_not("EINVAL", os.mkdir, f"core/{name}")
may_not("EPERM", os.mkdir, "x")
may_not("EPERM", os.rmdir, "core")
H, D = "core/iblock_0", "core/iblock_0/disk"
may(os.mkdir, H)
may_not("EINVAL", os.mkdir, f"{H}/a b")
may(os.mkdir, D)
shows(f"{H}/hba_mode", "0")
same("hba_info", True, read(f"{H}/hba_info").startswith("HBA Index: 0 plugin: iblock version: "))
same("udev_path", "", read(f"{D}/udev_path"))
same("alias", "", read(f"{D}/alias"))
refuses(f"{D}/enable", "ENODEV", "1")
for value in "udev_path=/dev/vda,readonly=2", "force=1", "udev_path=vda", ",", "readonly=":
    refuses(f"{D}/control", "EINVAL", value)
same("udev_path", "", read(f"{D}/udev_path"))
refuses(f"{D}/attrib/emulate_tpu", "ENODEV", "0")
takes(f"{D}/control", "udev_path=/dev/nothing,readonly=1,exclusive=1")
refuses(f"{D}/enable", "ENOENT", "1")
takes(f"{D}/udev_path", "/etc/passwd", "/etc/passwd")
refuses(f"{D}/enable", "ENOTBLK", "1")
takes(f"{D}/udev_path", "/dev/vda", "/dev/vda")
takes(f"{D}/control", "readonly=0")
takes(f"{D}/enable", "1", "1")
refuses(f"{D}/enable", "EEXIST", "1")
refuses(f"{D}/enable", "EINVAL", "0")
refuses(f"{D}/udev_path", "EBUSY", "/dev/vdb")
takes(f"{D}/udev_path", "/dev/vda")
takes(f"{D}/control", "udev_path=/dev/vda,readonly=0")
refuses(f"{D}/control", "EBUSY", "readonly=1")
node = os.stat("/dev/vda").st_rdev
same(
    "info",
    f"Status: DEACTIVATED  Max Queue Depth: {read(f'{D}/attrib/queue_depth').strip()}"
    f"  SectorSize: 512  HwMaxSectors: {read(f'{D}/attrib/hw_max_sectors').strip()}\n"
    "        iBlock device: vda  UDEV PATH: /dev/vda  readonly: 0\n"
    "  exclusive: 1\n"
    f"        Major: {os.major(node)} Minor: {os.minor(node)}  CLAIMED: IBLOCK\n",
    read(f"{D}/info"),
)
takes(f"{D}/alias", "some label", "some label")
for value in "2", "+1", "-1", "1 1", "", "0x", "one", "1,":
    refuses(f"{D}/attrib/emulate_fua_write", "EINVAL", value + "\n")
takes(f"{D}/attrib/emulate_fua_write", " 0x1 ", "1")
takes(f"{D}/attrib/block_size", "4096", "4096")
refuses(f"{D}/attrib/block_size", "EINVAL", "1000")
refuses(f"{D}/attrib/block_size", "EINVAL", "8192")
takes(f"{D}/attrib/block_size", "512", "512")
refuses(f"{D}/attrib/max_unmap_lba_count", "EINVAL", "4294967296")
takes(f"{D}/attrib/write_through", "1", "1")
shows(f"{D}/attrib/emulate_write_cache", "0")
takes(f"{D}/attrib/write_through", "0", "0")
takes(f"{D}/wwn/vpd_unit_serial", "0123-4567", "T10 VPD Unit Serial Number: 0123-4567")
takes(f"{D}/wwn/vendor_id", "ACME", "ACME")
refuses(f"{D}/wwn/vendor_id", "EINVAL", "123456789")
refuses(f"{D}/wwn/product_id", "EINVAL", "caf\u00e9")
takes(f"{D}/attrib/emulate_model_alias", "1", "1")
shows(f"{D}/wwn/product_id", "disk")
takes(f"{D}/wwn/company_id", "0x5000", "0x005000")
refuses(f"{D}/wwn/company_id", "EINVAL", "0x1000000")
for name, value, shown, bad in (
    ("naa_id", "60000000000000000E00000000010001", "0x60000000000000000e00000000010001",
     ("\n", "5", "0x6000c50015ea71ac", "x" * 32, "0" * 33)),
    ("naa_id", "none", "none", ("NONE",)),
    ("naa_id", "auto", "auto", ()),
    ("eui64_id", "0x0011223344556677", "0x0011223344556677", ("001122334455667", "auto")),
    ("eui64_id", "none", "none", ()),
    ("t10_id", "IET     00010001", "IET     00010001", ("IET", "a" * 256, "IET     caf\u00e9")),
    ("t10_id", "0x4945540000000000ff", "0x4945540000000000ff", ("0x494554", "0x4945540000000000f")),
    ("t10_id", "auto", "auto", ("\n",)),
):
    takes(f"{D}/wwn/{name}", value, shown)
    for text in bad:
        refuses(f"{D}/wwn/{name}", "EINVAL", text)

section("backstores")

# --- target and portal group ----------------------------------------------------
for name in "foo", "iqn.2024-13.org.example", "iqn.2024-01.org.ex ample", "eui.1", "naa.5":
    may_not("EINVAL", os.mkdir, f"iscsi/{name}")
N = "iscsi/iqn.2024-01.org.example:one"
may(os.mkdir, N)
may_not("EEXIST", os.mkdir, "iscsi/IQN.2024-01.org.example:ONE")
for name in "tpgt_65536", "tpgt1", "tpgt_01", "tpgt_", "1":
    may_not("EINVAL", os.mkdir, f"{N}/{name}")
T = f"{N}/tpgt_1"
may(os.mkdir, T)
shows(f"{T}/enable", "0")
same("dynamic_sessions", "", read(f"{T}/dynamic_sessions"))
shows(f"{T}/attrib/chap_algorithms", "SHA3-256,SHA256,SHA1")
shows(f"{T}/attrib/authentication", "1")
for value in "md5", "SHA1,SHA1", "\n", "SHA1,", "SHA512":
    refuses(f"{T}/attrib/chap_algorithms", "EINVAL", value)
takes(f"{T}/attrib/chap_algorithms", "MD5,SHA256", "SHA256,MD5")
for file, good, bad in [
    ("attrib/login_timeout", ["5", "30"], ["4", "31"]),
    ("attrib/nopin_timeout", ["3", "60", "0"], ["1", "2", "61", "-1"]),
    ("attrib/nopin_response_timeout", ["3", "60"], ["2", "61", "0"]),
    ("attrib/default_erl", ["0"], ["1"]),
    ("attrib/default_cmdsn_depth", ["1", "512", "128"], ["0", "513"]),
    ("attrib/generate_node_acls", ["1"], ["2"]),
    ("attrib/cache_dynamic_acls", ["1"], ["0", "2"]),
    ("enable", ["1", "0", "1"], ["2", "", "on"]),
    ("param/MaxRecvDataSegmentLength", ["512", "16777215"], ["511", "16777216"]),
    ("param/InitialR2T", ["Yes", "No"], ["maybe", "1", "yes please"]),
    ("param/MaxConnections", ["8", "1"], ["0", "9"]),
    ("param/ErrorRecoveryLevel", ["1", "2", "0"], ["3"]),
    ("param/MaxOutstandingR2T", ["1", "32"], ["0", "33"]),
    ("param/DefaultTime2Wait", ["0", "3600"], ["3601"]),
    ("param/HeaderDigest", ["None", "CRC32C", "CRC32C,None"], ["MD5", "None,None"]),
    ("param/AuthMethod", ["None", "CHAP,None", "CHAP"], ["SRP"]),
    ("param/IFMarker", ["No"], ["Yes"]),
]:
    for value in good:
        takes(f"{T}/{file}", value, value)
    for value in bad:
        refuses(f"{T}/{file}", "EINVAL", value + "\n")
refuses(f"{T}/rtpi", "EBUSY", "9")
takes(f"{T}/enable", "0", "0")
takes(f"{T}/rtpi", "7", "0x7")
refuses(f"{T}/rtpi", "EINVAL", "0")
may(os.mkdir, f"{N}/tpgt_2")
refuses(f"{N}/tpgt_2/rtpi", "EEXIST", "7")
may(os.rmdir, f"{N}/tpgt_2")
takes(f"{T}/enable", "1", "1")

section("targets and portal groups")

# --- portals --------------------------------------------------------------------
for name in [
    "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:+1", "127.0.1:3260", "::1:3260",
    "127.0.0.1:03260", "127.0.0.1:",
    "[::1]", "[::ffff:127.0.0.1]:3260", "224.0.0.1:3260", "[ff02::1]:3260", "localhost:3260",
]:
    may_not("EINVAL", os.mkdir, f"{T}/np/{name}")
for zone in "nothing", "+1", "01", "0", "":
    may_not("ENODEV", os.mkdir, f"{T}/np/[fe80::1%{zone}]:3260")
for name in "127.0.0.1:3260", "[::1]:3260", "192.0.2.99:3260":
    may(os.mkdir, f"{T}/np/{name}")
may_not("EEXIST", os.mkdir, f"{T}/np/[0::1]:3260")
taken = subprocess.Popen([sys.executable, "-c",
    "import socket; s = socket.create_server(('127.0.0.1', 3299)); print(flush=True); s.accept()"],
    stdout=subprocess.PIPE)
taken.stdout.readline()
may_not("EADDRINUSE", os.mkdir, f"{T}/np/127.0.0.1:3299")
taken.kill()

section("portals")

# --- LUNs -----------------------------------------------------------------------
for name in "lun_16384", "lun_01", "lun_", "lun_-1", "0":
    may_not("EINVAL", os.mkdir, f"{T}/lun/{name}")
may(os.mkdir, f"{T}/lun/lun_16383")
may(os.rmdir, f"{T}/lun/lun_16383")
L = f"{T}/lun/lun_0"
may(os.mkdir, L)
may(os.mkdir, f"{H}/closed")
may_not("ENODEV", os.symlink, f"{H}/closed", f"{L}/disk")
may(os.rmdir, f"{H}/closed")
for target in T, L, ROOT, "iscsi":
    may_not("EINVAL", os.symlink, target, f"{L}/disk")
may_not("EPERM", os.symlink, "/tmp", f"{L}/disk")
may_not("EPERM", os.symlink, D, f"{T}/disk")
may(os.symlink, D, f"{L}/disk")
may_not("EEXIST", os.symlink, D, f"{L}/again")
shows(f"{L}/disk/udev_path", "/dev/vda")
same("status", "Status: ACTIVATED", read(f"{D}/info")[:17])
refuses(f"{D}/wwn/vpd_unit_serial", "EBUSY", "new")
refuses(f"{D}/attrib/block_size", "EBUSY", "4096")
may_not("EBUSY", os.rmdir, D)
may_not("ENOTEMPTY", os.rmdir, L)
may_not("ENOTEMPTY", os.rmdir, T)

section("LUNs")

# --- ACLs -----------------------------------------------------------------------
A = f"{T}/acls/iqn.1993-08.org.debian:01:abc"
may_not("EINVAL", os.mkdir, f"{T}/acls/foo")
may(os.mkdir, A)
may_not("EEXIST", os.mkdir, f"{T}/acls/IQN.1993-08.org.debian:01:ABC")
name = os.path.basename(A)
shows(f"{A}/info", f"No active iSCSI Session for Initiator Endpoint: {name}")
shows(f"{A}/param/InitialR2T", "No Active iSCSI Session")
shows(f"{A}/cmdsn_depth", "128")
takes(f"{A}/cmdsn_depth", "32", "32")
refuses(f"{A}/cmdsn_depth", "EINVAL", "513")
takes(f"{A}/tag", "group", "group")
takes(f"{A}/tag", "NULL", "")
for value in "0", "1", "-1":
    takes(f"{A}/attrib/authentication", value, value)
for value in "-2", "2", "--1", "-":
    refuses(f"{A}/attrib/authentication", "EINVAL", value)
M = f"{A}/lun_5"
may(os.mkdir, M)
may_not("EINVAL", os.symlink, D, f"{M}/m")
other = "iscsi/iqn.2024-01.org.example:two"
for part in "", "/tpgt_1", "/tpgt_1/lun/lun_0":
    may(os.mkdir, other + part)
may_not("EINVAL", os.symlink, f"{other}/tpgt_1/lun/lun_0", f"{M}/m")
may(os.symlink, L, f"{M}/m")
may_not("EEXIST", os.symlink, L, f"{M}/n")
takes(f"{M}/write_protect", "1", "1")
# Of a longer write configfs takes the beginning: nobody who is only a part of a name gets in.
group = f"{T}/acls/@many"
may(os.mkdir, group)
members = " ".join(f"iqn.2024-01.org.example:{n:0150}" for n in range(30))
takes(f"{group}/attrib/members", members[:4080], members[:4080])
for length in 4095, 4096, 5000:
    refuses(f"{group}/attrib/members", "EINVAL", members[:length])
may(os.rmdir, group)

section("ACLs")

# --- CHAP -----------------------------------------------------------------------
for auth in f"{T}/auth", f"{A}/auth", "iscsi/discovery_auth":
    takes(f"{auth}/userid", "joe", "joe")
    takes(f"{auth}/password", "  a secret  ", "")
    shows(f"{auth}/password_set", "1")
    shows(f"{auth}/authenticate_target", "0")
    takes(f"{auth}/userid_mutual", "target", "target")
    takes(f"{auth}/password_mutual", "another secret", "")
    shows(f"{auth}/authenticate_target", "1")
    takes(f"{auth}/password_mutual", "NULL", "")
    shows(f"{auth}/password_mutual_set", "0")
    shows(f"{auth}/authenticate_target", "0")
    takes(f"{auth}/userid", "u" * 255, "u" * 255)
    for value in "s" * 256, "s" * 4000, "a\tb", "\n", "a\0b":
        refuses(f"{auth}/password", "EINVAL", value)
    shows(f"{auth}/password_set", "1")
    for file in "userid", "password", "userid_mutual", "password_mutual":
        same(f"mode of {file}", 0o600, os.stat(at(f"{auth}/{file}")).st_mode & 0o777)
# Who got hold of the file needs the capability as well.
user = at(f"{T}/auth/userid")
os.chmod(user, 0o666)
fd = os.open(user, os.O_RDWR)
script = f"""
import os
def allowed(act, *args):
    try:
        act(*args)
        return True
    except PermissionError:
        return False
a = [allowed(lambda: open({user!r}).read()), allowed(lambda: os.write(os.open({user!r}, os.O_WRONLY), b"x")),
     allowed(os.read, {fd}, 9), allowed(os.write, {fd}, b"x"), allowed(open, {at(f"{T}/enable")!r}, "w")]
os._exit(0 if not any(a) and allowed(open, {at(f"{T}/enable")!r}) else 1)
"""
same("without the capability", 0,
     run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-c",
         script, pass_fds=[fd]))
os.close(fd)
shows(f"{T}/auth/userid", "u" * 255)

section("CHAP names and secrets")

# --- the log --------------------------------------------------------------------
time.sleep(5.5)  # The log takes ten lines in five seconds: these are fewer.
logs(f"ferrite: {T}/attrib/login_timeout: 99: must be a number from 5 to 30",
     write, f"{T}/attrib/login_timeout", "99")
logs(f"ferrite: {T}/param/TargetAlias: a\\xff\\x1b: must be UTF-8",
     write, f"{T}/param/TargetAlias", b"a\xff\x1b")
logs("ferrite: core: iblock_x: must be iblock_<n> with a decimal number of at most 2147483647",
     os.mkdir, at("core/iblock_x"))
logs(f"ferrite: {M}: {D}: not a directory that this link may point to",
     os.symlink, at(D), at(f"{M}/x"))
logs(f"ferrite: {T}/auth/password: must not have control characters",
     write, f"{T}/auth/password", "hush\1")
logs(f"ferrite: {D}/control: {'x' * 238}...: must be udev_path=, readonly= or exclusive=, "
     "separated by commas", write, f"{D}/control", "x" * 4000)
log = subprocess.run(["dmesg"], capture_output=True).stdout
same("a secret in the log", False, b"secret" in log or b"hush" in log)

section("the kernel log")

# --- hostile values -------------------------------------------------------------
random.seed(1)
values = [b"\0", b"\n", b" ", b"\xff" * 100, b"A" * 4094, b"1" * 4094, b"-", b"0x", b"%s%n",
          b"1\0001", b"9" * 20, b"iqn." * 900, b"=" * 300, b",", bytes(range(256)), b"x" * 5000]
values += [random.randbytes(random.randrange(9, 4095)) for _ in range(20)]
text = {"userid", "password", "userid_mutual", "password_mutual", "alias", "tag", "TargetAlias",
        "vendor_id", "product_id", "revision", "vpd_unit_serial", "pd_text_id_info",
        "naa_id", "eui64_id", "t10_id"}
for where, _, files in os.walk(ROOT):
    for name in files:
        path = f"{where}/{name}"
        if name in text or os.path.islink(path) or not os.stat(path).st_mode & 0o200:
            continue
        for value in values:
            same(f"{path} <- {value[:20]}", False, attempt(write, path, value) is None)

section("hostile values are refused everywhere")

# --- files that are open, and unloading ------------------------------------------
same("rmmod while configured", 1, run("rmmod", "ferrite"))
info = os.open(at(f"{A}/info"), os.O_RDONLY)
depth = os.open(at(f"{A}/cmdsn_depth"), os.O_WRONLY)
may_not("EBUSY", os.rmdir, L)
may(os.unlink, f"{L}/disk")
may_not("EBUSY", os.rmdir, L)
may(os.unlink, f"{M}/m")
may(os.rmdir, M)
may(os.rmdir, A)
same("reading what is gone", "ENOENT", attempt(os.read, info, 99))
same("writing what is gone", "ENOENT", attempt(os.write, depth, b"5"))
may(os.rmdir, L)
for name in os.listdir(at(f"{T}/np")):
    may(os.rmdir, f"{T}/np/{name}")
for part in T, N, f"{other}/tpgt_1/lun/lun_0", f"{other}/tpgt_1", other:
    may(os.rmdir, part)
refuses("dbroot", "EBUSY", "/tmp")
may(os.rmdir, D)
may(os.rmdir, H)
refuses("dbroot", "EINVAL", "relative")
refuses("dbroot", "ENOENT", "/nothing")
refuses("dbroot", "ENOTDIR", "/etc/passwd")
takes("dbroot", "/tmp", "/tmp")
same("rmmod with a file open", 1, run("rmmod", "ferrite"))
os.close(info)
os.close(depth)
same("rmmod", 0, unload())
section("open files, removal and unloading")
