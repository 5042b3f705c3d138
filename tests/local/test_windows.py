"""Windows, without one: long paths, drives, files that somebody has open."""

from __future__ import annotations

import ntpath
import os

import pytest

from s3pull.access import files
from s3pull.errors import ObjectError, UsageError
from s3pull.local.names import local_path
from s3pull.local.tree import Tree
from s3pull.local.windows import extended, in_use, patiently
from s3pull.pull import source
from s3pull.pull.source import Into, is_remote, parse_dest, parse_source
from tests.pull.memory_store import MemoryStore
from tests.pull.mirroring import mirror
from tests.pull.mirroring import tree as files_of
from tests.pull.test_get import pull


def refused(winerror: int | None) -> PermissionError:
    error = PermissionError(13, "Permission denied")
    if winerror is not None:
        error.winerror = winerror  # type: ignore[misc,unused-ignore]
    return error


# --- paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("full", "long"),
    [
        (r"C:\data\x", r"\\?\C:\data\x"),
        ("C:/data/x", r"\\?\C:\data\x"),
        ("C:\\", "\\\\?\\C:\\"),
        (r"\\server\share\x", r"\\?\UNC\server\share\x"),
        (r"\\?\C:\data", r"\\?\C:\data"),
        (r"\\?\UNC\server\share", r"\\?\UNC\server\share"),
        (r"\\.\pipe\x", r"\\.\pipe\x"),
    ],
)
def test_paths_that_may_be_long(full: str, long: str) -> None:
    assert extended(full) == long
    assert extended(long) == long
    assert ntpath.basename(long) == ntpath.basename(full)


def test_a_key_may_be_as_long_as_the_long_form_allows() -> None:
    segment = "x" * 255
    assert len(local_path("/".join([segment] * 4), windows=True)) > 260


@pytest.mark.parametrize("text", ["C:", "C:\\data", "c:/data", "d:x"])
def test_a_drive_is_never_a_share(text: str) -> None:
    assert not is_remote(text)
    with pytest.raises(UsageError, match="is a local path, not a source"):
        parse_source(text)


@pytest.mark.parametrize(
    ("dest", "folder", "name"),
    [
        (r"C:\data\new.csv", r"C:\data", "new.csv"),
        (r"data\new.csv", "data", "new.csv"),
        ("new.csv", ".", "new.csv"),
        ("data\\", "data\\", None),
        ("C:\\", "C:\\", None),
    ],
)
def test_where_one_object_goes(dest: str, folder: str, name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_source("acme:a/k")
    with monkeypatch.context() as patch:
        patch.setattr(source, "_windows", lambda: True)
        patch.setattr(os, "path", ntpath)
        found = parse_dest(dest, spec, is_directory=False)
    assert (found.into, found.folder, found.name) == (Into.FILE, folder, name)


# --- files in use ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("winerror", "used"), [(5, True), (32, True), (33, True), (2, False), (112, False), (None, False)]
)
def test_which_errors_may_pass(winerror: int | None, used: bool) -> None:
    assert in_use(refused(winerror)) is used
    assert in_use(refused(winerror), stands=False) is (used and winerror != 5)


def test_who_has_it_open_for_a_moment_is_waited_for() -> None:
    answers = iter([refused(32), refused(5), None])
    slept: list[float] = []

    def call() -> str:
        error = next(answers)
        if error is not None:
            raise error
        return "done"

    assert patiently(call, slept.append) == "done"
    assert len(slept) == 2


@pytest.mark.parametrize(("winerror", "waits"), [(32, 7), (2, 0), (None, 0)])
def test_and_no_longer_than_a_moment(winerror: int | None, waits: int) -> None:
    slept: list[float] = []

    def call() -> None:
        raise refused(winerror)

    with pytest.raises(PermissionError):
        patiently(call, slept.append)
    assert len(slept) == waits
    assert sum(slept) < 2


@pytest.fixture
def spreadsheet(monkeypatch: pytest.MonkeyPatch):
    """`open.csv` is open in a program that shares it with nobody, as Windows has it."""
    monkeypatch.setattr("s3pull.local.windows._PAUSES", (0.0, 0.0))
    real_replace, real_unlink = os.replace, os.unlink

    def replace(old, new, **how):
        if str(new).endswith("open.csv"):
            raise refused(5)
        real_replace(old, new, **how)

    def unlink(path, **how):
        if str(path).endswith("open.csv"):
            raise refused(32)
        real_unlink(path, **how)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "unlink", unlink)


@pytest.mark.usefixtures("spreadsheet")
def test_what_is_in_use_is_an_error_of_that_file_alone(tmp_path) -> None:
    (tmp_path / "open.csv").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")
    with Tree(tmp_path, create=True) as tree:
        directory = tree.directory("")
        with pytest.raises(ObjectError, match=r"cannot replace 'open\.csv': another program has it open") as raised:
            directory.rename("new", "open.csv")
        assert raised.value.exit_code == 3
        with pytest.raises(ObjectError, match=r"cannot remove 'open\.csv': another program has it open"):
            directory.unlink("open.csv")


@pytest.mark.usefixtures("spreadsheet")
@pytest.mark.parametrize("size", [10, 600_000])
def test_the_others_are_downloaded(tmp_path, size: int) -> None:
    store = MemoryStore()
    for name in ("a", "open.csv", "z"):
        store.put(name, b"x" * size)
    (tmp_path / "open.csv").write_bytes(b"old")
    os.utime(tmp_path / "open.csv", (1, 1))
    done = pull(store, "acme:", tmp_path)
    assert done.actions() == {"a": "downloaded", "open.csv": "failed", "z": "downloaded"}
    assert done.summary.exit == 3
    assert (tmp_path / "open.csv").read_bytes() == b"old"


def test_a_mirror_keeps_what_it_cannot_delete_and_its_receipt(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("s3pull.local.windows._PAUSES", (0.0, 0.0))
    store = MemoryStore()
    store.put("a", b"1")
    store.put("open.csv", b"2")
    assert mirror(store, tmp_path / "m").error is None
    store.delete("open.csv")

    def unlink(path, **how):
        if str(path).endswith("open.csv"):
            raise refused(32)
        return real(path, **how)

    real = os.unlink
    monkeypatch.setattr(os, "unlink", unlink)
    done = mirror(store, tmp_path / "m", delete=True)
    assert done.summary.failed == 1
    assert files_of(tmp_path / "m") == {"a": b"1", "open.csv": b"2"}
    monkeypatch.undo()
    done = mirror(store, tmp_path / "m", delete=True)
    assert done.actions() == {"open.csv": "deleted"}


@pytest.mark.parametrize(("winerror", "times", "kept"), [(5, 2, True), (5, 99, False), (None, 1, False)])
def test_the_configuration_is_replaced_when_its_reader_lets_go(tmp_path, monkeypatch, winerror, times, kept) -> None:
    from pathlib import Path

    left = [times]
    real = Path.replace

    def replace(self, target):
        left[0] -= 1
        if left[0] >= 0:
            raise refused(winerror)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    (tmp_path / "config.toml").write_bytes(b"old")
    if kept:
        files.replace(tmp_path / "config.toml", b"new")
    else:
        with pytest.raises(PermissionError):
            files.replace(tmp_path / "config.toml", b"new")
    assert (tmp_path / "config.toml").read_bytes() == (b"new" if kept else b"old")
    assert os.listdir(tmp_path) == ["config.toml"]
