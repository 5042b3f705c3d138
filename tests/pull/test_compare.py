"""The merge of listing, receipts and disk, held to what dicts say."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import ServiceError
from s3pull.local.receipts import Brief
from s3pull.objects import Checksum, RemoteObject
from s3pull.pull.changes import Changes, Gone, Wanted
from s3pull.pull.compare import Ahead, Disordered, compare

KEYS = st.text("ab/-é\U0001f600", min_size=1, max_size=4)
FACTS = st.tuples(st.integers(0, 2), st.sampled_from(["e1", "e2"]))


def pages(objects, size=2):
    found = [RemoteObject("root/" + key, size_, etag) for key, (size_, etag) in sorted(objects.items())]
    return [found[at : at + size] for at in range(0, len(found), size)]


@given(st.dictionaries(KEYS, FACTS), st.dictionaries(KEYS, FACTS), st.dictionaries(KEYS, st.integers(0, 2)), st.data())
def test_it_says_what_dicts_say(bucket, receipted, disk, data):
    out_of_scope = data.draw(st.sets(st.sampled_from(sorted({*bucket, *receipted} or {"a"}))))
    briefs = iter(Brief(key, key, size, 7, etag) for key, (size, etag) in sorted(receipted.items()))
    with Changes() as changes:
        counts = compare(
            [[RemoteObject("beside", 1, "e")], *pages(bucket)],
            "root/",
            briefs,
            lambda path: (disk[path], 7) if path in disk else None,
            changes,
            scope=lambda key: key not in out_of_scope,
        )
        wanted = {row.key: row for row in changes.wanted()}
        gone = [row.key for row in changes.gone()]
    inside = {key: facts for key, facts in bucket.items() if key not in out_of_scope}
    known = {key: facts for key, facts in receipted.items() if key not in out_of_scope}
    same = {key for key in inside if known.get(key) == inside[key] and disk.get(key) == inside[key][0]}
    assert set(wanted) == set(inside) - same
    assert list(wanted) == sorted(wanted)
    assert gone == sorted(set(known) - set(inside))
    assert (counts.listed, counts.same, counts.known, counts.gone) == (len(bucket), len(same), len(known), len(gone))
    for key, row in wanted.items():
        assert row.known == (key in known)
        assert (row.path is None) == (key not in known)


def test_what_does_not_belong_is_not_counted():
    with Changes() as changes:
        counts = compare(
            pages({"a.csv": (1, "e"), "b.txt": (1, "e")}),
            "root/",
            iter([Brief("c.txt", "c.txt", 1, 7, "e")]),
            lambda _: None,
            changes,
            belongs=lambda key: key.endswith(".csv"),
        )
        assert [row.key for row in changes.wanted()] == ["a.csv"]
        assert (counts.listed, counts.gone) == (1, 0)


@pytest.mark.parametrize("keys", [["b", "a"], ["a", "a"]])
def test_a_listing_out_of_order_is_noticed_and_sorted(keys):
    listing = [[RemoteObject(key, number, "e")] for number, key in enumerate(keys)]
    with Changes() as changes:
        with pytest.raises(Disordered):
            compare(listing, "", iter([]), lambda _: None, changes)
        changes.clear()
        counts = compare(changes.in_order(listing), "", iter([]), lambda _: None, changes)
        assert counts.listed == len(set(keys))
        assert [row.key for row in changes.wanted()] == sorted(set(keys))


def test_names_that_are_encoded_anew_move():
    brief = Brief("a%41", "a%41", 1, 7, "e")
    with Changes() as changes:
        compare(
            [[RemoteObject("a%41", 1, "e")]],
            "",
            iter([brief]),
            lambda path: (1, 7) if path == "a%41" else None,
            changes,
            path_of=lambda key: key.replace("%", "%25"),
        )
        assert [(row.path, row.known) for row in changes.wanted()] == [("a%2541", False)]
        assert list(changes.gone()) == [Gone("a%41", "a%41", 1, 7, moved=True)]


def test_rows_come_back_as_they_were():
    found = RemoteObject("root/k", 5, "e", 1.5, "v1", "GLACIER", Checksum("CRC32", "abc=="), restored=False)
    with Changes() as changes:
        changes.want(Wanted.of("k", found))
        changes.want(Wanted("k2", 1, "e", None, None, None, standing=-1))
        first, second = changes.wanted()
        assert first.object("root/") == found
        assert first.path is None
        assert second.standing == -1
        assert changes.unnamed()
        changes.name([("other", "k2")])
        assert [row.path for row in changes.wanted()] == ["k", "other"]
        assert not changes.unnamed()
        changes.drop(["k"])
        assert (changes.wants("k"), changes.wants("k2")) == (False, True)


def test_ahead_gives_everything_and_passes_errors_on():
    def listing():
        yield [1]
        yield [2]
        raise ServiceError("no more")

    got = []
    with pytest.raises(ServiceError):
        for page in Ahead(listing()):
            got += page
    assert got == [1, 2]


def test_ahead_stops_when_nobody_wants_more():
    asked = []
    over = threading.Event()

    def listing():
        try:
            for number in range(10_000):
                asked.append(number)
                yield [number]
        finally:
            over.set()

    ahead = Ahead(listing(), depth=1)
    next(iter(ahead))
    ahead.close()
    assert over.wait(10)
    assert len(asked) < 10
