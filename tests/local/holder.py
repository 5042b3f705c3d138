"""A process that takes the run lock of ROOT: `python holder.py ROOT [WAIT]` prints a line and ends at the next line in.

`got`, or `locked MESSAGE`; what the lock says goes before, as `said …`. With `-` for ROOT it waits for a line with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from s3pull.errors import Locked
from s3pull.local.runlock import RunLock
from s3pull.local.tree import Tree


def main(root: str, wait: float = 0.0) -> None:
    if root == "-":
        print("ready", flush=True)
        root = input()
    with Tree(Path(root), create=True) as tree:
        try:
            lock = RunLock.acquire(
                tree.directory(".s3pull"), wait=wait, say=lambda text: print("said", text, flush=True)
            )
        except Locked as error:
            print("locked", error.message, flush=True)
            return
        with lock:
            print("got", flush=True)
            input()


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
