"""Kernels of this machine's Debian repository, and files out of their packages while they are being fetched."""

import json
import subprocess
import sys

from measure import BTFGEN


def offered(arch, *options):
    """The kernels that the repository offers with a debug package, newest first. A suite that cannot be used is told, and hides no others."""
    command = [BTFGEN, "kernels", "--distro", "debian", "--arch", arch, *options, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        sys.exit(f"bench: {done.stderr}")
    kernels = json.loads(done.stdout)["kernels"]
    for kernel in kernels:
        kernel["packages"] = {package["role"]: package for package in kernel["packages"]}
    return [kernel for kernel in kernels if "debug" in kernel["packages"]]


def unpack(url, tar, output=None):
    """Lets tar have the files of a package while it is being fetched, as long as tar wants them."""
    fetch = subprocess.Popen(["curl", "-sSf", url], stdout=subprocess.PIPE)
    data = subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", "/dev/stdin"],
        stdin=fetch.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    subprocess.run(tar, stdin=data.stdout, stdout=output, check=True)
    for process in (data, fetch):
        process.stdout.close()
        process.terminate()
        process.wait()
