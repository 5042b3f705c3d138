"""Records are what frozen dataclasses would be, and show no secrets."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.access.cache import Entry
from s3pull.access.config import Share
from s3pull.access.keys import Key
from s3pull.access.profiles import Profiles
from s3pull.objects import Access, Credentials
from s3pull.records import Record
from s3pull.remote.proxies import Proxy


class Small(Record, hidden=("secret",), aside=("origin",)):
    name: str
    secret: str | None = None
    origin: int = 0


class Larger(Small, hidden=("more",)):
    more: tuple[int, ...] = ()


@dataclass(frozen=True)
class SmallBefore:
    name: str
    secret: str | None = field(default=None, repr=False)
    origin: int = field(default=0, compare=False)


@dataclass(frozen=True)
class LargerBefore(SmallBefore):
    more: tuple[int, ...] = field(default=(), repr=False)


GIVEN = st.tuples(
    st.lists(st.sampled_from(["a", "b", None, 1, (2,)]), max_size=5),
    st.dictionaries(st.sampled_from(["name", "secret", "origin", "more", "other"]), st.sampled_from(["a", "b", 1])),
)


def made(kind, given):
    try:
        return kind(*given[0], **given[1])
    except TypeError:
        return None


@pytest.mark.parametrize(("kind", "before"), [(Small, SmallBefore), (Larger, LargerBefore)])
@given(first=GIVEN, second=GIVEN)
def test_they_are_as_dataclasses(kind, before, first, second):
    ours, theirs = ([made(one, given) for given in (first, second)] for one in (kind, before))
    assert [one is None for one in ours] == [one is None for one in theirs]
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    for our, their in zip(ours, theirs, strict=True):
        if our is not None:
            assert repr(our) == repr(their).replace("Before", "")
            assert [getattr(our, name) for name in kind.fields()] == list(vars(their).values())
            assert pickle.loads(pickle.dumps(our)) == copy.deepcopy(our) == our
            assert hash(our) == hash(pickle.loads(pickle.dumps(our)))


def test_other_kinds_are_never_equal():
    assert Small("a") != Larger("a")
    assert Small("a") != ("a", None, 0)
    assert Small("a", origin=1) == Small("a", origin=2)


def test_they_are_frozen():
    small = Small("a")
    with pytest.raises(AttributeError, match="frozen: name"):
        small.name = "b"
    with pytest.raises(AttributeError, match="frozen: name"):
        del small.name
    assert small.but(name="b") == Small("b")
    assert small == Small("a")
    with pytest.raises(TypeError, match="Small: other"):
        small.but(other=1)


@pytest.mark.parametrize(
    "record",
    [
        Credentials("AKIA", "s3cr3t", "s3cr3t"),
        Access("bucket", external_id="s3cr3t"),
        Share("acme", external_id="s3cr3t"),
        Entry("name", "session", 0.0, False, {"key": "s3cr3t"}),
        Key(b"s3cr3t"),
        Proxy(True, "proxy", 3128, b"s3cr3t"),
        Profiles({"work": {"aws_secret_access_key": "s3cr3t"}}),
    ],
    ids=lambda record: type(record).__name__,
)
def test_who_holds_a_secret_does_not_give_it_away(record):
    for said in (repr(record), f"{record}", json.dumps([record], default=str)):
        assert "s3cr3t" not in said
    with pytest.raises(TypeError):
        list(record)
    assert pickle.loads(pickle.dumps(record)) == record
