"""How much to write at once: whatever costs less lately, and the other is tried again now and then."""

import pytest

from s3pull.local.pieces import SIZES, Pieces

MIB = 1024 * 1024
LARGE, SMALL = SIZES


def write(pieces, costs, count, step=256 * 1024):
    """Write `count` bytes, a MiB of which takes `costs[size]` nanoseconds; how many of them in each size."""
    written = dict.fromkeys(SIZES, 0)
    for _ in range(count // step):
        size = pieces.size
        written[size] += step
        pieces.took(step, costs[size] * step // MIB)
    return written


@pytest.mark.parametrize(("large", "small"), [(100, 150), (400, 150), (100, 100)])
def test_most_is_written_in_the_size_that_costs_less(large, small):
    written = write(Pieces(), {LARGE: large, SMALL: small}, 720 * MIB)
    cheap, dear = (LARGE, SMALL) if large <= small else (SMALL, LARGE)
    assert written[cheap] == 680 * MIB
    assert written[dear] == 40 * MIB


def test_it_begins_with_the_larger_and_tries_both():
    pieces = Pieces()
    costs = {LARGE: 100, SMALL: 90}
    assert write(pieces, costs, 4 * MIB) == {LARGE: 4 * MIB, SMALL: 0}
    assert write(pieces, costs, 4 * MIB) == {LARGE: 0, SMALL: 4 * MIB}
    assert write(pieces, costs, 64 * MIB) == {LARGE: 0, SMALL: 64 * MIB}
    assert write(pieces, costs, 4 * MIB) == {LARGE: 4 * MIB, SMALL: 0}


def test_it_follows_what_changes():
    pieces = Pieces()
    write(pieces, {LARGE: 100, SMALL: 150}, 72 * MIB)
    written = write(pieces, {LARGE: 500, SMALL: 150}, 144 * MIB)
    assert written == {LARGE: 8 * MIB, SMALL: 136 * MIB}


def test_a_clock_that_stands_still():
    """Windows counts a thread's time in steps of 16 ms."""
    written = write(Pieces(), {LARGE: 0, SMALL: 0}, 144 * MIB)
    assert sum(written.values()) == 144 * MIB
