"""`Store.ask`: a request ahead of its answer ends like `get`, whatever happens in between."""

import pytest

from s3pull.errors import Cancelled, NothingThere, ObjectChanged, ServiceError, Transient
from s3pull.remote import pool
from tests.fakes.faults import drop, expire_tokens, reset_after, slow_head, status
from tests.remote.test_faults import World, aws
from tests.waiting import wait_until

__all__ = ["aws"]


@pytest.fixture
def world(aws):
    world = World(aws)
    yield world
    world.store.close()


def test_answers_come_in_any_order_and_keep_their_connections(world):
    asked = [world.store.ask("small") for _ in range(5)]
    assert [world.read(one.body()) for one in reversed(asked)] == [b"0123456789"] * 5
    assert [world.read(world.store.ask("small").body()) for _ in range(5)] == [b"0123456789"] * 5
    assert len({one.client_port for one in world.aws.asked("GetObject")}) == 5


def test_requests_use_the_connections_that_were_opened_ahead(world, monkeypatch):
    monkeypatch.setattr(pool, "_QUICK_SECONDS", 0.0)
    world.read(world.store.ask("small").body())
    wait_until(lambda: world.store.widen(6) >= 6, seconds=10)
    wait_until(lambda: world.aws.server.connections == 6, seconds=10)  # a connection is open before it is accepted
    asked = [world.store.ask("small") for _ in range(6)]
    assert [world.read(one.body()) for one in asked] == [b"0123456789"] * 6
    assert world.aws.server.connections == 6


def test_the_answer_brings_the_checksum(world):
    with world.store.ask("small").body() as body:
        assert body.object.checksum is not None
        assert body.length == 10


@pytest.mark.parametrize("fault", [drop(), drop(reset=True), status(500), status(503, "SlowDown"), expire_tokens()])
def test_what_goes_wrong_with_the_first_try_is_tried_again(world, fault):
    world.aws.fault("GetObject", fault)
    assert world.read(world.store.ask("small").body()) == b"0123456789"
    assert world.aws.count("GetObject") == 2


def test_a_body_that_breaks_off_is_the_callers_as_with_get(world):
    world.aws.fault("GetObject", reset_after(100_000))
    assert world.read_until(world.store.ask("k").body(), Transient) <= 100_000


def test_the_first_try_counts(world):
    world.aws.fault("GetObject", status(500), times=None)
    with pytest.raises(ServiceError) as caught:
        world.store.ask("small").body()
    assert not isinstance(caught.value, Transient)
    assert world.aws.count("GetObject") == 8


def test_errors_are_those_of_get(world):
    pin = world.store.head("small")
    world.aws.put("acme", "small", b"9876543210")
    with pytest.raises(ObjectChanged):
        world.store.ask("small", pin=pin).body()
    with pytest.raises(NothingThere):
        world.store.ask("gone").body()


def test_nobody_need_read_the_answer(world):
    world.store.ask("small").drop()
    asked = world.store.ask("small")
    asked.drop()
    asked.drop()
    assert world.read(world.store.get("small")) == b"0123456789"


def test_an_idle_connection_that_died_is_nobodys_failure(world):
    world.read(world.store.get("small"))
    world.aws.server.drop_connections()
    assert world.read(world.store.ask("small").body()) == b"0123456789"
    assert world.slept == []


def test_an_interrupt_reaches_it(world):
    world.aws.fault("GetObject", slow_head(60))
    asked = world.store.ask("small")
    world.store.interrupt()
    with pytest.raises(Cancelled):
        asked.body()
    with pytest.raises(Cancelled):
        world.store.ask("small").body()
