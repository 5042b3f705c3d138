"""The law of `Patience`, with a clock that only moves when somebody sleeps."""

import threading
import time

import pytest

from s3pull.errors import Cancelled, ServiceError, Transient
from s3pull.remote import retry
from s3pull.remote.retry import Patience


class Time:
    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def patience(fraction=1.0, **options):
    world = Time()
    return world, Patience(clock=world.clock, sleep=world.sleep, fraction=lambda: fraction, **options)


def exhaust(attempts, error):
    tries = 0
    while True:
        tries += 1
        try:
            attempts.failed(error)
        except ServiceError as raised:
            assert not isinstance(raised, Transient), "nobody further up may try it again"
            assert raised.__cause__ is error
            assert raised.message == error.message
            return tries


def test_waits_double_up_to_the_cap_and_end_after_eight_failures():
    world, shared = patience()
    assert exhaust(shared.attempts(), Transient("x")) == 8
    assert world.slept == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]


def test_the_jitter_is_full():
    world, shared = patience(fraction=0.0)
    exhaust(shared.attempts(), Transient("x"))
    assert set(world.slept) == {0.0}


def test_progress_starts_the_count_anew():
    _, shared = patience()
    attempts = shared.attempts()
    for _ in range(7):
        attempts.failed(Transient("x"))
    attempts.progressed()
    assert exhaust(attempts, Transient("x")) == 8


def test_slow_failures_end_sooner():
    world, shared = patience()
    attempts = shared.attempts()
    tries = 0
    with pytest.raises(ServiceError):
        while True:
            world.now += 30  # each try took its silence
            tries += 1
            attempts.failed(Transient("no data"))
    assert tries == 3


def test_being_throttled_is_no_matter_of_time():
    _, shared = patience()
    assert exhaust(shared.attempts(), Transient("slow down", throttled=True, retry_after=60)) == 8


@pytest.mark.parametrize(("asked", "waited"), [(5.0, 5.0), (0.0, 0.2), (3600.0, 60.0)])
def test_retry_after_is_respected_up_to_a_minute(asked, waited):
    world, shared = patience()
    shared.attempts().failed(Transient("x", retry_after=asked))
    assert world.slept == [waited]


def spend_it_all(shared):
    while exhaust(shared.attempts(), Transient("x")) > 1:
        pass


def test_a_blip_that_hits_everybody_is_survived():
    _, shared = patience(fraction=0.0)  # the sleeps of all of them are one after another here
    everybody = [shared.attempts() for _ in range(256)]
    for _ in range(7):
        for attempts in everybody:
            attempts.failed(Transient("x"))
    for attempts in everybody:
        attempts.progressed()
    assert shared._budget == retry.BUDGET


def test_a_dead_network_ends_the_operations_sooner_and_sooner():
    _, shared = patience()
    tries = sum(exhaust(shared.attempts(), Transient("x")) for _ in range(5000))
    assert tries == 5000 + retry.BUDGET / retry.FAILURE_COST


def test_breaks_that_are_got_over_never_use_the_budget_up():
    _, shared = patience()
    attempts = shared.attempts()
    for _ in range(10_000):
        attempts.failed(Transient("x"))
        attempts.progressed()


def test_success_fills_the_budget_again():
    _, shared = patience()
    spend_it_all(shared)
    shared.succeeded()
    shared.succeeded()
    assert exhaust(shared.attempts(), Transient("x")) == 3


def test_throttling_closes_the_gate_for_everybody_and_is_counted():
    world, shared = patience()
    shared.wait_at_gate()
    assert world.slept == []
    shared._sleep = lambda seconds: None  # this thread's own wait
    shared.attempts().failed(Transient("slow down", throttled=True, retry_after=4))
    shared._sleep = world.sleep
    assert shared.throttles == 1
    shared.wait_at_gate()
    assert world.slept == [pytest.approx(4.8)]  # jittered, so that not all come at once
    shared.wait_at_gate()
    assert len(world.slept) == 1


def test_other_failures_leave_the_gate_open():
    world, shared = patience()
    shared.attempts().failed(Transient("x"))
    count = len(world.slept)
    shared.wait_at_gate()
    assert len(world.slept) == count and shared.throttles == 0


def test_an_interrupt_wakes_sleepers_and_refuses_later_ones():
    shared = Patience(fraction=lambda: 1.0)
    outcome = []

    def work():
        try:
            shared.attempts().failed(Transient("x", retry_after=60))
        except Cancelled:
            outcome.append("cancelled")

    thread = threading.Thread(target=work)
    thread.start()
    started = time.monotonic()
    time.sleep(0.05)
    shared.interrupt()
    thread.join(5)
    assert outcome == ["cancelled"] and time.monotonic() - started < 5
    with pytest.raises(Cancelled):
        shared.attempts().failed(Transient("x"))
