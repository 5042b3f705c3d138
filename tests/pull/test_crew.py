import threading
import time

import pytest

from s3pull.errors import Cancelled
from s3pull.pull.crew import Crew
from s3pull.pull.pace import Pace
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


def test_pace_doubles_while_it_pays_and_settles_when_it_does_not():
    pace = Pace(limit=256, target=16)
    seen, work, now = [], 0.0, 0.0
    for _ in range(12):
        now += 0.1
        work += min(pace.target, 64) * 1000  # goodput grows up to 64 connections
        seen.append(pace.step(now, work, waiting=999, throttles=0))
    assert max(seen) == 128
    assert seen[-1] == 64


def test_pace_halves_on_a_throttle_and_never_reaches_zero():
    pace = Pace(limit=64, target=64)
    now = work = 0.0
    for throttles in range(10):
        now, work = now + 0.1, work + 1e6
        pace.step(now, work, 999, throttles)
    assert pace.target == 1


def test_pace_keeps_to_its_limit_and_to_what_waits():
    pace = Pace(limit=3, target=16)
    assert pace.target == 3
    for beat in range(20):
        assert pace.step(beat * 0.1, beat * 1e6, 999, 0) <= 3
    calm = Pace(limit=64, target=8)
    for beat in range(20):
        assert calm.step(beat * 0.1, beat * 1e6, 0, 0) == 8
