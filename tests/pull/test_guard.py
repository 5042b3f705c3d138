import pytest

from s3pull.errors import DiskError, GuardRefused
from s3pull.pull.guard import Limit, check_deletions, check_room, parse_limit, requests_for


@pytest.mark.parametrize(
    ("gone", "known", "listed", "limit", "passes"),
    [
        (0, 0, 0, None, True),
        (0, 10, 0, None, True),
        (1, 10, 0, Limit(files=100), False),  # an empty listing, whatever the limit
        (1, 10, 0, Limit(percent=100.0), False),
        (5, 10, 5, None, True),
        (6, 10, 4, None, False),
        (1, 1, 1, None, False),
        (1, 2, 1, None, True),
        (10, 10, 1, Limit(percent=100.0), True),
        (3, 10, 7, Limit(files=3), True),
        (4, 10, 6, Limit(files=3), False),
        (1, 10, 9, Limit(files=0), False),
        (2, 10, 8, Limit(percent=20.0), True),
        (3, 10, 7, Limit(percent=20.0), False),
    ],
)
def test_deletions(gone, known, listed, limit, passes):
    if passes:
        check_deletions(gone, known, listed, limit)
    else:
        with pytest.raises(GuardRefused) as refused:
            check_deletions(gone, known, listed, limit)
        assert refused.value.exit_code == 14
        assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "limit"),
    [("0", Limit(files=0)), ("100", Limit(files=100)), ("20%", Limit(percent=20.0)), ("0.5 %", Limit(percent=0.5))],
)
def test_limits(text, limit):
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["", "-1", "101%", "x", "5 files", "%", "1e3", "٣"])
def test_what_is_no_limit(text):
    with pytest.raises(ValueError, match="not a number"):
        parse_limit(text)


def test_room():
    check_room(10, 10)
    with pytest.raises(DiskError, match="cannot fit"):
        check_room(11, 10)


@pytest.mark.parametrize(("size", "requests"), [(0, 1), (100, 1), (1000, 1), (1001, 3), (3000, 4)])
def test_requests(size, requests):
    assert requests_for(size, 100, 1000) == requests
