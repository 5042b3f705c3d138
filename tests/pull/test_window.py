"""How many requests are under way: few at first, as many as the way is long soon, and never more than is allowed."""

from types import SimpleNamespace

import pytest

from s3pull.pull.window import Window

KIB = 1024


class Store:
    """Opens what it is asked for at once, or has so many `open`."""

    def __init__(self, open_=None):
        self.open = open_
        self.asked = []

    def widen(self, count):
        self.asked.append(count)
        return count if self.open is None else self.open


def crew(room=100, threads=1, limit=256):
    made = SimpleNamespace(room=room, threads=threads, limit=limit, reckoned=0, widened=False)

    def make_room():
        made.reckoned += 1

    made.make_room = make_room
    return made


@pytest.mark.parametrize(
    ("size", "room", "width"),
    [
        (0, 100, 16),
        (4 * KIB, 100, 16),
        (4 * KIB, 4, 4),
        (16 * KIB, 100, 4),
        (256 * KIB, 100, 3),
    ],
)
def test_one_first_and_then_a_few(size, room, width):
    window = Window(crew(room), Store())
    assert window.width(size) == 1
    window.went(True)
    assert window.width(size) == width


def test_it_opens_by_two_with_each_answer_and_is_no_wider_than_the_way_is_long():
    team = crew(room=40)
    window = Window(team, Store())
    widths = []
    for _ in range(25):
        window.went(True)
        widths.append(window.width(256 * KIB))
    assert widths == [min(3 + 2 * number, 40) for number in range(25)]
    assert team.reckoned == 7  # while it was narrow
    team.room = 4
    assert window.width(0) == 4


def test_the_crew_is_told_as_long_as_it_opens():
    team = crew(room=22)
    window = Window(team, Store())
    told = []
    for _ in range(12):
        window.went(True)
        window.width(256 * KIB)
        told.append(team.widened)
        team.widened = False
    assert told == [True] * 7 + [False, True] * 2 + [False]  # 3, 5, ... 15, then 17 is little more than that, 19 is not


def test_a_slow_answer_closes_it():
    window = Window(crew(), Store())
    for _ in range(30):
        window.went(True)
    assert window.width(0) == 61
    window.went(False)
    assert window.width(256 * KIB) == 1


def test_connections_are_asked_for_ahead_and_waited_for():
    store = Store(open_=6)
    window = Window(crew(room=100, threads=2, limit=90), store)
    window.went(True)
    assert window.width(0) == 3  # of the 6 each thread has as many
    assert store.asked == [90]  # two threads, four times as many as they want, and no more than allowed
    store.open = 40
    assert window.width(0) == 16
    assert window.width(0) == 16
    assert len(store.asked) == 2  # not while there are enough
    store.open = 0
    for _ in range(20):
        window.went(True)
    assert window.width(0) == 1
