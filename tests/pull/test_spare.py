"""A Python that waits for what a second process may have to do (`pull.spare`): started, taken once, or ended."""

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from s3pull.pull import spare
from s3pull.pull.spare import Spare, close_pipes, is_new


@pytest.fixture(autouse=True)
def two_cores(isolated, monkeypatch):
    monkeypatch.setattr(spare, "cores", lambda: 2)


def test_it_is_taken_once_and_is_the_takers_then():
    with closing(Spare()) as ahead:
        assert ahead
        process = ahead.take()
        assert not ahead
        assert ahead.take() is None
    assert process.poll() is None
    process.stdin.close()  # nobody will say anything: as when the process that started it was killed
    assert process.wait(60) == 1
    assert process.stdout.read() == b""
    close_pipes(process)


def test_nobody_takes_it(monkeypatch):
    started = []
    launch = spare.launch
    monkeypatch.setattr(spare, "launch", lambda: started.append(launch()) or started[0])
    ahead = Spare()
    ahead.close()
    assert started[0].returncode == -signal.SIGKILL
    assert started[0].stdin.closed
    assert started[0].stdout.closed
    ahead.close()


def test_it_is_not_wanted_or_there_is_one_core(monkeypatch):
    monkeypatch.setattr(spare, "launch", lambda: pytest.fail("started"))
    assert not Spare(wanted=False)
    monkeypatch.setattr(spare, "cores", lambda: 1)
    assert not Spare()


@pytest.mark.parametrize("name", ["python-that-is-missing", "service", ""])
def test_it_cannot_be_started(name, monkeypatch, tmp_path):
    (tmp_path / "service").symlink_to("/bin/true")
    monkeypatch.setattr(sys, "executable", str(tmp_path / name) if name else None)
    with closing(Spare()) as ahead:
        assert not ahead
        assert ahead.take() is None


def test_it_finds_modules_where_this_process_does(monkeypatch, tmp_path):
    """Whatever the folders are called, and nowhere else."""
    odd = tmp_path / 'it\'s "new"\n\\ \udcff'
    odd.mkdir()
    (odd / "s3pull").symlink_to(Path(spare.__file__).parents[1])
    monkeypatch.setattr(
        spare, "_START", spare._START.partition("; from")[0] + "; import s3pull; print(s3pull.__file__)"
    )
    monkeypatch.setattr(sys, "path", ["", str(odd), *sys.path])
    process = spare.launch()
    out, _ = process.communicate(timeout=60)
    assert out.decode(errors="surrogateescape").rstrip("\n") == str(odd / "s3pull" / "__init__.py")


def test_what_is_new(tmp_path):
    assert is_new(tmp_path)
    assert is_new(tmp_path / "missing" / "too")
    (tmp_path / "file").touch()
    assert not is_new(tmp_path)
    assert not is_new(tmp_path / "file")
    assert not is_new(Path("a\0b"))


def test_it_loads_nothing_of_ours_but_itself():
    """Else it would come too late to be of use: cores.py is small."""
    code = "import sys; import s3pull.pull.spare; print([name for name in sys.modules if name.startswith('s3pull')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['s3pull', 's3pull.pull', 's3pull.pull.cores', 's3pull.pull.spare']"
