import os
import sqlite3
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import DiskError, Locked, UsageError
from s3pull.local.receipts import Brief, Receipts, ReceiptsError
from s3pull.local.sweep import Sweep
from s3pull.local.tree import Tree
from s3pull.objects import Receipt

ONE = Receipt("k", "k", 5, 1_700_000_000_123_456_789, "etag", "v1", 1.5, "CRC64NVME", "abc=", True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "receipts.db"


def test_what_is_recorded_is_there_the_next_time(path):
    with Receipts.open(path) as receipts:
        receipts.record(ONE)
        receipts.record(ONE._replace(key="other", path="elsewhere", checksum=None, algorithm=None, verified=False))
    with Receipts.open(path) as receipts:
        assert receipts.find("k") == ONE
        assert [row.key for row in receipts.rows()] == ["k", "other"]
        assert next(receipts.briefs()) == Brief(*ONE[:5])
        assert receipts.find("other").path == "elsewhere"
        assert receipts.find("none") is None
        assert receipts.count() == 2


def test_files_of_a_far_future_have_receipts_too(path, tmp_path):
    """SQLite holds 64 bits, and nanoseconds since 1970 pass them in 2262; ext4 has files until 2446."""
    file = tmp_path / "late"
    file.touch()
    os.utime(file, (13.5e9, 13.5e9))
    if file.stat().st_mtime < 13e9:
        pytest.skip("this file system has no such times")
    with Tree(tmp_path, create=False) as tree, Receipts.open(path) as receipts:
        look = tree.directory("").stat("late")
        receipts.record(ONE._replace(mtime_ns=look.mtime_ns))
        receipts.flush()
        assert receipts.find("k").mtime_ns == look.mtime_ns
        assert Sweep(tree).look("late") == (0, look.mtime_ns)


def test_the_last_word_counts_and_dropped_is_gone(path):
    with Receipts.open(path) as receipts:
        receipts.record(ONE)
        receipts.record(ONE._replace(etag="newer"))
        receipts.flush()
        assert receipts.find("k").etag == "newer"
        receipts.record(ONE._replace(key="j"))
        receipts.drop(["k", "unknown"])
        assert [row.key for row in receipts.rows()] == ["j"]


@given(st.dictionaries(TEXT, TEXT, max_size=20))
def test_keys_come_in_the_order_of_their_utf8(tmp_path_factory, facts):
    with Receipts.open(tmp_path_factory.mktemp("db") / "r.db", durable=False) as receipts:
        for key, path in facts.items():
            receipts.record(ONE._replace(key=key, path=path))
        receipts.flush()
        assert [(row.key, row.path) for row in receipts.briefs()] == sorted(
            facts.items(), key=lambda pair: pair[0].encode()
        )


def test_they_are_committed_soon_without_being_asked(path):
    seen = threading.Event()
    with Receipts.open(path, guard=seen.set) as receipts:
        receipts.record(ONE)
        assert seen.wait(10)


def test_a_process_that_dies_loses_only_what_was_not_committed(path):
    pid = os.fork()
    if pid == 0:
        receipts = Receipts.open(path)
        receipts.record(ONE)
        receipts.flush()
        receipts._db.execute("BEGIN IMMEDIATE")
        receipts._db.execute("DELETE FROM receipts")
        os._exit(9)
    os.waitpid(pid, 0)
    with Receipts.open(path) as receipts:
        assert receipts.find("k") == ONE


def test_nothing_is_written_by_who_lost_the_destination(path):
    def guard():
        raise Locked("taken over")

    receipts = Receipts.open(path, guard=guard)
    told = []
    receipts.on_error = told.append
    receipts.record(ONE)
    with pytest.raises(Locked):
        receipts.flush()
    receipts.close(abandon=True)
    with Receipts.open(path) as again:
        assert again.count() == 0


def test_a_newer_version_is_named_and_left_alone(path):
    Receipts.open(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="newer s3pull") as error:
        Receipts.open(path)
    assert "upgrade" in error.value.hint
    assert path.read_bytes() == before


def garbage(path):
    path.write_bytes(os.urandom(9000))


def another_database(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE things (x)")
    db.close()


def cut_off(path):
    with Receipts.open(path, durable=False) as receipts:
        for number in range(3000):
            receipts.record(ONE._replace(key=f"{number:09}", path="p" * 90))
    os.truncate(path, path.stat().st_size // 2)


def scrambled(path):
    cut_off(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096 * 8))


@pytest.mark.parametrize("damage", [garbage, another_database, cut_off, scrambled])
def test_damage_is_an_error_with_a_way_out_and_never_silent(path, damage):
    damage(path)
    with pytest.raises(ReceiptsError, match="damaged") as error, Receipts.open(path) as receipts:
        receipts.check()
        list(receipts.rows())
    assert error.value.exit_code == 5
    assert "move that file away" in error.value.hint


def test_a_place_that_takes_no_file_is_a_disk_error(tmp_path):
    with pytest.raises(DiskError):
        Receipts.open(tmp_path / "none" / "receipts.db")


def test_only_reading_makes_no_file(path):
    with pytest.raises(DiskError):
        Receipts.open(path, read_only=True)
    assert not path.exists()


def test_many_threads_record(path):
    with Receipts.open(path, durable=False) as receipts:
        threads = [
            threading.Thread(
                target=lambda number=number: [receipts.record(ONE._replace(key=f"{number}-{at}")) for at in range(500)]
            )
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        receipts.flush()
        assert receipts.count() == 4000
