"""`s3pull lock` and `sync --locked`: exactly what was written down comes back, or nothing is claimed."""

import json
from datetime import UTC, datetime

import pytest

from tests.fakes import at, faults, listings
from tests.mirrors import LONG_AGO, actions, lines, snapshot, summary, told

DAY = 86400


@pytest.fixture
def versioned(here):
    here.aws.store.buckets["data"].versioning = True
    return here


def iso(when):
    return datetime.fromtimestamp(when, UTC).isoformat()


def locked(here, *args):
    """A manifest in the file `manifest`, and its lines."""
    done = here("lock", *(args or (here.source,)))
    assert (done.exit, done.err) == (0, "")
    (here.cwd / "manifest").write_text(done.out)
    return lines(done.out)


def asked_versions(here):
    return {one.key: one.query.get("versionId") for one in here.aws.requests if one.action == "GetObject"}


def test_a_versioned_bucket_is_pulled_as_it_was_locked(versioned):
    here = versioned
    here.put("a", b"first")
    here.put("sub/b", b"stays")
    here.put("dir/", b"")
    head, one, folder, two, end = locked(here)
    assert head == {
        "schema": 1, "event": "manifest", "source": "s3://data/in/", "bucket": "data", "root": "in/", "as_of": None,
    }  # fmt: skip
    assert [line["key"] for line in (one, folder, two)] == ["a", "dir/", "sub/b"]
    assert one["version_id"]
    assert one["size"] == 5
    assert one["checksum"]["algorithm"] == "CRC64NVME"
    assert end == {"schema": 1, "event": "end", "objects": 3, "bytes": 10}
    here.put("a", b"second")
    here.delete("sub/b")
    here.put("new", b"new")
    here.aws.requests.clear()
    done = here("sync", "--locked", "manifest", "m", "--json")
    assert done.exit == 0
    assert here.files() == {"a": b"first", "sub/b": b"stays"}
    assert (here.folder / "dir").is_dir()
    assert asked_versions(here) == {"in/a": one["version_id"], "in/sub/b": two["version_id"]}
    assert here.aws.count("ListObjectsV2") == 0
    here.aws.requests.clear()
    assert here("sync", "--locked", "manifest", "m").exit == 0
    assert here.aws.requests == []
    here.aws.requests.clear()
    assert here.sync("--delete").exit == 0
    assert here.files() == {"a": b"second", "new": b"new"}
    assert set(asked_versions(here).values()) == {None}
    assert here("sync", "--locked", "manifest", "m", "--delete").exit == 0
    assert here.files() == {"a": b"first", "sub/b": b"stays"}
    assert here.nothing_stray()


def test_the_past(versioned, monkeypatch):
    here = versioned
    monkeypatch.setattr(listings, "PAGE", 3)
    for day, name, body in (
        (0, "kept", b"k0"), (0, "over", b"o0"), (0, "again", b"a0"), (0, "gone", b"g0"), (2, "over", b"o2"),
        (4, "over", b"o4"), (4, "again", b"a4"), (4, "new", b"n4"),
    ):  # fmt: skip
        if (day, name) == (4, "again"):
            here.aws.store.delete("data", "in/again", LONG_AGO + 2 * DAY)
        here.put(name, body, last_modified=LONG_AGO + day * DAY)
    here.aws.store.delete("data", "in/gone", LONG_AGO + 3 * DAY)
    then = {
        1: {"kept": b"k0", "over": b"o0", "again": b"a0", "gone": b"g0"},
        2.5: {"kept": b"k0", "over": b"o2", "gone": b"g0"},
        3.5: {"kept": b"k0", "over": b"o2"},
        5: {"kept": b"k0", "over": b"o4", "again": b"a4", "new": b"n4"},
    }
    for day, state in then.items():
        first, *_ = locked(here, here.source, "--as-of", iso(LONG_AGO + day * DAY))
        assert first["as_of"] == iso(LONG_AGO + day * DAY)
        done = here("sync", "--locked", "manifest", "m", "--delete", "--max-delete", "100%")
        assert done.exit == 0, done.err
        assert here.files() == state
    before = here("lock", here.source, "--as-of", iso(LONG_AGO - DAY))
    assert before.exit == 4
    one = here("lock", here.source + "over", "--as-of", iso(LONG_AGO + DAY))
    assert [line.get("key") for line in lines(one.out)] == [None, "over", None]
    deleted = here("lock", here.source + "gone", "--as-of", iso(LONG_AGO + DAY))
    assert lines(deleted.out)[1]["size"] == 2


def test_a_bucket_without_versions_has_no_past(here):
    here.put("a", b"1")
    here.put("b", b"2")
    done = here("lock", here.source, "--as-of", "2026-01-01")
    assert (done.exit, done.out) == (2, "")
    assert "the bucket of s3://data/in/ keeps no versions" in done.err
    assert "hint: leave --as-of out" in done.err
    # what was put before versions were kept is known, too
    here.aws.store.buckets["data"].versioning = True
    old = here("lock", here.source, "--as-of", "2026-01-01")
    assert [line["version_id"] for line in lines(old.out)[1:-1]] == ["null", "null"]


def test_quiet(here):
    here.put("a", b"1")
    done = here("lock", here.source, "-q")
    assert (done.exit, done.err, len(lines(done.out))) == (0, "", 3)


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", ""])
def test_no_time(here, when):
    done = here("lock", here.source, "--as-of", when)
    assert done.exit == 2
    assert "2026-07-01" in done.err
    assert here.aws.requests == []


def test_an_unversioned_bucket_gives_what_was_locked_or_fails(here):
    here.put("a", b"first")
    here.put("b", b"other")
    here.put("c", b"third")
    rows = locked(here)
    assert {line.get("version_id") for line in rows} == {None}
    here.put("b", b"OTHER")
    here.delete("c")
    done = here("sync", "--locked", "manifest", "m", "--json")
    assert done.exit == 3
    assert told(done.out) == {
        "a": ("downloaded", "new"), "b": ("failed", "changed"), "c": ("failed", "missing"),
    }  # fmt: skip
    assert here.files() == {"a": b"first"}
    text = here("sync", "--locked", "manifest", "m")
    assert "in/b is not what the manifest locks any more" in text.err
    assert "hint: its owner replaced it: make a new manifest with s3pull lock" in text.err
    published = here("sync", "--locked", "manifest", "p", "--publish")
    assert published.exit == 3
    assert not (here.cwd / "p/current").exists()
    assert set(asked_versions(here).values()) == {None}
    assert here.nothing_stray()


def test_a_local_file_of_another_content_is_not_taken_for_what_is_locked(here):
    """Same size, same time, and the object that is locked is no longer there: nothing proves the file."""
    here.put("a", b"first", checksum=None, encryption="aws:kms")
    locked(here)
    here.folder.mkdir()
    (here.folder / "a").write_bytes(b"wrong")
    here.put("a", b"wrong", checksum=None, encryption="aws:kms")
    done = here("sync", "--locked", "manifest", "m", "--json")
    assert done.exit == 3
    assert told(done.out)["a"][0] == "failed"


@pytest.mark.parametrize("source", ["sub", "sub/", "sub/*.csv", "sub/a.csv", "**/*.csv"])
def test_a_manifest_knows_its_source(here, source):
    here.put("sub/a.csv", b"1")
    here.put("sub/deep/b.csv", b"2")
    here.put("sub/c.txt", b"3")
    assert here("sync", here.source + source, "direct").exit == 0
    locked(here, here.source + source)
    for given in ([], [here.source + source]):
        done = here("sync", "--locked", "manifest", *given, "m")
        assert done.exit == 0, done.err
    direct = {path.relative_to(here.cwd / "direct") for path in (here.cwd / "direct").rglob("*.*") if path.is_file()}
    mine = {path.relative_to(here.folder) for path in here.folder.rglob("*.*") if path.is_file()}
    assert {path for path in mine if path.parts[0] != ".s3pull"} == {
        path for path in direct if path.parts[0] != ".s3pull"
    }
    assert here("sync", here.source + source, "m").exit == 0


def test_a_pattern_that_makes_no_sense_asks_nobody(here):
    for command in (["lock", here.source], ["get", here.source, "m"], ["sync", here.source, "m"]):
        for option in ("--include", "--exclude"):
            done = here(*command, option, "")
            assert (done.exit, done.out) == (2, "")
            assert "hint: " in done.err
    assert here.aws.requests == []


def test_filters_and_nothing_at_all(here):
    here.put("a.csv", b"1")
    here.put("b.txt", b"2")
    assert [line["key"] for line in locked(here, here.source, "--exclude", "*.txt")[1:-1]] == ["a.csv"]
    for args in (("s3://data/none/",), (here.source, "--include", "*.parquet")):
        nothing = here("lock", *args)
        assert (nothing.exit, nothing.out) == (4, "")
        (here.cwd / "manifest").write_text(nothing.out)
        done = here("sync", "--locked", "manifest", "m")
        assert done.exit == 2
    here.aws.fault(at("ListObjectsV2"), faults.status(403, "AccessDenied"))
    denied = here("lock", here.source)
    assert (denied.exit, denied.out) == (10, "")
    assert here.files() == {}


def test_a_manifest_that_is_not_whole_is_refused(here):
    for number in range(4):
        here.put(f"{number}", b"%d" % number)
    assert here.sync().exit == 0
    rows = [json.dumps(row) for row in locked(here)]
    before = snapshot(here.folder, [".s3pull/source.json"])
    changed = [json.loads(row) for row in rows]
    changed[1]["key"] = "../../up"
    wrong = {
        "cut": rows[:-1],
        "cut in a line": [*rows[:-2], rows[-2][:30]],
        "without its head": rows[1:],
        "without a row": [*rows[:2], *rows[3:]],
        "out of order": [rows[0], rows[2], rows[1], *rows[3:]],
        "twice the same": [*rows[:2], rows[1], *rows[3:]],
        "going on": [*rows, rows[1]],
        "empty": [],
        "no manifest": ["key,size", "a,1"],
        "a list": ["[]"],
        "newer": [rows[0].replace('"schema": 1', '"schema": 2'), *rows[1:]],
        "a negative size": [rows[0], rows[1].replace('"size": 1', '"size": -1'), *rows[2:]],
        "no number": [rows[0], rows[1].replace('"size": 1', '"size": true'), *rows[2:]],
        "no size": [rows[0], rows[1].replace('"size": 1', '"size": 1' + "0" * 30), *rows[2:]],
        "half a character": [rows[0], rows[1].replace('"key": "', '"key": "\\ud800'), *rows[2:]],
        "half a version": [rows[0], rows[1].replace('"version_id": null', '"version_id": "\\ud800"'), *rows[2:]],
        "no time": [rows[0], rows[1].replace('"modified": 17', '"modified": NaN, "x": 17'), *rows[2:]],
        "a time beyond all": [rows[0], rows[1].replace('"modified": 17', '"modified": 1e300, "x": 17'), *rows[2:]],
        "a time that is none": [rows[0], rows[1].replace('"modified": 17', '"modified": true, "x": 17'), *rows[2:]],
    }
    for how, text in wrong.items():
        (here.cwd / "manifest").write_text("".join(row + "\n" for row in text))
        for options in (["--delete", "--max-delete", "100%"], ["-n"]):
            done = here("sync", "--locked", "manifest", "m", *options)
            assert done.exit == 2, (how, done.err)
            assert "manifest" in done.err, how
            assert "hint: " in done.err, how
    assert snapshot(here.folder, [".s3pull/source.json"]) == before
    (here.cwd / "manifest").write_text(
        "".join(json.dumps(row) + "\n" for row in [changed[0], changed[1], changed[-1] | {"objects": 1}])
    )
    climbing = here("sync", "--locked", "manifest", "m")
    assert climbing.exit == 3
    assert "cannot be a path here" in climbing.err
    assert snapshot(here.folder, [".s3pull/source.json"]) == before
    assert here.nothing_stray()


def test_a_manifest_of_another_source(here):
    here.put("a", b"1")
    here.aws.bucket("other")
    here.aws.put("other", "in/a", b"1")
    locked(here)
    for source in ("s3://other/in/", "s3://data/", "s3://data/in/sub/"):
        done = here("sync", source, "m", "--locked", "manifest")
        assert done.exit == 2
        assert "the manifest is of s3://data/in/" in done.err
        assert "hint: leave SOURCE out: the manifest knows it" in done.err
    assert not here.folder.exists()


def test_locked_and_damaged_on_the_way(versioned):
    here = versioned
    here.put("a", b"first")
    row = locked(here)[1]
    here.put("a", b"second")
    here.aws.fault(at("GetObject"), faults.flip_bit(0), times=None)
    damaged = here("sync", "--locked", "manifest", "m", "--json")
    assert damaged.exit == 6 or damaged.exit == 3
    assert here.files() == {}
    here.aws.faults.clear()
    text = (here.cwd / "manifest").read_text()
    (here.cwd / "manifest").write_text(text.replace(row["checksum"]["value"], "AAAAAAAAAAA="))
    other = here("sync", "--locked", "manifest", "m", "--json")
    assert other.exit == 3
    assert here.files() == {}
    assert summary(other.out)["downloaded"] == 0
    (here.cwd / "manifest").write_text(text)
    assert here("sync", "--locked", "manifest", "m").exit == 0
    assert here.files() == {"a": b"first"}
    assert here.nothing_stray()


def test_an_archived_object_that_was_restored(here):
    here.put("a", b"1", storage_class="GLACIER", restore='ongoing-request="false"')
    here.put("b", b"2", storage_class="GLACIER")
    locked(here)
    done = here("sync", "--locked", "manifest", "m", "--json")
    assert done.exit == 3
    assert told(done.out) == {"a": ("downloaded", "new"), "b": ("refused", "archived")}
    assert here.files() == {"a": b"1"}


def test_a_past_that_may_not_be_read(versioned):
    here = versioned
    here.put("a", b"1")
    here.aws.fault(at("ListObjectVersions"), faults.status(403, "AccessDenied"), times=None)
    done = here("lock", here.source, "--as-of", iso(LONG_AGO + DAY))
    assert done.exit == 10
    assert '"end"' not in done.out
    here.aws.requests.clear()
    assert here("lock", here.source).exit == 0
    assert actions(here.aws.requests)[0] == "ListObjectsV2"
