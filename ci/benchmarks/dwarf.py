"""DWARF to BTF: `btfgen vmlinux --from dwarf` beside `pahole`, each with one and two threads.

Without --kernels, current kernels for i386, amd64 and s390x (big-endian) are taken from the debug packages of this machine's Debian
repository and kept in target/bench.
"""

import sys
from pathlib import Path

from debian import offered, unpack
from measure import BTFGEN, KEYS, WORK, measure, print_goals, summary

PACKAGES = ["btfgen"]


def add_arguments(parser):
    parser.add_argument("--kernels", nargs="+", type=Path, metavar="VMLINUX")


def kernels_from_repository():
    """One vmlinux each for i386, amd64 and s390x, from a debug package."""
    WORK.mkdir(parents=True, exist_ok=True)
    kept = []
    for arch in ("i386", "amd64", "s390x"):
        # The real-time flavours come last: they are the same code once more.
        kernels = sorted(offered(arch), key=lambda kernel: "rt" in kernel["flavour"])
        if not kernels:
            sys.exit(f"bench: this machine's repository has no kernel for {arch}; give --kernels")
        release = kernels[0]["key"].rsplit("/", 1)[1]
        path = WORK / f"vmlinux-{release}"
        if not path.exists():
            print(f"fetching {release}", file=sys.stderr)
            partial = path.with_suffix(".part")
            with partial.open("wb") as output:
                # tar stops at the first occurrence, and so do the two before it.
                tar = ["tar", "-xO", "--occurrence=1", f"./usr/lib/debug/boot/vmlinux-{release}"]
                unpack(kernels[0]["packages"]["debug"]["url"], tar, output)
            partial.rename(path)
        kept.append(path)
    return kept


def rows(options):
    kernels = options.kernels or kernels_from_repository()
    WORK.mkdir(parents=True, exist_ok=True)
    found = []
    for kernel in kernels:
        ours, theirs = WORK / "ours.btf", WORK / "pahole.btf"
        commands = {
            "btfgen -j1": [BTFGEN, "vmlinux", kernel, "--from", "dwarf", "-j", "1", "-o", ours],
            "btfgen -j2": [BTFGEN, "vmlinux", kernel, "--from", "dwarf", "-j", "2", "-o", ours],
            "pahole -j1": ["pahole", "-j1", "--btf_gen_floats", f"--btf_encode_detached={theirs}", kernel],
            "pahole -j2": ["pahole", "-j2", "--btf_gen_floats", f"--btf_encode_detached={theirs}", kernel],
        }
        results = measure(commands, options.runs)
        for name, figures in results.items():
            found.append({"kernel": str(kernel), "command": name}
                        | {key: summary(figures, key) for key in KEYS})
    return found


def show(rows):
    print(f"{'kernel':34} {'command':11} {'wall s':>18} {'CPU s':>6} {'peak MiB':>9} {'but mapped files':>17}")
    for row in rows:
        wall = row["wall"]
        print(
            f"{Path(row['kernel']).name:34} {row['command']:11} {wall['median']:6.2f} ({wall['min']:.2f}-{wall['max']:.2f}) "
            f"{row['cpu']['median']:6.2f} {row['memory']['median']:9.0f} {row['own memory']['median']:17.0f}"
        )
    goals = []
    for kernel in dict.fromkeys(row["kernel"] for row in rows):
        of = {row["command"]: {key: row[key]["median"] for key in KEYS} for row in rows if row["kernel"] == kernel}
        one, two = of["btfgen -j1"], of["btfgen -j2"]
        peer = of["pahole -j1"]
        best = min(peer["wall"], of["pahole -j2"]["wall"])
        name = Path(kernel).name
        goals += [
            (name, "-j1: wall at most 1/8 of pahole -j1", "1/8", peer["wall"] / one["wall"], 8, "1/{:.2f}"),
            (name, "-j2: wall at most 1/8 of pahole's best", "1/8", best / two["wall"], 8, "1/{:.2f}"),
            (name, "-j2 faster than -j1", "1.7", one["wall"] / two["wall"], 1.7, "{:.2f}"),
            (name, "memory, but mapped files, at most half", "1/2", peer["own memory"] / one["own memory"], 2, "1/{:.2f}"),
        ]
    print_goals(goals)
