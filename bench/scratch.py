"""The folder that a bench works in: what stays in it until the end, and what an earlier bench left behind.

ext4 gives the inodes of files that were deleted in the last minutes to nobody, and looks at each of them anew for each
file that is made (recently_deleted() in Linux's fs/ext4/ialloc.c: one to six minutes). After 200,000 were deleted a new
file cost 400 to 900 µs instead of 17. So a bench deletes nothing before its end, and the next one waits.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: seconds that a new file may cost, of so many; how long that is waited for, and how often it is looked at
_USUAL, _FILES = 100e-6, 50
_LONGEST, _BREAK = 400.0, 10.0


def folder(text: str) -> Path:
    """`--scratch`, made where it is missing. Absolute, because clients and nginx have working folders of their own."""
    path = Path(text).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def empty(tree: Path) -> None:
    """Give the space of what was fetched back; there may be nothing. The files stay."""
    for file in tree.rglob("*"):
        if file.is_file():
            os.truncate(file, 0)


def price(tree: Path) -> float:
    """Seconds to make one file in `tree`, a folder that is then full of them."""
    place = tree / f"probe-{time.monotonic_ns()}"
    place.mkdir()
    begun = time.perf_counter()
    for number in range(_FILES):
        os.close(os.open(place / str(number), os.O_CREAT | os.O_WRONLY))
    return (time.perf_counter() - begun) / _FILES


def rest(tree: Path, price: Callable[[Path], float] = price, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until a new file in `tree` costs what it should, and say so; nothing to wait for where it is not on ext4."""
    if kind(tree) != "ext4":
        return
    waited, now = 0.0, price(tree)
    if now > _USUAL:
        print(f"a new file costs {now * 1e6:.0f} µs: waiting until ext4 forgets what was deleted", file=sys.stderr)
        print("hint: as root, `sync; echo 3 > /proc/sys/vm/drop_caches` ends that", file=sys.stderr)
    while now > _USUAL and waited < _LONGEST:
        sleep(_BREAK)
        waited, now = waited + _BREAK, price(tree)
    if now > _USUAL:
        print(f"a new file still costs {now * 1e6:.0f} µs: figures of small objects will be too high", file=sys.stderr)


def kind(tree: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The file system that `tree` is on, as Linux calls it; '' where nobody tells."""
    device = tree.stat().st_dev
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        place, _, system = line.partition(" - ")
        if place.split()[2] == f"{os.major(device)}:{os.minor(device)}":
            return system.split()[0]
    return ""
