"""`s3pull verify`: what it finds, what it asks for, what it mends, and what it leaves alone."""

import errno
import os
import shutil

import pytest

from tests.fakes import at, faults
from tests.mirrors import LONG_AGO, actions, lines, snapshot, summary, told

ALL = ("right", "touched", "edited", "truncated", "missing", "corrupt", "linked", "folder", "sub/under", "dir/in")


@pytest.fixture
def broken(here):
    """One file for each way to be wrong."""
    for name in ALL:
        here.put(name, b"bytes")
    here.put("marker/", b"")
    assert here.sync().exit == 0
    m = here.folder
    os.utime(m / "touched", (LONG_AGO + 50, LONG_AGO + 50))
    (m / "edited").write_bytes(b"BYTES")
    (m / "truncated").write_bytes(b"byt")
    (m / "missing").unlink()
    (m / "corrupt").write_bytes(b"bytEs")
    os.utime(m / "corrupt", (LONG_AGO, LONG_AGO))
    (m / "linked").unlink()
    (m / "linked").symlink_to("right")
    (m / "folder").unlink()
    (m / "folder").mkdir()
    (m / "folder" / ".keep").touch()  # an empty one would make way
    shutil.rmtree(m / "sub")
    (m / "sub").symlink_to("marker")
    shutil.rmtree(m / "dir")
    (m / "dir").write_bytes(b"a file")
    here.aws.requests.clear()
    return here


WRONG = {
    "edited": "edited", "truncated": "edited", "missing": "missing", "corrupt": "corrupt", "linked": "edited",
    "folder": "edited", "sub/under": "edited", "dir/in": "edited",
}  # fmt: skip


def test_everything_that_is_wrong_is_named(broken):
    before = snapshot(broken.folder)
    done = broken("verify", "m", "--json", "-v")
    assert done.exit == 6
    assert done.err == ""
    assert {path: reason for path, (action, reason) in told(done.out).items() if action == "failed"} == WRONG
    assert {path for path, (action, _) in told(done.out).items() if action == "skipped"} == {
        "right", "touched", "marker/",
    }  # fmt: skip
    first = next(line for line in lines(done.out) if line.get("path") == "corrupt")
    assert first["key"] == "in/corrupt"
    assert first["received"] == 0
    assert first["error"]["message"] == "corrupt: is damaged: its bytes are not what was written"
    last = summary(done.out)
    assert (last["skipped"], last["failed"], last["exit"], last["source"]) == (2, 8, 6, "s3://data/in/")
    text = broken("verify", "m")
    assert (text.exit, text.out) == (6, "")
    for name in WRONG:
        assert f"s3pull: {name}: " in text.err
    assert text.err.count("hint: s3pull verify --repair fetches it again") == 1
    assert text.err.splitlines()[-1].endswith("8 wrong")
    assert broken.aws.requests == []
    assert snapshot(broken.folder) == before
    assert broken.nothing_stray()


def test_only_what_is_broken_is_fetched_again(broken):
    refused = broken("verify", "m", "--repair", "--json")
    # a folder with something in it, and folders that became a link or a file, are not ours to remove
    in_the_way = {"folder", "sub/under", "dir/in"}
    free = set(WRONG) - in_the_way
    assert refused.exit != 0
    assert {path for path, (action, _) in told(refused.out).items() if action == "downloaded"} == free
    assert {path for path, (action, _) in told(refused.out).items() if action == "refused"} == in_the_way
    assert {one.key for one in broken.aws.asked("GetObject")} == {f"in/{name}" for name in free}
    assert broken.aws.count("ListObjectsV2") == 0
    again = broken("verify", "m", "--json")
    assert again.exit == 6
    assert set(told(again.out)) == in_the_way
    shutil.rmtree(broken.folder / "folder")
    (broken.folder / "sub").unlink()
    (broken.folder / "dir").unlink()
    broken.aws.requests.clear()
    mended = broken("verify", "m", "--repair")
    assert mended.exit == 0
    assert "10 files" in mended.err
    assert mended.err.splitlines()[-1].endswith("3 repaired")
    assert {one.key for one in broken.aws.asked("GetObject")} == {f"in/{name}" for name in in_the_way}
    assert broken("verify", "m", "-q").err == ""
    assert broken.files() == dict.fromkeys(ALL, b"bytes")
    broken.aws.requests.clear()
    assert broken.sync().exit == 0
    assert actions(broken.aws.requests) == ["ListObjectsV2"]
    assert broken.nothing_stray()


def test_what_could_not_be_repaired_stays_known(here):
    """A repair that fails must not make the damage forgotten."""
    for name in ("gone", "denied", "fine", "cut"):
        here.put(name, b"bytes")
    assert here.sync().exit == 0
    for name in ("gone", "denied", "cut"):
        (here.folder / name).write_bytes(b"bytEs")
        os.utime(here.folder / name, (LONG_AGO, LONG_AGO))
    here.delete("gone")
    here.aws.fault(at(key="in/denied"), faults.status(403, "AccessDenied"), times=None)
    here.aws.fault(at("GetObject", key="in/cut"), faults.flip_bit(1), times=None)
    done = here("verify", "m", "--repair", "--json")
    assert done.exit != 0
    assert {path for path, (action, _) in told(done.out).items() if action == "failed"} == {"gone", "denied", "cut"}
    assert set(here.receipts()) == {"gone", "denied", "fine", "cut"}
    again = here("verify", "m", "--json")
    assert again.exit == 6
    assert told(again.out) == dict.fromkeys(("gone", "denied", "cut"), ("failed", "corrupt"))
    here.aws.faults.clear()
    assert here.sync("--delete").exit == 0
    assert set(here.files()) == {"denied", "fine", "cut"}
    assert here.nothing_stray()


def test_a_file_in_the_place_of_a_folder_marker(here):
    here.put("marker/", b"")
    here.put("lost/", b"")
    here.put("a", b"1")
    assert here.sync().exit == 0
    (here.folder / "marker").rmdir()
    (here.folder / "marker").write_bytes(b"mine")
    (here.folder / "lost").rmdir()
    (here.folder / "a").unlink()
    done = here("verify", "m", "--json")
    assert {path: reason for path, (_, reason) in told(done.out).items()} == {
        "marker/": "edited",
        "lost/": "missing",
        "a": "missing",
    }
    repaired = here("verify", "m", "--repair", "--json")
    assert repaired.exit != 0
    assert here.files() == {"marker": b"mine", "a": b"1"}
    assert (here.folder / "lost").is_dir()
    (here.folder / "marker").unlink()
    assert here("verify", "m", "--repair").exit == 0
    assert (here.folder / "marker").is_dir()
    assert here("verify", "m").exit == 0


def test_against_the_source(here):
    for name in ("same", "changed", "gone"):
        here.put(name, b"bytes")
    assert here.sync().exit == 0
    clean = here("verify", "m", "--remote")
    assert clean.exit == 0
    assert clean.err.splitlines()[-1].endswith("all right")
    here.put("changed", b"BYTES")
    here.put("new", b"new")
    here.delete("gone")
    (here.folder / "same").unlink()
    before = snapshot(here.folder)
    here.aws.requests.clear()
    assert here("verify", "m").exit == 6
    assert here.aws.requests == []
    done = here("verify", "m", "--remote", "--json")
    assert done.exit == 6
    assert told(done.out) == {
        "same": ("failed", "missing"),
        "changed": ("failed", "changed"),
        "gone": ("failed", "gone"),
        "new": ("failed", "new"),
    }
    assert {line["key"] for line in lines(done.out)[:-1]} == {"in/same", "in/changed", "in/gone", "in/new"}
    assert actions(here.aws.requests) == ["ListObjectsV2"]
    assert snapshot(here.folder) == before
    here.aws.fault(at("ListObjectsV2"), faults.status(403, "AccessDenied"))
    denied = here("verify", "m", "--remote")
    assert denied.exit == 10
    assert here.nothing_stray()


def test_what_no_sync_would_fetch_is_not_wrong(here):
    here.put("a.csv", b"bytes")
    here.put("b.txt", b"bytes")
    here.put("cold.csv", b"bytes", storage_class="GLACIER")
    here.put("../evil.csv", b"bytes")
    assert here.sync("--include", "*.csv").exit == 3
    done = here("verify", "m", "--remote", "--json")
    assert told(done.out) == {"cold.csv": ("refused", "archived"), "in/../evil.csv": ("refused", "unsafe-name")}
    assert (done.exit, summary(done.out)["failed"]) == (0, 0)
    text = here("verify", "m", "--remote")
    assert (text.exit, text.err.count("\n")) == (0, 1)
    assert text.err.endswith("all right; 2 objects cannot be fetched\n")
    here.put("c.csv", b"new")
    assert told(here("verify", "m", "--remote", "--json").out)["c.csv"] == ("failed", "new")
    assert here.sync("--include", "*.csv", "--include", "*.txt").exit == 3
    here.delete("b.txt")
    assert told(here("verify", "m", "--remote", "--json").out)["b.txt"] == ("failed", "gone")


def test_what_is_archived_by_now_is_not_repaired_and_not_right(here):
    here.put("a", b"bytes")
    assert here.sync().exit == 0
    here.put("a", b"bytes", storage_class="GLACIER")
    (here.folder / "a").write_bytes(b"edited")
    done = here("verify", "m", "--repair")
    assert done.exit != 0
    assert "all right" not in done.err
    assert done.err.splitlines()[-1].endswith(": 1 wrong")


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("layout", [[], ["--publish"]], ids=["plain", "published"])
def test_a_locked_mirror_is_repaired_with_what_was_locked(here, layout, versioned):
    here.aws.store.buckets["data"].versioning = versioned
    here.put("a", b"bytes")
    (here.cwd / "manifest").write_text(here("lock", here.source).out)
    here.put("a", b"newer")
    if not versioned:
        here.put("a", b"bytes")
    assert here("sync", "--locked", "manifest", "m", *layout).exit == 0
    here.put("a", b"newer")
    file = here.folder / ("current/a" if layout else "a")
    file.write_bytes(b"edited")
    done = here("verify", "m", "--repair", "--json")
    if versioned:
        assert (done.exit, file.read_bytes()) == (0, b"bytes")
        assert here("verify", "m").exit == 0
    else:
        assert done.exit != 0
        assert told(done.out) == {"a": ("failed", "changed")}
        assert "was replaced since it was locked" in done.out
        assert file.read_bytes() == b"edited"


def test_a_published_folder(here):
    here.put("a", b"bytes")
    here.put("b", b"bytes")
    assert here.sync("--publish").exit == 0
    here.put("b", b"other")
    assert here.sync("--publish").exit == 0
    assert here("verify", "m", "--remote").exit == 0
    current = here.folder / "current"
    (current / "b").unlink()
    (current / "a").write_bytes(b"bytEs")
    os.utime(current / "a", (LONG_AGO, LONG_AGO))
    done = here("verify", "m", "--json")
    assert (done.exit, told(done.out)) == (6, {"a": ("failed", "corrupt"), "b": ("failed", "missing")})
    here.put("b", b"newer")
    mixed = here("verify", "m", "--repair", "--json")
    assert mixed.exit != 0
    assert told(mixed.out)["a"][0] == "downloaded"
    assert told(mixed.out)["b"] == ("failed", "changed")
    assert here.files("current") == {"a": b"bytes"}
    again = here("verify", "m", "--json")
    assert told(again.out) == {"b": ("failed", "missing")}
    assert here.sync("--publish").exit == 0
    assert here.files("current") == {"a": b"bytes", "b": b"newer"}
    assert here("verify", "m").exit == 0
    (here.folder / "current").unlink()
    nothing = here("verify", "m")
    assert nothing.exit == 4
    assert "nothing was published" in nothing.err


def test_where_there_is_nothing_to_verify(here):
    (here.cwd / "plain").mkdir()
    (here.cwd / "file").write_bytes(b"")
    for dest, complaint in {
        "none": "there is no folder 'none'",
        "plain": "'plain' has no receipts",
        "file": "there is no folder 'file'",
    }.items():
        for options in ([], ["--remote"], ["--repair"]):
            done = here("verify", dest, *options)
            assert done.exit == 4, (dest, options, done.err)
            assert complaint in done.err
            assert "hint: " in done.err
    assert sorted(os.listdir(here.cwd)) == ["file", "plain"]
    assert list((here.cwd / "plain").iterdir()) == []


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("layout", [[], ["--publish"]], ids=["plain", "published"])
def test_receipts_that_are_lost_are_no_clean_bill(here, layout, damage):
    here.put("a", b"bytes")
    assert here.sync(*layout).exit == 0
    (receipts,) = (here.folder / ".s3pull").rglob("receipts.db")
    damage(receipts)
    before = snapshot(here.folder)
    for options in ([], ["--repair"], ["--remote"]):
        done = here("verify", "m", *options)
        assert done.exit == 5
        assert "there are no receipts at " in done.err
        assert "hint: run the sync again: it takes up files that are right by their checksums" in done.err
        assert snapshot(here.folder) == before
        assert receipts.exists() == (str(receipts.relative_to(here.folder)) in before)


def test_a_source_that_was_never_noted(here):
    here.put("a", b"1")
    assert here.sync().exit == 0
    (here.folder / ".s3pull/source.json").unlink()
    assert here("verify", "m").exit == 0
    done = here("verify", "m", "--remote")
    assert done.exit == 2
    assert "nothing says which source 'm' mirrors" in done.err


@pytest.mark.parametrize("layout", [[], ["--publish"]], ids=["plain", "published"])
def test_where_nothing_may_be_written(here, layout, monkeypatch):
    """Offline verification of a medium that is read-only: it reads, and leaves no trace."""
    here.put("a", b"bytes")
    here.put("b", b"bytes")
    assert here.sync(*layout).exit == 0
    (here.folder / ("current/a" if layout else "a")).write_bytes(b"edited")
    before = snapshot(here.folder)
    real = {name: getattr(os, name) for name in ("open", "mkdir", "replace", "unlink", "link")}

    def guarded(name):
        def call(*args, **options):
            writes = name != "open" or args[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)
            if writes and (options.keys() & {"dir_fd", "src_dir_fd"} or str(here.folder) in str(args[0])):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return real[name](*args, **options)

        return call

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, guarded(name))
        done = here("verify", "m", "--json")
        repair = here("verify", "m", "--repair")
        sync = here.sync(*layout)
        get = here.get(here.source, "m", "--exclude", "a", *(["-n"] if layout else []))
        here.put("b", b"other")
        unwritten = here.get(here.source + "b", "m/")
    assert (done.exit, told(done.out)) == (6, {"a": ("failed", "edited")})
    assert repair.exit == 5
    assert sync.exit == 5
    assert (get.exit, unwritten.exit) == (0, 5)
    assert "read-only" in sync.err.lower()
    assert "hint" in sync.err
    assert snapshot(here.folder) == before
