"""Where in a listing a key may stand: keys as numbers, learnt from the keys that were seen. Pure; guesses, no facts.

A listing in several pieces needs places to begin at, and nobody tells which keys there are. But keys are made by
programs: `part-00017.parquet`, `2026/11/26/…`, hex digests. So each position of a key is taken as a digit, of the
characters that were seen there and their like (a digit may become any digit), and the key as the number that they
write. Then pages are measured, and the place some pages ahead is reckoned. A wrong guess costs a request or two.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

#: positions that are looked at: what comes after them decides nothing between pages
_PLACES = 40
_DIGIT, _LOWER, _UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = frozenset(_DIGIT)
_LIKE = (
    _DIGITS,
    frozenset("0123456789abcdef"),
    frozenset(_LOWER),
    frozenset(_UPPER),
    frozenset(_DIGIT + _LOWER),
    frozenset(_DIGIT + _UPPER),
    frozenset(_DIGIT + _LOWER + _UPPER),
)


class Ruler:
    """Measures keys that begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._cut = len(prefix)
        self._prefix = prefix
        #: the characters that were seen at each place; '' is the end of a key
        self._seen: list[set[str]] = []
        self._digits: list[list[str]] = []
        self._any = False

    def learn(self, keys: Iterable[str]) -> None:
        """See these keys."""
        for key in keys:
            text = key[self._cut : self._cut + _PLACES]
            while len(self._seen) < len(text):
                self._seen.append({""} if self._any else set())
                self._digits.append([""])
            self._any = True
            for place, seen in enumerate(self._seen):
                character = text[place] if place < len(text) else ""
                if character not in seen:
                    seen.add(character)
                    self._digits[place] = _alike(seen)

    def number(self, key: str) -> int:
        """Where `key` stands. Only numbers of one moment compare: to learn moves them."""
        text = key[self._cut :]
        total = 0
        for place, digits in enumerate(self._digits):
            at = bisect_left(digits, text[place]) if place < len(text) else 0
            total = total * len(digits) + min(at, len(digits) - 1)
        return total

    def key(self, number: int) -> str:
        """The first key at `number`; after the last number, a key at the end of all."""
        found: list[str] = []
        for digits in reversed(self._digits):
            number, at = divmod(number, len(digits))
            found.append(digits[at])
        if number:
            return self._prefix + "".join(digits[-1] for digits in self._digits)
        text = ""
        for character in reversed(found):
            if not character:  # the key ends there: what follows is smaller than any other
                break
            text += character
        return self._prefix + text


def _alike(seen: set[str]) -> list[str]:
    """What may stand where these stand, in order. A letter that always stands there stays alone."""
    ends = seen & {""}
    letters = seen - ends
    for like in _LIKE:
        if letters <= like and (len(letters) > 1 or like is _DIGITS):
            return sorted(ends | like)
    return sorted(seen)
