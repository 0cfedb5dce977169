"""`python -m benchmarks.install`: what each peer needs, one by one, so that one that cannot be had stops nobody."""

import subprocess
import sys

from benchmarks.compare import PEERS
from benchmarks.subject import Peer

PIP = (sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "install")


def install(peer: Peer) -> bool:
    """Install what a peer needs; into a folder of its own if it must stand apart."""
    where = ("--upgrade", "--no-deps", "--target", str(peer.folder)) if peer.apart else ()
    return subprocess.run([*PIP, *where, *peer.packages], stderr=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    for one in PEERS:
        if one.packages and not install(one):
            print(f"  {one.name} cannot be installed here and will be left out", file=sys.stderr)
