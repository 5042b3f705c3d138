"""`s3pull sync`: every option, every refusal, every kind of local edit, and what scripts read of it.

Most run in this process; kills, signals and users without rights have processes of their own.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import time

import pytest

from s3pull.local.directory import Directory
from s3pull.local.runlock import RunLock
from s3pull.local.tree import Tree
from tests.cli.conftest import Ran
from tests.fakes import at, faults, listings
from tests.mirrors import LONG_AGO, OWNER, STATE, Mirrored, actions, lines, snapshot, summary, told


@pytest.fixture
def ten(here):
    """Ten objects, mirrored."""
    for number in range(10):
        here.put(f"{number}", b"%d" % number)
    assert here.sync().exit == 0
    return here


@pytest.fixture
def pages_of_three(monkeypatch):
    monkeypatch.setattr(listings, "PAGE", 3)


# --- deletion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "options", "exit"),
    [
        (5, [], 0),
        (6, [], 14),
        (6, ["--max-delete", "6"], 0),
        (6, ["--max-delete", "5"], 14),
        (6, ["--max-delete", "60%"], 0),
        (6, ["--max-delete", "59.9%"], 14),
        (1, ["--max-delete", "0"], 14),
        (1, ["--max-delete", "0%"], 14),
        (9, ["--max-delete", "100%"], 0),
    ],
)
def test_the_limit_of_deletions(ten, gone, options, exit):
    for number in range(gone):
        ten.delete(f"{number}")
    ten.put("new", b"new")
    before = snapshot(ten.folder)
    done = ten.sync("--delete", *options)
    assert (done.exit, done.out) == (exit, "")
    if exit:
        assert f"{gone} of 10 files would be deleted, more than" in done.err
        assert f"hint: see what with --dry-run; if it is right: --max-delete {gone}" in done.err
        assert snapshot(ten.folder) == before
    else:
        assert f"{gone} deleted" in done.err
        assert set(ten.files()) == {f"{number}" for number in range(gone, 10)} | {"new"}
        assert set(ten.receipts()) == set(ten.files())
    assert ten.nothing_stray()


def test_only_what_sync_fetched_is_deleted(here):
    here.put("sub/deep/a", b"1")
    here.put("sub/b", b"2")
    here.put("keep", b"3")
    here.put("kept/", b"")
    here.put("x.tmp", b"4")
    assert here.sync().exit == 0
    (here.folder / "sub/mine").write_bytes(b"mine")
    for name in ("sub/deep/a", "sub/b", "x.tmp"):
        here.delete(name)
    without = here.sync()
    assert without.exit == 0
    assert "sub/b" in here.files()
    done = here.sync("--delete", "--exclude", "*.tmp", "--json", "--max-delete", "2")
    assert done.exit == 0
    assert told(done.out) == {"sub/b": ("deleted", "gone"), "sub/deep/a": ("deleted", "gone")}
    assert here.files() == {"keep": b"3", "sub/mine": b"mine", "x.tmp": b"4"}
    assert not (here.folder / "sub/deep").exists()
    assert (here.folder / "kept").is_dir()
    here.delete("kept/")
    assert here.sync("--delete", "--max-delete", "2").exit == 0
    assert here.files() == {"keep": b"3", "sub/mine": b"mine"}
    assert not (here.folder / "kept").exists()
    assert here.nothing_stray()


@pytest.mark.parametrize(
    ("fault", "exit"),
    [
        (faults.status(403, "AccessDenied"), 10),
        (faults.status(404, "NoSuchBucket"), 4),
        (faults.status(400, "InvalidRequest"), 15),
        (faults.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a></a>\r\n"), 15),
    ],
)
def test_a_listing_that_breaks_off_changes_nothing(ten, pages_of_three, fault, exit):
    for number in range(4):
        ten.delete(f"{number}")
    ten.put("4", b"changed")
    before = snapshot(ten.folder)
    ten.aws.fault(at("ListObjectsV2", nth=2), fault, times=None)
    done = ten.sync("--delete", "--json")
    assert done.exit == exit
    assert [line["event"] for line in lines(done.out)] == ["error", "summary"]
    assert summary(done.out)["exit"] == exit
    assert snapshot(ten.folder) == before
    ten.aws.faults.clear()
    assert ten.sync("--delete").exit == 0
    assert set(ten.files()) == {f"{number}" for number in range(4, 10)}
    assert ten.nothing_stray()


def test_a_file_that_was_removed_here_needs_no_deletion(here):
    here.put("a", b"1")
    here.put("b", b"2")
    here.put("c", b"3")
    assert here.sync().exit == 0
    here.delete("a")
    (here.folder / "a").unlink()
    (here.folder / "b").unlink()
    done = here.sync("--delete", "--json")
    assert told(done.out) == {"b": ("downloaded", "removed-here")}
    assert summary(done.out)["local_changes"] == 1
    assert here.files() == {"b": b"2", "c": b"3"}
    assert set(here.receipts()) == {"b", "c"}


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--max-delete", "5"], "--max-delete says how much --delete may remove"),
        (["--delete", "--max-delete", "101%"], "'101%': not a number of files"),
        (["--exclude", ""], "an empty pattern matches nothing"),
        (["--include", "*", "--include", ""], "an empty pattern matches nothing"),
        (["--exclude", "[a"], "has no end"),
        (["--delete", "--max-delete", "-1"], "max-delete"),
        (["--keep", "3"], "--keep and --grace go with --publish"),
        (["--publish", "--keep", "1"], "--keep"),
        (["--deadline", "soon"], "deadline"),
        (["--locked", "none"], "no such file: none"),
    ],
)
def test_options_that_make_no_sense(here, args, complaint):
    done = here.sync(*args)
    assert done.exit == (4 if "--locked" in args else 2)
    assert complaint in done.err
    assert not here.folder.exists()
    assert here.aws.requests == []


# --- dry runs -----------------------------------------------------------------------------------------------


def test_a_dry_run_as_text(here):
    here.put("a", b"1")
    here.put("gone", b"2")
    here.put("same", b"3")
    here.put("sub/", b"")
    first = here.sync("-n")
    assert first.exit == 0
    assert sorted(first.out.splitlines()) == [
        "download  a  (new)", "download  gone  (new)", "download  same  (new)", "skip  sub  (directory)",
    ]  # fmt: skip
    assert "to fetch, at most: 3 files, 3 B, 3 requests" in first.err
    assert "paid by the bucket's owner" in first.err
    assert not here.folder.exists()
    here.sync()
    before = snapshot(here.folder)
    here.delete("gone")
    here.put("a", b"changed")
    here.put("cold", b"4", storage_class="GLACIER")
    here.put("..", b"5")
    here.aws.requests.clear()
    done = here.sync("-n", "--delete")
    assert done.exit == 3
    assert done.out == "download  a  (changed)\ndelete  gone  (gone)\n"
    assert "1 archived, 1 name refused; to delete: 1 file, 1 B" in done.err
    assert "to download: 1 file, 7 B, 2 already here, 1 to delete, 2 refused" in done.err
    assert "in/cold lies in GLACIER" in done.err
    assert "'..' cannot be a path here" in done.err
    assert actions(here.aws.requests) == ["ListObjectsV2"]
    assert snapshot(here.folder) == before
    assert here.nothing_stray()


def test_a_dry_run_as_json_is_what_the_run_then_does(here):
    here.put("a", b"1")
    here.put("b/c", b"22")
    here.put("gone", b"3")
    here.put("same", b"3")
    here.put("other", b"3")
    here.sync()
    here.delete("gone")
    here.put("a", b"changed")
    here.put("new/x", b"new")
    (here.folder / "b/c").write_bytes(b"edited")
    planned = here.sync("-n", "--json", "--delete", "-v")
    assert planned.exit == 0
    assert planned.err == ""
    assert [line["event"] for line in lines(planned.out)].count("preflight") == 1
    flight = next(line for line in lines(planned.out) if line["event"] == "preflight")
    names = ("schema", "files", "bytes", "requests", "archived", "refused", "delete", "delete_bytes", "same", "payer")
    assert {name: flight[name] for name in names} == {
        "schema": 1, "files": 3, "bytes": 12, "requests": 3, "archived": 0, "refused": 0, "delete": 1,
        "delete_bytes": 1, "same": 2, "payer": "the bucket's owner",
    }  # fmt: skip
    assert flight["free"] > 0
    assert all(
        line["event"] == "plan" for line in lines(planned.out) if "action" in line and line["action"] != "skipped"
    )
    done = here.sync("--json", "--delete", "-v")
    assert told(done.out) == told(planned.out) == {
        "a": ("downloaded", "changed"), "b/c": ("downloaded", "local-edit"), "new/x": ("downloaded", "new"),
        "gone": ("deleted", "gone"), "same": ("skipped", "same-receipt"), "other": ("skipped", "same-receipt"),
    }  # fmt: skip
    counted = ("downloaded", "skipped", "deleted", "refused", "failed", "local_changes", "exit")
    assert {name: summary(done.out)[name] for name in counted} == {
        "downloaded": 3, "skipped": 2, "deleted": 1, "refused": 0, "failed": 0, "local_changes": 1, "exit": 0,
    }  # fmt: skip
    assert summary(done.out)["received"] == 12


def test_the_summary_of_a_source_that_cannot_be_opened_says_what_is_known(here):
    here.put("a", b"1")
    assert here.sync().exit == 0
    role = f"arn:aws:iam::{OWNER}:role/nobodys"
    access = ("--role-arn", role, "--session-name", "ana-1", "--source-identity", "ana", "--json")
    for command in (["sync", here.source, "m"], ["get", here.source, "m"], ["verify", "m", "--remote"]):
        done = here(*command, *access)
        assert (done.exit, done.err) == (10, "")
        error, last = lines(done.out)
        assert (error["event"], error["exit"]) == ("error", 10)
        assert last["event"] == "summary"
        assert (last["source"], last["role_arn"], last["exit"]) == (here.source, role, 10)
        assert (last["session_name"], last["source_identity"]) == ("ana-1", "ana")
        assert last["started"].startswith("20")
    unknown = here("sync", "nosuch:", "m", "--json")
    assert (unknown.exit, summary(unknown.out)["source"]) == (4, "nosuch:")


@pytest.mark.parametrize("command", ["sync", "get"])
def test_the_object_that_ends_a_run_is_named_once(here, command):
    here.put("cold", b"1", storage_class="GLACIER")
    done = here(command, here.source, "m", "--fail-fast")
    assert (done.exit, done.err.count("in/cold lies in GLACIER")) == (3, 1)
    told_twice = here(command, here.source, "m", "--fail-fast", "--json")
    assert [line["event"] for line in lines(told_twice.out) if line["event"] != "preflight"] == [
        "object", "error", "summary",
    ]  # fmt: skip


def test_quiet(here):
    here.put("a", b"1")
    assert here.sync("-q") == Ran(0, "", "")
    here.put("b", b"2")
    here.aws.fault(at("GetObject", key="in/b"), faults.status(403, "AccessDenied"), times=None)
    failed = here.sync("-q")
    assert failed.exit == 3
    assert failed.out == ""
    assert "in/b" in failed.err
    assert "1 failed" in failed.err


# --- DEST -----------------------------------------------------------------------------------------------------


def test_what_is_no_folder(here, fake_aws):
    here.put("a", b"1")
    (here.cwd / "file").write_bytes(b"mine")
    (here.cwd / "dangling").symlink_to("nowhere")
    (here.cwd / "real").mkdir()
    (here.cwd / "link").symlink_to("real")
    before = snapshot(here.cwd)
    for dest, complaint in {
        "file": "'file' is not a folder",
        "dangling": "'dangling' is not a folder",
        "s3://data/out": "s3pull only downloads",
        "acme:out": "s3pull only downloads",
        "-": "is not a folder",
        "": "is not a folder",
        "file/below": "stands where a folder is needed",
    }.items():
        done = here("sync", here.source, dest)
        assert done.exit == (3 if dest == "file/below" else 2), dest
        assert complaint in done.err, dest
        assert done.out == ""
        assert "internal error" not in done.err
    missing = here("sync", here.source)
    assert (missing.exit, "DEST is missing" in missing.err) == (2, True)
    assert snapshot(here.cwd) == before
    assert not (here.cwd / "nowhere").exists()
    through = here("sync", here.source, "link")
    assert through.exit == 0
    assert (here.cwd / "real/a").read_bytes() == b"1"
    assert (here.cwd / "link").is_symlink()


def test_a_source_that_was_mistyped_binds_nothing(here):
    """The folder of a sync that found nothing, or was not let in, is as free as it was."""
    here.put("a", b"1")
    wrong = here("sync", "s3://data/im/", "m")
    assert wrong.exit == 4
    here.aws.fault(at("ListObjectsV2"), faults.status(403, "AccessDenied"))
    denied = here("sync", "s3://data/", "m")
    assert denied.exit == 10
    assert here.sync().exit == 0
    assert here.files() == {"a": b"1"}
    assert here.nothing_stray()


def test_a_source_with_nothing_leaves_nothing(here):
    for options in ([], ["--publish"], ["--delete"], ["-n"]):
        done = here("sync", here.source, "new/deep/m", *options)
        assert done.exit == 4
        assert not (here.cwd / "new").exists()
    (here.folder).mkdir()
    (here.folder / "mine").write_bytes(b"mine")
    assert here.sync().exit == 4
    assert os.listdir(here.folder) == ["mine"]
    here.put("a", b"1")
    assert here.sync().exit == 0
    here.delete("a")
    assert here.sync().exit == 4
    assert here.nothing_stray()
    assert here.receipts() == {"a": "a"}


def test_one_object_that_is_gone_is_nothing_there(here):
    here.put("one", b"1")
    assert here("sync", here.source + "one", "m").exit == 0
    here.delete("one")
    for options in ([], ["--delete", "--max-delete", "100%"], ["-n"]):
        done = here("sync", here.source + "one", "m", *options)
        assert done.exit == 4
        assert "nothing at s3://data/in/one: the object that 'm' mirrors is gone" in done.err
    here.put("one/below", b"1")
    assert here("sync", here.source + "one", "m").exit == 4
    assert here.files() == {"one": b"1"}


@pytest.mark.parametrize("dest", ["p/current", "p/current/sub", "p/.s3pull", "p/.s3pull/x", ".s3pull/x"])
def test_nothing_goes_into_a_state_folder(here, dest):
    here.put("a", b"1")
    assert here("sync", here.source, "p", "--publish").exit == 0
    before = snapshot(here.cwd)
    here.aws.requests.clear()
    for command in (["sync"], ["sync", "-n"], ["sync", "--publish"], ["get"], ["get", "-n"]):
        done = here(command[0], here.source, dest, *command[1:])
        assert done.exit == 2, command
        assert "hint: choose another DEST" in done.err
    assert here.get(here.source + "a", dest).exit == 2
    assert here.get("s3://data/.s3pull").exit == 2
    assert here.aws.requests == []
    assert snapshot(here.cwd) == before


def test_another_source_is_refused(here):
    here.put("a", b"1")
    here.put("sub/b", b"2")
    here.aws.bucket("other")
    here.aws.put("other", "in/a", b"other")
    assert here.sync().exit == 0
    before = snapshot(here.folder)
    for source in ("s3://other/in/", "s3://data/in/sub/", "s3://data/"):
        done = here("sync", source, "m", "--delete")
        assert done.exit == 2
        assert f"'m' mirrors s3://data/in/, not {source}" in done.err
        assert "hint: choose another DEST; or remove 'm/.s3pull', so that it forgets (files stay)" in done.err
        dry = here("sync", source, "m", "--delete", "-n")
        assert dry.exit == 2
    assert snapshot(here.folder) == before
    shutil.rmtree(here.folder / ".s3pull")
    assert here("sync", "s3://data/in/sub/", "m", "--delete").exit == 0
    assert here.files() == {"a": b"1", "sub/b": b"2", "b": b"2"}


def test_the_same_words_for_another_source_are_told_apart(here, monkeypatch):
    here.put("a", b"1")
    assert here.sync().exit == 0
    note = here.folder / ".s3pull/source.json"
    said = json.loads(note.read_text())
    note.write_text(json.dumps({**said, "endpoint": "s3.example"}))
    done = here.sync()
    assert done.exit == 2
    assert f"'m' mirrors s3://data/in/ at s3.example, not s3://data/in/ at {said['endpoint'] or 'AWS'}" in done.err
    note.write_text(json.dumps({**said, "bucket": "old"}))
    assert "'m' mirrors s3://data/in/ (s3://old/in/), not s3://data/in/ (s3://data/in/)" in here.sync().err


def test_receipts_of_an_unknown_source_are_not_believed(here):
    """source.json alone was lost: whose receipts these are nobody knows, and so nothing is deleted for them."""
    for name in "abcd":
        here.put(name, name.encode())
    assert here.sync().exit == 0
    (here.folder / ".s3pull/source.json").unlink()
    before = snapshot(here.folder)
    here.aws.bucket("other")
    for name in "ab":
        here.aws.put("other", name, name.encode())
    done = here("sync", "s3://other/", "m", "--delete")
    assert done.exit != 0
    assert "internal" not in done.err
    assert {name: seen for name, seen in snapshot(here.folder).items() if ".s3pull" not in name} == {
        name: seen for name, seen in before.items() if ".s3pull" not in name
    }


@pytest.mark.parametrize("layout", [["--publish"], []])
def test_plain_and_published_folders_are_not_mixed(here, layout):
    here.put("a", b"1")
    assert here.sync(*layout).exit == 0
    before = snapshot(here.folder)
    other = [] if layout else ["--publish"]
    for dry in ([], ["-n"]):
        done = here.sync(*other, *dry)
        assert done.exit == 2
        assert "'m' is mirrored " in done.err
        assert "hint:" in done.err
    assert snapshot(here.folder) == before


# --- state that is damaged --------------------------------------------------------------------------------------


def _newer(path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def _other(path):
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (a)")
    db.close()


@pytest.mark.parametrize(
    ("damage", "exit", "complaint"),
    [
        (lambda path: path.write_bytes(b"garbage " * 700), 5, "are damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), 5, "are damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), 5, "are damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 60000), 5, "are damaged"),
        (_other, 5, "it is not a file of receipts"),
        (_newer, 2, "are of a newer s3pull (version 99, here 1)"),
    ],
    ids=["garbage", "truncated", "head", "overwritten", "another", "newer"],
)
def test_receipts_that_cannot_be_read(here, damage, exit, complaint):
    for number in range(200):
        here.put(f"{number:03d}", b"%d" % number)
    assert here.sync("--no-durable").exit == 0
    receipts = here.folder / ".s3pull/receipts.db"
    damage(receipts)
    here.put("000", b"new!")
    here.delete("199")
    before = snapshot(here.folder)
    for args in (("--delete",), ("--delete", "-n")):
        done = here.sync(*args)
        assert done.exit == exit
        assert complaint in done.err
        assert "hint: " in done.err
        assert "move that file away" in done.err
        assert snapshot(here.folder) == before
    (here.folder / "001").write_bytes(b"mine")
    os.utime(here.folder / "001", (LONG_AGO - 9, LONG_AGO - 9))
    for command in (("verify", "m"), ("get", here.source, "m")):
        checked = here(*command)
        assert checked.exit == exit
        assert complaint in checked.err
        assert "move that file away" in checked.err
    assert here.files()["001"] == b"mine"
    (here.folder / "001").write_bytes(b"1")
    assert here.nothing_stray()
    receipts.unlink()
    again = here.sync("--json")
    assert (again.exit, summary(again.out)["downloaded"], summary(again.out)["skipped"]) == (0, 1, 198)
    assert here.files()["000"] == b"new!"


@pytest.mark.parametrize(
    ("text", "exit"),
    [
        ("", 5),
        ("\x00" * 50, 5),
        ("[]", 5),
        ('{"schema": 1}', 5),
        ('{"schema": 1, "bucket": 1, "endpoint": "", "root": "", "source": "", "layout": ""}', 5),
        ('{"schema": 2}', 2),
    ],
)
def test_a_source_note_that_cannot_be_read(here, text, exit):
    here.put("a", b"1")
    assert here.sync().exit == 0
    (here.folder / ".s3pull/source.json").write_text(text)
    here.put("a", b"2")
    before = snapshot(here.folder)
    for command in (("sync", here.source, "m"), ("sync", here.source, "m", "-n"), ("verify", "m")):
        done = here(*command)
        assert done.exit == exit
        assert "internal" not in done.err
        assert "hint: " in done.err
    got = here.get(here.source + "a", "m/")
    assert (got.exit, "hint: " in got.err) == (exit, True)
    assert snapshot(here.folder) == before


def test_no_way_out_takes_releases_away(here):
    here.put("a", b"1")
    assert here.sync("--publish").exit == 0
    note = here.folder / ".s3pull/source.json"
    other = here("sync", "s3://data/", "m", "--publish")
    note.write_text("damaged")
    damaged = here.sync("--publish")
    note.unlink()
    unknown = here.sync("--publish")
    for done, exit in ((other, 2), (damaged, 5), (unknown, 2)):
        assert done.exit == exit
        assert "hint: choose another DEST" in done.err
        assert "remove" not in done.err


def test_a_state_folder_that_is_a_link_or_a_file(here):
    here.put("a", b"1")
    (here.cwd / "elsewhere").mkdir()
    here.folder.mkdir()
    state = here.folder / ".s3pull"
    state.symlink_to("../elsewhere")
    linked = here.sync()
    assert linked.exit == 5
    assert "symbolic link" in linked.err
    assert "hint: s3pull keeps there what it knows: move 'm/.s3pull' away" in linked.err
    state.unlink()
    state.write_bytes(b"")
    blocked = here.sync()
    assert blocked.exit == 5
    assert here("verify", "m").exit == here.get(here.source, "m").exit == 5
    assert list((here.cwd / "elsewhere").iterdir()) == []
    assert here.files() == {".s3pull": b""}


# --- local edits ----------------------------------------------------------------------------------------------


def test_local_edits_are_noticed_and_mended(here):
    outside = here.cwd / "outside"
    outside.mkdir()
    (outside / "b").write_bytes(b"outside")
    for name in ("same", "longer", "truncated", "touched", "removed", "linked", "folder", "sub/b", "dir/c", "hidden"):
        here.put(name, b"bytes")
    assert here.sync().exit == 0
    m = here.folder
    (m / "longer").write_bytes(b"more bytes")
    (m / "truncated").write_bytes(b"byt")
    os.utime(m / "truncated", (LONG_AGO, LONG_AGO))
    os.utime(m / "touched", (LONG_AGO + 50, LONG_AGO + 50))
    (m / "removed").unlink()
    (m / "linked").unlink()
    (m / "linked").symlink_to("../outside/b")
    (m / "folder").unlink()
    (m / "folder").mkdir()
    (m / "folder/mine").write_bytes(b"mine")
    shutil.rmtree(m / "sub")
    (m / "sub").symlink_to("../outside")
    shutil.rmtree(m / "dir")
    (m / "dir").write_bytes(b"a file")
    (m / "hidden").write_bytes(b"BYTES")
    os.utime(m / "hidden", (LONG_AGO, LONG_AGO))
    done = here.sync("--json", "-v")
    assert done.exit == 3
    assert told(done.out) == {
        "same": ("skipped", "same-receipt"),
        "hidden": ("skipped", "same-receipt"),  # this is what `verify` is for
        "touched": ("skipped", "same-checksum"),
        "longer": ("downloaded", "local-edit"),
        "truncated": ("downloaded", "local-edit"),
        "linked": ("downloaded", "local-edit"),
        "removed": ("downloaded", "removed-here"),
        "folder": ("refused", "unsafe-name"),
        "sub/b": ("refused", "unsafe-name"),
        "dir/c": ("refused", "unsafe-name"),
    }
    assert summary(done.out)["local_changes"] == 4
    assert (outside / "b").read_bytes() == b"outside"
    assert (m / "folder/mine").read_bytes() == b"mine"
    assert not (m / "linked").is_symlink()
    assert {name: content for name, content in here.files().items() if content == b"bytes"}.keys() == {
        "same", "longer", "truncated", "touched", "removed", "linked",
    }  # fmt: skip
    (m / "sub").unlink()
    (m / "dir").unlink()
    shutil.rmtree(m / "folder")
    assert here.sync().exit == 0
    assert here("verify", "m").exit == 6
    assert here.nothing_stray()


def test_deletion_does_not_go_through_links(here):
    here.put("sub/b", b"1")
    here.put("a", b"2")
    assert here.sync().exit == 0
    outside = here.cwd / "outside"
    outside.mkdir()
    (outside / "b").write_bytes(b"1")
    os.utime(outside / "b", (LONG_AGO, LONG_AGO))
    shutil.rmtree(here.folder / "sub")
    (here.folder / "sub").symlink_to("../outside")
    here.delete("sub/b")
    assert here.sync("--delete").exit == 0
    assert (outside / "b").read_bytes() == b"1"
    assert here.receipts() == {"a": "a"}


# --- taking up what others fetched -----------------------------------------------------------------------------


@pytest.mark.parametrize("when", [LONG_AGO, LONG_AGO - 5000, LONG_AGO + 5000], ids=["same", "older", "newer"])
def test_adoption(here, when):
    """By content where it can be proven, whatever the time; by size and time where it cannot; else it is fetched."""
    part = 5 << 20
    bodies = {"single": b"s", "multi": b"m" * part + b"x", "kms": b"k", "bare-kms": b"b", "lone": b"l"}
    here.put("single", bodies["single"], checksum=None)
    here.put("multi", bodies["multi"], parts=[part, 1], checksum=None)
    here.put("kms", bodies["kms"], encryption="aws:kms")
    here.put("bare-kms", bodies["bare-kms"], encryption="aws:kms", checksum=None)
    here.put("lone", bodies["lone"])
    here.folder.mkdir()
    for name, body in bodies.items():
        (here.folder / name).write_bytes(body)
        os.utime(here.folder / name, (when, when))
    done = here.sync("--json", "-v")
    assert done.exit == 0
    proven = ("skipped", "same-checksum")
    unproven = {
        LONG_AGO: ("skipped", "same-time"),
        LONG_AGO - 5000: ("downloaded", "changed"),
        LONG_AGO + 5000: ("downloaded", "local-edit"),
    }
    assert told(done.out) == {
        "single": proven, "multi": proven, "kms": proven, "lone": proven, "bare-kms": unproven[when],
    }  # fmt: skip
    here.aws.requests.clear()
    assert here.sync().exit == 0
    assert actions(here.aws.requests) == ["ListObjectsV2"]
    assert here("verify", "m").exit == 0
    assert here.nothing_stray()


def test_the_same_content_under_another_etag_is_not_fetched_again(here):
    body = b"p" * (5 << 20) + b"q"
    here.put("a", body)
    assert here.sync().exit == 0
    here.put("a", body, parts=[5 << 20, 1])
    here.aws.requests.clear()
    done = here.sync("--json", "-v")
    assert told(done.out) == {"a": ("skipped", "same-checksum")}
    assert here.aws.count("GetObject") == 0
    here.aws.requests.clear()
    assert here.sync().exit == 0
    assert actions(here.aws.requests) == ["ListObjectsV2"]


# --- encoded names -----------------------------------------------------------------------------------------------


def test_names_are_safe_also_when_encoding_is_turned_off_again(here):
    """What had to be encoded has no other name: it is never written as it reads, least of all over our own state."""
    names = {".s3pull/receipts.db": b"not a database", "../up": b"up", "bell\x07": b"bell", "50%25": b"half"}
    for name, body in names.items():
        here.put(name, body)
    assert here.sync("--encode-names").exit == 0
    for name in names:
        here.put(name, b"changed " + names[name])
    done = here.sync()
    assert done.exit in (0, 3)
    assert here("sync", here.source, "m", "-q").exit in (0, 3)
    assert not (here.cwd / "up").exists()
    assert not (here.folder / "bell\x07").exists()
    assert here.state() == STATE
    assert set(here.receipts()) == set(names)
    assert here.sync("--encode-names").exit == 0
    assert {name: content for name, content in here.files().items() if b"changed" in content}.keys() >= {
        "%2Es3pull/receipts.db", "%2E%2E/up", "bell%07",
    }  # fmt: skip


# --- get beside sync ---------------------------------------------------------------------------------------------


def journals_in(folder):
    return [name for name in os.listdir(folder / ".s3pull") if name.startswith("journal-")]


def test_get_writes_what_the_next_sync_takes_up(here):
    here.put("a", b"1")
    here.put("sub/b", b"2")
    assert here.sync().exit == 0
    here.put("a", b"changed")
    here.put("sub/b", b"changed, too")
    assert here.get(here.source, "m").exit == 0
    assert len(journals_in(here.folder)) == 1
    here.aws.requests.clear()
    done = here.sync("--json", "-v")
    assert told(done.out) == {"a": ("skipped", "same-receipt"), "sub/b": ("skipped", "same-receipt")}
    assert actions(here.aws.requests) == ["ListObjectsV2"]
    assert here.nothing_stray()
    (here.folder / "a").write_bytes(b"edited")
    here.put("a", b"newer than the edit", last_modified=time.time() + 1000)
    refused = here.get(here.source, "m", "--json")
    assert (refused.exit, told(refused.out)) == (3, {"a": ("refused", "local-edit")})
    assert here.files()["a"] == b"edited"
    assert here.get(here.source, "m", "--overwrite").exit == 0
    assert here.files()["a"] == b"newer than the edit"


def test_get_keeps_no_journal_that_says_nothing_or_that_nobody_reads(here):
    here.put("a", b"1")
    assert here.sync().exit == 0
    assert here.get(here.source, "m").exit == 0
    assert here.nothing_stray()
    assert here("sync", here.source, "p", "--publish").exit == 0
    assert here.get(here.source, "p").exit == 0
    assert journals_in(here.cwd / "p") == []


@pytest.mark.parametrize("names", [("sub/b", "m/"), ("sub/b", "m/other"), ("sub/", "m")])
def test_get_to_another_place_is_no_receipt_of_the_mirrors_file(here, names):
    """A file that `get` put elsewhere in the folder says nothing of the path that the mirror has for that object."""
    here.put("a", b"1")
    assert here.sync().exit == 0
    here.put("sub/b", b"2")
    assert here.get(here.source + names[0], names[1]).exit == 0
    assert here.sync().exit == 0
    assert here.files()["sub/b"] == b"2"
    assert here.receipts() == {"a": "a", "sub/b": "sub/b"}
    assert here("verify", "m").exit == 0
    assert here.nothing_stray()


def test_a_torn_or_foreign_journal_is_left_out(here):
    here.put("a", b"1")
    assert here.sync().exit == 0
    here.put("b", b"2")
    assert here.get(here.source, "m").exit == 0
    journal = here.folder / ".s3pull" / journals_in(here.folder)[0]
    head, row, *_ = journal.read_text().splitlines()
    said = json.loads(row)
    assert said[0] == "in/b"
    forged = [["in/a", "../outside", 1, 0, "x"], ["in/a", 5, "x"], {"a": 1}, "x", ["in/a", "a", "1", 0, None]]
    journal.write_text("\n".join([head, *map(json.dumps, forged), row[:-9], '"end"', ""]))
    done = here.sync("--json", "-v")
    assert done.exit == 0
    assert told(done.out) == {"a": ("skipped", "same-receipt"), "b": ("skipped", "same-checksum")}
    assert here.nothing_stray()


# --- time and company ---------------------------------------------------------------------------------------------


def test_a_deadline_stops_and_the_next_run_goes_on(here):
    for number in range(6):
        here.put(f"{number}", b"%d" % number)
    here.aws.fault(at("GetObject", key="in/5"), faults.slow_head(60), times=1)
    done = here.sync("--deadline", "2s", "--json", "--jobs", "1")
    assert done.exit == 13
    error, last = lines(done.out)[-2:]
    assert (error["event"], error["reason"], error["exit"]) == ("error", "deadline", 13)
    assert last["exit"] == 13
    had = set(here.files())
    assert "5" not in had
    assert here.nothing_stray()
    here.aws.requests.clear()
    again = here.sync("--json")
    assert again.exit == 0
    assert summary(again.out)["downloaded"] == 6 - len(had)
    assert len(here.files()) == 6
    assert here.nothing_stray()


def test_a_deadline_before_the_listing_is_over_deletes_nothing(ten, pages_of_three):
    for number in range(3):
        ten.delete(f"{number}")
    ten.aws.fault(at("ListObjectsV2", nth=2), faults.slow_head(60))
    before = snapshot(ten.folder)
    done = ten.sync("--delete", "--deadline", "1s")
    assert done.exit == 13
    assert "hint: the next run goes on from here" in done.err
    assert snapshot(ten.folder) == before
    assert ten.nothing_stray()


def test_a_lock_that_says_nothing_is_not_waited_for_unless_told(here):
    here.put("a", b"1")
    assert here.sync().exit == 0
    (here.folder / ".s3pull/lock").write_bytes(b"garbage")
    began = time.monotonic()
    for options in ([], ["--wait", "1s"]):
        done = here.sync(*options)
        assert done.exit == 12
        assert "another run holds this destination" in done.err
        assert "if it does nothing for 60 s it counts as gone" in done.err
    assert here("verify", "m").exit == 12
    assert time.monotonic() - began < 30


def test_waiting_for_another_run(here):
    here.put("a", b"1")
    assert here.sync().exit == 0
    with Tree(here.folder, create=False) as tree:
        lock = RunLock.acquire(tree.directory(".s3pull"))
        try:
            held = here.sync()
            assert held.exit == 12
            late = here.sync("--wait", "60s", "--deadline", "0.5s")
            assert late.exit == 13
            assert "the deadline was reached" in late.err
            assert here.sync("-n").exit == 0
            checked = here("verify", "m")
            assert checked.exit == 12
        finally:
            lock.release()
    assert here.sync("--wait", "60s").exit == 0
    assert here.nothing_stray()


@pytest.mark.parametrize(("number", "exit"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals(fake_aws, tmp_path, monkeypatch, number, exit):
    mirrored = Mirrored(fake_aws, tmp_path)
    mirrored.lead(monkeypatch)
    mirrored.put("a", b"1")
    mirrored.put("b", b"2" * (2 << 20))
    fake_aws.fault(at("GetObject", key="in/b"), faults.stall_after(1 << 20), times=None)
    run = mirrored.start("sync", mirrored.source, "m", "--json")
    give_up = time.monotonic() + 60
    while sum(one.bytes_sent for one in fake_aws.asked("GetObject", key="in/b")) < (1 << 19):
        if time.monotonic() > give_up:
            pytest.fail(run.kill().stderr)
        time.sleep(0.02)
    time.sleep(0.2)
    run.signal(number)
    done = run.finish()
    assert done.code == exit
    assert summary(done.stdout)["exit"] == exit
    assert lines(done.stdout)[-2]["event"] == "error"
    assert mirrored.state() <= STATE
    fake_aws.faults.clear()
    again = mirrored.sync("--json")
    assert again.code == 0
    assert summary(again.stdout)["resumed"] == 1
    assert summary(again.stdout)["received"] < 2 << 20
    assert mirrored.nothing_stray()


# --- publish --------------------------------------------------------------------------------------------------------


def releases(here):
    return sorted(os.listdir(here.folder / ".s3pull/releases"))


def test_publishing(here):
    here.put("a", b"1")
    here.put("sub/b", b"2")
    first = here.sync("--publish", "-v")
    assert first.exit == 0
    assert re.search(r"published 000001-\d{8}T\d{6}Z", first.err)
    assert (here.folder / "current").is_symlink()
    assert here.files("current") == {"a": b"1", "sub/b": b"2"}
    here.aws.requests.clear()
    noop = here.sync("--publish")
    assert noop.exit == 0
    assert "published" not in noop.err
    assert actions(here.aws.requests) == ["ListObjectsV2"]
    assert len(releases(here)) == 1
    here.put("a", b"changed")
    here.delete("sub/b")
    changed = here.sync("--publish", "--json")
    assert told(changed.out) == {"a": ("downloaded", "changed")}
    assert here.files("current") == {"a": b"changed", "sub/b": b"2"}
    one, two = releases(here)
    old, new = (here.folder / ".s3pull/releases" / name / "tree" for name in (one, two))
    assert os.path.samefile(old / "sub/b", new / "sub/b")
    assert (old / "a").read_bytes() == b"1"
    kept = here.sync("--publish")
    assert (kept.exit, len(releases(here))) == (0, 2)
    gone = here.sync("--publish", "--delete", "--json")
    assert gone.exit == 0
    assert told(gone.out) == {"sub/b": ("deleted", "gone")}
    assert here.files("current") == {"a": b"changed"}
    assert (old / "sub/b").read_bytes() == b"2"
    assert set(os.listdir(here.folder)) == {".s3pull", "current"}
    assert here.state() == {"source.json", "releases"}


def test_what_was_not_published_was_not_deleted(here):
    for name in "abc":
        here.put(name, name.encode())
    assert here.sync("--publish").exit == 0
    here.delete("a")
    here.put("b", b"changed")
    here.put("d", b"new")
    here.aws.fault(at("GetObject", key="in/b"), faults.status(403, "AccessDenied"), times=None)
    done = here.sync("--publish", "--delete", "--json")
    assert done.exit == 3
    assert summary(done.out)["deleted"] == 0
    assert "a" not in told(done.out)
    assert here.files("current") == {"a": b"a", "b": b"b", "c": b"c"}
    here.aws.faults.clear()
    here.put("c", b"changed meanwhile")
    here.delete("d")
    here.aws.requests.clear()
    again = here.sync("--publish", "--delete", "--json")
    assert again.exit == 0
    assert summary(again.out)["deleted"] == 1
    assert here.files("current") == {"b": b"changed", "c": b"changed meanwhile"}
    assert here.state() == {"source.json", "releases"}


def test_a_dry_run_of_the_first_release(here):
    here.put("a", b"1")
    here.put("sub/", b"")
    done = here.sync("--publish", "-n")
    assert done.exit == 0
    assert sorted(done.out.splitlines()) == ["download  a  (new)", "skip  sub  (directory)"]
    assert "to download: 1 file, 1 B, 1 already here" in done.err
    assert not here.folder.exists()


def test_keeping_releases(here):
    for number in range(4):
        here.put("a", b"%d" % number)
        assert here.sync("--publish", "--keep", "3", "--grace", "0s").exit == 0
    assert [name[:6] for name in releases(here)] == ["000002", "000003", "000004"]
    here.put("a", b"last")
    assert here.sync("--publish", "--grace", "1h").exit == 0
    assert len(releases(here)) == 4
    assert here.sync("--publish", "--grace", "0s").exit == 0
    assert [name[:6] for name in releases(here)] == ["000004", "000005"]
    assert here.files("current") == {"a": b"last"}


def test_publishing_without_hard_links(here, monkeypatch):
    monkeypatch.setattr(Directory, "link", lambda *_: False)
    here.put("a", b"1")
    here.put("sub/b", b"2")
    here.put("e", b"")
    assert here.sync("--publish").exit == 0
    here.put("a", b"changed")
    assert here.sync("--publish").exit == 0
    assert here.files("current") == {"a": b"changed", "sub/b": b"2", "e": b""}
    one, two = (here.folder / ".s3pull/releases" / name / "tree" for name in releases(here))
    assert not os.path.samefile(one / "sub/b", two / "sub/b")
    assert (two / "sub/b").stat().st_mtime == LONG_AGO
    assert here("verify", "m").exit == 0
    (two / "sub/b").write_bytes(b"X")
    os.utime(two / "sub/b", (LONG_AGO, LONG_AGO))
    here.put("a", b"third")
    damaged = here.sync("--publish")
    assert damaged.exit == 6
    assert "is damaged here" in damaged.err
    assert here.files("current")["a"] == b"changed"
    assert here("verify", "m", "--repair").exit == 0
    assert here.sync("--publish").exit == 0
    assert here.files("current") == {"a": b"third", "sub/b": b"2", "e": b""}


def test_what_is_called_current_but_is_not_ours(here):
    here.put("a", b"1")
    here.folder.mkdir()
    for make in (
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"mine"),
        lambda path: path.symlink_to("/etc"),
        lambda path: path.symlink_to(".s3pull/releases/../../x/tree"),
    ):
        make(here.folder / "current")
        done = here.sync("--publish")
        assert done.exit == 2
        assert "current' is not ours" in done.err
        path = here.folder / "current"
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert here.sync("--publish").exit == 0
