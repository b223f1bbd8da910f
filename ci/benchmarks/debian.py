"""Files out of Debian's packages, while they are being fetched."""

import subprocess


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
