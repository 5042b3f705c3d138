"""The body of a small object that comes in pieces: what of it threads wait for, and when it is too slow to be one."""

import time
from types import SimpleNamespace

from s3pull.errors import Transient
from s3pull.pull import small


class Pieces:
    """Some bytes at a time, a moment after they are asked for; then `ends`, if it is an error."""

    def __init__(self, sizes, moment, ends=None):
        self.left, self._moment, self._ends = list(sizes), moment, ends

    def readinto(self, buffer):
        time.sleep(self._moment)
        if not self.left and self._ends is not None:
            raise self._ends
        count = min(len(buffer), self.left.pop(0))
        buffer[:count] = b"x" * count
        return count


def read_on(body, patience=10.0, size=100, filled=10):
    crew, view = SimpleNamespace(waited=1.0), memoryview(bytearray(size))
    view[:filled] = b"x" * filled
    error = None
    try:
        small._read_on(body, view, filled, time.monotonic() + patience, crew)
    except Exception as raised:
        error = raised
    return crew.waited - 1.0, bytes(view), error


def test_what_threads_wait_for_of_a_body_is_counted():
    waited, got, error = read_on(Pieces([40, 50], 0.02))
    assert (got, error) == (b"x" * 100, None)
    assert waited >= 0.04


def test_a_body_that_takes_its_time_is_handed_on_with_what_came():
    body = Pieces([40, 20, 30], 0.02)
    waited, _, error = read_on(body, patience=0.03)
    assert isinstance(error, small._Slow)
    assert (error.body, bytes(error.head)) == (body, b"x" * 70)
    assert waited >= 0.04


def test_nobody_waits_longer_for_a_body_whose_first_bytes_took_all_the_time():
    body = Pieces([90], 0.02)
    _, _, error = read_on(body, patience=-0.01)
    assert isinstance(error, small._Slow)
    assert (len(error.head), body.left) == (10, [90])


def test_what_was_waited_for_in_vain_counts_too():
    waited, _, error = read_on(Pieces([40], 0.02, ends=Transient("broke off")))
    assert isinstance(error, Transient)
    assert waited >= 0.04
