# SPDX-License-Identifier: GPL-2.0
"""Compares Ferrite with the kernel's own targets, side by side, in one run.

Every target gets a virtual machine of its own, with the same stock kernel and image, the same
null_blk, the same initiator settings and the same fio jobs. What counts are the ratios.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import sides

HERE = os.path.dirname(os.path.realpath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
GUEST = os.path.join(PROJECT, "tests", "bench", "guest.sh")
VM = os.path.join(PROJECT, "scripts", "vm")

TARGETS = ("ferrite", "lio", "nvmet")
COLOURS = {"ferrite": "#b7410e", "lio": "#7a8793", "nvmet": "#3b6ea5"}
# NAME: RW, BLOCK, DEPTH, I/Os of an --icount run.
JOBS = {
    "4k-randread-qd1": ("randread", "4k", 1, 4000),
    "4k-randread-qd32": ("randread", "4k", 32, 8000),
    "4k-randwrite-qd32": ("randwrite", "4k", 32, 8000),
    "128k-read-qd8": ("read", "128k", 8, 1500),
    "128k-write-qd8": ("write", "128k", 8, 1500),
}

NOUNS = {"sessions": "sessions", "luns": "LUNs", "cpus": "CPUs"}

EPILOG = """
A job is one of the names above, or RW:BLOCK:DEPTH[:IOS], e.g. randrw:8k:16:4000.

Instructions per I/O are end to end: initiator, TCP over loopback, target and fio, on one CPU
(or all, with --scale-cpus) of a machine in which an instruction is a nanosecond. The same run
gives the same numbers on every host, however busy. --sides takes a profile as well, whose
stacks tell whether the target or the initiator was at work: its share, of the first number, is
the target's; the sampling makes that exact to some 3 percent. --wall measures time instead, on
two CPUs, several times; that needs a host that does nothing else.
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


def run_guest(options, target, mode, jobs, stacks=None):
    """One virtual machine; returns the results by job and the profiles' lines.

    With `stacks`, a directory, it profiles, and leaves each sample's stack there.
    """
    profiled = options.profile or stacks is not None
    # The initiator's end of a session takes a MiB.
    command = [VM, "run", "--timeout", "3000", "--mem", str(1024 + 8 * options.sessions)]
    if options.kernel:
        command += ["--kernel", options.kernel]
    if options.module:
        command += ["--module", options.module]
    share = os.path.join(PROJECT, "tests", "vm") if mode == "idle" else stacks or options.share
    if share:
        command += ["--share", share]
    # Of several CPUs in an --icount machine one runs at a time: what is counted is of all.
    command += ["--icount", "--smp", str(options.cpus)] if mode in ("icount", "far") else ["--smp", str(options.smp)]
    digest = "crc32c" if options.digests else "none"
    seconds = options.far if mode == "far" else options.seconds
    command += [GUEST, target, mode, str(seconds), "yes" if profiled else "no",
                *(("1", "1") if target == "nvmet" else (str(options.sessions), str(options.luns))),
                *(f"{n}:{rw}:{block}:{depth}:{ios}:{digest}" for n, rw, block, depth, ios in jobs)]
    print(f"bench: {target}, {mode}", file=sys.stderr, flush=True)
    results, profile = {}, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as guest:
        for line in guest.stdout:
            line = line.rstrip("\n")
            if line.startswith("@job "):
                one = json.loads(line[5:])
                results[one.pop("name")] = one
            elif line.startswith("@idle "):
                results["idle"] = json.loads(line[6:])
            elif line.startswith("@far "):
                one = json.loads(line[5:])
                results[one["name"]] = one["ms"] / 1000
            elif line.startswith("@p"):
                profile.append(line.removeprefix("@p "))
            elif line:
                print(f"    {target}: {line}", file=sys.stderr)
    if guest.returncode != 0 or (
            not profiled and len(results) != {"idle": 1, "far": 3}.get(mode, len(jobs))):
        sys.exit(f"bench: {target} could not be measured (status {guest.returncode})")
    return results, profile


def table(title, jobs, targets, values, form="{:,.0f}", ratios=True):
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
            if ratios and base and target != "lio":
                text += f" ({value / base:.2f})"
            row += f"{text:>20}"
        print(row)


def target_sides(options, target, jobs):
    """The target's share of the instructions of each job, by a profile with every stack."""
    with tempfile.TemporaryDirectory() as stacks:
        # Twice as many I/Os: the error is of the samples' number.
        run_guest(options, target, "icount",
                  [(n, rw, block, depth, 2 * ios) for n, rw, block, depth, ios in jobs], stacks)
        shares = {}
        for name, *_ in jobs:
            path = os.path.join(stacks, f"perf-{target}-{name}.txt")
            with open(path, encoding="utf-8", errors="replace") as file:
                shares[name], told = sides.target_share(file)
            if told < 0.8:
                sys.exit(f"bench: {target}, {name}: only {told:.0%} of the profile can be told apart")
    return shares


def pick(results, key):
    return {t: {n: r[key] for n, r in of.items()} for t, of in results.items()}


def kernel_release(kernel):
    done = subprocess.run([os.path.join(PROJECT, "scripts", "toolchain"), "release",
                           "primary" if kernel in (None, "stock") else kernel],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def svg(result, names, targets):
    """Bars by job: instructions per I/O, each as a share of the most of its job."""
    left, width, bar = 150, 420, 16
    step = bar * len(targets) + 18
    height = 60 + step * len(names)
    values = result["instructions_per_io"]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 130}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="10" y="20" font-size="14">Instructions per I/O, end to end; less is better '
           f'(Linux {result["kernel"]})</text>']
    for index, target in enumerate(targets):
        x = left + index * 110
        out.append(f'<rect x="{x}" y="30" width="12" height="12" fill="{COLOURS[target]}"/>'
                   f'<text x="{x + 17}" y="41">{target}</text>')
    for row, name in enumerate(names):
        top = 56 + row * step
        most = max(values[t][name] for t in targets)
        out.append(f'<text x="10" y="{top + step / 2 - 6:.0f}">{name}</text>')
        for index, target in enumerate(targets):
            value, y = values[target][name], top + index * bar
            length = width * value / most
            out.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 2}" '
                       f'fill="{COLOURS[target]}"/>'
                       f'<text x="{left + length + 5:.1f}" y="{y + 12}">{value / 1000:,.1f}k</text>')
    return "\n".join(out) + "\n</svg>\n"


def scale(options, targets, what, counts):
    """Instructions per 4k read with so many sessions, of depth 4 each, so many LUNs, of depth 32
    together, or so many CPUs, with 8 sessions: end to end, and, of sessions and with --sides, of the
    target alone."""
    costs, own = {t: {} for t in targets}, {t: {} for t in targets}
    for count in counts:
        changed = {"sessions": 8 if what == "cpus" else 1, "luns": 1, "cpus": 1, what: count}
        several = argparse.Namespace(**{**vars(options), **changed})
        depth = 32 if what == "luns" else 4 * several.sessions
        job = parse_job(f"randread:4k:{depth}:{max(8000, 16 * depth)}")
        for target in targets:
            cost = run_guest(several, target, "icount", [job])[0][job[0]]["ns_per_io"]
            costs[target][str(count)] = cost
            if what == "sessions" and options.sides:
                own[target][str(count)] = cost * target_sides(several, target, [job])[job[0]]
    return costs, own


def scale_svg(result, targets):
    """Lines: instructions per I/O over the number of sessions, LUNs and CPUs."""
    width, height, left, top = 300, 200, 60, 60
    plots = result["scale"]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(plots) * (left + width) + 60}" '
           f'height="{top + height + 50}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="10" y="20" font-size="14">Instructions per 4k read, end to end (Linux {result["kernel"]})'
           f'{"; dashed: of the target alone" if any(result["scale_target"].values()) else ""}</text>']
    most = max(v for of in plots.values() for t in of.values() for v in t.values()) * 1.1
    for index, (what, of) in enumerate(plots.items()):
        x0, y0 = left + index * (left + width), top + height
        counts = sorted({int(n) for t in of.values() for n in t})
        span = max(1, len(counts) - 1)
        out.append(f'<path d="M{x0} {top}V{y0}H{x0 + width}" fill="none" stroke="#000000"/>')
        out.append(f'<text x="{x0 + width / 2}" y="{y0 + 40}" text-anchor="middle">{NOUNS[what]}</text>')
        for at, count in enumerate(counts):
            out.append(f'<text x="{x0 + width * at / span:.0f}" y="{y0 + 18}" text-anchor="middle">{count}</text>')
        own = result["scale_target"].get(what, {})
        for row, target in enumerate(targets):
            for values, dashes in (of[target], ""), (own.get(target), ' stroke-dasharray="5 3"'):
                if not values:
                    continue
                points = [(x0 + width * counts.index(int(n)) / span, y0 - height * v / most)
                          for n, v in values.items()]
                out.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" '
                           f'fill="none" stroke="{COLOURS[target]}" stroke-width="2"{dashes}/>')
                for (x, y), value in zip(points, values.values()):
                    out.append(f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="middle" font-size="10">'
                               f'{value / 1000:.1f}k</text>')
            if index == 0:
                out.append(f'<text x="{left + row * 110}" y="42" fill="{COLOURS[target]}">{target}</text>')
    return "\n".join(out) + "\n</svg>\n"


def counts_of(text):
    return [int(n) for n in text.split(",") if n]


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
    parser.add_argument("--sessions", type=int, default=1, metavar="N",
                        help="that share the job's depth, but for nvmet (1)")
    parser.add_argument("--luns", type=int, default=1, metavar="N", help="of each session (1)")
    parser.add_argument("--sides", action="store_true",
                        help="also the target's part of the instructions, by a profile")
    parser.add_argument("--idle", action="store_true", help="also what an idle session costs")
    parser.add_argument("--scale-sessions", type=counts_of, default=[], metavar="N,N...",
                        help="also what a 4k read costs with so many sessions, of depth 4 each")
    parser.add_argument("--scale-luns", type=counts_of, default=[], metavar="N,N...",
                        help="also what it costs with so many LUNs, of depth 32 together")
    parser.add_argument("--scale-cpus", type=counts_of, default=[], metavar="N,N...",
                        help="also what it costs on so many CPUs, with 8 sessions of depth 4 each")
    parser.add_argument("--far", type=int, metavar="MS",
                        help="also writes over a network with this round trip, with all defaults")
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
    options.cpus = 1
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
    result = {"kernel": kernel_release(options.kernel), "digests": options.digests,
              "sessions": options.sessions, "luns": options.luns, "jobs": {
        n: {"rw": rw, "block": block, "depth": depth, "ios": ios}
        for n, rw, block, depth, ios in jobs}}
    result["instructions_per_io"] = pick(counted, "ns_per_io")
    result["switches_per_io"] = pick(counted, "switches")
    result["segments_per_io"] = pick(counted, "segments")
    print(f"kernel {result['kernel']}, digests {'CRC32C' if options.digests else 'none'}")
    table("Instructions per I/O, end to end (ratio to LIO)", names, targets,
          result["instructions_per_io"])
    table("Context switches per I/O (ratio to LIO)", names, targets,
          result["switches_per_io"], "{:.2f}")
    table("TCP segments per I/O, of both ends (ratio to LIO)", names, targets,
          result["segments_per_io"], "{:.2f}")
    if options.sides:
        shares = {t: target_sides(options, t, jobs) for t in targets}
        result["target_share"] = shares
        result["target_instructions_per_io"] = {
            t: {n: shares[t][n] * result["instructions_per_io"][t][n] for n in names} for t in targets}
        table("Instructions per I/O of the target alone (ratio to LIO)", names, targets,
              result["target_instructions_per_io"])
    if options.idle:
        idle = {t: run_guest(options, t, "idle", [])[0]["idle"] for t in targets if t != "nvmet"}
        result["idle"] = idle
        per = lambda key: {t: {"idle session": v[key] / v["sessions"]} for t, v in idle.items()}
        table("KiB per idle session, both ends of its TCP connection included (ratio to LIO)",
              ["idle session"], list(idle), per("kib"), "{:.1f}")
        own = {t: {"idle session": (v["kib"] - v["connection_kib"]) / v["sessions"]}
               for t, v in idle.items()}
        table("The same without what a connection takes of which no target knows",
              ["idle session"], list(idle), own, "{:.1f}")
        table("Threads per session", ["idle session"], list(idle), per("threads"), "{:.2f}",
              ratios=False)
    several = [t for t in targets if t != "nvmet"]
    for what, counts in (("sessions", options.scale_sessions), ("luns", options.scale_luns),
                         ("cpus", options.scale_cpus)):
        if counts:
            costs, own = scale(options, several, what, counts)
            own = own if any(own.values()) else {}
            result.setdefault("scale", {})[what] = costs
            table(f"Instructions per 4k read by the number of {NOUNS[what]} (ratio to LIO)",
                  [str(n) for n in counts], several, costs)
            if own:
                table("Of the target alone (ratio to LIO)", [str(n) for n in counts], several, own)
            result.setdefault("scale_target", {})[what] = own
    if options.far:
        far = {t: run_guest(options, t, "far", [])[0] for t in targets if t != "nvmet"}
        result["far"] = {"round_trip_ms": options.far, "seconds": far}
        table(f"Seconds, over a round trip of {options.far} ms, with both sides' defaults (ratio to LIO)",
              ["128k-write-qd8", "1m-write-qd4", "mkfs.ext4"], list(far), far, "{:.2f}")
    if options.wall:
        # In turns, so that what else the host does meets all of them.
        runs = [{t: run_guest(options, t, "wall", jobs)[0] for t in targets}
                for _ in range(options.runs)]
        iops = {t: {n: [r[t][n]["iops"] for r in runs] for n in names} for t in targets}
        p99 = {t: {n: [r[t][n]["p99_us"] for r in runs] for n in names} for t in targets}
        result["wall"] = {"cpus": options.smp, "seconds": options.seconds, "iops": iops, "p99_us": p99}
        middle = lambda of: {t: {n: statistics.median(v) for n, v in d.items()} for t, d in of.items()}
        table(f"IOPS by the clock, {options.smp} CPUs, median of {options.runs} (ratio to LIO)",
              names, targets, middle(iops))
        table("Spread of the IOPS, in percent of the median", names, targets,
              {t: {n: 100 * (max(v) - min(v)) / statistics.median(v) for n, v in d.items()}
               for t, d in iops.items()}, "{:.0f} %", ratios=False)
        table("99th percentile of the latency, in us (ratio to LIO)", names, targets, middle(p99))

    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    plot = os.path.splitext(options.output)[0] + ".svg"
    with open(plot, "w", encoding="utf-8") as file:
        file.write(svg(result, names, targets))
    if "scale" in result:
        with open(plot.removesuffix(".svg") + "-scale.svg", "w", encoding="utf-8") as file:
            file.write(scale_svg(result, several))
    print(f"\n{os.path.relpath(options.output)} and {os.path.relpath(plot)} are written")


if __name__ == "__main__":
    main()
