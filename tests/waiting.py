"""Waiting for what another thread or process does: until it is so, or the test has failed."""

import time


def wait_until(condition, what="it did not come to that", *, seconds=30):
    """Until `condition()` holds; fails with `what` when it has not after so many seconds."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(0.01)
