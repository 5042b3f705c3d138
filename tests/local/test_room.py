"""Room on the disk that is taken ahead: where it can be had, and nothing of it where it cannot."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from s3pull.local import room

MIB = 1024 * 1024
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing is taken elsewhere")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A new file of 8 MiB on a disk that can reserve."""
    fd = os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 8 * MIB)
    yield fd
    os.close(fd)


def taken(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


def test_all_of_it_is_taken_and_reads_as_a_hole(fd: int) -> None:
    room.take_room(fd, 8 * MIB)
    assert taken(fd) >= 8 * MIB
    assert os.fstat(fd).st_size == 8 * MIB
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.pread(fd, 10, 4 * MIB) == bytes(10)
    os.pwrite(fd, b"data", 4 * MIB)
    assert os.pread(fd, 6, 4 * MIB) == b"data\0\0"
    assert taken(fd) < 9 * MIB


def test_nothing_of_what_does_not_fit(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("asked for")

    monkeypatch.setattr(room, "ioctl", never)
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=2048, f_frsize=4096))
    room.take_room(fd, 8 * MIB)
    assert taken(fd) == 0


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSPC, errno.EDQUOT, errno.EINTR])
def test_what_was_taken_in_vain_is_given_back(fd: int, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    real = room.ioctl

    def half(fd: int, request: int, argument: bytes) -> None:
        fields = list(room._RANGE.unpack(argument))
        fields[3] //= 2
        real(fd, request, room._RANGE.pack(*fields))
        assert taken(fd) >= 4 * MIB
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(room, "ioctl", half)
    room.take_room(fd, 8 * MIB)
    assert taken(fd) == 0
    assert os.fstat(fd).st_size == 8 * MIB


def test_an_empty_file_needs_none(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "empty", os.O_RDWR | os.O_CREAT)
    room.take_room(fd, 0)
    assert taken(fd) == 0
    os.close(fd)
