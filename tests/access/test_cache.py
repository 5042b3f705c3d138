"""The cache: what it keeps, how it is sealed, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys

import pytest

from s3pull.access import cache as caching
from s3pull.access import keys
from s3pull.access.cache import ENDPOINT, SESSION, Cache, entry_name
from s3pull.errors import UsageError

NAME = entry_name(SESSION, {"role": "x"})
OTHER = entry_name(SESSION, {"role": "y"})
VALUE = {"secret_key": "very-secret", "expires": 2000.0}
KEY = keys.Key(b"k" * 32, "Ring")
NO_KEY = keys.Key(None, reason="no keyring is available")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def details():
    return []


@pytest.fixture
def make(place, details):
    def make(mode="file", key=NO_KEY, now=1000.0, directory=None):
        return Cache(
            mode, directory or place, environ=os.environ, detail=details.append, clock=lambda: now,
            fetch_key=lambda _: key,
        )  # fmt: skip

    return make


def test_kept_between_runs(make, place):
    make().put(NAME, SESSION, VALUE, 2000.0)
    assert make().get(NAME) == VALUE
    assert make().get(OTHER) is None
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / NAME).stat().st_mode) == 0o600
    assert sorted(path.name for path in place.iterdir()) == [NAME]


@pytest.mark.parametrize(
    ("mode", "key", "sealed"),
    [("auto", KEY, True), ("auto", NO_KEY, False), ("keyring", KEY, True), ("file", KEY, False)],
)
def test_sealed_where_there_is_a_keyring(make, place, mode, key, sealed):
    make(mode, key).put(NAME, SESSION, VALUE, 2000.0)
    content = (place / NAME).read_bytes()
    assert (b"very-secret" not in content) is sealed
    assert make(mode, key).get(NAME) == VALUE
    assert [entry.sealed for entry in make(mode, key).entries()] == [sealed]


def test_the_keyring_or_nothing(make, place):
    with pytest.raises(UsageError, match="keyring cannot be used: no keyring is available") as refused:
        make("keyring").put(NAME, SESSION, VALUE, 2000.0)
    assert "--cache file" in refused.value.hint
    assert list(place.iterdir()) == []


def test_the_keyring_is_not_asked_for_a_plain_entry(make, place, details):
    make().put(NAME, SESSION, VALUE, 2000.0)

    def never(_):
        raise AssertionError("asked")

    found = Cache("auto", place, environ=os.environ, detail=details.append, clock=lambda: 1000.0, fetch_key=never)
    assert found.get(NAME) == VALUE


def test_memory_only(make, place):
    none = make("none")
    none.put(NAME, SESSION, VALUE, 2000.0)
    assert none.get(NAME) == VALUE
    assert not place.exists()
    assert make("none").get(NAME) is None
    assert none.where() == ("memory", "--cache none")


def test_what_expired_is_a_miss(make):
    make().put(NAME, SESSION, VALUE, 2000.0)
    assert make(now=2000.0).get(NAME) is None
    held = make()
    held.put(NAME, SESSION, VALUE, 999.0)
    assert held.get(NAME) is None


def test_what_expired_is_swept_by_the_next_put(make, place):
    make().put(NAME, SESSION, VALUE, 2000.0)
    with make().lock(NAME):
        pass
    (place / ".x.new").write_text("")
    os.utime(place / ".x.new", (0, 0))
    os.utime(place / f"{NAME}.lock", (0, 0))
    (place / "foreign.txt").write_text("")
    make(now=200_000.0).put(OTHER, SESSION, VALUE, 300_000.0)
    assert sorted(path.name for path in place.iterdir()) == sorted([OTHER, "foreign.txt"])


def spoil_link(path):
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def spoil_mode(path):
    path.chmod(0o640)


def spoil_truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def spoil_header(path):
    path.write_bytes(path.read_bytes()[:20])


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_version(path):
    path.write_bytes(path.read_bytes().replace(b'"s3pull":1', b'"s3pull":2', 1))


def spoil_directory(path):
    path.unlink()
    path.mkdir()


def spoil_fifo(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def spoil_length(path):
    path.write_bytes(path.read_bytes() + b" " * 70_000)


def spoil_text(path):
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b'\n["not", "an", "entry"]')


SPOILERS = {
    spoil_link: "symbolic link",
    spoil_mode: "open to others (mode 0640)",
    spoil_truncate: "damaged",
    spoil_header: "damaged",
    spoil_empty: "damaged",
    spoil_version: "another version",
    spoil_directory: "regular file",
    spoil_fifo: "regular file",
    spoil_length: "too long",
    spoil_text: "damaged",
}


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("mode", ["file", "auto"])
def test_what_cannot_be_trusted_is_a_miss_with_a_reason(make, place, details, spoil, mode):
    make(mode, KEY).put(NAME, SESSION, VALUE, 2000.0)
    spoil(place / NAME)
    assert make(mode, KEY).get(NAME) is None
    assert SPOILERS[spoil] in " ".join(details)
    assert "very-secret" not in " ".join(details)
    entries = make(mode, KEY).entries()
    assert [entry.value for entry in entries] == [None]
    if spoil is not spoil_directory:
        make(mode, KEY).put(NAME, SESSION, VALUE, 2000.0)
        assert make(mode, KEY).get(NAME) == VALUE


def test_somebody_elses_file(make, place, details, monkeypatch):
    make().put(NAME, SESSION, VALUE, 2000.0)
    found = make()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    assert found.get(NAME) is None
    assert "belongs to somebody else" in details[0]


@pytest.mark.parametrize("position", [0, 5, 20, -1])
def test_one_flipped_bit_in_a_sealed_entry(make, place, position):
    make("auto", KEY).put(NAME, SESSION, VALUE, 2000.0)
    header, payload = (place / NAME).read_bytes().split(b"\n", 1)
    spoiled = bytearray(payload)
    spoiled[position] ^= 1
    (place / NAME).write_bytes(header + b"\n" + bytes(spoiled))
    assert make("auto", KEY).get(NAME) is None


def test_the_header_and_the_name_are_sealed_too(make, place):
    make("auto", KEY).put(NAME, SESSION, VALUE, 2000.0)
    content = (place / NAME).read_bytes()
    (place / NAME).write_bytes(content.replace(b"2000.0", b"9000.0"))
    assert make("auto", KEY).get(NAME) is None
    (place / NAME).write_bytes(content)
    assert make("auto", KEY).get(NAME) == VALUE
    shutil.move(place / NAME, place / OTHER)
    assert make("auto", KEY).get(OTHER) is None


def test_another_key_or_none(make, details):
    make("auto", KEY).put(NAME, SESSION, VALUE, 2000.0)
    assert make("auto", keys.Key(b"x" * 32, "Ring")).get(NAME) is None
    assert make("auto", NO_KEY).get(NAME) is None
    assert "no keyring is available" in " ".join(details)


def test_mode_keyring_does_not_take_what_is_not_sealed(make):
    make("file").put(NAME, SESSION, VALUE, 2000.0)
    assert make("keyring", KEY).get(NAME) is None
    assert make("auto", KEY).get(NAME) == VALUE


def test_places_that_cannot_hold_secrets(tmp_path, make, details):
    (tmp_path / "file").write_text("")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for directory, reason in [
        (tmp_path / "file" / "cache", "not a directory"),
        (tmp_path / "file", "file"),
        (shared, "can be written by others"),
    ]:
        found = make(directory=directory)
        assert reason in found.reason
        found.put(NAME, SESSION, VALUE, 2000.0)
        assert found.get(NAME) == VALUE
        assert found.where()[0] == "memory"
        with found.lock(NAME) as held:
            assert not held
    assert "sessions are kept in memory only" in details[0]
    assert list(shared.iterdir()) == []
    assert stat.S_IMODE(shared.stat().st_mode) == 0o777


def test_somebody_elses_directory(make, place, monkeypatch):
    place.mkdir()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    assert "belongs to somebody else" in make().reason


def test_no_home(monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: "~/.cache/s3pull")
    found = Cache("auto", environ={})
    assert found.reason == "there is no home directory"
    found.put(NAME, SESSION, VALUE, 9e9)
    assert found.get(NAME) == VALUE


def test_a_disk_that_refuses_a_write(make, place, details, monkeypatch):
    found = make()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("s3pull.access.files.replace", full)
    found.put(NAME, SESSION, VALUE, 2000.0)
    assert found.get(NAME) == VALUE
    assert "no space left on device" in details[-1]


def test_fresh_looks_past_memory(make):
    mine, theirs = make(), make()
    mine.put(NAME, SESSION, VALUE, 2000.0)
    theirs.put(NAME, SESSION, {"newer": True}, 3000.0)
    assert mine.get(NAME) == VALUE
    assert mine.fresh(NAME) == {"newer": True}
    theirs.remove(NAME)
    assert mine.fresh(NAME) == {"newer": True}, "what cannot be found any more is still held"


def test_entries_and_removal(make):
    found = make()
    found.put(NAME, SESSION, VALUE, 2000.0)
    found.put(OTHER, ENDPOINT, {"host": "x"}, 3000.0)
    assert sorted((entry.kind, entry.expires) for entry in make().entries()) == [
        ("endpoint", 3000.0),
        ("session", 2000.0),
    ]
    assert found.remove(NAME)
    assert not found.remove(NAME)
    assert [entry.kind for entry in found.entries()] == ["endpoint"]
    assert "very-secret" not in repr(make().entries())


def test_names_reveal_nothing_and_tell_inputs_apart():
    names = {entry_name(kind, {"id": value}) for kind in (SESSION, ENDPOINT) for value in ("a", "b", None, ["a"])}
    assert len(names) == 8
    assert all(len(name) == 64 for name in names)


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_the_lock_is_held_against_others(make):
    with make().lock(NAME) as first:
        assert first
        with make().lock(NAME, give_up=lambda: True) as second:
            assert not second
    with make().lock(NAME) as third:
        assert third


def test_where_entries_lie(isolated, monkeypatch, tmp_path):
    assert caching.cache_directory(os.environ) == isolated / ".cache" / "s3pull"
    assert caching.cache_directory({"S3PULL_CACHE_DIR": str(tmp_path / "a" / ".." / "b")}) == tmp_path / "b"
    assert Cache("file", environ={"S3PULL_CACHE_DIR": str(tmp_path / "b")}).directory == tmp_path / "b"


def test_the_header_tells_no_more_than_it_must(make, place):
    make().put(NAME, SESSION, VALUE, 2000.0)
    header = json.loads((place / NAME).read_bytes().partition(b"\n")[0])
    assert header == {"s3pull": 1, "kind": "session", "expires": 2000.0, "sealed": False}
