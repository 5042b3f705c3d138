"""How seldom Python looks for garbage: in both processes of a run, what was loaded is never looked at.

So what goes wrong may leave none: an error that is held by the very calls that it ended would keep their folders and
connections open until Python looks.
"""

import gc
import os
import subprocess
import sys

import pytest

from s3pull.errors import ObjectError, S3pullError, Transient, let_go
from s3pull.pull import spare
from tests.fakes.faults import at, drop, raw, status, truncate_at
from tests.pull.mirroring import mirror
from tests.remote.test_faults import OWNER, World

TELL = "print(gc.isenabled(), gc.get_threshold()[0], gc.get_freeze_count() > 10_000, flush=True)"
#: says whether the collector is on when that module is looked for
LOADING = """
import gc, sys
class Loading:
    def find_spec(self, name, path=None, target=None):
        if name == "{}":
            print(gc.isenabled(), flush=True)
sys.meta_path.insert(0, Loading())
"""


def told(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


def test_the_command():
    code = (
        LOADING.format("s3pull.cli.app")
        + f"""
sys.argv = ["s3pull", "--version"]
from s3pull import __main__
__main__.command()
{TELL}
"""
    )
    assert [line for line in told(code) if not line.startswith("s3pull ")] == ["False", "True 10000 True"]


def test_the_second_process():
    """Its input is the first thing that it asks for."""
    code = (
        LOADING.format("s3pull.pull.mate_process")
        + f"""
class Input:
    buffer = property(lambda self: {TELL})
sys.stdin = Input()
{spare._START.format(sys.path)}
"""
    )
    assert told(code) == ["False", "True 10000 True"]


def test_what_is_made_later_and_lost_is_found():
    code = """
import gc, weakref
from s3pull import garbage
garbage.loading()
class Ring:
    def __init__(self): self.own = self
early = weakref.ref(Ring())
garbage.loaded()
late = weakref.ref(Ring())
kept = [[] for _ in range(50_000)]
print(early() is None, late() is None)
"""
    assert told(code) == ["False True"]


def test_an_error_lets_go_of_the_calls_that_it_ended():
    """Its own, and those of the errors behind it, said or not."""
    raised = []
    try:
        try:
            try:
                raise OSError("the disk")
            except OSError as first:
                raised.append(first)
                raise Transient("the way") from None
        except Transient as second:
            raised.append(second)
            raise second.final() from second
    except S3pullError as third:
        raised.append(third)
    assert all(error.__traceback__ is not None for error in raised)
    let_go(raised[-1])
    assert [error.__traceback__ for error in raised] == [None] * 3
    let_go(raised[-1])
    let_go(ObjectError("never raised"))


FOLDERS, LARGE = 60, 3


@pytest.fixture
def many(fake_aws):
    """So many folders with a small object each, some with a large one, too, and a store of them."""
    fake_aws.bucket("acme", owner=OWNER)
    for number in range(FOLDERS):
        fake_aws.put("acme", f"{number:02}/small", b"0123456789")
    for number in range(LARGE):
        fake_aws.put("acme", f"{number:02}/large", os.urandom(2_000_000))
    world = World(fake_aws)
    yield world.store
    world.store.close()


@pytest.fixture
def no_collector():
    """Gives what other tests hold, as `whatever_is_held` wants it."""
    gc.collect()
    gc.disable()
    yield errors()
    gc.enable()


def errors():
    """All that there are."""
    return [found for found in gc.get_objects() if isinstance(found, S3pullError)]


class First:
    """Whether a key is asked for the first time."""

    def __init__(self):
        self._seen = set()

    def __call__(self, record):
        new = record.key not in self._seen
        self._seen.add(record.key)
        return new


def whatever_is_held(events, before):
    """Errors that are still there and were not before, but for those that were told and what is behind these; and all
    with a traceback.
    """
    told = [event.error for event in events if event.error is not None]
    known = {id(error) for error in told} | {id(error.__cause__ or error.__context__) for error in told}
    others = {id(error) for error in before}
    held = [error for error in errors() if id(error) not in others]
    return [error for error in held if id(error) not in known or error.__traceback__ is not None]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("small", drop()),  # the connection has answered before: nobody's failure
        ("small", drop(reset=True)),
        ("small", raw(b"no head\r\n\r\n")),
        ("small", status(503, "SlowDown")),
        ("small", truncate_at(3)),
        ("large", truncate_at(1_500_000)),
    ],
)
def test_what_was_got_over_is_gone_without_a_collector(many, fake_aws, tmp_path, no_collector, kind, fault):
    made = fake_aws.fault(at("GetObject", key=f"*/{kind}", where=First()), fault, times=None)
    run = mirror(many, tmp_path / "mirror")
    assert set(run.actions().values()) == {"downloaded"}
    assert made.fired == {"small": FOLDERS, "large": LARGE}[kind]
    assert whatever_is_held(run.events, no_collector) == []


@pytest.mark.parametrize("fault", [status(404, "NoSuchKey"), status(403, "AccessDenied"), status(500, "InternalError")])
def test_what_was_told_holds_nothing(many, fake_aws, tmp_path, no_collector, fault):
    fake_aws.fault(at(key="[0-2]*/small"), fault, times=None)
    run = mirror(many, tmp_path / "mirror")
    assert sum(event.error is not None for event in run.events) == 30
    assert whatever_is_held(run.events, no_collector) == []
