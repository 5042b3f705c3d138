"""Values of options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.cli.options import number, one_of, rate, size, span


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("17", 17),
        ("1k", 1024),
        ("50M", 50 * 2**20),
        ("50m", 50 * 2**20),
        ("1.5MiB", 3 * 2**19),
        ("50MB", 50_000_000),
        ("200kB", 200_000),
        ("1B", 1),
        ("2GiB/s", 2**31),
        (" 3 T ", 3 * 2**40),
        ("1p", 2**50),
    ],
)
def test_sizes(text, count):
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "M", "-1", "1,5M", "1e3", "50 X", "0x10", "1.M", "١٢M", "1M2", "nan", "inf"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="not a size"):
        size(text)


@given(st.integers(0, 2**50), st.sampled_from("kMGT"))
def test_a_size_with_a_unit_is_the_number_times_the_unit(count, unit):
    assert size(f"{count}{unit}") == pytest.approx(count * 1024 ** ("kMGT".index(unit) + 1), rel=1e-15)
    assert size(f"{count}{unit}iB") == size(f"{count}{unit}")


def test_a_rate_is_more_than_nothing():
    assert rate("1") == 1
    for text in ("0", "0M", "0.1"):
        with pytest.raises(ValueError, match="more than 0"):
            rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("30m", 1800),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("2d", 172800),
        ("0", 0),
    ],
)
def test_durations(text, seconds):
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "m", "1x", "1h30", "30 m", "-5m", "1h 30m", "h1"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        span(text)


def test_numbers_keep_their_bounds():
    parse = number(1, 1024)
    assert [parse("1"), parse("1024")] == [1, 1024]
    for text in ("0", "1025", "-1", "1.0", "", "x", "1_0", "9" * 30, "²"):
        with pytest.raises(ValueError, match="1 to 1024"):
            parse(text)


def test_words_are_exact():
    parse = one_of("process", "env")
    assert parse("env") == "env"
    with pytest.raises(ValueError, match="must be process or env"):
        parse("ENV")
