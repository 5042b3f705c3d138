"""Reads policies that others wrote, and says what they do to one question; where it cannot tell, it says so. Pure.

It knows actions, resources, principals and the usual conditions. A condition on something that is not known here (a
tag, a VPC, a session name) makes an answer UNSURE and never a yes. What should be asked is `check`'s.

A question is about many requests at once: everything below a prefix. So there are four answers:

    ALL     applies to each of them        NONE     applies to none of them
    SOME    applies to a part of them      UNSURE   depends on what is not known

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from s3pull.records import NamedTuple

Statement = Mapping[str, Any]


class Extent(enum.Enum):
    """How much of a question something applies to."""

    ALL = "all"
    SOME = "some"
    NONE = "none"
    UNSURE = "unsure"


ALL, SOME, NONE, UNSURE = Extent


class Span(NamedTuple):
    """One text, or with `open` every text that begins with it."""

    text: str
    open: bool = False


#: what is known of a request: a text or span, networks, or None where the key is known to be absent
Fact = str | Span | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Question:
    """May `principal` do `action` on `resource`? `facts` are condition keys in lower case; keys not in it are unknown.

    A resource of None is asked of trust policies, which have none; a principal of None of identity policies.
    """

    action: str
    resource: Span | None = None
    principal: str | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """`allowed` ALL is yes. `denied` is the statement of a Deny that applies; `unsure` names the keys it hangs on."""

    allowed: Extent
    denied: Statement | None = None
    unsure: tuple[str, ...] = ()


def ask(documents: Iterable[Any], question: Question) -> Answer:
    """What these policies together say: a Deny anywhere wins, then an Allow anywhere."""
    found = [statement for document in documents for statement in statements(document)]
    unsure: list[str] = []
    for statement in found:
        if statement.get("Effect") == "Deny":
            extent, keys = applies(statement, question)
            if extent in (ALL, SOME):
                return Answer(NONE, statement)
            unsure += keys
    allows = [applies(statement, question) for statement in found if statement.get("Effect") == "Allow"]
    extent = either(extent for extent, _ in allows)
    if extent is ALL and unsure:
        return Answer(UNSURE, unsure=tuple(dict.fromkeys(unsure)))
    if extent is UNSURE:
        unsure += [key for one, keys in allows for key in keys if one is UNSURE]
    return Answer(extent, unsure=tuple(dict.fromkeys(unsure)))


def applies(statement: Statement, question: Question) -> tuple[Extent, list[str]]:
    """How much of the question a statement is about, whatever its effect, and the condition keys that were unsure."""
    extents = [acts(statement, question.action), _resources(statement, question), names(statement, question.principal)]
    unsure = []
    for operator, keys in _mapping(statement.get("Condition")).items():
        for key, wanted in _mapping(keys).items():
            extent = _condition(operator, key, _listed(wanted), question.facts)
            extents.append(extent)
            if extent is UNSURE:
                unsure.append(key)
    extent = both(extents)
    return extent, unsure if extent is UNSURE else []


def failing_keys(statement: Statement, question: Question) -> list[str]:
    """The condition keys that keep a statement from applying to all of the question."""
    return [
        key
        for operator, keys in _mapping(statement.get("Condition")).items()
        for key, wanted in _mapping(keys).items()
        if _condition(operator, key, _listed(wanted), question.facts) in (NONE, SOME)
    ]


# --- the algebra ------------------------------------------------------------------------------------------


def both(extents: Iterable[Extent]) -> Extent:
    """All must apply: NONE before UNSURE before SOME before ALL."""
    found = set(extents)
    return next((one for one in (NONE, UNSURE, SOME) if one in found), ALL)


def either(extents: Iterable[Extent]) -> Extent:
    """One must apply: ALL before UNSURE before SOME before NONE."""
    found = set(extents)
    return next((one for one in (ALL, UNSURE, SOME) if one in found), NONE)


def opposite(extent: Extent) -> Extent:
    return {ALL: NONE, NONE: ALL}.get(extent, extent)


# --- documents, as loosely as AWS writes them -------------------------------------------------------------


def statements(document: Any) -> list[Statement]:
    """The statements of a policy; of what is no policy none."""
    found = document.get("Statement") if isinstance(document, Mapping) else None
    several = found if isinstance(found, list) else [found]
    return [one for one in several if isinstance(one, Mapping)]


def listed(statement: Statement, name: str) -> list[str]:
    """The values of an element that may be one text or a list."""
    return _listed(statement.get(name))


def condition_values(statement: Statement, key: str) -> list[str]:
    """Every value that any operator compares a condition key with."""
    return [value for _, value in compared(statement, key)]


def compared(statement: Statement, key: str) -> list[tuple[str, str]]:
    """(operator, value) of every condition on a key; of the operator its bare name."""
    return [
        (operator.rpartition(":")[2].removesuffix("IfExists"), value)
        for operator, keys in _mapping(statement.get("Condition")).items()
        for name, wanted in _mapping(keys).items()
        if name.lower() == key.lower()
        for value in _listed(wanted)
    ]


def principals(statement: Statement) -> list[str]:
    """The AWS principals of a statement; services and federations are none."""
    found = statement.get("Principal")
    return _listed(found.get("AWS")) if isinstance(found, Mapping) else _listed(found)


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [text for one in value for text in _listed(one)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# --- the elements of a statement --------------------------------------------------------------------------


def acts(statement: Statement, action: str) -> Extent:
    """Whether a statement is about an action."""

    def hit(name: str) -> Extent:
        return either(pattern_extent(one.lower(), Span(action.lower())) for one in listed(statement, name))

    return opposite(hit("NotAction")) if "NotAction" in statement else hit("Action")


def _resources(statement: Statement, question: Question) -> Extent:
    if question.resource is None:
        return ALL
    span = question.resource

    def hit(name: str) -> Extent:
        return either(pattern_extent(one, span) for one in listed(statement, name))

    return opposite(hit("NotResource")) if "NotResource" in statement else hit("Resource")


def names(statement: Statement, who: str | None) -> Extent:
    """Whether a statement is about a principal, by its `Principal`."""
    if who is None and "Principal" not in statement:
        return ALL
    if "NotPrincipal" in statement:
        return UNSURE
    return either(_means(one, who) for one in principals(statement))


def _means(named: str, who: str | None) -> Extent:
    """`named` is what a policy says, `who` the IAM ARN of the one who asks; None is everybody, `…:root` an account."""
    if named == "*":
        return ALL
    if who is None:
        return SOME
    if named == who:
        return ALL
    account = who.split(":")[4]
    whole = named == account or named.split(":")[4:] == [account, "root"]
    if whole:
        return ALL
    part = who.endswith(":root") and named.split(":")[4:5] == [account]
    return SOME if part else NONE


# --- patterns ---------------------------------------------------------------------------------------------

_PIECE = re.compile(r"\$\{([*?$])\}|(\$\{[^}]*\})|([*?])|(.)", re.DOTALL)
_MANY, _ONE, _VARIABLE = object(), object(), object()


@functools.lru_cache(maxsize=1024)
def pattern_extent(pattern: str, span: Span) -> Extent:
    """How much of `span` an IAM pattern (`*`, `?`, `${*}`…) matches; UNSURE where it has a variable.

    A letter is never tried at more places of the pattern than twice the letters before it: whoever writes a pattern of
    a million stars waits no longer for it.
    """
    tokens = _tokens(pattern)
    if _VARIABLE in tokens:
        return UNSURE
    states = _close({0}, tokens)
    for letter in span.text:
        states = _close({after for at in states for after in _step(at, tokens, letter)}, tokens)
    if not span.open:
        return ALL if len(tokens) in states else NONE
    if tokens and tokens[-1] is _MANY and len(tokens) - 1 in states:
        return ALL
    return SOME if states else NONE


def within(pattern: str, spans: Iterable[Span]) -> Extent:
    """ALL where everything that the pattern matches lies in one of `spans`, NONE where not."""
    tokens = _tokens(pattern)
    if _VARIABLE in tokens:
        return UNSURE
    wild = next((at for at, token in enumerate(tokens) if token in (_MANY, _ONE)), len(tokens))
    lead = "".join(str(token) for token in tokens[:wild])
    fits = (lead.startswith(one.text) if one.open else wild == len(tokens) and lead == one.text for one in spans)
    return ALL if any(fits) else NONE


def _pieces(pattern: str) -> Iterator[tuple[str, ...]]:
    """(escaped letter, variable, wildcard, letter) of a pattern, one of them each."""
    # no variable ends after the last brace: nobody looks for an end behind it again and again
    last = pattern.rfind("}") + 1
    yield from (match.groups("") for match in _PIECE.finditer(pattern, 0, last))
    yield from (("", "", one, "") if one in "*?" else ("", "", "", one) for one in pattern[last:])


def _tokens(pattern: str) -> list[object]:
    """The pieces; one `*` after another adds nothing."""
    found: list[object] = []
    for literal, variable, wild, letter in _pieces(pattern):
        token = literal or letter or (_VARIABLE if variable else _MANY if wild == "*" else _ONE)
        if not (token is _MANY and found and found[-1] is _MANY):
            found.append(token)
    return found


def _close(states: set[int], tokens: list[object]) -> set[int]:
    """`*` also matches nothing."""
    return states | {at + 1 for at in states if at < len(tokens) and tokens[at] is _MANY}


def _step(at: int, tokens: list[object], letter: str) -> Iterable[int]:
    if at < len(tokens):
        token = tokens[at]
        if token is _MANY:
            yield at
        elif token is _ONE or token == letter:
            yield at + 1


# --- conditions -------------------------------------------------------------------------------------------


def _condition(operator: str, key: str, wanted: list[str], facts: Mapping[str, Fact]) -> Extent:
    """One line of a condition. All values are alternatives; an absent key fails all but negated and IfExists."""
    quantifier, _, bare = operator.rpartition(":")
    optional = bare.endswith("IfExists")
    bare = bare.removesuffix("IfExists")
    if key.lower() not in facts:
        return UNSURE
    fact = facts[key.lower()]
    if bare == "Null":
        return ALL if (fact is None) == (wanted[:1] == ["true"]) else NONE
    negated = bare in _NEGATED
    test = _TESTS.get(_NEGATED.get(bare, bare))
    if test is None:
        return UNSURE
    if fact is None:
        return ALL if optional or negated or quantifier == "ForAllValues" else NONE
    values = [either(test(one, value) for one in wanted) for value in _spans(fact)]
    return both(opposite(extent) if negated else extent for extent in values)


def _spans(fact: str | Span | tuple[str, ...]) -> list[Span]:
    """Several values are several requests: each of them must do."""
    if isinstance(fact, Span):
        return [fact]
    return [Span(one) for one in ([fact] if isinstance(fact, str) else fact)]


def _equal(wanted: str, value: Span) -> Extent:
    """Only `${…}` means something here; `*` and `?` are letters."""
    pieces = list(_pieces(wanted))
    if any(variable for _, variable, _, _ in pieces):
        return UNSURE
    text = "".join(literal or wild or letter for literal, _, wild, letter in pieces)
    if value.open:
        return SOME if text.startswith(value.text) else NONE
    return ALL if text == value.text else NONE


def _network(wanted: str, value: Span) -> Extent:
    try:
        allowed, asked = (ipaddress.ip_network(text, strict=False) for text in (wanted, value.text))
    except ValueError:
        return UNSURE
    if allowed.version != asked.version:
        return NONE
    first, last = int(asked.network_address), int(asked.broadcast_address)
    inside = int(allowed.network_address) <= first and last <= int(allowed.broadcast_address)
    return ALL if inside else SOME if first <= int(allowed.network_address) <= last else NONE


def _before(wanted: str, value: Span) -> Extent:
    try:
        asked, limit = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (value.text, wanted))
        return ALL if asked < limit else NONE
    except (ValueError, TypeError):
        return UNSURE


def _folded(wanted: str, value: Span) -> Extent:
    return _equal(wanted.lower(), Span(value.text.lower(), value.open))


_TESTS: Mapping[str, Callable[[str, Span], Extent]] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": _folded,
    "StringLike": pattern_extent,
    "ArnEquals": pattern_extent,
    "ArnLike": pattern_extent,
    "Bool": _folded,
    "IpAddress": _network,
    "DateLessThan": _before,
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
}
