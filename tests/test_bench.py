"""What the bench says of s3pull with its checksums switched off is said of one that compares none."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import at
from tests.fakes.faults import flip_bit
from tests.mirrors import Mirrored, summary

UNVERIFIED = Path(__file__).resolve().parents[1] / "bench" / "unverified.py"
COUNT = 600  # enough for a second process, where there is a second core


@pytest.mark.skipif(not UNVERIFIED.exists(), reason="only the repository has the bench")
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
