"""Records are what frozen dataclasses would be, and show no secrets."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import typing
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.access.cache import Entry
from s3pull.access.config import Share
from s3pull.access.keys import Key
from s3pull.access.profiles import Profiles
from s3pull.objects import Access, Credentials
from s3pull.records import NamedTuple, Record
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


class Ours(NamedTuple):
    """What it is."""

    size: int
    name: str = "?"
    parts: tuple[int, ...] = ()

    @property
    def twice(self) -> int:
        return 2 * self.size

    @classmethod
    def of(cls, name: str) -> Ours:
        return cls(0, name)


class Typings(typing.NamedTuple):
    """What it is."""

    size: int
    name: str = "?"
    parts: tuple[int, ...] = ()

    @property
    def twice(self) -> int:
        return 2 * self.size

    @classmethod
    def of(cls, name: str) -> Typings:
        return cls(0, name)


def test_a_named_tuple_is_what_typings_is():
    public = [{name for name in dir(each) if not name.startswith("__")} for each in (Ours, Typings)]
    assert public[0] == public[1]
    for name in ("__doc__", "__module__", "__match_args__", "_fields", "_field_defaults", "__mro__"):
        ours, typings = getattr(Ours, name), getattr(Typings, name)
        assert str(ours).replace("Ours", "Typings") == str(typings)
    assert (Ours.__name__, Ours.__qualname__) == ("Ours", "Ours")
    assert Ours(3) == Typings(3) == (3, "?", ())
    assert Ours(3, parts=(1,))._replace(name="b") == (3, "b", (1,))
    assert repr(Ours.of("a")) == "Ours(size=0, name='a', parts=())"
    assert Ours(3).twice == 6
    assert pickle.loads(pickle.dumps(Ours(3))) == Ours(3)
    assert typing.get_type_hints(Ours) == typing.get_type_hints(Typings)
    with pytest.raises(TypeError):
        Ours()
    with pytest.raises(AttributeError):
        Ours(3).size = 4
    with pytest.raises(AttributeError):
        Ours(3).other = 4


def test_no_record_is_made_by_typing():
    """It compiles each annotation, and every run would wait for that."""
    code = "import typing; typing.NamedTuple = None; import s3pull.pull.get, s3pull.pull.sync, s3pull.cli.app"
    subprocess.run([sys.executable, "-c", code], check=True)
