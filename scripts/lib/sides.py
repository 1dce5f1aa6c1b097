# SPDX-License-Identifier: GPL-2.0
"""Which side of the wire a sample of a profile belongs to.

Initiator and target share one machine, and over loopback each receives within the other's
send. A stack tells them apart all the same: from the outside in, a thread or a function of one
of them says whose work begins there, and packets that are received within a send are the
other one's.
"""

import re

TARGET_THREADS = ("ferrite/", "iscsi_trx", "iscsi_ttx", "iscsi_np")
INITIATOR_THREADS = ("fio",)
# Beginnings of names; those of Rust are mangled, and have the module's name in them.
TARGET = ("fer_", "iscsit_", "iscsi_target", "target_", "transport_", "iblock_", "nvmet_", "null_")
INITIATOR = ("iscsi_sw_tcp", "iscsi_xmit", "iscsi_complete_pdu", "iscsi_queuecommand", "scsi_",
             "nvme_")
OTHER = {"target": "initiator", "initiator": "target"}

HEADER = re.compile(r"(\S.*?)\s+[0-9]+\.[0-9]+:")


def samples(lines):
    """The samples of `perf script -F comm,time,ip,sym`: threads, and functions from within."""
    thread, functions = None, []
    for line in lines:
        if not line.strip():
            if thread is not None:
                yield thread, functions
            thread, functions = None, []
        elif line[0].isspace():
            functions.append(line.split(None, 1)[-1].strip())
        else:
            header = HEADER.match(line)
            thread = header.group(1) if header else line.strip()
    if thread is not None:
        yield thread, functions


def side(thread, functions):
    """"target", "initiator", or None where it is nobody's or cannot be told."""
    whose = None
    if thread.startswith(TARGET_THREADS):
        whose = "target"
    elif thread.startswith(INITIATOR_THREADS):
        whose = "initiator"
    for name in reversed(functions):
        if name.startswith(INITIATOR):
            whose = "initiator"
        elif name.startswith(TARGET) or (name.startswith("_R") and "7ferrite" in name):
            whose = "target"
        elif name == "net_rx_action":
            whose = OTHER.get(whose)
    return whose


def target_share(lines):
    """The target's share of the samples, and how many of them can be told."""
    count = {"target": 0, "initiator": 0, None: 0}
    for thread, functions in samples(lines):
        count[side(thread, functions)] += 1
    told = count["target"] + count["initiator"]
    return (count["target"] / told if told else 0.0), told / max(1, told + count[None])
