"""The tree on a real file system: links are never followed, modes are the umask's, nothing closes under its user."""

from __future__ import annotations

import errno
import os
import random
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from s3pull.errors import DiskError, NameRefused, NothingThere, ObjectError
from s3pull.local import tree as tree_module
from s3pull.local.directory import DIRECTORY, OTHER, REGULAR, SYMLINK, Directory
from s3pull.local.oserrors import data_error, name_error
from s3pull.local.reading import reading
from s3pull.local.tree import Tree


@pytest.fixture(params=["descriptors", "paths"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    """Both forms: by descriptors, and by paths, as on Windows."""
    if request.param == "paths":
        monkeypatch.setattr(tree_module, "_HAS_DIR_FD", False)
    with Tree(tmp_path / "dest", create=True) as made:
        yield made


def put(directory: Directory, name: str, data: bytes = b"data") -> None:
    fd = directory.create(name)
    os.write(fd, data)
    os.close(fd)


def open_descriptors(below: Path) -> int:
    """How many lead to `below` or into it: others may be closed at any time by the garbage collector."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            count += Path(os.readlink(f"/proc/self/fd/{number}")).is_relative_to(below)
        except FileNotFoundError:
            pass  # the one that listed them
    return count


# --- directories ----------------------------------------------------------------------------------------


def test_directories_are_made_below_the_root(tree: Tree) -> None:
    directory = tree.directory("a/b/c")
    assert directory.relative == "a/b/c"
    assert (tree.root / "a/b/c").is_dir()
    assert tree.directory("a/b/c") is directory
    assert tree.directory("").relative == ""
    put(directory, "f")
    assert (tree.root / "a/b/c/f").read_bytes() == b"data"


def test_a_folder_that_this_run_made_is_new_for_a_moment(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    made, filled = tree.directory("a/b"), tree.directory("c")
    assert made.new and filled.new and tree.directory("a").new
    assert not tree.directory("").new  # nobody knows what was in it
    with Tree(tree.root, create=True) as later:
        assert not later.directory("a/b").new
    filled.filled()
    assert not filled.new
    now[0] += 1.5
    assert not made.new


def test_modes_follow_the_umask(tree: Tree) -> None:
    before = os.umask(0o027)
    try:
        put(tree.directory("a/b"), "f")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tree.root / path).stat().st_mode) for path in ("a", "a/b", "a/b/f")]
    assert modes == [0o750, 0o750, 0o640]


def test_without_create_nothing_is_made(tree: Tree) -> None:
    with pytest.raises(NothingThere, match="'a'"):
        tree.directory("a/b", create=False)
    assert os.listdir(tree.root) == []
    tree.directory("a/b")
    assert tree.directory("a/b", create=False).relative == "a/b"


def test_a_missing_root(tmp_path: Path) -> None:
    with Tree(tmp_path / "none", create=False) as tree:
        assert tree.stat("a/b") is None
        assert tree.folds is False
        with pytest.raises(NothingThere):
            tree.directory("a")
    assert os.listdir(tmp_path) == []


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    for create in (True, False):
        with pytest.raises(NameRefused):
            Tree(tmp_path / "f", create=create)
    with pytest.raises(NameRefused):
        Tree(tmp_path / "f/below", create=True)


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with Tree(tmp_path / "link", create=True) as tree:
        put(tree.directory("a"), "f")
    assert (tmp_path / "real/a/f").exists()


@pytest.mark.parametrize("relative", ["..", "a/..", "a/../../x", ".", "a//b", "/etc", "a/"])
def test_no_name_leaves_the_tree(tree: Tree, relative: str) -> None:
    with pytest.raises(NameRefused):
        tree.directory(relative)
    assert sorted(os.listdir(tree.root.parent)) == ["dest"]


@pytest.mark.parametrize("name", ["../f", "a/f", "..", "."])
def test_no_file_name_leaves_its_directory(tree: Tree, name: str) -> None:
    directory = tree.directory("")
    tree.directory("a")
    put(directory, "f")
    for call in (directory.create, directory.open, directory.append, directory.unlink, directory.stat):
        with pytest.raises(NameRefused):
            call(name)
    with pytest.raises(NameRefused):
        directory.rename("f", name)


# --- links ----------------------------------------------------------------------------------------------


def test_links_to_directories_are_not_followed(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_text("secret")
    (tree.root / "link").symlink_to(tmp_path / "outside")
    (tree.root / "a").mkdir()
    (tree.root / "a/link").symlink_to("..")
    for relative in ("link", "link/b", "a/link", "a/link/c"):
        with pytest.raises(NameRefused, match="link"):
            tree.directory(relative)
        with pytest.raises(NameRefused, match="link"):
            tree.stat(relative + "/f")
    assert os.listdir(tmp_path / "outside") == ["f"]
    found = tree.stat("link")
    assert found is not None
    assert found.kind == SYMLINK


def test_links_to_files_are_not_followed(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    for name, target in (("link", tmp_path / "outside"), ("dangling", tmp_path / "made")):
        (tree.root / name).symlink_to(target)
        directory = tree.directory("")
        for write in (False, True):
            with pytest.raises(NameRefused):
                directory.open(name, write)
        for make in (directory.create, directory.append):
            with pytest.raises(NameRefused):
                make(name)
        put(directory, "f" + name, b"new")
        assert directory.rename("f" + name, name)
        assert (tree.root / name).read_bytes() == b"new"
        assert not (tree.root / name).is_symlink()
    assert (tmp_path / "outside").read_text() == "secret"
    assert not (tmp_path / "made").exists()


def test_a_component_swapped_for_a_link_catches_nothing(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with Tree(tmp_path / "dest", create=True) as tree:
        directory = tree.directory("a/b")
        (tree.root / "a/b").rename(tree.root / "a/moved")
        (tree.root / "a/b").symlink_to(tmp_path / "outside")
        put(directory, "f")
        assert os.listdir(tmp_path / "outside") == []
        assert (tree.root / "a/moved/f").exists()
    with Tree(tmp_path / "dest", create=True) as again, pytest.raises(NameRefused):
        again.directory("a/b/c")
    assert os.listdir(tmp_path / "outside") == []


def test_swapping_while_others_write_never_leaks(tmp_path: Path) -> None:
    """One thread swaps a directory for a link to the outside, again and again, while files are written below it."""
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    stop = threading.Event()
    root = tmp_path / "dest"
    with Tree(root, create=True) as first:
        first.directory("a/d")

    def swap() -> None:
        chance = random.Random(5)
        while not stop.is_set():
            for step in (
                lambda: (root / "a").rename(root / "b"),
                lambda: (root / "a").symlink_to(outside),
                lambda: (root / "a").unlink(),
                lambda: (root / "b").rename(root / "a"),
            ):
                step()
                time.sleep(chance.random() * 2e-4)

    thread = threading.Thread(target=swap)
    thread.start()
    refused = written = 0
    try:
        while written + refused < 300 or (not written and refused < 30_000):
            with Tree(root, create=True) as tree:
                try:
                    put(tree.directory("a/d", create=False), f"f{written}")
                    written += 1
                except (NameRefused, NothingThere):
                    refused += 1
    finally:
        stop.set()
        thread.join()
    assert os.listdir(outside / "d") == []
    assert written


@pytest.mark.parametrize(("tag", "refused"), [(0xA0000003, True), (0xA000000C, True), (0x9000001A, False), (0, False)])
def test_junctions_are_links_and_cloud_files_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: int, refused: bool
) -> None:
    """A junction looks like a directory; only its reparse tag tells."""
    (tmp_path / "junction").mkdir()
    monkeypatch.setattr(tree_module, "_HAS_DIR_FD", False)
    monkeypatch.setattr(os, "lstat", lambda path: SimpleNamespace(st_mode=stat.S_IFDIR | 0o755, st_reparse_tag=tag))
    with Tree(tmp_path, create=True) as tree:
        if refused:
            with pytest.raises(NameRefused, match="link"):
                tree.directory("junction")
        else:
            assert tree.directory("junction").relative == "junction"


@pytest.mark.parametrize("write", [False, True])
def test_what_is_no_regular_file_is_not_opened(tree: Tree, write: bool) -> None:
    os.mkfifo(tree.root / "fifo")
    (tree.root / "d").mkdir()
    for name in ("fifo", "d"):
        with pytest.raises(NameRefused):
            tree.directory("").open(name, write)
    kinds = {name: tree.stat(name).kind for name in ("fifo", "d")}
    assert kinds == {"fifo": OTHER, "d": DIRECTORY}


# --- files ----------------------------------------------------------------------------------------------


def test_stat(tree: Tree) -> None:
    put(tree.directory("a"), "f", b"12345")
    os.utime(tree.root / "a/f", ns=(1, 1_500_000_000_123_000_000))
    found = tree.stat("a/f")
    assert found == (5, 1_500_000_000_123_000_000, REGULAR)
    assert found.regular
    assert tree.stat("a/g") is None
    assert tree.stat("b/c/d") is None
    with pytest.raises(NameRefused):
        tree.stat("a/f/below")


def test_taken_names_are_refused(tree: Tree) -> None:
    directory = tree.directory("")
    put(directory, "f")
    for make in (directory.create, directory.append):
        with pytest.raises(NameRefused, match="something else"):
            make("f")
    with pytest.raises(NameRefused, match="a file stands there"):
        tree.directory("f/below")


def test_rename_replaces_files_and_refuses_directories(tree: Tree) -> None:
    directory = tree.directory("")
    put(directory, "new", b"new")
    put(directory, "old", b"old")
    assert directory.rename("new", "old")
    assert (tree.root / "old").read_bytes() == b"new"
    for full in (False, True):
        (tree.root / "d").mkdir(exist_ok=True)
        if full:
            (tree.root / "d/f").write_text("")
        with pytest.raises(NameRefused, match="a folder stands there"):
            directory.rename("old", "d")
    assert (tree.root / "old").read_bytes() == b"new"
    assert directory.rename("missing", "old") is False
    assert directory.unlink("missing") is False
    assert directory.unlink("old") is True
    assert directory.open("old") is None


def test_names(tree: Tree) -> None:
    directory = tree.directory("a")
    for name in ("x1", "x2", "y"):
        put(directory, name)
    for _ in range(2):
        assert sorted(directory.names("x")) == ["x1", "x2"]
    assert sorted(directory.names()) == ["x1", "x2", "y"]


def test_the_longest_names(tree: Tree) -> None:
    name = "n" * 255
    directory = tree.directory(f"{name}/{name}")
    put(directory, name)
    assert tree.stat(f"{name}/{name}/{name}").size == 4
    for call in (directory.create, tree.directory, tree.stat):
        with pytest.raises(NameRefused, match="too long"):
            call("n" * 256)


def test_deep_trees(tmp_path: Path) -> None:
    """Deeper than a path can be long: only descriptors get there."""
    deep = "/".join(["d" * 20] * 250)
    with Tree(tmp_path / "dest", create=True) as tree:
        put(tree.directory(deep), "f")
        assert tree.stat(deep + "/f").size == 4


def test_sync_reaches_every_new_name(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(tree_module, "sync_directory", lambda fd, what: synced.append(what))
    directory = tree.directory("a/b/c")
    tree.directory("a/b/d")
    directory.sync()
    above = [str(tree.root.parent)] if tree_module._HAS_DIR_FD else []
    assert synced == [*above, "a/b/c", "a/b", "a", "."]
    synced.clear()
    directory.sync()
    assert synced == ["a/b/c"]
    tree.directory("a/b/d").sync()
    assert synced == ["a/b/c", "a/b/d", "a/b"]


def test_what_folds(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree.folds is False
    assert os.listdir(tree.root) == []


@pytest.mark.parametrize("by", [str.lower, lambda name: name.replace("\u00e9", "e\u0301")])
def test_folding_file_systems_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: object) -> None:
    real = Directory.stat

    def folding(self: Directory, name: str) -> object:
        names = {by(there): there for there in self.names()}
        return real(self, names.get(by(name), name))

    monkeypatch.setattr(Directory, "stat", folding)
    with Tree(tmp_path, create=True) as tree:
        assert tree.folds is True
    assert os.listdir(tmp_path) == []


def test_free_bytes(tree: Tree) -> None:
    there = os.statvfs(tree.root)
    assert abs(tree.free_bytes() - there.f_bavail * there.f_frsize) < 2**30


# --- descriptors ----------------------------------------------------------------------------------------


def test_few_directories_stay_open(tmp_path: Path) -> None:
    with Tree(tmp_path / "dest", create=True) as tree:
        for number in range(300):
            tree.directory(f"a/{number}")
        assert 100 < open_descriptors(tmp_path) <= 130
        again = tree.directory("a/0")
        put(again, "f")
    assert open_descriptors(tmp_path) == 1  # `again`
    assert again.stat("f").size == 4
    del again
    assert open_descriptors(tmp_path) == 0


def test_a_directory_in_use_is_not_closed(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    with Tree(tmp_path / "dest", create=True) as tree:

        def work(me: int) -> None:
            try:
                for number in range(150):
                    directory = tree.directory(f"{number}/{me % 2}")
                    put(directory, f"f{me}", str(number).encode())
                    assert directory.stat(f"f{me}").size == len(str(number))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    for number in range(150):
        for me in range(6):
            assert (tmp_path / f"dest/{number}/{me % 2}/f{me}").read_bytes() == str(number).encode()


# --- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "naming", "writing"),
    [
        (errno.ENOSPC, DiskError, DiskError),
        (errno.EDQUOT, DiskError, DiskError),
        (errno.EROFS, DiskError, DiskError),
        (errno.EACCES, DiskError, DiskError),
        (errno.EPERM, DiskError, DiskError),
        (errno.EIO, DiskError, DiskError),
        (errno.EMFILE, DiskError, DiskError),
        (errno.EFBIG, ObjectError, ObjectError),
        (errno.ENAMETOOLONG, NameRefused, DiskError),
        (errno.EISDIR, NameRefused, DiskError),
        (errno.ENOTDIR, NameRefused, DiskError),
        (errno.ELOOP, NameRefused, DiskError),
        (errno.EINVAL, NameRefused, DiskError),
        (errno.EILSEQ, NameRefused, DiskError),
        (errno.EDOM, DiskError, DiskError),
    ],
)
def test_errors(number: int, naming: type, writing: type) -> None:
    error = OSError(number, os.strerror(number))
    named, written = name_error(error, "cannot x 'y'"), data_error(error, "cannot x 'y'")
    assert (type(named), type(written)) == (naming, writing)
    for translated in (named, written):
        assert translated.message.startswith("cannot x 'y': ")
        assert translated.message[14].islower()


def test_a_full_disk_says_what_to_do() -> None:
    error = data_error(OSError(errno.ENOSPC, ""), "cannot write 'x'")
    assert error.exit_code == 5
    assert error.message == "cannot write 'x': no space left on device"
    assert "free some space" in error.hint


# --- reading --------------------------------------------------------------------------------------------


def test_reading(tree: Tree) -> None:
    directory = tree.directory("a")
    put(directory, "f", b"0123456789")
    before = open_descriptors(tree.root)
    buffer = memoryview(bytearray(4))
    with reading(directory, "f") as read_at:
        assert (read_at(8, buffer), bytes(buffer[:2])) == (2, b"89")
        assert (read_at(2, buffer), bytes(buffer)) == (4, b"2345")
        assert read_at(10, buffer) == 0
    assert open_descriptors(tree.root) == before
    with reading(directory, "gone") as read_at:
        assert read_at(0, buffer) == 0
    (tree.root / "a/link").symlink_to("f")
    with pytest.raises(NameRefused), reading(directory, "link"):
        pass


def test_a_folder_that_takes_no_file_is_named(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "no")

    with Tree(tmp_path, create=True) as tree:
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(DiskError, match=r"^cannot write into '.*': permission denied$") as refused:
            _ = tree.probed
        assert str(tmp_path) in refused.value.message
        monkeypatch.undo()
