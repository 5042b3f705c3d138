"""What a killed run made is known to be ours, and what it left is tidied away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3pull.errors import NothingThere
from s3pull.local import expected, owner
from s3pull.local.abandoned import remove_abandoned
from s3pull.local.mirror import UNPROVEN
from s3pull.local.receipts import Expected, Receipts
from s3pull.local.tree import Tree
from s3pull.objects import Receipt

WHEN = 1_700_000_000
#: a part of a process that this machine's first process never was
DEAD = owner.token(owner.this_host())[:8] + "00000001" + "f" * 16
PART = f".s3pull-{'a' * 16}-{DEAD}-00000001"


@pytest.fixture
def tree(tmp_path: Path):
    with Tree(tmp_path / "out", create=True) as made:
        yield made


@pytest.fixture
def receipts(tmp_path: Path):
    with Receipts.open(tmp_path / "r.db", durable=False) as made:
        yield made


def put(tree: Tree, path: str, body: bytes = b"body", mtime: float = WHEN) -> Path:
    file = tree.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    os.utime(file, (mtime, mtime))
    return file


def owned(receipts: Receipts) -> list[str]:
    return [row.key for row in receipts.rows() if row.etag == UNPROVEN]


def test_what_was_made_after_the_note_is_ours(tree, receipts):
    expected.note([Expected("k", "a/f", 4, WHEN), Expected("not made", "a/g", 4, WHEN)], tree, receipts)
    put(tree, "a/f")
    assert expected.take(tree, receipts) == {"a"}
    assert list(receipts.rows()) == [Receipt("k", "a/f", 4, WHEN * 10**9, UNPROVEN)]


def test_many_are_taken_while_they_are_recorded(tree, receipts, monkeypatch):
    monkeypatch.setattr("s3pull.local.receipts._PAGE", 7)
    monkeypatch.setattr("s3pull.local.receipts._BATCH", 3)
    names = [f"f{number:03}" for number in range(50)]
    expected.note((Expected(name, name, 4, WHEN) for name in names), tree, receipts)
    for name in names:
        put(tree, name)
    expected.take(tree, receipts)
    assert owned(receipts) == names


def test_what_stood_there_before_is_not(tree, receipts):
    put(tree, "f")
    expected.note([Expected("f", "f", 4, WHEN)], tree, receipts)
    expected.take(tree, receipts)
    assert owned(receipts) == []


def test_what_takes_the_place_of_a_folder_or_a_link_is(tree, receipts):
    (tree.root / "folder").mkdir()
    (tree.root / "link").symlink_to("nowhere")
    expected.note([Expected(name, name, 4, WHEN) for name in ("folder", "link")], tree, receipts)
    expected.take(tree, receipts)
    assert owned(receipts) == []
    (tree.root / "folder").rmdir()
    (tree.root / "link").unlink()
    put(tree, "folder")
    put(tree, "link")
    expected.take(tree, receipts)
    assert owned(receipts) == ["folder", "link"]


@pytest.mark.parametrize(
    ("body", "mtime"), [(b"other size", WHEN), (b"body", WHEN + 60)], ids=["another size", "another time"]
)
def test_somebody_elses_is_not(tree, receipts, body, mtime):
    expected.note([Expected("f", "f", 4, WHEN)], tree, receipts)
    put(tree, "f", body, mtime)
    expected.take(tree, receipts)
    assert owned(receipts) == []


def test_a_link_is_not(tree, receipts):
    expected.note([Expected("f", "f", 4, WHEN)], tree, receipts)
    put(tree, "elsewhere")
    (tree.root / "f").symlink_to("elsewhere")
    expected.take(tree, receipts)
    assert owned(receipts) == []


def test_a_receipt_is_left_as_it_is(tree, receipts):
    receipt = Receipt("f", "f", 4, WHEN * 10**9, "etag")
    receipts.record(receipt)
    receipts.flush()
    expected.note([Expected("f", "f", 4, WHEN, known=True)], tree, receipts)
    put(tree, "f")
    assert expected.take(tree, receipts) == {""}
    assert list(receipts.rows()) == [receipt]


def test_notes_last_until_they_are_settled(tree, receipts):
    expected.note([Expected("a/f", "a/f", 4, WHEN)], tree, receipts)
    assert expected.take(tree, receipts) == {"a"}
    assert expected.take(tree, receipts) == {"a"}
    receipts.settle_expected()
    assert expected.take(tree, receipts) == set()


def test_tidying_takes_dead_parts_and_the_folders_that_they_leave_empty(tree, receipts):
    put(tree, f"a/b/{PART}")
    put(tree, f"kept/{PART}")
    put(tree, "kept/file")
    put(tree, f"marked/{PART}")
    receipts.record(Receipt("marked/", "marked/", 0, 0, "etag"))
    receipts.flush()
    expected.tidy(tree, receipts, {"a/b", "kept", "marked", "never/made"}, dead_age=0.0)
    assert sorted(path.relative_to(tree.root).as_posix() for path in tree.root.rglob("*")) == [
        "kept", "kept/file", "marked",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "gone"),
    [
        ([f"a/{PART}"], True),
        ([f"a/b/{PART}", f"a/{PART}.log"], True),
        (["a/b/file", f"a/{PART}"], False),
        ([f"a/.s3pull-{'a' * 16}-{owner.own_token()}-00000001"], False),
        (["a/.s3pull-notes"], False),
    ],
    ids=["a part", "a folder with one", "a file below", "a part of a living run", "a name like ours"],
)
def test_a_folder_with_nothing_of_anybody_goes(tree, paths, gone):
    for path in paths:
        put(tree, path)
    assert remove_abandoned(tree, "a") is gone
    assert (tree.root / "a").exists() is not gone


def test_an_empty_folder_goes_and_none_is_an_error(tree):
    (tree.root / "a" / "b").mkdir(parents=True)
    assert remove_abandoned(tree, "a")
    with pytest.raises(NothingThere):
        remove_abandoned(tree, "a")


def test_a_link_in_it_keeps_it(tree):
    (tree.root / "a").mkdir()
    (tree.root / "a" / "link").symlink_to("..")
    assert not remove_abandoned(tree, "a")
    assert (tree.root / "a" / "link").is_symlink()
