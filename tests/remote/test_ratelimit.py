"""The token bucket, with a clock that only moves when somebody sleeps."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import Cancelled
from s3pull.remote.ratelimit import RateLimit


class Time:
    def __init__(self):
        self.now = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@given(st.integers(1000, 10_000_000), st.lists(st.integers(1, 1_000_000), min_size=50, max_size=80))
def test_no_more_than_the_rate(rate, wishes):
    world = Time()
    limit = RateLimit(rate, clock=world.clock, sleep=world.sleep)
    grants = [limit.take(wish) for wish in wishes]
    assert all(1 <= grant <= wish for grant, wish in zip(grants, wishes, strict=True))
    # everything but the last grant has been waited for
    assert sum(grants[:-1]) == pytest.approx(world.now * rate, rel=1e-6, abs=1)


def test_grants_are_small_enough_to_share():
    world = Time()
    limit = RateLimit(160_000, clock=world.clock, sleep=world.sleep)
    assert limit.take(1 << 20) == 10_000
    assert RateLimit(10, clock=world.clock, sleep=world.sleep).take(1 << 20) == 1024


def test_unused_grants_are_given_back():
    world = Time()
    limit = RateLimit(1000, clock=world.clock, sleep=world.sleep)
    for _ in range(10):
        granted = limit.take(1000)
        limit.give_back(granted - 100)
    assert world.now == pytest.approx(0.9)


def test_of_idle_time_a_quarter_of_a_second_is_made_up_for():
    world = Time()
    limit = RateLimit(1000, clock=world.clock, sleep=world.sleep)
    world.now = 3600.0
    for _ in range(4):
        limit.take(500)
    assert world.now == pytest.approx(3601.25)  # 2,000 bytes but the last 500, less the quarter of a second


@given(st.lists(st.tuples(st.integers(1, 1_000_000), st.floats(0.0, 1.0)), min_size=50, max_size=200))
def test_whoever_stops_and_goes_gets_no_more_than_the_rate(steps):
    """In any ten seconds, within five in a hundred."""
    rate, world = 1_000_000, Time()
    limit = RateLimit(rate, clock=world.clock, sleep=world.sleep)
    read = []
    for wish, stop in steps:
        world.now += stop
        granted = limit.take(wish)
        read.append((world.now, granted))
    for begin, (since, _) in enumerate(read):
        within = sum(granted for when, granted in read[begin:] if when < since + 10.0)
        assert within <= 10.0 * rate * 1.05 + 1


@given(st.lists(st.floats(0.0, 0.25), min_size=50, max_size=200))
def test_short_stops_cost_nothing(stops):
    rate, world = 1_000_000, Time()
    limit = RateLimit(rate, clock=world.clock, sleep=world.sleep)
    granted = 0
    for stop in stops:
        world.now += stop
        until = world.now + 0.25  # which is enough to make up for it
        while world.now < until:
            granted += limit.take(50_000)
    assert granted >= world.now * rate * 0.999


def test_an_interrupt_wakes_the_waiters():
    limit = RateLimit(1.0)
    outcome = []

    limit.take(1000)  # the next one waits 1000 s

    def wait():
        try:
            limit.take(1)
        except Cancelled:
            outcome.append("cancelled")

    thread = threading.Thread(target=wait)
    thread.start()
    limit.interrupt()
    thread.join(5)
    assert outcome == ["cancelled"]
    with pytest.raises(Cancelled):
        limit.take(1)
