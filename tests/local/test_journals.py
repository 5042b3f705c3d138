import json
import os

import pytest

from s3pull.local import journals, owner
from s3pull.local.journals import Journal
from s3pull.local.mirror import UNPROVEN, Mirror, State
from s3pull.local.receipts import Expected, Receipts
from s3pull.local.tree import Tree
from s3pull.objects import Receipt

MIRROR = Mirror("bucket", "", "root/", "acme:root/")


@pytest.fixture
def place(tmp_path):
    with Tree(tmp_path, create=True, durable=False) as tree:
        state = State.open(tree, create=True)
        with Receipts.open(state.receipts_path(), durable=False) as receipts:
            yield tree, state, receipts


def receipt_of(tmp_path, key, *, etag="e", body=b"body"):
    """A file, and the receipt that a journal would have of it."""
    path = tmp_path / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    found = path.stat()
    return Receipt(f"root/{key}", key, found.st_size, found.st_mtime_ns, etag, None, 1.0, "CRC32", "x", True)


def left(state):
    return state.directory.names("journal-")


def test_what_a_journal_says_becomes_receipts_and_the_journal_goes(place, tmp_path):
    tree, state, receipts = place
    journal = Journal(state, "bucket", "")
    said = receipt_of(tmp_path, "x/a")
    journal.write(said)
    journal.close()
    assert journals.merge(state, MIRROR, tree, receipts) == 1
    assert receipts.find("x/a") == said._replace(key="x/a")
    assert left(state) == []


def test_a_journal_that_is_still_written_is_read_and_stays(place, tmp_path):
    tree, state, receipts = place
    journal = Journal(state, "bucket", "")
    journal.write(receipt_of(tmp_path, "a"))
    assert journals.merge(state, MIRROR, tree, receipts) == 1
    assert len(left(state)) == 1
    assert journals.merge(state, MIRROR, tree, receipts) == 0
    journal.close()


def test_what_changed_since_is_left_out(place, tmp_path):
    tree, state, receipts = place
    journal = Journal(state, "bucket", "")
    for key in ("edited", "gone", "folder"):
        journal.write(receipt_of(tmp_path, key))
    journal.close()
    (tmp_path / "edited").write_bytes(b"other bytes")
    (tmp_path / "gone").unlink()
    (tmp_path / "folder").unlink()
    (tmp_path / "folder").mkdir()
    assert journals.merge(state, MIRROR, tree, receipts) == 0
    assert receipts.count() == 0


@pytest.mark.parametrize(("before", "after"), [("e", "e"), ("other", None)])
def test_of_two_receipts_for_one_look_neither_is_believed_unless_they_agree(place, tmp_path, before, after):
    tree, state, receipts = place
    said = receipt_of(tmp_path, "a")
    receipts.record(said._replace(key="a", etag=before))
    receipts.flush()
    journal = Journal(state, "bucket", "")
    journal.write(said)
    journal.close()
    journals.merge(state, MIRROR, tree, receipts)
    found = receipts.find("a")
    assert (found.etag if found else None) == after


@pytest.mark.parametrize(("bucket", "endpoint"), [("other", ""), ("bucket", "elsewhere.example")])
def test_journals_of_another_source_are_not_believed(place, tmp_path, bucket, endpoint):
    tree, state, receipts = place
    journal = Journal(state, bucket, endpoint)
    journal.write(receipt_of(tmp_path, "a"))
    journal.close()
    assert journals.merge(state, MIRROR, tree, receipts) == 0
    assert left(state) == []


def test_keys_outside_the_mirror_are_left_out(place, tmp_path):
    tree, state, receipts = place
    journal = Journal(state, "bucket", "")
    journal.write(receipt_of(tmp_path, "a")._replace(key="elsewhere/a"))
    journal.close()
    assert journals.merge(state, MIRROR, tree, receipts) == 0


@pytest.mark.parametrize("tail", [b'["root/b","b",1', b"\0\0\0\n", b"[1,2]\n", b'{"a":1}\n', b"[" * 2000 + b"\n"])
def test_a_torn_or_strange_line_is_left_out_and_the_rest_counts(place, tmp_path, tail):
    tree, state, receipts = place
    said = receipt_of(tmp_path, "a")
    header = json.dumps({"schema": 1, "bucket": "bucket", "endpoint": ""}).encode()
    name = "journal-" + owner.part_name()
    (state.path / name).write_bytes(header + b"\n" + json.dumps(list(said)).encode() + b"\n" + tail)
    assert journals.merge(state, MIRROR, tree, receipts) == 1


def test_the_journal_of_a_process_that_died_is_read_and_goes(place, tmp_path):
    tree, state, receipts = place
    said = receipt_of(tmp_path, "a")
    pid = os.fork()
    if pid == 0:
        Journal(state, "bucket", "").write(said)
        os._exit(9)
    os.waitpid(pid, 0)
    assert journals.merge(state, MIRROR, tree, receipts) == 1
    assert left(state) == []


def test_a_journal_that_says_nothing_goes_with_its_writer(place):
    _, state, _ = place
    assert journals.at_work(state) is None
    journal = Journal(state, "bucket", "")
    journal.open()
    assert journals.at_work(state) is True
    journal.close()
    assert (left(state), journals.at_work(state)) == ([], None)


def test_whoever_ended_is_no_longer_at_work(place, tmp_path):
    _, state, _ = place
    ended = Journal(state, "bucket", "")
    ended.write(receipt_of(tmp_path, "a"))
    ended.close()
    assert journals.at_work(state) is False
    writing = Journal(state, "bucket", "")
    writing.write(receipt_of(tmp_path, "b"))
    assert journals.at_work(state) is True
    writing.close()


def test_whoever_died_is_not_at_work(place):
    _, state, _ = place
    pid = os.fork()
    if pid == 0:
        Journal(state, "bucket", "").open()
        os._exit(9)
    os.waitpid(pid, 0)
    assert journals.at_work(state) is False


def test_with_keep_every_journal_stays_for_who_holds_the_destination(place, tmp_path):
    tree, state, receipts = place
    journal = Journal(state, "bucket", "")
    journal.expect([Expected("root/gone", "gone", 4, 1.0)])
    journal.write(receipt_of(tmp_path, "a"))
    journal.close()
    assert journals.merge(state, MIRROR, tree, receipts, keep=True) == 1
    assert (len(left(state)), list(receipts.expected())) == (1, [])


def test_what_was_to_be_made_and_has_no_receipt_is_expected(place, tmp_path):
    tree, state, receipts = place
    journal = Journal(state, "bucket", "")
    expected = [Expected(f"root/{name}", name, 4, 1.0) for name in ("a", "b")]
    journal.expect([*expected, Expected("elsewhere/c", "c", 4, None)])
    journal.write(receipt_of(tmp_path, "a"))
    journal.close()
    journals.merge(state, MIRROR, tree, receipts)
    assert list(receipts.expected()) == [Expected("b", "b", 4, 1.0)]


def test_a_proven_receipt_is_taken_for_an_unproven_one(place, tmp_path):
    tree, state, receipts = place
    said = receipt_of(tmp_path, "a")
    receipts.record(said._replace(key="a", etag=UNPROVEN))
    receipts.flush()
    journal = Journal(state, "bucket", "")
    journal.write(said)
    journal.close()
    assert journals.merge(state, MIRROR, tree, receipts) == 1
    assert receipts.find("a").etag == "e"
