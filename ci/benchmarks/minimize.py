"""Minimising BTF: `btf-minimize` beside `bpftool gen min_core_btf`: one object on one kernel, many on several, and bundles and checks over an archive of a
hundred kernels.

Without --kernels: the running kernel's BTF and that of the smallest kernels that this machine's repository offers (`btfgen package`), kept. Without
--objects: those in Debian's libbpf-tools and xdp-tools, our samples, and variants of one of them, a hundred in all.
"""

import hashlib
import json
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from debian import offered
from measure import BTFGEN, KEYS, ROOT, TARGET, WORK, measure, output_of, print_goals, summary

PACKAGES = ["btf-minimize", "btfgen"]
PROGRAM = TARGET / "release" / "btf-minimize"
RUNNING = Path("/sys/kernel/btf/vmlinux")
KERNELS, OBJECTS, ARCHIVED = 10, 100, 100
# A process takes a few milliseconds: as many in a row as can be told from noise.
REPEAT = 20


def add_arguments(parser):
    parser.add_argument("--kernels", nargs="+", type=Path, metavar="BTF", help="raw BTF; the first one is for single runs")
    parser.add_argument("--objects", nargs="+", type=Path, metavar="OBJECT", help="the first one is for single runs")


def kernels_from_repository():
    folder = WORK / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    kept = sorted(folder.glob("*.btf"))
    if len(kept) < KERNELS - 1:
        kernels = offered(platform.machine())
        for kernel in sorted(kernels, key=lambda kernel: kernel["size"])[: KERNELS - 1]:
            file = folder / (kernel["key"].replace("/", "_") + ".btf")
            if not file.exists():
                print(f"fetching {kernel['key']}", file=sys.stderr)
                subprocess.run([BTFGEN, "package", kernel["url"], "-o", file], check=True, stdout=subprocess.DEVNULL)
        kept = sorted(folder.glob("*.btf"))
    return [RUNNING, *kept][:KERNELS]


def compile_object(source, output, *more):
    subprocess.run(["clang", "-target", "bpf", "-g", "-O2", *more, "-c", source, "-o", output], check=True)


def objects_at_hand():
    folder = WORK / "objects"
    if not folder.exists():
        partial = folder.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        samples = sorted((ROOT / "data/bpf").glob("*.bpf.c"))
        for source in samples:
            compile_object(source, partial / f"{source.name.removesuffix('.bpf.c')}.o")
        with tempfile.TemporaryDirectory() as packages:
            fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "libbpf-tools", "xdp-tools"]
            subprocess.run(fetch, cwd=packages, check=True, stdout=subprocess.DEVNULL)
            for package in sorted(Path(packages).glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", package, Path(packages) / "content"], check=True)
            files = sorted(file for file in (Path(packages) / "content").rglob("*") if file.is_file() and not file.is_symlink())
            for number, data in enumerate(data for file in files for data in embedded(file.read_bytes())):
                (partial / f"tool-{number:03}.o").write_bytes(data)
        source = (ROOT / "data/bpf/task.bpf.c").read_text()
        for number in range(len(list(partial.iterdir())), OBJECTS):
            variant = partial / "variant.c"
            variant.write_text(re.sub(r"\bobserve\b", f"observe_{number}", source))
            compile_object(variant, partial / f"variant-{number:03}.o", f"-I{ROOT / 'data/bpf'}")
            variant.unlink()
        partial.rename(folder)
    first = folder / "task.o"
    return [first, *sorted(file for file in folder.glob("*.o") if file != first)][:OBJECTS]


def embedded(data):
    """The BPF objects in a program: from an ELF header for BPF to the end of its table of sections, which comes last."""
    for match in re.finditer(re.escape(b"\x7fELF\x02\x01"), data):
        header = data[match.start() : match.start() + 64]
        if len(header) == 64 and struct.unpack_from("<H", header, 18)[0] == 247:
            sections, size, count = struct.unpack_from("<Q", header, 40)[0], *struct.unpack_from("<HH", header, 58)
            yield data[match.start() : match.start() + sections + size * count]


def archive_of(kernels):
    """An archive of a hundred kernels, written as the book describes it. Each kernel's blob is a different one: a string more than one of these."""
    name = hashlib.sha256(b"".join(str(file).encode() + file.read_bytes() for file in kernels)).hexdigest()[:16]
    folder = WORK / f"archive-{name}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    records = []
    for number in range(ARCHIVED):
        data = bytearray(kernels[number % len(kernels)].read_bytes())
        order = "<" if data[:2] == b"\x9f\xeb" else ">"
        more = b"bench%03d\0" % number
        struct.pack_into(order + "I", data, 20, struct.unpack_from(order + "I", data, 20)[0] + len(more))
        data += more
        digest = hashlib.sha256(data).hexdigest()
        blob = partial / "blobs/sha256" / digest[:2] / f"{digest}.zst"
        blob.parent.mkdir(parents=True, exist_ok=True)
        # As the archive does, but for the level (19), which takes ten times as long: with the size in front and all of it as one segment.
        compress = ["zstd", "-q", "-12", "--long=23", f"--stream-size={len(data)}", "-c"]
        packed = subprocess.run(compress, input=data, check=True, capture_output=True).stdout
        blob.write_bytes(packed)
        key = f"debian/11/x86_64/5.10.0-{number:03}-amd64"
        provenance = {"trust": "none", "source": "dwarf", "generator": "bench"}
        records.append({"key": key, "digest": digest, "raw_size": len(data), "zst_size": len(packed),
                        "provenance": provenance, "added": 0})
    snapshot = json.dumps({"format": 1, "number": 1, "created": 0, "previous": None, "kernels": records}).encode()
    packed = subprocess.run(["zstd", "-q", "-c"], input=snapshot, check=True, capture_output=True).stdout
    (partial / "snapshots").mkdir()
    (partial / "snapshots/000001.json.zst").write_bytes(packed)
    latest = {"format": 1, "number": 1, "digest": hashlib.sha256(packed).hexdigest(), "size": len(packed), "created": 0}
    (partial / "latest.json").write_text(json.dumps(latest))
    partial.rename(folder)
    return folder


def library_call(kernel, one, runs):
    """Seconds that the library takes for an object once the kernel is open, as examples/open_once.rs prints them."""
    build = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "btf-minimize", "--example", "open_once"]
    subprocess.run(build, cwd=ROOT, check=True)
    program = TARGET / "release/examples/open_once"
    return [float(output_of(program, kernel, one).split()[-2]) / 1e6 for _ in range(runs)]


def rows(options):
    kernels = options.kernels or kernels_from_repository()
    objects = options.objects or objects_at_hand()
    one = objects[0]
    archive = archive_of(kernels)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        # Everything is in memory: no disk is to be measured, and results go where nobody waits for them.
        folder = Path(folder)
        files = []
        for number, kernel in enumerate(kernels):
            file = folder / f"debian/11/x86_64/5.10.0-{number}-amd64.btf"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(kernel.read_bytes())
            files.append(file)
        objects = [shutil.copy(file, folder / f"{number:04}.o") for number, file in enumerate(objects)]
        out = folder / "out"

        def repeated(command):
            words = " ".join(f"'{word}'" for word in command)
            return ["sh", "-ec", f"i=0; while [ $i -lt {REPEAT} ]; do {words}; i=$((i+1)); done"]

        def each(command):
            return ["sh", "-ec", "\n".join(" ".join(f"'{word}'" for word in command(file)) for file in files)]

        bpftool = lambda file, objects: ["bpftool", "gen", "min_core_btf", file, out, *objects]
        # bpftool stops at the first object that it cannot take, so it gets those that it takes on every kernel.
        taken = [one for one in objects if all(subprocess.run(bpftool(file, [one]), capture_output=True).returncode == 0 for file in files)]
        kernel_options = [word for file in files for word in ("--btf", file)]
        commands = {
            "one: btf-minimize": repeated([PROGRAM, "gen", "min_core_btf", files[0], out, objects[0]]),
            "one: bpftool": repeated(bpftool(files[0], objects[:1])),
            "all: btf-minimize": [PROGRAM, "bundle", *kernel_options, "-o", out, *taken],
            "all: bpftool": each(lambda file: bpftool(file, taken)),
            "archive: bundle": [PROGRAM, "bundle", "--archive", archive, "-o", out, objects[0]],
            "archive: check": [PROGRAM, "check", "--archive", archive, objects[0]],
        }
        measured = measure(commands, options.runs)
        call = library_call(files[0], objects[0], options.runs)
    # What is repeated counts once.
    for name in ("one: btf-minimize", "one: bpftool"):
        for figures in measured[name]:
            figures["wall"] /= REPEAT
            figures["cpu"] /= REPEAT
    measured["one: library call"] = [dict.fromkeys(KEYS, 0) | {"wall": seconds, "cpu": seconds} for seconds in call]
    counts = {"kernels": len(kernels), "objects": len(taken), "archived": ARCHIVED}
    return [{"command": name} | counts | {key: summary(figures, key) for key in KEYS} for name, figures in measured.items()]


def show(rows):
    print(f"{rows[0]['kernels']} kernels, {rows[0]['objects']} objects that bpftool takes, {rows[0]['archived']} kernels archived")
    print(f"{'command':20} {'CPU ms':>28} {'wall ms':>9} {'peak MiB':>9} {'own MiB':>8}")
    cpu, own = {}, {}
    for row in rows:
        figures = row["cpu"]
        cpu[row["command"]], own[row["command"]] = figures["median"], row["own memory"]["median"]
        print(
            f"{row['command']:20} {figures['median'] * 1000:10.3f} ({figures['min'] * 1000:.3f}-{figures['max'] * 1000:.3f}) "
            f"{row['wall']['median'] * 1000:9.3f} {row['memory']['median']:9.1f} {row['own memory']['median']:8.1f}"
        )
    archived = rows[0]["archived"]
    print_goals([
        ("one object, one kernel", "process: CPU at most 1/4 of bpftool's", "1/4",
         cpu["one: bpftool"] / cpu["one: btf-minimize"], 4, "1/{:.1f}"),
        ("one object, one kernel", "library call: at most 1/20 of bpftool's", "1/20",
         cpu["one: bpftool"] / cpu["one: library call"], 20, "1/{:.0f}"),
        ("all objects, all kernels", "CPU at most 1/20 of bpftool's", "1/20",
         cpu["all: bpftool"] / cpu["all: btf-minimize"], 20, "1/{:.1f}"),
        ("one object, archive", "bundle: kernels a second and core", "100", archived / cpu["archive: bundle"], 100, "{:.0f}"),
        ("one object, archive", "check: kernels a second and core", "50", archived / cpu["archive: check"], 50, "{:.0f}"),
        ("one object, archive", "memory beyond the page cache, at most MiB", "200",
         max(own["archive: bundle"], own["archive: check"]), 0, "{:.0f}"),
    ])
