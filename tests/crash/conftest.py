"""One stage for all tests of a process, and a world to run in: a bucket, an empty home, a working directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.crash import layer
from tests.crash.layer import UNTOUCHED, Fate, Ran, Stage
from tests.fakes import FakeAws
from tests.mirrors import Mirrored


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from layer.stage(tmp_path_factory.mktemp("stage"))


class World(Mirrored):
    """A bucket and a working directory that can be kept and put back; commands run on the stage."""

    def __init__(self, aws: FakeAws, cwd: Path, stage: Stage, home: Path) -> None:
        super().__init__(aws, cwd)
        self._stage = stage
        self._kept = cwd.parent / "kept"
        self._home = home
        self.env = {**os.environ, **self.env}
        #: the folders in which calls count
        self.roots: Sequence[Path] = (self.folder,)

    def __call__(self, *args: str, fate: Fate = UNTOUCHED) -> Ran:
        return self._stage(args, self.env, self.cwd, self.roots, fate)

    def keep(self) -> None:
        """Remember how all is now."""
        shutil.rmtree(self._kept, ignore_errors=True)
        for name, folder in (("cwd", self.cwd), ("home", self._home)):
            shutil.copytree(folder, self._kept / name, symlinks=True)

    def put_back(self) -> None:
        """Make all as it was kept; the bucket stays as it is."""
        for name, folder in (("cwd", self.cwd), ("home", self._home)):
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            _copy(self._kept / name, folder)

    def nothing_stray_of_get(self) -> bool:
        """Whether nothing but files is left of a `get` into a folder that is no mirror."""
        return not list(self.folder.rglob(".s3pull*"))

    def sent(self) -> int:
        """Bytes of bodies that the service has handed out since the last call."""
        count = sum(one.bytes_sent for one in self.aws.asked("GetObject"))
        self.aws.requests.clear()
        return count


def _copy(source: Path, target: Path) -> None:
    """Hard links stay what they are."""
    seen: dict[int, Path] = {}
    for folder, folders, names in os.walk(source):
        to = target / Path(folder).relative_to(source)
        to.mkdir(exist_ok=True)
        for name in [name for name in [*names, *folders] if Path(folder, name).is_symlink()]:
            (to / name).symlink_to(Path(folder, name).readlink())
        for name in names:
            path = Path(folder, name)
            if path.is_symlink():
                continue
            inode = path.stat().st_ino
            if inode in seen:
                os.link(seen[inode], to / name)
            else:
                shutil.copy2(path, to / name)
                seen[inode] = to / name


@pytest.fixture
def world(fake_aws: FakeAws, tmp_path: Path, stage: Stage, isolated: Path) -> Iterator[World]:
    """In memory where that can be: thousands of disks are made and thrown away."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=memory) as place:
        cwd = Path(place) / "cwd"
        cwd.mkdir()
        yield World(fake_aws, cwd, stage, isolated)
