"""Running commands and telling what they took: seconds, memory, ratios beside goals."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# What is fetched once and kept.
WORK = TARGET / "bench"
BTFGEN = TARGET / "release" / "btfgen"
KEYS = ("wall", "cpu", "memory", "own memory")


def run(command, watch=False, accept=(0,)):
    """Runs a command to its end, which must be with one of these exit codes: wall and CPU seconds, peak resident memory in MiB. With `watch`, which costs a little time, also the peak of
    memory that is no mapped file."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        own = 0
        while watch and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            own = max(own, anonymous(process.pid))
            time.sleep(0.002)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        if os.waitstatus_to_exitcode(status) not in accept:
            said.seek(0)
            sys.exit(f"bench: {' '.join(map(str, command))} failed: {said.read().decode(errors='replace')}")
    figures = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}
    return figures | ({"own memory": own} if watch else {})


def anonymous(pid):
    """A process's memory that is no mapped file, in MiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0)


def measure(commands, runs):
    """Runs the commands in turn, after one run of each that counts for memory only."""
    results = {name: [] for name in commands}
    own = {name: run(command, watch=True)["own memory"] for name, command in commands.items()}
    for _ in range(runs):
        for name, command in commands.items():
            results[name].append(run(command) | {"own memory": own[name]})
    return results


def summary(figures, key):
    values = [one[key] for one in figures]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def print_goals(goals):
    print(f"\n{'input':34} {'goal':42} {'goal':>6} {'measured':>9}  met")
    for name, what, goal, measured, least, form in goals:
        print(f"{name:34} {what:42} {goal:>6} {form.format(measured):>9}  {'yes' if measured >= least else 'NO'}")
