"""An archive of real kernels: its size beside BTFHub's `tar.xz`, what each kernel costs, and how long reading and making it takes.

The kernels, 40 or more of several series, flavours and architectures, are chosen from what this machine's Debian repository offers now, and kept in target/bench: an archive that
`btfgen sync` fills. A kernel with BTF costs some 14 MB of download, one without up to 90; the latter are few (--no-dwarf leaves them out). Sizes are those of the blobs
with BTF, equal ones counted once; BTFHub has a file for each kernel. Times are those of one core in one process, the best of some runs.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict

from debian import offered
from measure import BTFGEN, ROOT, TARGET, WORK, print_goals

PACKAGES = ["btfgen"]
RUNS = 1
EXAMPLE = TARGET / "release" / "examples" / "deltas"
# How many kernels of each architecture, series and flavour: the newest, so that point releases are among them, and one of long before.
WANTED = (
    ("x86_64", "amd64", 5), ("x86_64", "cloud-amd64", 2), ("x86_64", "rt-amd64", 2),
    ("arm64", "arm64", 3), ("ppc64le", "powerpc64le", 2), ("riscv64", "riscv64", 2), ("s390x", "s390x", 2),
)
WITHOUT_BTF = (("i386", "686-pae", 3), ("s390x", "s390x", 2), ("armhf", "armmp", 2))
SERIES = ("5.10", "6.1", "6.12", "7.2")
# Series whose BTF Debian builds with a pahole that writes types in the order in which its threads happen to be ready.
SCRAMBLED = re.compile(r"/6\.1\.|\+deb12")


def add_arguments(parser):
    parser.add_argument("--no-dwarf", action="store_true", help="only kernels that come with BTF")
    parser.add_argument("--archive", metavar="DIR", help="an archive that is there already, instead of one of chosen kernels")


def in_order(key):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key.rsplit("/", 1)[1])]


def chosen(options):
    """Keys of kernels, by architecture."""
    wanted = defaultdict(list)
    kinds = [(one, "yes") for one in WANTED] + [(one, "no") for one in WITHOUT_BTF if not options.no_dwarf]
    for (arch, flavour, count), embedded in kinds:
        groups = defaultdict(list)
        for kernel in offered(arch, "--suite", "all"):
            release = kernel["key"].rsplit("/", 1)[1]
            series = ".".join(release.split(".")[:2])
            if kernel["flavour"] == flavour and series in SERIES and kernel["embedded_btf"] == embedded:
                groups[series].append(kernel["key"])
        if embedded == "no":
            # These are large: one series is enough.
            groups = dict(sorted(groups.items(), key=lambda group: len(group[1]))[-1:])
        for keys in groups.values():
            keys.sort(key=in_order)
            wanted[arch] += dict.fromkeys([*keys[-(count - 1):], keys[len(keys) // 3]])
    return wanted


def fill(archive, wanted):
    for arch, keys in wanted.items():
        command = [BTFGEN, "sync", "--archive", archive, "--distro", "debian", "--arch", arch, "--json"]
        for suite in sorted({key.split("/")[1] for key in keys}):
            command += ["--suite", suite]
        for key in keys:
            command += ["--kernel", key.rsplit("/", 1)[1]]
        # 4 and 5: an index or a package cannot be used, as happens to mirrors. What there is counts.
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1, 4, 5):
            sys.exit(f"bench: {done.stderr}")


def rows(options):
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--quiet", "-p", "btf-archive", "--example", "deltas", "--features", "reader"],
        cwd=ROOT, check=True,
    )
    folder = WORK / "archive-raw"
    folder.mkdir(parents=True, exist_ok=True)
    archive = options.archive or WORK / "archive"
    if not options.archive:
        fill(archive, chosen(options))
    lines = subprocess.run([EXAMPLE, archive, folder], check=True, capture_output=True, text=True).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    for kernel in found:
        kernel["txz"] = packed(kernel["file"])
    return found


def packed(file):
    """Bytes of BTFHub's archive of a kernel."""
    folder, name = file.rsplit("/", 1)
    options = ["--sort=name", "--owner=root:0", "--group=root:0", "--mode=a=r", "--mtime=@0"]
    return len(subprocess.run(["tar", "cJf", "-", *options, "-C", folder, name], check=True, capture_output=True).stdout)


def is_point_release(kernel):
    """Whether a kernel is made on one of its own series, architecture, flavour and suite."""

    def line(key):
        _, version, arch, release = key.split("/")
        return version, arch, release.split(".")[:2], re.sub(r"[\d.]+", "", release)

    return kernel["base"] is not None and line(kernel["kernel"]) == line(kernel["base"])


def show(found):
    print(f"{'kernel':48} {'raw KB':>7} {'txz KB':>7} {'stored KB':>9} {'depth':>5} {'decode ms':>9} {'encode ms':>9}  on")
    for kernel in found:
        print(
            f"{kernel['kernel']:48} {kernel['raw'] / 1e3:7.0f} {kernel['txz'] / 1e3:7.0f} {kernel['stored'] / 1e3:9.1f} "
            f"{kernel['depth']:5} {kernel['decode']:9.1f} {kernel['encode']:9.0f}  {kernel['base'] or ''}"
        )
    once = {kernel["digest"]: kernel["stored"] for kernel in found}
    stored, txz = sum(once.values()), sum(kernel["txz"] for kernel in found)
    print(f"\n{len(found)} kernels: {stored / 1e6:.2f} MB here, {txz / 1e6:.2f} MB as tar.xz")
    goals = [(f"{len(found)} kernels", "bytes of tar.xz, at most", "1/5", txz / stored, 5, "1/{:.2f}")]
    points = [kernel for kernel in found if is_point_release(kernel)]
    classes = {
        "point releases": ([kernel for kernel in points if kernel["source"] != "dwarf" and not SCRAMBLED.search(kernel["kernel"])], 30),
        "point releases, scrambled": ([kernel for kernel in points if kernel["source"] != "dwarf" and SCRAMBLED.search(kernel["kernel"])], 80),
        "point releases of ours, from DWARF": ([kernel for kernel in points if kernel["source"] == "dwarf"], 15),
    }
    for name, (kernels, most) in classes.items():
        if kernels:
            largest = max(kernel["stored"] for kernel in kernels) / 1e3
            goals.append((f"{len(kernels)} {name}", f"the largest, {largest:.1f} KB, at most", f"{most} KB", most / largest, 1, "{:.2f}x"))
    slowest = max(kernel["decode"] for kernel in found)
    goals.append((f"{len(found)} kernels", f"slowest to read, {slowest:.1f} ms, at most", "15 ms", 15 / slowest, 1, "{:.2f}x"))
    slowest = max(kernel["encode"] for kernel in found if kernel["base"])
    goals.append((f"{len(once)} blobs", f"slowest to make, {slowest:.0f} ms, at most", "300 ms", 300 / slowest, 1, "{:.2f}x"))
    print_goals(goals)
