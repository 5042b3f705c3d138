"""What a Dask worker runs, without Dask: what it opens by itself, what it refuses, and what it sends back."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import pytest

from s3pull import __version__
from s3pull.cli import deputy
from s3pull.local.mirror import State
from s3pull.local.runlock import RunLock
from s3pull.local.tree import Tree
from s3pull.pull.changes import Wanted
from s3pull.pull.errand import Answer, Errand, Way
from s3pull.pull.puller import Choices

BODIES = {"a": b"one", "x/b": b"two"}


@pytest.fixture
def worker(monkeypatch):
    """The worker that runs us, as Dask would say; returns what it was told for its topic."""
    told = []
    it = SimpleNamespace(
        address="tcp://w:1",
        state=SimpleNamespace(nthreads=2),
        log_event=lambda topic, message: told.append((topic, message)),
    )
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(get_worker=lambda: it))
    monkeypatch.setattr(deputy, "_kept", deputy._Kept())
    yield told
    deputy._kept._stack.close()


@pytest.fixture
def errand(here):
    rows = []
    for name, body in BODIES.items():
        rows.append(Wanted(name, len(body), here.put(name, body), None, None, None))
    way = Way(
        version=__version__, source=here.source, options={}, config=None, bucket="data", endpoint="",
        dest=str(here.folder), encode_names=False, locked=False, jobs=4, limit_rate=None,
        choices=Choices(durable=False, mirror=True), root="in/", slots=2,
    )  # fmt: skip
    with Tree(here.folder, create=True) as top, RunLock.acquire(State.open(top, create=True).directory) as lock:
        yield Errand(way, "f" * 16, lock.nonce, tuple(rows))


def answer_to(errand, **facts):
    changed = dataclasses.replace(errand, way=dataclasses.replace(errand.way, **facts))
    return Answer.read(deputy.do_errand(changed.text(), "topic"))


def test_it_opens_the_source_by_itself_and_fetches(here, errand, worker):
    done = answer_to(errand)
    assert done.error is None
    assert (done.worker, done.ident, bool(done.attempt)) == ("tcp://w:1", "f" * 16, True)
    assert here.files() == BODIES
    assert {receipt.key for receipt in done.receipts} == set(BODIES)
    assert {event.key for event in done.events} == {f"in/{name}" for name in BODIES}
    assert {(topic, message[0], message[1]) for topic, message in worker} == {("topic", "f" * 16, done.attempt)}


def test_the_next_errand_of_a_run_uses_what_is_open(here, errand, worker, monkeypatch):
    opened = []
    real = deputy.open_source
    monkeypatch.setattr(deputy, "open_source", lambda *args, **more: opened.append(more) or real(*args, **more))
    for _ in range(2):
        assert answer_to(errand, limit_rate=1000.0).error is None
    assert [more["limit_rate"] for more in opened] == [1000.0]


def test_of_a_limit_each_worker_has_the_share_of_its_threads(here, errand, worker, monkeypatch):
    opened = []
    real = deputy.open_source
    monkeypatch.setattr(deputy, "open_source", lambda *args, **more: opened.append(more) or real(*args, **more))
    answer_to(errand, limit_rate=1000.0, slots=8)
    assert [more["limit_rate"] for more in opened] == [250.0]


def test_another_version_is_refused_whatever_else_it_says(here, errand, worker):
    text = errand.text().replace(f'"version":"{__version__}"', '"version":"9.9"').replace('"rows"', '"lines"')
    done = Answer.read(deputy.do_errand(text, "topic"))
    assert done.error.message == f"it has s3pull {__version__}, and 9.9 is at work here"
    assert (done.error.exit_code, done.error.hint) == (2, "install the same version")


@pytest.mark.parametrize(
    "facts", [{"bucket": "elsewhere"}, {"endpoint": "s3.example"}, {"root": "other/", "source": "acme:"}]
)
def test_a_configuration_that_leads_elsewhere_is_refused(here, errand, worker, facts):
    assert here("share", "add", "acme", "s3://data/in/").exit == 0
    done = answer_to(errand, **facts)
    assert done.error.exit_code == 2
    assert "its configuration takes " in done.error.message
    assert here.files() == {}


def test_a_share_that_the_worker_has_not_is_an_error(here, errand, worker):
    done = answer_to(errand, source="acme:")
    assert done.error.exit_code == 4
    assert "no share 'acme'" in done.error.message


def test_where_it_may_not_read_it_says_so(here, errand, worker, monkeypatch):
    for name, value in here.aws.env(here.aws.user("111111111111", "nobody", None)).items():
        monkeypatch.setenv(name, value)
    done = answer_to(errand)
    assert {event.error.exit_code for event in done.events} == {10}


def test_nobody_is_asked_for_a_code(here, errand, worker, monkeypatch):
    """Also where the worker was started on a terminal."""
    monkeypatch.setattr("s3pull.cli.terminal.can_ask", lambda: True)
    assert deputy._Silent().asker() is None


def test_without_dask_the_hint_says_what_to_install(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    ran = here.sync("--dask", "local:2")
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err == "s3pull: --dask needs Dask, which is not installed\nhint: pip install 's3pull[dask]'\n"
    assert not here.folder.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dask", "somewhere"], "--dask 'somewhere': not the address of a scheduler"),
        (["--dask", "local:2", "--publish"], "--dask does not go with --publish"),
        (["--dask", "local:2", "--shard", "0/2"], "--dask does not go with --shard"),
        (["--dask", "local:2", "--external-id", "9f4c"], "--external-id is not sent through a scheduler"),
        (["--shard", "2/2"], "--shard '2/2': there is no shard 2 of 2, only 0 to 1"),
        (["--shard", "0/2", "--delete"], "--delete does not go with --shard: one part does"),
        (["--shard", "0/2", "--publish"], "--publish does not go with --shard: a release"),
        (["--shard", "0/2", "--wait", "1m"], "--wait does not go with --shard: shards hold"),
    ],
)  # fmt: skip
def test_refused(here, args, message):
    ran = here.sync(*args)
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.startswith(f"s3pull: {message}")
    assert "\nhint: " in ran.err
    assert not here.folder.exists()
