"""The share of the machine's time that a control group leaves to a process."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3pull.pull import cores

INFINITE = math.inf


@pytest.mark.parametrize(
    ("member", "files", "share"),
    [
        ("", {}, INFINITE),
        ("0::/\n", {}, INFINITE),
        ("0::/\n", {"cpu.max": "max 100000\n"}, INFINITE),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "400000 100000\n"}, 3.0),
        ("0::/host/name\n", {"cpu.max": "100000 100000\n"}, 1.0),  # mounted as the uppermost
        ("0::/\udcff\n", {"\udcff/cpu.max": "20000 10000\n"}, 2.0),
        ("0::/a:b\n", {"a:b/cpu.max": "20000 10000\n"}, 2.0),
        ("0::/../x\n", {}, INFINITE),
        ("0::/\n", {"cpu.max": "many\n"}, INFINITE),
        ("0::/\n", {"cpu.max": "100000 0\n"}, INFINITE),
        ("0::/\n", {"cpu.max": ""}, INFINITE),
        ("nonsense\n", {"cpu.max": "100000 100000\n"}, INFINITE),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, INFINITE),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 2.5),
        ("4:cpu:/docker/1\n", {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ("3:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, INFINITE),
        (
            "2:cpu:/a\n0::/a\n",
            {"cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n", "a/cpu.max": "2 1"},
            2.0,
        ),
    ],
)
def test_the_least_share_counts(member, files, share, tmp_path):
    (tmp_path / "member").write_text(member, "utf-8", "surrogateescape")
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    assert cores.quota(tmp_path / "member", tmp_path / "groups") == share


def test_without_control_groups_nothing_is_limited(tmp_path):
    assert cores.quota(tmp_path / "none", tmp_path) == INFINITE


@pytest.mark.parametrize(("share", "count"), [(INFINITE, None), (0.2, 1), (1.0, 1), (1.5, 2), (1000.0, None)])
def test_a_share_is_rounded_up_and_the_affinity_counts_too(share, count, monkeypatch):
    monkeypatch.setattr(cores, "quota", lambda member, groups: share)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert cores.cores.__wrapped__() == min(count or allowed, allowed)


def test_in_a_real_control_group():
    first = Path("/sys/fs/cgroup/cpu")
    folder = (first if first.is_dir() else first.parent) / f"s3pull-test-{os.getpid()}"
    script = "import os; open({!r}, 'w').write(str(os.getpid()));"
    script += "from s3pull.pull.cores import cores; print(cores())"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups to make here: {error}")
    try:
        try:
            if (folder / "cpu.max").exists():
                (folder / "cpu.max").write_text("70000 100000")
            else:
                (folder / "cpu.cfs_quota_us").write_text("70000")
            command = [sys.executable, "-c", script.format(str(folder / "cgroup.procs"))]
            told = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            pytest.skip(f"control groups do not limit time here: {error}")
        assert (told.stdout, told.stderr) == ("1\n", "")
    finally:
        folder.rmdir()
