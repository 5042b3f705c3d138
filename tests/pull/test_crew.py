import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import Cancelled
from s3pull.pull.crew import Crew, Worker
from s3pull.pull.pace import Pace, ahead, most, streams
from s3pull.pull.progress import Progress


def crew(jobs=4, **kwargs):
    return Crew(jobs=jobs, progress=Progress(), **kwargs)


def test_every_task_runs_once():
    done = []
    team = crew()
    team.submit([lambda w, n=n: done.append(n) for n in range(1000)])
    team.finish()
    assert sorted(done) == list(range(1000))


def test_nothing_to_do_is_done_at_once():
    crew().finish()


def test_tasks_may_bring_tasks_and_those_go_first():
    order = []
    team = crew(jobs=1)

    def begin(worker):
        order.append("begin")
        team.hurry([lambda w: order.append("part")] * 3)

    team.submit([begin, lambda w: order.append("other")])
    team.finish()
    assert order == ["begin", "part", "part", "part", "other"]


def test_another_is_begun_before_what_was_begun_goes_on():
    order, team = [], crew(jobs=1)

    def first(_worker):
        team.hurry([lambda _worker, n=n: order.append(f"urgent {n}") for n in range(2)])
        team.begin_another()

    team.submit([first, *(lambda _worker, n=n: order.append(f"next {n}") for n in range(2))])
    team.finish()
    assert order == ["next 0", "urgent 0", "urgent 1", "next 1"]


def test_another_is_asked_for_where_there_is_none():
    order, team = [], crew(jobs=1)

    def first(_worker):
        team.hurry([lambda _worker: order.append("urgent")])
        team.begin_another()

    team.submit([first])
    team.finish()
    assert order == ["urgent"]


def test_the_last_task_may_bring_tasks_while_all_others_are_idle():
    done = []
    team = crew(jobs=8)

    def begin(worker):
        time.sleep(0.05)
        team.hurry([lambda w, n=n: done.append(n) for n in range(50)])

    team.submit([begin] + [lambda w: None] * 20)
    team.finish()
    assert sorted(done) == list(range(50))


def test_an_error_that_leaves_a_task_stops_the_run_and_is_raised():
    stopped = []
    team = crew(on_stop=lambda: stopped.append(True))

    def fail(worker):
        raise OSError("boom")

    team.submit([fail] + [lambda w: time.sleep(0.001)] * 100)
    with pytest.raises(OSError, match="boom"):
        team.finish()
    assert stopped == [True]
    assert not team.submit([lambda w: None])


def test_stop_drops_what_waits():
    started = threading.Event()
    release = threading.Event()
    done = []
    team = crew(jobs=1, on_stop=release.set)

    def first(worker):
        started.set()
        release.wait(5)

    team.submit([first, lambda w: done.append(1)])
    started.wait(5)
    team.stop()
    assert team.join(5)
    with pytest.raises(Cancelled):
        team.finish()
    assert done == []


def test_a_worker_keeps_its_buffer_and_grows_it_on_demand():
    sizes = []
    team = crew(jobs=1)
    team.submit([lambda w: sizes.append(len(w.buffer(10))), lambda w: sizes.append(len(w.buffer(1 << 20)))])
    team.finish()
    assert sizes[0] >= 10
    assert sizes[1] == 1 << 20


class Line:
    """A network on which goodput grows with each connection up to a knee; new ones deliver after `ramp` seconds."""

    def __init__(self, pace, knee, ramp=0.0):
        self.pace, self.knee, self.ramp, self.each = pace, knee, ramp, 50.0
        self.now = self.work = 0.0
        self.active, self.changed = pace.target, 0.0

    def run(self, seconds, waiting=999, throttles=0, bound=False):
        seen = []
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            before = self.pace.target
            if self.now - self.changed >= self.ramp:
                self.active = before
            self.work += min(self.active, self.knee) * self.each
            seen.append(self.pace.step(self.now, self.work, waiting, throttles, self.active, bound=bound))
            if self.pace.target != before:
                self.changed = self.now
                self.active = min(self.active, self.pace.target)
        return seen


def test_pace_doubles_while_it_pays_and_settles_when_it_does_not():
    line = Line(Pace(limit=256, target=2), knee=64)
    seen = line.run(4)
    assert max(seen) == 128
    assert seen[-1] == 64


def test_pace_tries_no_more_where_python_is_what_it_is_bound_by():
    line = Line(Pace(limit=256, target=2), knee=64)
    assert set(line.run(8, bound=True)) == {2}
    assert max(line.run(4)) == 128


def test_a_stall_is_no_reason_to_try_more_nor_a_measure_of_it():
    line = Line(Pace(limit=256, target=2), knee=2)
    line.run(1, bound=True)
    line.knee = 0.4  # the disk is busy: this process waits, and is not what it is bound by
    seen = line.run(0.25)
    line.knee = 2
    assert set(seen + line.run(3, bound=True)) == {2}


def test_less_that_goes_on_is_what_more_is_measured_against():
    line = Line(Pace(limit=256, target=2), knee=64)
    line.run(1, bound=True)
    line.each = 10.0  # of what each connection brought before
    assert max(line.run(3)) == 128


def test_pace_tries_no_more_than_the_way_is_long():
    line = Line(Pace(limit=256, target=2, reach=most(0.0001)), knee=1000)
    assert max(line.run(8)) == 16
    line.pace.reach = most(0.03)
    assert max(line.run(20)) == 256


@pytest.mark.parametrize(("milliseconds", "threads"), [(0, 16), (0.1, 16), (1.6, 16), (6, 60), (30, 300)])
def test_threads_worth_trying(milliseconds, threads):
    assert most(milliseconds / 1000) == threads


def test_pace_waits_for_what_is_far_away_before_it_judges():
    line = Line(Pace(limit=256, target=16), knee=1000, ramp=0.5)
    assert line.run(8)[-1] == 256


def test_pace_stays_small_where_more_does_not_pay():
    seen = Line(Pace(limit=256, target=2), knee=2).run(4)
    assert max(seen) == 4
    assert seen[-1] == 2
    assert seen.count(4) < 12


def test_pace_halves_on_a_throttle_and_never_reaches_zero():
    line = Line(Pace(limit=64, target=64), knee=64)
    for throttles in range(1, 12):
        line.run(0.05, throttles=throttles)
    assert line.pace.target == 1


def test_pace_keeps_to_its_limit_and_to_what_waits():
    assert Pace(limit=3, target=16).target == 3
    assert max(Line(Pace(limit=3, target=2), knee=64).run(3)) <= 3
    assert set(Line(Pace(limit=64, target=8), knee=64).run(3, waiting=0)) == {8}


def test_one_thread_begins_however_long_the_way_is():
    team, threads = crew(jobs=8, latency=lambda: 1.0), set()

    def task(_worker):
        threads.add(threading.get_ident())
        time.sleep(0.01)

    team.submit([task] * 8)
    team.finish()
    assert len(threads) == 1


def test_threads_that_wait_for_an_answer_each_are_twice_as_many_as_streams():
    total = [0.0]
    team, seen = crew(jobs=64, latency=lambda: 0.032, waited=lambda: total[0]), []

    def ask(worker):
        time.sleep(0.032)
        total[0] += 0.032
        team.widened = True  # it asks for something ahead, too
        seen.append(team.threads)

    team.submit([ask] * 200)
    team.finish()
    assert max(seen) >= 32


def test_streams_wait_for_answers_too_and_are_no_more_for_that():
    total = [0.0]
    team, targets = crew(jobs=64, latency=lambda: 0.032, waited=lambda: total[0]), []

    def read(worker):
        team.stream()
        time.sleep(0.3)
        total[0] += 0.3
        targets.append(team._pace.target)

    team.submit([read] * 48)
    team.finish()
    assert targets == [16] * 48


def test_a_service_that_throttles_is_not_asked_by_many_at_once():
    team, seen = crew(jobs=64, latency=lambda: 0.032, waited=time.monotonic, throttles=lambda: 1), []

    def retry(worker):
        time.sleep(0.05)
        seen.append(team.threads)

    team.submit([retry] * 30)
    team.finish()
    assert max(seen) <= 2


def test_threads_that_seldom_wait_stay_few():
    total = [0.0]
    team, seen = crew(jobs=64, latency=lambda: 0.032, waited=lambda: total[0]), []

    def work(worker):
        time.sleep(0.01)
        total[0] += 0.002
        seen.append(team._waiting)

    team.submit([work] * 60)
    team.finish()
    assert not any(seen)


def test_threads_that_wait_stay_many_when_another_process_comes():
    team, targets = crew(jobs=64, latency=lambda: 0.032, waited=time.monotonic), []

    def look(worker):
        time.sleep(0.3)
        targets.append(team._pace.target)
        team.halve()
        targets.append(team._pace.target)

    team.submit([look])
    team.finish()
    assert targets == [32, 32]


def test_who_ends_tasks_and_receives_nothing_counts_too():
    progress, threads = Progress(), []
    team, other = Crew(jobs=64, progress=progress, latency=lambda: 0.05), progress.meter()

    def compare(worker):  # what it finds to be done another process does
        time.sleep(0.05)
        threads.append(team.threads)
        other.done_files += 1

    team.submit([compare] * 300)
    team.finish()
    # a probe that is judged only after the seconds that others may take goes no further than 4
    assert max(threads) >= 8


@pytest.mark.parametrize(("wider", "waits", "one"), [(True, 0.0, True), (True, 0.01, False), (False, 0.0, False)])
def test_no_threads_are_added_while_each_comes_to_have_more_under_way_unless_they_wait_for_bodies(wider, waits, one):
    team, seen = crew(jobs=8, latency=lambda: 1.0), []

    def task(worker):
        team.widened = wider
        team.waited += waits
        worker.meter.received += 100_000
        seen.append(team.threads)
        time.sleep(0.01)

    team.submit([task] * 90)
    team.finish()
    assert (max(seen) == 1) is one


@pytest.mark.parametrize(
    ("latency", "threads", "requests"),
    [(0.0, 1, 4), (0.0005, 1, 5), (0.004, 1, 40), (0.03, 8, 38), (0.03, 64, 5), (1.0, 2, 240)],
)
def test_requests_ahead_follow_the_latency_too(latency, threads, requests):
    assert ahead(latency, threads) == requests


@pytest.mark.parametrize(("latency", "threads"), [(0.0, 1), (0.0029, 1), (0.006, 3), (0.03, 15), (1.0, 16)])
def test_streams_follow_the_latency(latency, threads):
    assert streams(latency) == threads


def test_something_large_calls_more_threads():
    team, at_once, gate = crew(jobs=8, latency=lambda: 0.03), [], threading.Barrier(6)

    def begin(worker):
        team.stream()
        team.hurry([lambda worker: at_once.append(gate.wait(20))] * 6)

    team.submit([begin])
    team.finish()
    assert len(at_once) == 6


def test_more_threads_are_called_when_objects_turn_out_to_be_far_away():
    latency = [0.0]
    team, at_once, gate = crew(jobs=8, latency=lambda: latency[0]), [], threading.Barrier(6)

    def begin(worker):
        team.stream()
        latency[0] = 0.03
        team.hurry([lambda worker: at_once.append(gate.wait(20))] * 6)

    team.submit([begin])
    team.finish()
    assert len(at_once) == 6


def test_what_is_raised_is_measured_anew():
    line = Line(Pace(limit=64, target=2), knee=64)
    line.run(0.5)
    assert line.pace.target == 4  # a probe, with 2 to go back to
    line.pace.raise_to(16)
    assert set(line.run(0.35)) == {16}
    line.pace.raise_to(3)
    assert line.pace.target >= 16
    line.pace.raise_to(1000)
    assert line.pace.target == 64


@pytest.mark.parametrize(("threads", "kib"), [(1, 1024), (16, 1024), (17, 256)])
def test_pieces_are_smaller_where_many_threads_have_one(threads, kib):
    team = crew(jobs=threads, least_streams=threads)
    seen, gate = [], threading.Barrier(threads)

    def one(worker):
        gate.wait(20)
        seen.append(team.piece)
        gate.wait(20)

    def begin(worker):
        team.stream()
        team.hurry([one] * threads)

    team.submit([begin])
    team.finish()
    assert seen == [kib * 1024] * threads


class Asked:
    def __init__(self, told, name, error=None):
        self.told, self.name, self.error = told, name, error

    def end(self, worker):
        self.told.append(("ended", self.name))
        if self.error is not None:
            raise self.error

    def drop(self):
        self.told.append(("dropped", self.name))


def test_what_is_pending_outlives_its_task_and_is_ended_before_the_thread_waits():
    told = []
    team = crew(jobs=1)

    def ask(name):
        def task(worker):
            told.append(("asked", name))
            worker.pending.append(Asked(told, name))
            worker.catch_up(2)

        return task

    team.submit([ask(n) for n in range(4)])
    team.finish()
    assert told == [
        ("asked", 0), ("asked", 1), ("asked", 2), ("ended", 0), ("asked", 3), ("ended", 1), ("ended", 2), ("ended", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("width", "asked", "left"),
    [(1, 1, 0), (2, 2, 1), (3, 3, 1), (4, 3, 3), (4, 4, 2), (15, 15, 7), (16, 16, 8), (128, 127, 127), (128, 128, 120)],
)
def test_answers_are_taken_in_a_row_once_as_much_is_asked_for_as_may_be(width, asked, left):
    told, worker = [], Worker(Progress().meter())
    worker.pending += [Asked(told, n) for n in range(asked)]
    worker.make_way(width)
    assert told == [("ended", n) for n in range(asked - left)]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=300))
def test_no_more_is_ever_pending_than_may_be(widths):
    told, worker = [], Worker(Progress().meter())
    for n, width in enumerate(widths):
        worker.pending.append(Asked(told, n))
        worker.make_way(width)
        assert len(worker.pending) < width
    assert told == [("ended", n) for n in range(len(told))]


def test_what_is_pending_when_the_run_ends_early_is_dropped():
    told = []
    team = crew(jobs=1)

    def ask(worker):
        worker.pending += [Asked(told, "first", OSError("boom")), Asked(told, "second")]

    team.submit([ask])
    with pytest.raises(OSError, match="boom"):
        team.finish()
    assert told == [("ended", "first"), ("dropped", "second")]


def test_idle_cores_are_what_was_idle_of_all_lately():
    began = time.monotonic()
    team = crew(jobs=1, idle_seconds=lambda: 2.5 * (time.monotonic() - began))
    assert team._idle_cores == math.inf  # nobody knows yet
    team.submit([lambda _worker: time.sleep(0.6)])
    team.finish()
    assert team._idle_cores == pytest.approx(2.5, abs=0.3)


@pytest.mark.parametrize(
    ("idle", "use", "streaming", "cores", "full"),
    [
        (0.1, 0.5, True, 1, True),
        (0.3, 0.5, True, 1, False),
        (0.1, 0.2, True, 1, False),  # others are busy here, not we
        (0.1, 0.5, False, math.inf, True),  # small objects are Python's work
        (0.1, 0.5, True, math.inf, False),  # threads that do not take turns
    ],
)
def test_no_threads_are_added_on_a_machine_that_is_full(idle, use, streaming, cores, full):
    team, seen = crew(jobs=8, stream_cores=cores), []

    def look(_worker):
        if streaming:
            team.stream()
        team._idle_cores = idle
        seen.append(team._full(use))

    team.submit([look])
    team.finish()
    assert seen == [full]


@pytest.mark.parametrize(("idle", "bound"), [(lambda: 0.0, True), (lambda: None, False)])
def test_a_full_machine_is_what_threads_are_bound_by(idle, bound):
    team = crew(jobs=1, idle_seconds=idle)

    def half_busy(_worker):
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            own = time.thread_time() + 0.01
            while time.thread_time() < own:
                pass
            time.sleep(0.01)

    team.submit([half_busy])
    team.finish()
    assert team._bound is bound


def test_a_first_answer_that_was_late_for_no_reason_calls_no_threads_for_long():
    latency = [0.03]
    team, seen = crew(jobs=64, latency=lambda: latency[0]), []

    def begin(_worker):
        team.stream()
        seen.append(team._pace.target)
        latency[0] = 0.001
        time.sleep(0.12)
        seen.append(team._pace.target)

    team.submit([begin])
    team.finish()
    assert seen == [15, 1]


def test_streams_that_were_measured_stay_when_an_answer_comes_sooner():
    pace = Pace(limit=64, target=1)
    pace.raise_to(16)
    line = Line(pace, knee=16)
    line.run(0.3)
    assert not pace.lower(16, 4)
    assert pace.target >= 16


def test_a_probe_that_failed_goes_back_to_no_less_than_was_asked_for():
    line = Line(Pace(limit=64, target=2), knee=2)
    line.run(0.5)
    assert line.pace.target == 4
    line.pace.raise_to(3)
    assert line.run(2)[-1] == 3


def test_two_processes_share_the_streams():
    for processes, threads in ((1, 16), (2, 8)):
        team, seen = crew(jobs=64, processes=processes, latency=lambda: 0.032), []

        def look(_worker, team=team, seen=seen):
            team.stream()
            seen.append(team._pace.target)

        team.submit([look])
        team.finish()
        assert seen == [threads]


def test_who_is_alone_again_has_all_connections_and_streams():
    team, seen = crew(jobs=63, latency=lambda: 0.032), []

    def look(_worker):
        team.stream()
        seen.append((team.limit, team._pace.target))
        team._open_ways()
        seen.append((team.limit, team._pace.target))

    team.halve()
    team.submit([look])
    while len(seen) < 2:
        time.sleep(0.001)
    team.alone()
    team.submit([look])
    team.finish()
    assert seen == [(31, 8), (31, 8), (63, 8), (63, 16)]


def test_room_is_what_the_way_asks_for_and_the_limit_allows():
    assert crew(jobs=256, latency=lambda: 0.03).room == 240
    assert crew(jobs=8, latency=lambda: 0.03).room == 8
    assert crew(jobs=256, latency=lambda: 0.0).room == 4
