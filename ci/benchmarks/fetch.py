"""From a repository to BTF: what of a kernel's packages is fetched and what it costs, beside BTFHub's way: download the debug package whole,
`dpkg-deb --fsys-tarfile`, pahole (or the BTF that is there), `tar cJ`.

Kernels are those that this machine's Debian repository offers now: with BTF (amd64, arm64) and without (i386, s390x), one each; --suite names another
suite, --arch other architectures. Ours is run twice: `btfgen package` for what one package costs, `btfgen sync` into a new archive for the whole job, which is what
stands beside BTFHub's. Bytes are what the network interfaces of the machine received meanwhile, so nothing else should use them. Some gigabytes are downloaded.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from debian import offered
from measure import BTFGEN, WORK, output_of, print_goals, run, summary

PACKAGES = ["btfgen"]
RUNS = 1
KEYS = ("wall", "cpu", "memory", "received")


def add_arguments(parser):
    parser.add_argument("--suite", metavar="SUITE", help="[default: this machine's]")
    parser.add_argument("--arch", nargs="+", default=["amd64", "arm64", "i386", "s390x"], metavar="ARCH")
    parser.add_argument("--kernel", metavar="PATTERN", help="only releases that match [default: the newest]")
    parser.add_argument("--no-peer", action="store_true", help="leave out BTFHub's way")


def received():
    """Bytes that all network interfaces have received, in their frames."""
    return sum(int(path.read_text()) for path in Path("/sys/class/net").glob("*/statistics/rx_bytes"))


def counted(command, accept=(0,)):
    """Runs a command: as `run`, and what was received meanwhile."""
    before = received()
    figures = run(command, accept=accept)
    return figures | {"received": (received() - before) / 1e6}


def rows(options):
    WORK.mkdir(parents=True, exist_ok=True)
    return [row for arch in options.arch for row in of_architecture(arch, options)]


def of_architecture(arch, options):
    suite = ["--suite", options.suite] if options.suite else []
    pattern = ["--kernel", options.kernel] if options.kernel else []
    # The index is in the cache from here on; what it costs is another matter.
    kernels = offered(arch, *suite, *pattern)
    if not kernels:
        sys.exit(f"bench: the repository has no kernel for {arch}")
    kernel = min(kernels, key=lambda one: "rt" in one["flavour"] or "cloud" in one["flavour"])
    key = kernel["key"]
    release = key.rsplit("/", 1)[1]
    packages = kernel["packages"]
    embedded = kernel["embedded_btf"] == "yes"
    package = packages["image" if embedded else "debug"]
    found = {"package": [], "sync": [], "btfhub": []}
    facts = {}
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        folder = Path(folder)
        for _ in range(options.runs):
            ours = folder / "ours.btf"
            command = [BTFGEN, "package", package["url"], "--kernel", release, "-o", ours]
            found["package"].append(counted(command))
            # Once more for what it says of itself: requests cannot be counted from outside.
            facts = json.loads(output_of(*command, "--json", "--explain"))
            archive = folder / "archive"
            shutil.rmtree(archive, ignore_errors=True)
            # 4 and 5: the index of another suite or architecture cannot be used, as happens to mirrors.
            command = [BTFGEN, "sync", "--archive", archive, "--arch", arch, *suite, "--kernel", release, "--json"]
            found["sync"].append(counted(command, accept=(0, 4, 5)))
            if not (archive / "latest.json").exists():
                sys.exit(f"bench: {release} did not get into the archive")
            if not options.no_peer:
                script = folder / "btfhub.sh"
                script.write_text(BTFHUB)
                url = packages["debug"]["url"]
                found["btfhub"].append(counted(["bash", script, url, release, folder / "btfhub"]))
        conversion = conversion_memory(packages["debug"]["url"], release, folder) if not embedded else 0
    common = {"kernel": key, "embedded": embedded, "package bytes": packages["debug"]["size"] / 1e6}
    common |= {"requests": facts["requests"], "own conversion": conversion, "vmlinux first": "/boot/" in facts["path"]}
    return [common | {"command": name} | {key: summary(figures, key) for key in KEYS}
            for name, figures in found.items() if figures]


# What BTFHub runs for a kernel, without its bookkeeping; a kernel with BTF is not converted again.
BTFHUB = """
set -euo pipefail
url=$1 release=$2 folder=$3
rm -rf "$folder" && mkdir "$folder" && cd "$folder"
curl -sSf -o package.deb "$url"
dpkg-deb --fsys-tarfile package.deb | tar -xO --wildcards "./usr/lib/debug/*vmlinux*" > vmlinux
section=$(readelf -SW vmlinux | sed 's/\\[ */[/' | awk '$2 == ".BTF" { print "0x" $5, "0x" $6 }')
if [ -n "$section" ]; then
    read -r offset size <<<"$section"
    dd if=vmlinux of="$release.btf" bs=1M iflag=skip_bytes,count_bytes skip=$((offset)) count=$((size)) status=none
else
    pahole --btf_gen_floats --btf_encode_detached="$release.btf" vmlinux
fi
tar cJf "$release.btf.tar.xz" --sort=name --owner=root:0 --group=root:0 --mode=a=r --mtime=@0 "$release.btf"
"""


def conversion_memory(url, release, folder):
    """Peak memory of the conversion alone, in MiB, from a vmlinux on disk; what is mapped of the file is not counted."""
    vmlinux = folder / "btfhub" / "vmlinux"
    if not vmlinux.exists():
        return 0
    figures = run([BTFGEN, "vmlinux", vmlinux, "-o", folder / "converted.btf"], watch=True)
    return figures["own memory"]


def show(found):
    print(f"{'kernel':44} {'command':8} {'wall s':>8} {'CPU s':>7} {'peak MiB':>9} {'received MB':>12} {'requests':>9}")
    for row in found:
        requests = row["requests"] if row["command"] == "package" else ""
        print(
            f"{row['kernel']:44} {row['command']:8} {row['wall']['median']:8.2f} {row['cpu']['median']:7.2f} "
            f"{row['memory']['median']:9.0f} {row['received']['median']:12.1f} {requests:>9}"
        )
    goals = []
    for kernel in dict.fromkeys(row["kernel"] for row in found):
        of = {row["command"]: row for row in found if row["kernel"] == kernel}
        ours = of["package"]
        value = lambda row, key: row[key]["median"]
        if ours["embedded"]:
            goals.append((kernel, "received, MB, at most", "15", 15 / value(ours, "received"), 1, "{:.2f}x"))
            goals.append((kernel, "CPU, s, at most", "1", 1 / value(ours, "cpu"), 1, "{:.2f}x"))
        else:
            share = value(ours, "received") / ours["package bytes"]
            goals.append((kernel, "received, of the package, at most", "12%", 0.12 / share, 1, "{:.2f}x"))
            if ours["vmlinux first"]:
                goals.append((kernel, "requests", "1", 1 / ours["requests"], 1, "{:.2f}x"))
        if ours["own conversion"] or ours["embedded"]:
            beyond = max(value(ours, "memory") - ours["own conversion"], 1)
            goals.append((kernel, "memory beyond the conversion's, MiB, at most", "400", 400 / beyond, 1, "{:.2f}x"))
        if "btfhub" in of:
            peer, whole = of["btfhub"], of["sync"]
            for key, what in (("wall", "wall time"), ("cpu", "CPU time"), ("received", "bytes")):
                goals.append((kernel, f"{what} of BTFHub's way, at most", "1/8", value(peer, key) / value(whole, key), 8, "1/{:.1f}"))
    print_goals(goals)
