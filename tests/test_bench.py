"""The bench's figures are of what it says: of checksums that are switched off, and of a folder where a new file costs
what it should.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import at
from tests.fakes.faults import flip_bit
from tests.mirrors import Mirrored, summary

BENCH = Path(__file__).resolve().parents[1] / "bench"
UNVERIFIED = BENCH / "unverified.py"
COUNT = 600  # enough for a second process, where there is a second core


pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="only the repository has the bench")


@pytest.fixture
def scratch(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import scratch

    return scratch


def test_checksums_are_switched_off_in_both_processes(fake_aws, tmp_path):
    mirrored = Mirrored(fake_aws, tmp_path)
    for number in range(COUNT):
        mirrored.put(f"{number:03d}", f"{number} ".encode() * 10)
    fake_aws.fault(at("GetObject"), flip_bit(7), times=None)
    assert mirrored.run("get", f"{mirrored.source}000", "one").code == 6
    command = [sys.executable, str(UNVERIFIED), "get", mirrored.source, "all/", "--json"]
    done = subprocess.run(command, cwd=mirrored.cwd, env=mirrored.env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert summary(done.stdout)["downloaded"] == COUNT


@pytest.mark.parametrize(
    ("prices", "waits", "said"),
    [
        pytest.param([17e-6], 0, "", id="nothing was deleted"),
        pytest.param([700e-6, 650e-6, 20e-6], 2, "costs 700 µs: waiting", id="until it is forgotten"),
        pytest.param([700e-6] * 100, 40, "still costs 700 µs", id="not for ever"),
    ],
)
def test_a_bench_waits_until_ext4_forgets_what_was_deleted(scratch, monkeypatch, tmp_path, capsys, prices, waits, said):
    monkeypatch.setattr(scratch, "kind", lambda _: "ext4")
    naps: list[float] = []
    left = iter(prices)
    scratch.rest(tmp_path, price=lambda _: next(left), sleep=naps.append)
    assert len(naps) == waits
    error = capsys.readouterr().err
    assert said in error
    assert bool(error) == bool(said)


def test_elsewhere_it_waits_for_nothing(scratch, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(scratch, "kind", lambda _: "nfs4")
    scratch.rest(tmp_path, price=lambda _: 1.0, sleep=lambda _: pytest.fail("waited"))
    assert capsys.readouterr().err == ""


def test_the_file_system_is_the_one_of_the_device(scratch, tmp_path):
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 0:1999 / /proc rw,nosuid shared:3 - proc proc rw\n"
        f"22 1 {os.major(device)}:{os.minor(device)} / /data rw shared:1 master:2 - xfs /dev/sdb rw,noquota\n"
    )
    assert scratch.kind(tmp_path, mounts) == "xfs"
    assert scratch.kind(tmp_path, tmp_path / "none") == ""


def test_what_a_new_file_costs_is_measured(scratch, tmp_path):
    assert 0 < scratch.price(tmp_path) < 0.1
    assert len(list(tmp_path.glob("probe-*/*"))) == 50


def test_the_folder_is_the_same_for_programs_that_work_elsewhere(scratch, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert scratch.folder("data/of/bench") == tmp_path / "data" / "of" / "bench"
    assert (tmp_path / "data" / "of" / "bench").is_dir()
