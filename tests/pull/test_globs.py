import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import UsageError
from s3pull.pull.globs import Filters, fixed_part, has_magic, matcher


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.csv", ["a.csv", ".csv"], ["a/b.csv", "a.csv.gz", "a.CSV"]),
        ("2026/*.parquet", ["2026/a.parquet"], ["2026/x/a.parquet", "2025/a.parquet"]),
        ("**", ["a", "a/b/c"], []),
        ("**/x", ["x", "a/x", "a/b/x"], ["ax", "x/y"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "ab"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "/x"]),
        ("[!a-c]x", ["dx"], ["ax", "/x"]),
        ("[^a]x", ["bx"], ["ax"]),
        ("[]]x", ["]x"], ["x"]),
        (r"\*\[x\]", ["*[x]"], ["a[x]"]),
        ("a/", ["a/b", "a/b/c"], ["b/a"]),
        ("*", ["line\nbreak"], ["a/b"]),
    ],
)
def test_globs(pattern, yes, no):
    matches = matcher(pattern)
    assert all(matches(key) for key in yes)
    assert not any(matches(key) for key in no)


@pytest.mark.parametrize("pattern", ["[a", "x[", "[!", "[z-a]"])
def test_a_broken_set_is_a_usage_error(pattern):
    with pytest.raises(UsageError):
        matcher(pattern)


@given(st.text(alphabet="ab*?x.", max_size=8), st.text(alphabet="abx.", max_size=8))
def test_within_a_segment_it_is_what_fnmatch_says(pattern, key):
    if "**" not in pattern:
        assert matcher(pattern)(key) == fnmatch.fnmatchcase(key, pattern)


@given(st.text())
def test_a_match_begins_with_the_fixed_part(pattern):
    fixed = fixed_part(pattern)
    if not has_magic(pattern):
        assert matcher(pattern)(fixed + "x" if pattern.endswith("/") else fixed)


@pytest.mark.parametrize(
    ("rules", "wanted", "unwanted"),
    [
        ([], ["a", "b/c"], []),
        ([(True, "*.csv")], ["a.csv", "x/a.csv"], ["a.txt"]),
        ([(False, "*.csv")], ["a.txt"], ["a.csv", "x/a.csv"]),
        ([(False, "*"), (True, "*.csv")], ["x/a.csv"], ["a.txt"]),
        ([(True, "*.csv"), (False, "tmp/**")], ["a.csv"], ["tmp/a.csv", "b"]),
        ([(False, "a/*.csv")], ["b/a/x.csv", "a/b/x.csv"], ["a/x.csv"]),
        ([(False, "logs/")], ["log"], ["logs/a", "logs/b/c"]),
    ],
)
def test_filters(rules, wanted, unwanted):
    filters = Filters(rules)
    assert all(filters.wants(key) for key in wanted)
    assert not any(filters.wants(key) for key in unwanted)
