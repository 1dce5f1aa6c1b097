# SPDX-License-Identifier: GPL-2.0
"""Many processes make, link, read, write and remove the same few directories at once.

Whatever they get, the kernel must not complain, and in the end all can be removed.

configfs_storm.py SECONDS DEVICE
"""

import os
import random
import sys
import time

from iscsi import check, check_eq

ROOT = "/sys/kernel/config/ferrite"
SECONDS, DEVICE = float(sys.argv[1]), sys.argv[2]
FILES = {
    "tpg": ["enable", "rtpi", "attrib/authentication", "attrib/chap_algorithms", "auth/userid",
            "attrib/demo_mode_write_protect", "auth/password", "param/MaxBurstLength",
            "dynamic_sessions", "param/TargetAlias"],
    "acl": ["info", "cmdsn_depth", "tag", "attrib/authentication", "auth/password",
            "param/InitialR2T"],
    "device": ["info", "alias", "udev_path", "control", "attrib/emulate_tpu", "attrib/block_size",
               "wwn/vpd_unit_serial"],
    "mapped": ["write_protect"],
}
VALUES = [b"1", b"0", b"SHA1", b"Yes", b"262144", b"hello", b"512", b"NULL", b"7", b"\xff"]


def two():
    return random.randrange(2)


def hba():
    return f"{ROOT}/core/iblock_{two()}"


def device():
    return f"{hba()}/disk{two()}"


def target():
    return f"{ROOT}/iscsi/iqn.2024-01.org.example:t{two()}"


def tpg():
    return f"{target()}/tpgt_{two()}"


def lun():
    return f"{tpg()}/lun/lun_{two()}"


def acl():
    return f"{tpg()}/acls/iqn.2024-01.org.initiator:i{two()}"


def mapped():
    return f"{acl()}/lun_{two()}"


def portal():
    return f"{tpg()}/np/127.0.0.1:{3260 + two()}"


def write(path, value):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, value)
    finally:
        os.close(fd)


def make_device():
    path = device()
    os.mkdir(path)
    write(f"{path}/control", f"udev_path={DEVICE},exclusive=0".encode())
    write(f"{path}/enable", b"1")


ACTS = [
    lambda: os.mkdir(hba()), make_device, make_device, lambda: os.rmdir(device()),
    lambda: os.mkdir(target()), lambda: os.mkdir(tpg()), lambda: os.mkdir(lun()),
    lambda: os.rmdir(lun()), lambda: os.symlink(device(), lun() + "/x"),
    lambda: os.symlink(device(), lun() + "/x"), lambda: os.unlink(lun() + "/x"),
    lambda: os.mkdir(acl()), lambda: os.rmdir(acl()), lambda: os.mkdir(mapped()),
    lambda: os.rmdir(mapped()), lambda: os.symlink(lun(), mapped() + "/y"),
    lambda: os.unlink(mapped() + "/y"), lambda: os.mkdir(portal()), lambda: os.rmdir(portal()),
]
SELDOM = [lambda: os.rmdir(hba()), lambda: os.rmdir(tpg()), lambda: os.rmdir(target())]


def use(held):
    """Reads and writes files, held open over whatever happens to them."""
    slot = random.randrange(6)
    if held.get(slot) is None or random.random() < 0.3:
        if held.get(slot) is not None:
            os.close(held.pop(slot))
        kind = random.choice(list(FILES))
        path = f"{globals()[kind]()}/{random.choice(FILES[kind])}"
        for mode in os.O_RDWR, os.O_RDONLY, os.O_WRONLY:
            try:
                held[slot] = os.open(path, mode)
                break
            except PermissionError:
                pass
    elif two():
        os.pread(held[slot], 4096, 0)
    else:
        os.pwrite(held[slot], random.choice(VALUES), 0)


def storm(seed):
    random.seed(seed)
    held, done = {}, 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            roll = random.random()
            if roll < 0.6:
                random.choice(ACTS)()
            elif roll < 0.63:
                random.choice(SELDOM)()
            else:
                use(held)
            done += 1
        except OSError:
            pass
    return done


def clear():
    """Removes all: links first, then directories from the leaves on."""
    for where, dirs, _ in os.walk(ROOT):
        for name in dirs:
            if os.path.islink(f"{where}/{name}"):
                os.unlink(f"{where}/{name}")
    for where, _, _ in os.walk(ROOT, topdown=False):
        try:
            os.rmdir(where)
        except OSError:
            pass


print("seed", seed := int(os.environ.get("SEED", time.time())))
children = []
for n in range(6):
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(into, str(storm(seed + n)).encode())
        os._exit(0)
    os.close(into)
    children.append((pid, out))
done = []
for pid, out in children:
    check_eq("a process came to its end", 0, os.waitpid(pid, 0)[1])
    done.append(int(os.read(out, 99)))
print("operations that succeeded:", done)
print(f"@figure many processes change the configuration at random: operations done | {sum(done)}")
check("each did something", all(n > 20 for n in done), done)
clear()
left = [d for d in ("core", "iscsi") for e in os.listdir(f"{ROOT}/{d}")
        if e.startswith(("iblock_", "iqn."))]
check_eq("all could be removed", [], left)
