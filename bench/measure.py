"""What one command costs: wall, CPU of user and system, CPU of the kernel's own threads meanwhile, and peak memory.

Run as a script, it is the stop-watch itself: a process of its own, because Linux charges a child with the peak memory
of the process that forked it, and a bench that has made a gigabyte of test data is larger than what it measures. It
counts the children that the command waited for too. `peak` is the sum over the processes that live at a time, as far as
looking every 20 ms can tell, and never less than that of the largest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """Three times seconds, bytes, and the exit code."""

    wall: float
    cpu: float
    kernel: float
    peak: int
    code: int


def measure(command: Sequence[str], environ: Mapping[str, str]) -> tuple[Cost, str, str]:
    """Run `command` under the stop-watch; returns its cost, its stdout and the end of its stderr."""
    with tempfile.NamedTemporaryFile("r") as result:
        watch = [sys.executable, "-I", "-S", __file__, result.name, *command]
        done = subprocess.run(watch, env=dict(environ), capture_output=True, text=True)
        written = result.read()
    if done.returncode or not written:
        raise RuntimeError(f"cannot run {command[0]}: {done.stderr}")
    return Cost(**json.loads(written)), done.stdout, done.stderr[-2000:]


def stop_watch(result: Path, command: list[str]) -> None:
    """Run `command` as a child of this small process and write what it cost to `result`."""
    kernel = kernel_seconds()
    begun = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    over, peaks = threading.Event(), [0]
    looker = threading.Thread(target=look, args=(pid, over, peaks))
    looker.start()
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    over.set()
    looker.join()
    cost = Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        kernel=kernel_seconds() - kernel,
        peak=max(*peaks, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)),
        code=os.waitstatus_to_exitcode(status),
    )
    result.write_text(json.dumps(cost._asdict()))


def kernel_seconds() -> float:
    """CPU that all threads of the kernel have used, of which writing back is the most here; 0.0 where nobody tells.

    Whoever syncs a file does that itself, and is charged; for a `sync` of the whole file system the kernel does it.
    """
    ticks = 0
    try:
        if Path("/proc/2/comm").read_text() != "kthreadd\n":  # a container, which does not see them
            return 0.0
    except OSError:
        return 0.0
    for told in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, parent, *rest = told.read_bytes().rpartition(b")")[2].split()
        except OSError:  # it is gone
            continue
        if parent == b"2":
            ticks += int(rest[9]) + int(rest[10])
    return ticks / os.sysconf("SC_CLK_TCK")


def look(pid: int, over: threading.Event, peaks: list[int]) -> None:
    """Add up the peaks of the process and its children, in bytes, time and again; Linux tells them."""
    while not over.wait(0.02):
        peaks.append(sum(peak(each) for each in (pid, *children(pid))))


def peak(pid: int) -> int:
    """VmHWM of a process; 0 where it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def children(pid: int) -> list[int]:
    """The processes that any of its threads started."""
    try:
        return [
            int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
        ]
    except OSError:
        return []


if __name__ == "__main__":
    stop_watch(Path(sys.argv[1]), sys.argv[2:])
