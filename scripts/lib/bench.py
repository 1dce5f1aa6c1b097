# SPDX-License-Identifier: GPL-2.0
"""Compares Ferrite with the kernel's own targets, side by side, in one run.

Every target gets a virtual machine of its own, with the same stock kernel and image, the same
null_blk, the same initiator settings and the same fio jobs. What counts are the ratios.
"""

import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
GUEST = os.path.join(PROJECT, "tests", "bench", "guest.sh")
VM = os.path.join(PROJECT, "scripts", "vm")

TARGETS = ("ferrite", "lio", "nvmet")
# NAME: RW, BLOCK, DEPTH, I/Os of an --icount run.
JOBS = {
    "4k-randread-qd1": ("randread", "4k", 1, 4000),
    "4k-randread-qd32": ("randread", "4k", 32, 8000),
    "4k-randwrite-qd32": ("randwrite", "4k", 32, 8000),
    "128k-read-qd8": ("read", "128k", 8, 1500),
    "128k-write-qd8": ("write", "128k", 8, 1500),
}

EPILOG = """
A job is one of the names above, or RW:BLOCK:DEPTH[:IOS], e.g. randrw:8k:16:4000.

Instructions per I/O are end to end: initiator, TCP over loopback, target and fio, on one CPU
of a machine in which an instruction is a nanosecond. The same run gives the same numbers on
every host, however busy. --wall measures time instead, on two CPUs, several times; that
needs a host that does nothing else.
"""


def parse_job(text):
    if text in JOBS:
        return (text, *JOBS[text])
    parts = text.split(":")
    if len(parts) not in (3, 4) or not parts[2].isdigit():
        sys.exit(f"bench: \"{text}\" is no job: one of {', '.join(JOBS)}, or RW:BLOCK:DEPTH[:IOS]")
    rw, block, depth = parts[0], parts[1], int(parts[2])
    ios = int(parts[3]) if len(parts) == 4 else 4000
    return (f"{block}-{rw}-qd{depth}", rw, block, depth, ios)


def run_guest(options, target, mode, jobs):
    """One virtual machine; returns the results by job and the profiles' lines."""
    command = [VM, "run", "--timeout", "3000", "--mem", "1024"]
    if options.kernel:
        command += ["--kernel", options.kernel]
    if options.module:
        command += ["--module", options.module]
    if options.share:
        command += ["--share", options.share]
    command += ["--icount"] if mode == "icount" else ["--smp", str(options.smp)]
    digest = "crc32c" if options.digests else "none"
    command += [GUEST, target, mode, str(options.seconds), "yes" if options.profile else "no",
                *(f"{n}:{rw}:{block}:{depth}:{ios}:{digest}" for n, rw, block, depth, ios in jobs)]
    print(f"bench: {target}, {mode}", file=sys.stderr, flush=True)
    results, profile = {}, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as guest:
        for line in guest.stdout:
            line = line.rstrip("\n")
            if line.startswith("@job "):
                one = json.loads(line[5:])
                results[one.pop("name")] = one
            elif line.startswith("@p"):
                profile.append(line.removeprefix("@p "))
            elif line:
                print(f"    {target}: {line}", file=sys.stderr)
    if guest.returncode != 0 or (not options.profile and len(results) != len(jobs)):
        sys.exit(f"bench: {target} could not be measured (status {guest.returncode})")
    return results, profile


def table(title, jobs, targets, values, form="{:,.0f}"):
    """Prints one quantity; the ratio to LIO is behind each number where LIO was measured."""
    print(f"\n{title}")
    print(f"{'job':22}" + "".join(f"{t:>20}" for t in targets))
    for job in jobs:
        row = f"{job:22}"
        base = values.get("lio", {}).get(job)
        for target in targets:
            value = values.get(target, {}).get(job)
            if value is None:
                row += f"{'-':>20}"
                continue
            text = form.format(value)
            if base and target != "lio":
                text += f" ({value / base:.2f})"
            row += f"{text:>20}"
        print(row)


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {', '.join(JOBS)} (all)")
    parser.add_argument("--targets", default=",".join(TARGETS), metavar="LIST",
                        help=f"of {', '.join(TARGETS)} (all)")
    parser.add_argument("--kernel", metavar="KERNEL", help="as for scripts/vm run")
    parser.add_argument("--module", metavar="FILE", help="another ferrite.ko")
    parser.add_argument("--digests", action="store_true", help="with header and data digests")
    parser.add_argument("--wall", action="store_true", help="also IOPS and latency, by the clock")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of --wall (3)")
    parser.add_argument("--seconds", type=int, default=10, metavar="S", help="of each job of --wall (10)")
    parser.add_argument("--smp", type=int, default=2, metavar="N", help="CPUs of --wall (2)")
    parser.add_argument("--profile", action="store_true",
                        help="profile by instructions instead of measuring")
    parser.add_argument("--share", metavar="DIR", help="where the stacks go, with --profile")
    parser.add_argument("--output", default=os.path.join(PROJECT, "build", "bench.json"),
                        metavar="FILE", help="(build/bench.json)")
    options = parser.parse_args()
    targets = options.targets.split(",")
    for target in targets:
        if target not in TARGETS:
            parser.error(f"\"{target}\" is none of {', '.join(TARGETS)}")
    jobs = [parse_job(j) for j in options.jobs or JOBS]
    names = [j[0] for j in jobs]

    if options.profile:
        for target in targets:
            print(f"== {target}")
            print("\n".join(run_guest(options, target, "icount", jobs)[1]))
        return

    counted = {t: run_guest(options, t, "icount", jobs)[0] for t in targets}
    pick = lambda key: {t: {n: r[key] for n, r in of.items()} for t, of in counted.items()}
    table("Instructions per I/O, end to end (ratio to LIO)", names, targets, pick("ns_per_io"))
    table("Context switches per I/O (ratio to LIO)", names, targets, pick("switches"), "{:.2f}")
    result = {"digests": options.digests, "jobs": {
        n: {"rw": rw, "block": block, "depth": depth, "ios": ios}
        for n, rw, block, depth, ios in jobs},
        "instructions_per_io": pick("ns_per_io"), "switches_per_io": pick("switches")}

    os.makedirs(os.path.dirname(options.output), exist_ok=True)
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


main()
