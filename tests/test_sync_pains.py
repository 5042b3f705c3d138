"""What users of other tools report about syncing, each as a transcript of a real run that does better.

Every test is headed by the issues that it answers, `repository#number`, and looks at stdout, stderr, the exit code, the
files, the requests that were made, and that no stray file is left.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from s3pull.cli.app import main
from s3pull.local.receipts import Receipts
from s3pull.objects import Receipt
from tests.fakes import at, faults, listings
from tests.mirrors import LONG_AGO, Mirrored, actions, lines, snapshot, summary, told
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def mirrored(fake_aws, tmp_path, monkeypatch):
    made = Mirrored(fake_aws, tmp_path)
    made.lead(monkeypatch)
    return made


# --- what is the same, and what is not ------------------------------------------------------------------------


@pytest.mark.parametrize("later", [-86400, 0, 86400], ids=["older", "of the same second", "newer"])
def test_a_change_of_equal_size_is_never_missed(mirrored, later):
    """aws-cli#3415, aws-cli#1074, aws-cli#3273: equal size, and the local file is newer or as new: skipped."""
    mirrored.put("a", b"old!")
    mirrored.put("b", b"same")
    assert mirrored.sync().code == 0
    mirrored.put("a", b"new!", last_modified=LONG_AGO + later)
    done = mirrored.sync("--json")
    assert (done.code, done.stderr) == (0, "")
    assert told(done.stdout) == {"a": ("downloaded", "changed")}
    assert mirrored.files() == {"a": b"new!", "b": b"same"}
    assert (mirrored.folder / "a").stat().st_mtime == LONG_AGO + later
    assert mirrored.nothing_stray()


def test_content_decides_where_size_and_time_agree(mirrored):
    """aws-cli#9693, aws-cli#9074: there is no checksum in sync.

    A tree that another tool made: files are compared by what is in them, in both directions, and with one GET for the
    one that is wrong.
    """
    part = 5 * 1024 * 1024
    mirrored.put("right", b"bytes")
    mirrored.put("wrong", b"bytes")
    mirrored.put("touched", b"bytes")
    mirrored.put("parts", b"p" * part + b"q", parts=[part, 1])
    mirrored.put("sealed", b"bytes", encryption="aws:kms")
    mirrored.folder.mkdir()
    for name, content in {
        "right": b"bytes", "wrong": b"byteS", "touched": b"bytes", "parts": b"p" * part + b"q", "sealed": b"bytes",
    }.items():  # fmt: skip
        (mirrored.folder / name).write_bytes(content)
        os.utime(mirrored.folder / name, (LONG_AGO, LONG_AGO))
    os.utime(mirrored.folder / "touched", (LONG_AGO + 9999, LONG_AGO + 9999))
    done = mirrored.sync("--json", "-v")
    assert done.code == 0
    assert told(done.stdout) == {
        "right": ("skipped", "same-checksum"), "touched": ("skipped", "same-checksum"),
        "parts": ("skipped", "same-checksum"), "sealed": ("skipped", "same-checksum"),
        "wrong": ("downloaded", "changed"),
    }  # fmt: skip
    assert [one.key for one in mirrored.aws.asked("GetObject")] == ["in/wrong"]
    assert set(mirrored.files().values()) == {b"bytes", b"p" * part + b"q"}
    mirrored.aws.requests.clear()
    assert mirrored.sync().code == 0
    assert actions(mirrored.aws.requests) == ["ListObjectsV2"]
    assert mirrored.run("verify", "m").code == 0
    assert mirrored.nothing_stray()


def test_a_run_with_nothing_to_do_only_lists(mirrored, monkeypatch):
    """aws-cli#2800: useless work. No HEAD, no GET, no file read or written."""
    monkeypatch.setattr(listings, "PAGE", 20)
    for number in range(30):
        mirrored.put(f"{number % 7}/{number:05d}", b"%d" % number)
    mirrored.put("empty/", b"")
    assert mirrored.sync("--no-durable").code == 0
    before = snapshot(mirrored.folder)
    mirrored.aws.requests.clear()
    done = mirrored.sync("--json")
    assert actions(mirrored.aws.requests) == ["ListObjectsV2"] * 2
    assert {one.query["prefix"] for one in mirrored.aws.requests} == {"in/"}
    assert [line["event"] for line in lines(done.stdout)] == ["preflight", "summary"]
    assert (done.code, summary(done.stdout)["received"]) == (0, 0)
    assert snapshot(mirrored.folder) == before
    assert mirrored.nothing_stray()


def test_a_file_that_an_interrupted_tool_left_is_not_in_sync(mirrored):
    """azcopy#906: preallocated zeros of the right size looked in sync after a kill."""
    mirrored.put("a", b"content")
    mirrored.folder.mkdir()
    (mirrored.folder / "a").write_bytes(bytes(7))
    os.utime(mirrored.folder / "a", (LONG_AGO, LONG_AGO))
    assert mirrored.sync().code == 0
    assert mirrored.files() == {"a": b"content"}
    assert mirrored.nothing_stray()


# --- size ---------------------------------------------------------------------------------------------------


def test_nothing_is_fetched_before_the_plan_is_whole(mirrored, monkeypatch):
    """s5cmd#497: hours of listing, and then it turns out that it cannot work.

    Here every name is known to be possible, and all of it to fit, before the first byte: so the listing comes first,
    and what is wrong on its last page is told before any object is asked for.
    """
    monkeypatch.setattr(listings, "PAGE", 5)
    for number in range(9):
        mirrored.put(f"{number}", b"x")
    mirrored.put("z/../../evil", b"x")
    refused = mirrored.sync("--fail-fast")
    assert refused.code == 3
    assert "z/../../evil" in refused.stderr
    assert actions(mirrored.aws.requests).count("GetObject") == 0
    assert mirrored.files() == {}
    mirrored.aws.requests.clear()
    done = mirrored.sync("--no-durable")
    assert done.code == 3
    kinds = actions(mirrored.aws.requests)
    assert kinds[: kinds.index("GetObject")].count("ListObjectsV2") == kinds.count("ListObjectsV2") == 2
    assert len(mirrored.files()) == 9
    assert not (mirrored.cwd / "evil").exists()
    assert mirrored.nothing_stray()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its peak")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_listing(mirrored):
    """s5cmd#497, s5cmd#745: 145 million objects are not held in memory.

    A run with nothing to do, its peak in KiB as the kernel counted it, once for few objects and once for many. The
    names are long: whoever kept the listing, or the receipts, would need 11,000 KiB more; the peak of one and the same
    run varies by 2,000. One stream lists here: how much several may have waiting is bounded, and tested, elsewhere
    (tests/pull/test_fanout.py).
    """
    # getrusage would tell of this process, too: a child's peak begins with that of its parent
    measure = (
        "import re, sys; from s3pull.cli.app import main; from s3pull.pull import fanout;"
        "fanout.pages = lambda store, prefix: store.list(prefix); code = main(sys.argv[1:]);"
        r"print(code, re.search(r'VmHWM:\s*(\d+) kB', open('/proc/self/status').read())[1], file=sys.stderr)"
    )
    etag = mirrored.put("a", b"")
    assert mirrored.sync().code == 0

    def add(numbers):
        rows = []
        for number in numbers:
            name = f"{number:07d}-{'n' * 200}"
            mirrored.put(name, b"", etag=etag)
            (mirrored.folder / name).touch()
            rows.append(Receipt(name, name, 0, (mirrored.folder / name).stat().st_mtime_ns, etag))
        with Receipts.open(mirrored.folder / ".s3pull/receipts.db", durable=False) as receipts:
            for row in rows:
                receipts.record(row)

    def peak():
        done = subprocess.run(
            [sys.executable, "-c", measure, "sync", mirrored.source, "m"],
            env={**os.environ, **mirrored.env, "PYTHONPATH": str(ROOT)},
            cwd=mirrored.cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "0 files, 0 B" in done.stderr
        code, kib = done.stderr.split()[-2:]
        assert code == "0"
        return int(kib)

    add(range(6000))  # from here on what is ahead of the comparison, and SQLite's cache, are as large as they get
    few = peak()
    add(range(6000, 26_000))
    many = peak()
    assert many - few < 5000
    assert mirrored.nothing_stray()


# --- what is asked for ----------------------------------------------------------------------------------------


def test_a_glob_lists_its_fixed_part_alone(mirrored):
    """aws-cli#7653, aws-cli#4240: --exclude '*' --include 'x' lists the whole bucket."""
    for name in ("2025/a.csv", "2026/07/a.csv", "2026/07/a.txt", "2026/07/deep/a.csv", "2026/08/a.csv"):
        mirrored.put(name, b"x")
    done = mirrored.run("sync", "s3://data/in/2026/07/*.csv", "m")
    assert done.code == 0
    assert [one.query["prefix"] for one in mirrored.aws.asked("ListObjectsV2")] == ["in/2026/07/"]
    assert mirrored.files() == {"a.csv": b"x"}
    assert "1 file, 1 B" in done.stderr
    none = mirrored.run("sync", "s3://data/in/2026/07/*.parquet", "n")
    assert none.code == 4
    assert "nothing at s3://data/in/2026/07/*.parquet" in none.stderr
    assert mirrored.nothing_stray()


def test_filters_that_leave_nothing_say_so(mirrored):
    """aws-cli#4240: filters do nothing, and it exits 0 without a word."""
    mirrored.put("a.csv", b"x")
    mirrored.put("b.csv", b"x")
    done = mirrored.sync("--include", "*.parquet")
    assert done.code == 0
    assert "the filters leave out all 2 objects" in done.stderr
    some = mirrored.sync("--include", "a.*")
    assert (some.code, mirrored.files()) == (0, {"a.csv": b"x"})
    assert "filters" not in some.stderr
    assert mirrored.nothing_stray()


def test_an_exact_key_is_never_listed(mirrored):
    """aws-cli#5167, aws-cli#2463: one key, or an inventory's, and the whole prefix is listed for it."""
    mirrored.put("a", b"alpha")
    mirrored.put("a/b", b"below")
    mirrored.put("c", b"gamma")
    one = mirrored.run("sync", "s3://data/in/a", "m")
    assert (one.code, mirrored.files()) == (0, {"a": b"alpha"})
    again = mirrored.run("sync", "s3://data/in/a", "m")
    assert (again.code, again.stderr[:8]) == (0, "0 files,")
    assert set(actions(mirrored.aws.requests)) == {"HeadObject", "GetObject"}
    manifest = mirrored.run("lock", "s3://data/in/", "--exclude", "a/*").stdout
    (mirrored.cwd / "manifest").write_text(manifest)
    mirrored.aws.requests.clear()
    done = mirrored.run("sync", "--locked", "manifest", "m")
    assert (done.code, mirrored.files()) == (0, {"a": b"alpha", "c": b"gamma"})
    assert set(actions(mirrored.aws.requests)) == {"GetObject"}
    assert mirrored.nothing_stray()


# --- deletion and company --------------------------------------------------------------------------------------


def test_a_source_that_is_missing_deletes_nothing(mirrored):
    """aws-cli#1564: the source was missing, and --delete wiped a backup."""
    mirrored.put("a", b"alpha")
    mirrored.put("b", b"beta")
    assert mirrored.sync("--delete").code == 0
    before = snapshot(mirrored.folder)
    mirrored.delete("a")
    mirrored.delete("b")
    empty = mirrored.sync("--delete", "--max-delete", "100%")
    assert (empty.code, empty.stdout) == (14, "")
    assert "the source lists no object, and 2 files here would be deleted: nothing was" in empty.stderr
    assert "hint: " in empty.stderr
    without = mirrored.sync()
    assert without.code == 4
    del mirrored.aws.store.buckets["data"]
    gone = mirrored.sync("--delete", "--max-delete", "100%")
    assert gone.code == 4
    assert "no such bucket" in gone.stderr
    assert snapshot(mirrored.folder) == before
    assert mirrored.nothing_stray()


def test_two_runs_at_once(mirrored):
    """rclone#7993: two runs into one folder undo each other's work. Here one works and one exits 12."""
    mirrored.put("a", b"alpha")
    mirrored.aws.fault(at("GetObject"), faults.slow_head(30))
    first = mirrored.start("sync", mirrored.source, "m")
    wait_until(lambda: mirrored.aws.count("GetObject"))
    second = mirrored.sync("--json")
    assert second.code == 12
    assert [line["event"] for line in lines(second.stdout)] == ["error", "summary"]
    assert lines(second.stdout)[0]["reason"] == "locked"
    text = mirrored.sync()
    assert (text.code, text.stdout) == (12, "")
    assert "another run" in text.stderr
    first.signal(signal.SIGTERM)
    assert first.finish().code == 143
    assert mirrored.sync().code == 0
    assert mirrored.files() == {"a": b"alpha"}
    assert mirrored.nothing_stray()


def test_a_set_of_files_changes_as_a_whole(mirrored):
    """aws-cli#1705: stage a whole set, so that nobody reads half of the old and half of the new."""
    mirrored.put("a", b"1")
    mirrored.put("b", b"1")
    assert mirrored.sync("--publish").code == 0
    mirrored.put("a", b"2")
    mirrored.put("b", b"2")
    mirrored.aws.fault(at("GetObject", key="in/b"), faults.status(403, "AccessDenied"), times=None)
    half = mirrored.sync("--publish")
    assert half.code == 3
    assert "not published: 1 object is missing" in half.stderr
    assert mirrored.files("current") == {"a": b"1", "b": b"1"}
    mirrored.aws.faults.clear()
    mirrored.aws.requests.clear()
    whole = mirrored.sync("--publish")
    assert whole.code == 0
    assert mirrored.files("current") == {"a": b"2", "b": b"2"}
    assert [one.key for one in mirrored.aws.asked("GetObject")] == ["in/b"]
    assert mirrored.state() == {"source.json", "releases"}


# --- names and times -----------------------------------------------------------------------------------------


def test_a_file_and_a_folder_of_one_name(mirrored):
    """aws-cli#6435, aws-cli#3218: `a` and `a/b` are both objects; no disk holds both."""
    mirrored.put("a", b"file")
    mirrored.put("a/b", b"below")
    mirrored.put("c", b"other")
    for _ in range(2):
        done = mirrored.sync()
        assert done.code == 3
        assert "cannot be at 'a/b': another object is a file at 'a'" in done.stderr
        assert mirrored.files() == {"a": b"file", "c": b"other"}
    mirrored.delete("a")
    kept = mirrored.sync()
    assert kept.code == 3
    assert mirrored.files() == {"a": b"file", "c": b"other"}
    turned = mirrored.sync("--delete")
    assert turned.code == 0
    assert mirrored.files() == {"a/b": b"below", "c": b"other"}
    mirrored.delete("a/b")
    mirrored.put("a", b"file again")
    assert mirrored.sync("--delete").code == 0
    assert mirrored.files() == {"a": b"file again", "c": b"other"}
    assert mirrored.nothing_stray()


def test_names_that_no_disk_holds(mirrored):
    """aws-cli#1154, aws-cli#5813, s5cmd#872, CVE-2021-32061: names of elsewhere, and names that lead elsewhere."""
    odd = {"../up": b"1", "a\\b": b"2", "dir//c": b"3", "bell\x07": b"4", ".s3pull/receipts.db": b"5"}
    mirrored.put("plain", b"0")
    for name, body in odd.items():
        mirrored.put(name, body)
    refused = mirrored.sync("--json")
    assert refused.code == 3
    assert summary(refused.stdout)["refused"] == 5
    assert {line["reason"] for line in lines(refused.stdout) if line.get("action") == "refused"} == {"unsafe-name"}
    assert mirrored.files() == {"plain": b"0"}
    encoded = mirrored.sync("--encode-names")
    assert encoded.code == 0
    there = {
        "plain": b"0", "%2E%2E/up": b"1", "a%5Cb": b"2", "dir/%2Fc": b"3", "bell%07": b"4",
        "%2Es3pull/receipts.db": b"5",
    }  # fmt: skip
    assert mirrored.files() == there
    mirrored.delete("bell\x07")
    assert mirrored.sync("--encode-names", "--delete").code == 0
    del there["bell%07"]
    assert mirrored.files() == there
    assert set(os.listdir(mirrored.cwd)) == {"m"}
    assert mirrored.nothing_stray()


def test_case_that_a_disk_does_not_tell_apart(mirrored, monkeypatch, capsys):
    """aws-cli#9596, aws-cli#9958: `A` and `a` overwrite each other where names fold.

    In this process: which disks fold is what the tree says, and here it says so.
    """
    from s3pull.local.tree import Tree

    monkeypatch.setattr(Tree, "folds", True)
    mirrored.put("Data.csv", b"upper")
    mirrored.put("data.csv", b"lower")
    mirrored.put("other", b"x")
    assert main(["sync", mirrored.source, "m"]) == 3
    assert "takes 'Data.csv', another object, for the same name" in capsys.readouterr().err
    assert mirrored.files() == {"Data.csv": b"upper", "other": b"x"}
    assert mirrored.nothing_stray()


def test_files_have_the_time_of_their_objects(mirrored):
    """s5cmd#532, aws-cli#6601: the time of the download instead of LastModified."""
    mirrored.put("a", b"alpha", last_modified=LONG_AGO + 7)
    mirrored.put("big", b"x" * (9 << 20), last_modified=LONG_AGO + 8)
    assert mirrored.sync().code == 0
    assert {name: (mirrored.folder / name).stat().st_mtime for name in ("a", "big")} == {
        "a": LONG_AGO + 7,
        "big": LONG_AGO + 8,
    }
    assert mirrored.nothing_stray()


def test_restored_objects_are_fetched_and_archived_ones_told(mirrored):
    """aws-cli#3250, aws-cli#5268: restored objects are skipped as archived."""
    mirrored.put("cold", b"1", storage_class="GLACIER")
    mirrored.put("thawed", b"2", storage_class="DEEP_ARCHIVE", restore='ongoing-request="false"')
    done = mirrored.sync()
    assert done.code == 3
    assert "in/cold lies in GLACIER and is not restored" in done.stderr
    assert mirrored.files() == {"thawed": b"2"}
    mirrored.put("cold", b"1", storage_class="GLACIER", restore='ongoing-request="false"')
    assert mirrored.sync().code == 0
    assert mirrored.files() == {"cold": b"1", "thawed": b"2"}
    assert mirrored.nothing_stray()
