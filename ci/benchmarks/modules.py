"""All modules of a kernel: `btfgen module --from dwarf` beside `pahole -J --btf_base` run over them, with as many at a time as btfgen has
threads.

Without --kernels and --modules, the smallest current flavour for i386 and its modules are taken from its debug package, which is
some hundred megabytes, and kept.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from debian import offered, unpack
from measure import BTFGEN, KEYS, WORK, measure, print_goals, summary

PACKAGES = ["btfgen"]


def add_arguments(parser):
    parser.add_argument("--kernels", nargs=1, type=Path, metavar="VMLINUX")
    parser.add_argument("--modules", type=Path, metavar="DIR")


def modules_from_repository():
    """The vmlinux and the folder of modules of the i386 flavour whose debug package is smallest."""
    WORK.mkdir(parents=True, exist_ok=True)
    kernels = offered("i386")
    if not kernels:
        sys.exit("bench: this machine's repository has no kernel for i386; give --kernels and --modules")
    kernel = min(kernels, key=lambda kernel: kernel["packages"]["debug"]["size"])
    release = kernel["key"].rsplit("/", 1)[1]
    folder = WORK / f"debug-{release}"
    if not folder.exists():
        print(f"fetching {release} and its modules", file=sys.stderr)
        partial = folder.with_suffix(".part")
        partial.mkdir(exist_ok=True)
        unpack(kernel["packages"]["debug"]["url"], ["tar", "-x", "-C", partial, "./usr/lib/debug"])
        partial.rename(folder)
    debug = folder / "usr/lib/debug"
    return debug / "boot" / f"vmlinux-{release}", debug / "lib/modules" / release


def rows(options):
    if options.kernels and options.modules:
        vmlinux, folder = options.kernels[0], options.modules
    else:
        vmlinux, folder = modules_from_repository()
    WORK.mkdir(parents=True, exist_ok=True)
    # Results go to memory: neither the disk nor how thousands of files are made on it is to be measured.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as results:
        return measure_modules(vmlinux, folder, Path(results), options.runs)


def measure_modules(vmlinux, folder, results, runs):
    base, ours, theirs = results / "base.btf", results / "ours", results / "theirs"
    theirs.mkdir()
    subprocess.run([BTFGEN, "vmlinux", vmlinux, "-o", base], check=True, stdout=subprocess.DEVNULL)
    files = sorted(folder.rglob("*.ko")) + sorted(folder.rglob("*.ko.debug"))
    if not files:
        sys.exit(f"bench: {folder}: there are no modules in it")
    # Both find the files in the system's cache, if it is large enough.
    for file in files:
        file.read_bytes()
    names = results / "modules.list"
    names.write_text("".join(f"{file}\0" for file in files))
    each = f'pahole -J --btf_gen_floats --btf_base={base} --btf_encode_detached={theirs}/$(basename "$1").btf "$1"'
    commands, threads = {}, {}
    for count in (1, 2):
        ours_name, theirs_name = f"btfgen -j{count}", f"pahole, {count} at a time"
        threads |= {ours_name: count, theirs_name: count}
        commands[ours_name] = [
            BTFGEN, "module", folder, "--base", base, "--from", "dwarf", "-j", str(count), "-o", ours]
        commands[theirs_name] = ["xargs", "-0", "-a", names, "-n1", f"-P{count}", "sh", "-c", each, "sh"]
    measured = measure(commands, runs)
    return [{"kernel": str(vmlinux), "modules": len(files), "command": name, "threads": threads[name]}
            | {key: summary(figures, key) for key in KEYS}
            for name, figures in measured.items()]


def show(rows):
    print(f"{Path(rows[0]['kernel']).name}: {rows[0]['modules']} modules")
    print(f"{'command':20} {'wall s':>20} {'CPU s':>7} {'peak MiB':>9} {'of pahole: wall':>16} {'CPU':>5}")
    for row in rows:
        peer = next(one for one in rows if one["threads"] == row["threads"] and one["command"].startswith("pahole"))
        wall, cpu = row["wall"], row["cpu"]["median"]
        print(
            f"{row['command']:20} {wall['median']:6.2f} ({wall['min']:.2f}-{wall['max']:.2f}) {cpu:7.2f} "
            f"{row['memory']['median']:9.0f} {wall['median'] / peer['wall']['median']:16.3f} {cpu / peer['cpu']['median']:5.3f}"
        )
    goals = []
    for count in (1, 2):
        ours, theirs = (
            next(row["wall"]["median"] for row in rows if row["threads"] == count and row["command"].startswith(program))
            for program in ("btfgen", "pahole")
        )
        what = f"-j{count}: wall at most 1/10 of {count} pahole"
        goals.append((Path(rows[0]["kernel"]).name, what, "1/10", theirs / ours, 10, "1/{:.2f}"))
    print_goals(goals)
