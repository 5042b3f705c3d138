"""Patterns over keys: globs in a SOURCE, and `--include`/`--exclude` filters. Pure.

`*` and `?` stay within a segment, `**` crosses segments (`a/**/b` also matches `a/b`), `[a-z]` and `[!a-z]` are sets
that never match `/`. A backslash takes the meaning from the character that follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from s3pull.errors import UsageError

_MAGIC = frozenset("*?[")
_ESCAPABLE = tuple("*?[]\\/")


def has_magic(path: str) -> bool:
    """True where an unescaped wildcard stands in `path`."""
    return len(_literal(path)[1]) < len(path)


def fixed_part(path: str) -> str:
    """The literal text before the first wildcard, escapes resolved: the longest prefix that every match has."""
    return _literal(path)[0]


def unescape(path: str) -> str:
    """`path` with its escapes resolved; wildcards are taken literally."""
    return re.sub(r"\\([*?\[\]\\/])", r"\1", path)


def escape(key: str) -> str:
    """`key` as a path that means just it: what `unescape` turns back into it, and never a glob.

    A slash at its beginning is escaped, too: what begins with `//` behind a colon would be taken for a URL.
    """
    return re.sub(r"(^/|[*?\[\]\\])", r"\\\1", key)


def _literal(path: str) -> tuple[str, str]:
    """The text before the first wildcard, unescaped and as typed."""
    i = 0
    while i < len(path):
        if path[i] == "\\" and path[i + 1 : i + 2] in _ESCAPABLE:
            i += 2
        elif path[i] in _MAGIC:
            break
        else:
            i += 1
    return unescape(path[:i]), path[:i]


@lru_cache(maxsize=256)
def translate(pattern: str) -> str:
    """A glob as the source of a regular expression for `fullmatch`. Raises UsageError on an unfinished set."""
    out: list[str] = []
    i, n = 0, len(pattern)
    while i < n:
        char = pattern[i]
        if char == "\\" and pattern[i + 1 : i + 2] in _ESCAPABLE:
            out.append(re.escape(pattern[i + 1]))
            i += 2
        elif char == "*":
            stars = i
            while i < n and pattern[i] == "*":
                i += 1
            if i - stars < 2:
                out.append("[^/]*")
            elif (stars == 0 or pattern[stars - 1] == "/") and pattern[i : i + 1] == "/":
                out.append("(?:.*/)?")
                i += 1
            else:
                out.append(".*")
        elif char == "?":
            out.append("[^/]")
            i += 1
        elif char == "[":
            end = pattern.find("]", i + 2 if pattern[i + 1 : i + 2] not in ("!", "^") else i + 3)
            if end < 0:
                raise UsageError(
                    f"the set in the pattern {pattern!r} has no end", hint=r"write \[ for the character itself"
                )
            out.append(_set(pattern, pattern[i + 1 : end]))
            i = end + 1
        else:
            out.append(re.escape(char))
            i += 1
    return "".join(out)


def _set(pattern: str, inner: str) -> str:
    negated = inner[0] in "!^"
    members = inner[1:] if negated else inner
    escaped = re.sub(r"([\\\[\]&~|^])", r"\\\1", members)
    try:
        re.compile(f"[{escaped}]")
    except re.error as error:
        raise UsageError(
            f"the set [{inner}] in the pattern {pattern!r} makes no sense: {error.msg}",
            hint="a set is like [abc] or [a-z]; [[] is a bracket itself",
        ) from None
    return f"(?!/)[{'^' if negated else ''}{escaped}]"


def matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate for whole keys. A pattern that ends in `/` matches everything below it."""
    regex = re.compile(translate(pattern + "**" if pattern.endswith("/") else pattern), re.DOTALL)
    return lambda key: regex.fullmatch(key) is not None


class Filters:
    """`--include` and `--exclude` in the order in which they were given; the last match wins.

    | first filter | nothing matches | last match is an include | last match is an exclude |
    |--------------|-----------------|--------------------------|--------------------------|
    | none given   | in              |                          |                          |
    | include      | out             | in                       | out                      |
    | exclude      | in              | in                       | out                      |

    Patterns are relative to the source; one without `/` matches the basename at any depth. Raises UsageError on one
    that makes no sense.
    """

    def __init__(self, rules: Sequence[tuple[bool, str]] = ()) -> None:
        #: as they were given
        self.rules = tuple(rules)
        self._default = not (rules and rules[0][0])
        self._rules = [(include, self._predicate(pattern)) for include, pattern in reversed(rules)]

    @staticmethod
    def _predicate(pattern: str) -> Callable[[str], bool]:
        if not pattern:
            raise UsageError(
                "an empty pattern matches nothing", hint="give --include and --exclude a pattern, or leave it out"
            )
        return matcher(pattern if "/" in pattern else f"**/{pattern}")

    def __bool__(self) -> bool:
        return bool(self._rules)

    def wants(self, relative: str) -> bool:
        """Whether the key at `relative` (below the source's fixed part) takes part."""
        for include, matches in self._rules:
            if matches(relative):
                return include
        return self._default
