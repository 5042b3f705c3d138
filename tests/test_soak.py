"""A minute of the long life in `tests.soak`: what one process holds after each sync does not grow."""

from __future__ import annotations

import pytest

from tests import soak


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_that_syncs_for_a_minute_keeps_nothing() -> None:
    done = soak.soak(45, rate=200, seed=7)
    assert done.wrong == []
    assert done.rounds[-1].code == 0, done.stderr
    assert {one.code for one in done.rounds} <= soak.ENDS, done.stderr
    assert "Traceback" not in done.stderr
    assert done.faults > 0
    # connections are closed when Python comes to collect them, so the number goes up and down, and not up alone
    assert max(one.descriptors for one in done.rounds) < 100, done.rounds
    assert max(one.tasks for one in done.rounds) < 20, done.rounds
    early, late = done.growth()
    assert late < early + 64_000_000
