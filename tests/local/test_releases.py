import errno
import os

import pytest

from s3pull.errors import CheckFailed, Locked, UsageError
from s3pull.local.mirror import State
from s3pull.local.releases import Content, Release, Releases, link_or_copy
from s3pull.local.tree import Tree


def nothing():
    pass


@pytest.fixture
def releases(tmp_path):
    with Tree(tmp_path, create=True, durable=False) as tree:
        yield Releases(tree, State.open(tree, create=True), durable=False)


def build(releases, clock=lambda: 1_700_000_000.0, **files):
    releases.begin()
    for name, text in files.items():
        (releases.tree_path(None) / name).write_text(text)
    return releases.publish(nothing, clock=clock)


def test_a_release_is_what_current_leads_to(releases, tmp_path):
    assert releases.current() is None
    first = build(releases, a="1")
    assert first.name == "000001-20231114T221320Z"
    assert releases.current() == Release(first.name, 1, 1_700_000_000.0)
    assert (tmp_path / "current" / "a").read_text() == "1"
    second = build(releases, a="2")
    assert (second.number, (tmp_path / "current" / "a").read_text()) == (2, "2")
    assert [release.number for release in releases.all()] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".s3pull", "current"]


def test_the_old_ones_go_when_enough_newer_ones_are_old_enough(releases):
    now = [1_700_000_000.0]
    for number in range(5):
        build(releases, lambda: now[0], a=str(number))
        now[0] += 100
    # published at 0, 100, 200, 300, 400; it is 500: the successors of 1, 2 and 3 are 400, 300 and 200 old
    assert releases.prune(2, 350.0, nothing, clock=lambda: now[0]) == 1
    assert [release.number for release in releases.all()] == [2, 3, 4, 5]
    assert releases.prune(4, 0.0, nothing, clock=lambda: now[0]) == 0
    assert releases.prune(1, 0.0, nothing, clock=lambda: now[0]) == 2
    assert [release.number for release in releases.all()] == [4, 5]


def test_a_clock_that_was_set_back_removes_nothing_early(releases):
    for number in range(3):
        build(releases, lambda number=number: 1_700_000_000.0 + number * 10, a=str(number))
    assert releases.prune(2, 60.0, nothing, clock=lambda: 1_600_000_000.0) == 0


def test_what_is_not_ours_is_not_replaced(releases, tmp_path):
    (tmp_path / "current").mkdir()
    with pytest.raises(UsageError, match="not ours"):
        releases.current()
    (tmp_path / "current").rmdir()
    (tmp_path / "current").symlink_to("/etc")
    with pytest.raises(UsageError, match="not ours"):
        releases.current()


def test_who_lost_the_lock_does_not_swap(releases, tmp_path):
    build(releases, a="1")
    releases.begin()
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 2:
            raise Locked("taken over")

    with pytest.raises(Locked):
        releases.publish(check)
    assert releases.current().number == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".s3pull", "current"]


def test_a_release_that_was_named_and_never_led_to_is_built_on(releases):
    build(releases, a="1")
    releases.begin()
    (releases.tree_path(None) / "a").write_text("2")
    os.rename(releases.tree_path(None).parent, releases.tree_path(Release("000002-20231114T221320Z", 2, 0.0)).parent)
    assert releases.begin() is True
    assert (releases.tree_path(None) / "a").read_text() == "2"
    assert [release.number for release in releases.all()] == [1]


def lead_back(tmp_path, to):
    (tmp_path / "current").unlink()
    if to is not None:
        (tmp_path / "current").symlink_to(f".s3pull/releases/{to.name}/tree")


@pytest.mark.parametrize("back", [True, False])
def test_who_leads_current_back_loses_no_release(releases, tmp_path, back):
    now = [1_700_000_000.0]
    first, *_ = [build(releases, lambda: now[0], a=str(number)) for number in range(3)]
    now[0] += 5000
    lead_back(tmp_path, first if back else None)
    assert releases.begin() is False
    releases.drop_staging()
    assert [release.number for release in releases.all()] == [1, 2, 3]
    fourth = build(releases, lambda: now[0], a="4")
    assert fourth.number == 4
    # whoever resolved `current` before that reads the first one: it was left just now
    assert releases.prune(2, 60.0, nothing, clock=lambda: now[0]) == (1 if back else 2)
    assert [release.number for release in releases.all()] == ([1, 3, 4] if back else [3, 4])
    now[0] += 61
    releases.prune(2, 60.0, nothing, clock=lambda: now[0])
    assert [release.number for release in releases.all()] == [3, 4]


def test_a_release_whose_process_died_just_after_the_swap_was_published(releases, tmp_path):
    first, second = build(releases, a="1"), build(releases, a="2")
    (releases.tree_path(second).parent / "published").unlink()
    releases.begin()
    releases.drop_staging()
    lead_back(tmp_path, first)
    releases.begin()
    assert [release.number for release in releases.all()] == [1, 2]


@pytest.fixture
def pair(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "old" / "f").write_bytes(b"content")
    os.utime(tmp_path / "old" / "f", ns=(5_000, 5_000))
    with Tree(tmp_path, create=False, durable=False) as tree:
        yield tree.directory("old"), tree.directory("new")


def content(right=True):
    return Content(5_000, 7, lambda _directory, _name: right)


def test_a_file_gets_a_second_name(pair, tmp_path):
    assert link_or_copy(*pair, "f", content()) is True
    assert (tmp_path / "new/f").stat().st_ino == (tmp_path / "old/f").stat().st_ino
    assert link_or_copy(*pair, "f", content()) is True


def test_another_file_in_its_place_is_replaced_not_written_to(pair, tmp_path):
    (tmp_path / "new/f").write_bytes(b"other")
    (tmp_path / "kept").hardlink_to(tmp_path / "new/f")
    assert link_or_copy(*pair, "f", content()) is True
    assert (tmp_path / "new/f").read_bytes() == b"content"
    assert (tmp_path / "kept").read_bytes() == b"other"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP])
def test_without_links_it_is_copied_and_checked(pair, tmp_path, monkeypatch, number):
    def refuse(*_args, **_facts):
        raise OSError(number, "no")

    monkeypatch.setattr(os, "link", refuse)
    assert link_or_copy(*pair, "f", content()) is False
    copied = tmp_path / "new/f"
    assert copied.read_bytes() == b"content"
    assert copied.stat().st_mtime_ns == 5_000
    assert copied.stat().st_ino != (tmp_path / "old/f").stat().st_ino
    copied.unlink()
    with pytest.raises(CheckFailed, match="damaged"):
        link_or_copy(*pair, "f", content(right=False))
    assert list((tmp_path / "new").iterdir()) == []
