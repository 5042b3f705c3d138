"""Keys to paths: what is refused and why, that encoding is reversible, and which paths collide."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3pull.errors import NameRefused
from s3pull.local.names import NAME_LIMIT, OWN_PREFIX, Collisions, decode_path, fold, local_path

#: characters that hurt somebody somewhere, beside any others
NASTY = st.text(
    st.sampled_from('/.\\%:~ \x00\x01\x7f\x85aA4Fe\u0301\u00e9\u200c\ud800\udfff<>|?*"sS3pulcon1\u017f\U0001f600')
    | st.characters(exclude_categories=()),
    max_size=40,
)
WORDS = st.lists(
    st.sampled_from(
        ["", ".", "..", "...", "a", "%", "%41", "%2", "4", ".s3pull", ".S3PULL-x", ".\u017f3pull", "\u200c.s3pull",
         "NUL", "nul.txt", "com1", "COM\u00b9.x", "aux ", "b.", "c ", "S3PULL~1", "\u00e9", "e\u0301", "\x00", "\\",
         "\ud83d\ude00"]
    ),
    max_size=6,
).map("/".join)  # fmt: skip
KEYS = NASTY | WORDS


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        ("../a", "would leave"),
        ("a/../../b", "would leave"),
        ("a/./b", "would leave"),
        ("a/..", "would leave"),
        ("a\x00b", "character"),
        ("a\nb", "character"),
        ("a\x7f", "character"),
        ("a\x9bb", "character"),
        ("a\\..\\b", "character"),
        ("a\ud800", "character"),
        (".s3pull", "our own"),
        ("a/.s3pull/receipts.db", "our own"),
        (".s3pull-0123", "our own"),
        (".S3Pull", "our own"),
        (".\u017f3pull", "our own"),
        (".s3\u200cpull", "our own"),
        ("\u20ac" * 86, "longer than 255 bytes"),
        ("a" * 256, "longer than 255 bytes"),
        ("/".join(["a" * 200] * 21), "path is too long"),
    ],
)
def test_what_cannot_be_a_path_is_refused_with_its_reason(key: str, why: str) -> None:
    with pytest.raises(NameRefused, match=why) as caught:
        local_path(key, windows=False)
    assert "\x00" not in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize(
    "key", ["a", "a/b/c", "...", ".hidden", "a b", " ", "a.", "NUL", "a:b", "a%2Fb", "\u00e9", "-rf", "~", "a" * 255]
)
def test_what_posix_can_hold_stays_as_it_is(key: str) -> None:
    assert local_path(key, windows=False) == key


@pytest.mark.parametrize(
    "key",
    ["CON", "nul", "NUL.txt", "nul .txt", "aux.tar.gz", "COM1", "lpt9.x", "COM\u00b2", "CONIN$", "a/PRN/b", "a.", "a ",
     "a./b", "C:x", "a:stream", "a|b", "a?", "a*", '"a"', "<", ">", "S3PULL~1", "s3pul1~2"],
)  # fmt: skip
def test_what_windows_cannot_hold(key: str) -> None:
    with pytest.raises(NameRefused):
        local_path(key, windows=True)
    assert local_path(key, windows=False) == key
    encoded = local_path(key, encode=True, windows=True)
    assert decode_path(encoded) == key
    assert local_path(encoded, windows=True) == encoded


@pytest.mark.parametrize(
    "key", ["CONSOLE", "com", "com10", "nullable.txt", "auxiliary/x", "a.b", "~a", "x~1", "s3~", "common/a"]
)
def test_what_windows_can_hold(key: str) -> None:
    assert local_path(key, windows=True) == key


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a//b", "a/%2Fb"),
        ("/a", "%2Fa"),
        ("a/", "a%2F"),
        ("//", "%2F%2F"),
        ("../a", "%2E%2E/a"),
        ("a\nb", "a%0Ab"),
        ("a\\b", "a%5Cb"),
        ("100%", "100%"),
        ("100%25", "100%2525"),
        ("%zz", "%zz"),
        (".s3pull/x", "%2Es3pull/x"),
        ("\ud800", "%ED%A0%80"),
        ("plain/caf\u00e9", "plain/caf\u00e9"),
    ],
)
def test_encoding(key: str, path: str) -> None:
    assert local_path(key, encode=True, windows=False) == path
    assert decode_path(path) == key


@pytest.mark.parametrize("windows", [False, True])
def test_too_long_is_refused_even_when_encoded(windows: bool) -> None:
    for key in ("a" * 256, "\x01" * 86):
        with pytest.raises(NameRefused) as caught:
            local_path(key, encode=True, windows=windows)
        assert caught.value.hint is None


@pytest.mark.parametrize("path", ["%ff", "%C3x", "%ED%A0"])
def test_what_no_key_was_encoded_to_is_not_decoded(path: str) -> None:
    with pytest.raises(ValueError, match="utf-8"):
        decode_path(path)


@given(KEYS, st.booleans(), st.booleans())
@example("a/\u2024\u2024/b", False, False)
def test_a_path_never_leaves_its_place(key: str, encode: bool, windows: bool) -> None:
    try:
        path = local_path(key, encode=encode, windows=windows)
    except NameRefused:
        return
    assert path and not path.startswith("/") and os.path.normpath(path) == path
    path.encode("utf-8")  # no lone surrogates
    for segment in path.split("/"):
        assert segment not in ("", ".", "..")
        assert len(segment.encode("utf-16-le")) // 2 <= NAME_LIMIT
        assert windows or len(segment.encode()) <= NAME_LIMIT
        assert not fold(segment).startswith(OWN_PREFIX)
        assert not any(unicodedata.category(character) in ("Cc", "Cs") or character == "\\" for character in segment)
        if windows:
            assert segment[-1] not in ". " and not set(segment) & set('<>:"|?*')
            assert segment.split(".")[0].rstrip(" ").upper() not in {"CON", "NUL", "AUX", "PRN", "COM1", "LPT1"}


@given(KEYS.filter(bool), st.booleans())
@example("%\x01", False)
@example("%4\x01", False)
@example("%%41", False)
@example("\x01a/..//.s3pull", True)
def test_encoding_is_reversible(key: str, windows: bool) -> None:
    try:
        path = local_path(key, encode=True, windows=windows)
    except NameRefused as error:
        assert "long" in error.message
        return
    assert decode_path(path) == key


@given(KEYS)
def test_encoding_changes_nothing_that_was_plain(key: str) -> None:
    try:
        plain = local_path(key, windows=False)
    except NameRefused:
        return
    assert plain == key
    if "%" not in key:
        assert local_path(key, encode=True, windows=False) == key


# --- collisions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "folds_only"),
    [
        ("a", "a", False),
        ("a/b", "a/b", False),
        ("a", "a/b", False),
        ("a/b", "a", False),
        ("a/b/c", "a", False),
        ("a", "a/b/c/d", False),
        ("A", "a", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("x/A/1", "x/a/2", True),
        ("x/A/1", "x/a", True),
        ("X", "x/a", True),
        ("stra\u00dfe", "STRASSE", True),
    ],
)
def test_collisions(first: str, second: str, folds_only: bool) -> None:
    folding, exact = Collisions(True), Collisions(False)
    folding.check(first)
    exact.check(first)
    with pytest.raises(NameRefused) as caught:
        folding.check(second)
    assert repr(second) in caught.value.message
    if folds_only:
        assert repr(first.split("/")[0])[1:-1] in caught.value.message
        exact.check(second)
    else:
        with pytest.raises(NameRefused):
            exact.check(second)


def test_directory_markers_are_directories() -> None:
    collisions = Collisions(False)
    collisions.check("a", directory=True)
    collisions.check("a/b")
    collisions.check("a", directory=True)
    collisions.check("f")
    for path, directory in (("a", False), ("f", True), ("f/g", True)):
        with pytest.raises(NameRefused):
            collisions.check(path, directory=directory)


def test_a_refused_path_does_not_stand_in_the_way_of_others() -> None:
    collisions = Collisions(True)
    collisions.check("a")
    with pytest.raises(NameRefused):
        collisions.check("a/b/c")
    collisions.check("b/c")
    with pytest.raises(NameRefused):
        collisions.check("A/b")
    collisions.check("b/d")


PATHS = st.lists(
    st.lists(st.sampled_from(["a", "A", "b", "\u00e9", "e\u0301"]), min_size=1, max_size=3).map("/".join), max_size=12
)


@given(PATHS, st.booleans())
def test_paths_that_pass_can_all_exist_together(paths: list[str], folds: bool) -> None:
    collisions = Collisions(folds)
    passed: list[str] = []
    for path in paths:
        try:
            collisions.check(path)
        except NameRefused:
            # it must really collide with one that passed
            same = fold if folds else str
            marks = [same(other) for other in passed]
            spelled = {same(other[:at]): other[:at] for other in passed for at in _cuts(other)}
            assert (
                same(path) in marks
                or any(mark.startswith(same(path) + "/") or same(path).startswith(mark + "/") for mark in marks)
                or any(spelled.get(same(path[:at]), path[:at]) != path[:at] for at in _cuts(path))
            )
        else:
            passed.append(path)
    files = [fold(path) if folds else path for path in passed]
    directories = {name[:at] for name in files for at in _cuts(name)}
    assert len(set(files)) == len(files)
    assert not directories & set(files)


def _cuts(path: str) -> list[int]:
    return [at for at, character in enumerate(path) if character == "/"]
