"""From a target's start to verified BTF: btf-fetch, the static program, from a server on loopback into an empty cache, and from the cache.

The BTF is that of the running kernel (--btf names another), served by `btf-archive-server` under a build-id that nobody has, so that the running kernel's own
is not taken. Each figure is a whole process: start, request, decompression, digest, check, writing to the cache; or start, cache, checksum. Beside it curl,
which fetches the same bytes as they are and checks nothing: what a process and a request cost at least.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, TARGET, WORK, measure, summary

PACKAGES = ["btf-archive-server"]
RUNS = 30
SERVER = TARGET / "release" / "btf-archive-server"
KEY = "debian/12/x86_64/0.0.0-bench"
BUILD_ID = "00112233445566778899aabbccddeeff00112233"
KEYS = ("wall", "cpu", "memory")
# Milliseconds.
GOALS = {"cold": 60, "cached": 3}


def add_arguments(parser):
    parser.add_argument("--btf", type=Path, default=Path("/sys/kernel/btf/vmlinux"), help="[default: %(default)s]")


def rows(options):
    WORK.mkdir(parents=True, exist_ok=True)
    static = subprocess.run([ROOT / "ci/static", "x86_64-unknown-linux-musl"], check=True, capture_output=True, text=True, cwd=ROOT)
    fetch = ROOT / static.stdout.split()[-1]
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        folder = Path(folder)
        btf = folder / "kernel.btf"
        shutil.copy(options.btf, btf)
        archive, ready, cache = folder / "archive", folder / "url", folder / "cache"
        command = [SERVER, "add", "--archive", archive, "--key", KEY, "--build-id", BUILD_ID, btf]
        subprocess.run(command, check=True, capture_output=True)
        with open(folder / "log", "wb") as log:
            command = [SERVER, "serve", "--archive", archive, "--listen", "127.0.0.1:0", "--ready-file", ready]
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while not ready.exists():
                if server.poll() is not None:
                    sys.exit(f"bench: the service did not start: {(folder / 'log').read_text()}")
                time.sleep(0.05)
            url = ready.read_text().strip()
            get = f"{fetch} get -q --build-id {BUILD_ID} --cache"
            results = measure({
                # The cache is emptied by the process that is measured, which costs a millisecond or two.
                "cold": ["sh", "-c", f"rm -rf {cache}.cold; exec {get} {cache}.cold --url {url}"],
                "filled": ["sh", "-c", f"exec {get} {cache} --url {url}"],
                "cached": f"{get} {cache}".split(),
                "version": [fetch, "--version"],
                "curl": ["curl", "-sf", "-o", folder / "out", f"{url}/v1/btf/by-build-id/{BUILD_ID}"],
            }, options.runs)
        finally:
            server.terminate()
            server.wait()
        size = btf.stat().st_size
    return [
        {"what": name, "bytes": size, "goal_ms": GOALS.get(name)} | {key: summary(results[name], key) for key in KEYS}
        for name in ("cold", "cached", "version", "curl")
    ]


def show(rows):
    print(f"\n{'what':10} {'bytes':>9} {'wall ms':>8} {'min':>7} {'max':>7} {'cpu ms':>7} {'MiB':>6} {'goal ms':>8}  met")
    for row in rows:
        wall, goal = row["wall"], row["goal_ms"]
        met = "" if goal is None else "yes" if wall["median"] * 1000 <= goal else "NO"
        print(
            f"{row['what']:10} {row['bytes']:9} {wall['median'] * 1000:8.2f} {wall['min'] * 1000:7.2f} {wall['max'] * 1000:7.2f} "
            f"{row['cpu']['median'] * 1000:7.2f} {row['memory']['median']:6.1f} {goal or '':>8}  {met}"
        )
