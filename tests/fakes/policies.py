"""A small IAM: does this principal get this action on this resource, and if not, which policy says so.

`decide` follows the published evaluation order; `Verdict.message` speaks AWS's published denial grammar (ACCESS.md 2).
It knows no HTTP and no state. An operator or variable it does not know is an error of the test, not a silent no.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Document = Mapping[str, Any]
Values = str | list[str]

IDENTITY = "identity-based policy"
RESOURCE = "resource-based policy"
BOUNDARY = "permissions boundary"
SESSION = "session policy"
SCP = "service control policy"
RCP = "resource control policy"
ENDPOINT = "VPC endpoint policy"
TRUST = "role trust policy"

ALLOW_ALL: Document = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


class InvalidPolicy(ValueError):
    """What AWS answers with MalformedPolicyDocument."""


class Ask(NamedTuple):
    """One question. `context` holds condition keys; how they are written does not matter, as in AWS."""

    action: str
    resource: str
    context: Mapping[str, Values] = {}


@dataclass(frozen=True)
class Guard:
    """A policy that can only take away: an SCP, RCP or endpoint policy. `arn` is named in the denial where known.

    `service`: whose VPC endpoint it is; the others apply to both services.
    """

    kind: str
    document: Document
    arn: str | None = None
    service: str = "s3"

    def applies_to(self, service: str) -> bool:
        return self.kind != ENDPOINT or self.service == service


@dataclass(frozen=True)
class Principal:
    """Who asks. `arn` is the caller's (a session's names its session), `names` all ARNs that a policy may mean it by.

    Anonymous callers have no account. `session` is the policy given to AssumeRole.
    """

    account: str | None
    arn: str
    names: tuple[str, ...] = ()
    identity: tuple[Document, ...] = ()
    boundary: Document | None = None
    session: Document | None = None
    context: Mapping[str, Values] = field(default_factory=dict)


ANONYMOUS = Principal(None, "anonymous")


class Verdict(NamedTuple):
    """`kind` is the policy type that decided; empty where several sides withheld it and AWS would not say."""

    allowed: bool
    kind: str = ""
    explicit: bool = False
    policy_arn: str | None = None

    def reason(self, action: str) -> str:
        """The tail of the message: ` because no … allows …`, ` with an explicit deny in a …` or nothing."""
        if not self.kind:
            return ""
        named = f": {self.policy_arn}" if self.policy_arn else ""
        if self.explicit:
            article = "the" if self.kind == TRUST else "an" if self.kind == IDENTITY else "a"
            return f" with an explicit deny in {article} {self.kind}{named}"
        return f" because no {self.kind} allows the {action} action"

    def message(self, who: str, ask: Ask, *, quoted: bool = False) -> str:
        """The whole text; S3 quotes the resource, STS and KMS do not."""
        resource = f'"{ask.resource}"' if quoted else ask.resource
        return f"User: {who} is not authorized to perform: {ask.action} on resource: {resource}" + self.reason(
            ask.action
        )


def decide(
    who: Principal,
    ask: Ask,
    *,
    resource_policy: Document | None = None,
    resource_account: str,
    resource_rules: bool = False,
    guards: Iterable[Guard] = (),
) -> Verdict:
    """The evaluation order of AWS. `resource_rules`: role trust and key policies, without which nobody has anything.

    | in this order | |
    |---|---|
    | an explicit deny anywhere | denied, by that policy |
    | an SCP or endpoint policy without an allow | denied |
    | another account's principal | the resource's policy and its own identity must both allow |
    | the same account, `resource_rules` | the resource's policy must; for the whole account only: identity too |
    | the same account otherwise | the resource's policy, naming the principal, or identity |
    | a resource policy that names the very session | allowed, past boundary and session policy |
    | a boundary, a session policy without an allow | denied |
    """
    ask = ask._replace(context={**who.context, **ask.context})
    guards = tuple(guards)
    for guard in guards:
        if matches(guard.document, ask, "Deny", who):
            return Verdict(False, guard.kind, True, guard.arn)
    layers: list[tuple[str, Iterable[Document | None]]] = [
        (RESOURCE, [resource_policy]),
        (IDENTITY, who.identity),
        (BOUNDARY, [who.boundary]),
        (SESSION, [who.session]),
    ]
    for kind, documents in layers:
        if any(document and matches(document, ask, "Deny", who) for document in documents):
            return Verdict(False, kind, True)
    for guard in guards:
        if guard.kind != RCP and not matches(guard.document, ask, "Allow", who):
            return Verdict(False, guard.kind, False, guard.arn)

    by_account, by_name, by_session = (
        resource_policy is not None and matches(resource_policy, ask, "Allow", who, naming=naming)
        for naming in ("account", "principal", "session")
    )
    by_identity = any(matches(document, ask, "Allow", who) for document in who.identity)
    if who.account != resource_account or resource_rules:
        if not by_account:
            return Verdict(False, RESOURCE)
        needs_identity = who.account is not None and not (who.account == resource_account and by_name)
    else:
        needs_identity = not by_name
    if needs_identity and not by_identity:
        return Verdict(False, IDENTITY)
    if by_session and who.account == resource_account:
        return Verdict(True)
    if who.boundary and not matches(who.boundary, ask, "Allow", who):
        return Verdict(False, BOUNDARY)
    if who.session is not None and not matches(who.session, ask, "Allow", who):
        return Verdict(False, SESSION)
    return Verdict(True)


def matches(document: Document, ask: Ask, effect: str, who: Principal, *, naming: str = "account") -> bool:
    """True where a statement of this effect applies.

    A statement with a principal applies if it means the caller by `naming`: 'account' (or closer), 'principal' (its
    own ARN, its role's, or `*`), 'session' (only the caller's own ARN).
    """
    return any(
        statement["Effect"] == effect
        and _principal_fits(statement, who, naming)
        and _action_fits(statement, ask.action)
        and _resource_fits(statement, ask)
        and conditions_hold(statement.get("Condition", {}), ask.context)
        for statement in statements(document)
    )


def statements(document: Document) -> list[Mapping[str, Any]]:
    found = document["Statement"]
    return [found] if isinstance(found, Mapping) else list(found)


def check(document: Any, *, trust: bool = False) -> Document:
    """The document, or InvalidPolicy with the reason. `trust`: a role's, which has principals and no resources."""
    if not isinstance(document, Mapping) or "Statement" not in document:
        raise InvalidPolicy("Syntax errors in policy.")
    if document.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        raise InvalidPolicy("Syntax errors in policy.")
    for statement in statements(document):
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise InvalidPolicy("Syntax errors in policy.")
        if not {"Action", "NotAction"} & set(statement):
            raise InvalidPolicy("Policy statement must contain actions.")
        if trust and not {"Principal", "NotPrincipal"} & set(statement):
            raise InvalidPolicy("Missing required field Principal")
        if trust and {"Resource", "NotResource"} & set(statement):
            raise InvalidPolicy("Has prohibited field Resource")
        for operator in statement.get("Condition", {}):
            _operator(operator)
    return document


def check_session(document: Any) -> Document:
    """A policy passed to AssumeRole: no principals, resources required."""
    for statement in statements(check(document)):
        if {"Principal", "NotPrincipal"} & set(statement):
            raise InvalidPolicy("Policy document should not specify a principal.")
        if not {"Resource", "NotResource"} & set(statement):
            raise InvalidPolicy("Policy statement must contain resources.")
    return document


# --- the parts of a statement ---------------------------------------------------------------------------


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value]


def _principal_fits(statement: Mapping[str, Any], who: Principal, naming: str) -> bool:
    if "NotPrincipal" in statement:
        return not _means(statement["NotPrincipal"], who, "account")
    return "Principal" not in statement or _means(statement["Principal"], who, naming)


def _means(principal: Any, who: Principal, naming: str) -> bool:
    kinds = principal if isinstance(principal, Mapping) else {"AWS": principal}
    names = {name for kind in ("AWS", "Federated") for name in _listed(kinds.get(kind, []))}
    close = {who.arn} if naming == "session" else {"*", who.arn, *who.names}
    if names & close:
        return True
    whole = {who.account, f"{who.arn.partition('::')[0].replace(':sts', ':iam')}::{who.account}:root"}
    return naming == "account" and who.account is not None and bool(names & whole)


def _action_fits(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(_glob(p.lower())(action.lower()) for p in _listed(statement["NotAction"]))
    return any(_glob(p.lower())(action.lower()) for p in _listed(statement["Action"]))


def _resource_fits(statement: Mapping[str, Any], ask: Ask) -> bool:
    def hit(patterns: Any) -> bool:
        return any(like(pattern, ask.resource, ask.context) for pattern in _listed(patterns))

    if "NotResource" in statement:
        return not hit(statement["NotResource"])
    return "Resource" not in statement or hit(statement["Resource"])


# --- patterns and variables -----------------------------------------------------------------------------

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def expand(pattern: str, context: Mapping[str, Values]) -> str | None:
    """Policy variables filled in, `${*}`, `${?}`, `${$}` as private characters; None where a variable has no value.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    missing = False

    def fill(match: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = match[1].partition(",")
        if name in _PRIVATE:
            return _PRIVATE[name]
        value = _find(context, name.strip())
        if isinstance(value, str):
            return "".join(_PRIVATE.get(c, c) for c in value)
        if default:
            return default.strip().strip("'")
        missing = True
        return ""

    filled = _VARIABLE.sub(fill, pattern)
    return None if missing else filled


#: characters that no key or name holds stand for the escaped wildcards until the glob is built
_PRIVATE = {"*": "\ue000", "?": "\ue001", "$": "\ue002"}
_LITERAL = {private: plain for plain, private in _PRIVATE.items()}


@functools.lru_cache(maxsize=4096)
def _glob(pattern: str) -> Callable[[str], Any]:
    out = [".*" if c == "*" else "." if c == "?" else re.escape(_LITERAL.get(c, c)) for c in pattern]
    return re.compile("".join(out), re.DOTALL).fullmatch


def like(pattern: str, value: str, context: Mapping[str, Values]) -> bool:
    filled = expand(pattern, context)
    return filled is not None and bool(_glob(filled)(value))


def equal(pattern: str, value: str, context: Mapping[str, Values]) -> bool:
    filled = expand(pattern, context)
    return filled is not None and "".join(_LITERAL.get(c, c) for c in filled) == value


# --- conditions -----------------------------------------------------------------------------------------

Test = Callable[[str, str, Mapping[str, Values]], bool]


def _arn_like(pattern: str, value: str, context: Mapping[str, Values]) -> bool:
    """Each of the six colon-delimited parts matches by itself."""
    filled = expand(pattern, context)
    if filled is None:
        return False
    wanted, had = filled.split(":", 5), value.split(":", 5)
    return len(wanted) == len(had) and all(_glob(w)(h) for w, h in zip(wanted, had, strict=True))


def _in_network(pattern: str, value: str, context: Mapping[str, Values]) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(pattern, strict=False)


def _date(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


_TESTS: dict[str, Test] = {
    "StringEquals": equal,
    "StringEqualsIgnoreCase": lambda p, v, c: equal(p.lower(), v.lower(), c),
    "StringLike": like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": lambda p, v, c: p.lower() == v.lower(),
    "IpAddress": _in_network,
    "NumericEquals": lambda p, v, c: float(v) == float(p),
    "NumericLessThan": lambda p, v, c: float(v) < float(p),
    "NumericLessThanEquals": lambda p, v, c: float(v) <= float(p),
    "NumericGreaterThan": lambda p, v, c: float(v) > float(p),
    "NumericGreaterThanEquals": lambda p, v, c: float(v) >= float(p),
    "DateLessThan": lambda p, v, c: _date(v) < _date(p),
    "DateLessThanEquals": lambda p, v, c: _date(v) <= _date(p),
    "DateGreaterThan": lambda p, v, c: _date(v) > _date(p),
    "DateGreaterThanEquals": lambda p, v, c: _date(v) >= _date(p),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
}


class _Operator(NamedTuple):
    test: Test | None
    negated: bool
    if_exists: bool
    quantifier: str


@functools.lru_cache(maxsize=256)
def _operator(name: str) -> _Operator:
    """`Null` has no test. Raises InvalidPolicy for an operator that AWS does not have."""
    quantifier, _, bare = name.rpartition(":")
    if_exists = bare.endswith("IfExists")
    bare = bare.removesuffix("IfExists")
    if bare == "Null" and not quantifier:
        return _Operator(None, False, if_exists, "")
    negated = bare in _NEGATED
    test = _TESTS.get(_NEGATED.get(bare, bare))
    if test is None or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        raise InvalidPolicy(f"Invalid Condition type : {name}.")
    return _Operator(test, negated, if_exists, quantifier)


def _find(context: Mapping[str, Values], key: str) -> Values | None:
    if key in context:
        return context[key]
    wanted = key.lower()
    return next((value for name, value in context.items() if name.lower() == wanted), None)


def conditions_hold(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, Values]) -> bool:
    """All operators and all keys must hold; of the values listed for a key one must (none, for a negated operator)."""
    return all(
        _holds(_operator(name), key, wanted, context)
        for name, keys in condition.items()
        for key, wanted in keys.items()
    )


def _holds(operator: _Operator, key: str, wanted: Any, context: Mapping[str, Values]) -> bool:
    had = _find(context, key)
    wanted = ["true" if wanted is True else "false"] if isinstance(wanted, bool) else _listed(wanted)
    if operator.test is None:
        return (had is None) == (wanted[0].lower() == "true")
    if had is None:
        return operator.if_exists or operator.negated or operator.quantifier == "ForAllValues"
    test = operator.test

    def one(value: str) -> bool:
        return any(test(pattern, value, context) for pattern in wanted) != operator.negated

    values = _listed(had)
    return all(map(one, values)) if operator.quantifier != "ForAnyValue" else any(map(one, values))
