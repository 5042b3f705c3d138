"""How many cores this process may use, which is not how many there are.

A container is given a share of the machine's time (`docker run --cpus 1`, a limit in Kubernetes, systemd's CPUQuota),
and sees all cores. What runs on more of them than its share is worth only stands still the sooner. Linux says so in
files of the control group, of the second kind (cpu.max) or the first (cpu.cfs_quota_us); each group above limits, too:
https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
https://docs.kernel.org/scheduler/sched-bwc.html#management
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


@cache
def cores() -> int:
    """At least 1. A share of one and a half is two."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, quota(Path("/proc/self/cgroup"), _GROUPS))))


def quota(member: Path, groups: Path) -> float:
    """Seconds of CPU time a second, infinite where nothing limits it.

    `member` is the file that names the process's groups, `groups` where they are mounted. A container may be shown the
    host's name of its group, and have that group mounted as the uppermost: what is not there limits nothing.
    """
    shares = [math.inf]
    for line in _read(member).splitlines():
        _, _, rest = line.partition(":")
        controllers, is_group, name = rest.partition(":")
        if is_group and not controllers:
            top, files = groups, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            top, files = groups / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        group = top / name.lstrip("/")
        while group.is_relative_to(top):
            shares.append(_ratio("".join(_read(group / file) for file in files)))
            group = group.parent
    return min(shares)


def _ratio(text: str) -> float:
    """Of two numbers; infinite for `max`, -1 and what cannot be understood."""
    try:
        microseconds, period = text.split()
        share = int(microseconds) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return share if share > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape")  # which is loaded already
    except (OSError, ValueError):
        return ""
