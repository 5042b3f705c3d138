"""Holds policies that an owner already has against a grant: what is missing, too wide, or cannot be told. Pure.

| level | means |
|---|---|
| missing | AWS refuses the document, or something that the grant needs is not allowed by it |
| wide | more is allowed than the grant needs (see `width`) |
| optional | something good is not there; nothing of this grant fails without it |
| unknown | it depends on what cannot be seen from here |

Only the kinds that were given are judged: a role's policy says nothing of its trust. Problems never repeat an external
ID; the statement that would mend one has it, as our documents do.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from s3pull.access.policies import documents, reading, width
from s3pull.access.policies.given import PODS, Given
from s3pull.access.policies.grant import Grant
from s3pull.access.policies.kinds import buckets
from s3pull.access.policies.needs import Need, needs
from s3pull.access.policies.reading import ALL, NONE, SOME, UNSURE, Question, Span


class Level(enum.StrEnum):
    MISSING = "missing"
    WIDE = "wide"
    OPTIONAL = "optional"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about the documents of a kind. `statement` is how ours says what is missing."""

    level: Level
    kind: str
    file: str
    problem: str
    hint: str | None = None
    statement: documents.Statement | None = None


def check(given: Sequence[Given], grant: Grant, now: str) -> list[Finding]:
    """Everything there is to say, what is missing first. Raises UsageError where the grant does not say enough.

    `now` (ISO 8601) decides whether a revocation lets in the sessions of today.
    """
    found = [finding for one in given for finding in _form(one)]
    for kind, group in _by_kind(given).items():
        found += _judged(kind, group, grant, now)
    order = list(Level)
    # by their texts, and not each by each: a file may be wrong in a hundred thousand places
    unique = {(one.level, one.kind, one.file, one.problem, one.hint, str(one.statement)): one for one in found}
    return sorted(unique.values(), key=lambda one: order.index(one.level))


def _by_kind(given: Sequence[Given]) -> dict[str, list[Given]]:
    """A revocation stands beside the role's policy. Each key has its policy, and so is judged alone."""
    found: dict[str, list[Given]] = {}
    for number, one in enumerate(given):
        name = {None: "?", "revoke": "role", "key": f"key {number}"}.get(one.kind, str(one.kind))
        found.setdefault(name, []).append(one)
    return found


def _judged(name: str, group: list[Given], grant: Grant, now: str) -> Iterator[Finding]:
    kind = name.partition(" ")[0]
    files = ", ".join(dict.fromkeys(one.file for one in group))
    if kind == "?":
        yield Finding(Level.UNKNOWN, kind, files, "cannot tell what kind of policy this is", "--kind says it")
        return
    if kind == "key" and not grant.kms_keys:
        yield Finding(Level.UNKNOWN, kind, files, "no key is named, so its policy cannot be judged", "--kms-key ARN")
        return
    policies = [_served(one.document) if kind == PODS else one.document for one in group]
    only_revoked = kind == "role" and all(one.kind == "revoke" for one in group)
    asked = needs("consumer" if kind == "role" and grant.direct else kind, grant, now)
    for need in asked:
        if (problem := _unmet(policies, need, only_denials=only_revoked)) is not None:
            level, text, hint = problem
            shown = need.statement if level in (Level.MISSING, Level.OPTIONAL) else None
            yield Finding(level, kind, files, text, hint, shown)
    if kind == "bucket":
        yield from _plain_http(policies, grant, files)
    for text, hint in width.too_wide(kind, policies, grant, now):
        yield Finding(Level.WIDE, kind, files, text, hint)


def _served(document: object) -> dict[str, object]:
    """A trust policy of services as if they were accounts: their principals are names like any other."""
    found = []
    for one in reading.statements(document):
        principal = one.get("Principal")
        service = principal.get("Service") if isinstance(principal, dict) else None
        found.append({**one, "Principal": {"AWS": service}})
    return {"Statement": found}


# --- what is missing --------------------------------------------------------------------------------------


def _unmet(policies: Sequence[object], need: Need, *, only_denials: bool) -> tuple[Level, str, str | None] | None:
    """(level, problem, hint) of a need that is not met, or that may not be."""
    answer = reading.ask(policies, need.question)
    if answer.denied is not None:
        sid = answer.denied.get("Sid")
        return Level.MISSING, f"a Deny{f' ({sid})' if sid else ''} takes {need.what}: {need.without}", None
    keys = ", ".join(answer.unsure)
    if answer.unsure and (need.denials_only or only_denials or answer.allowed is UNSURE):
        return Level.UNKNOWN, f"cannot tell whether {need.what} is allowed: it hangs on {keys}", None
    if need.denials_only or only_denials or answer.allowed is ALL:
        return None
    if answer.allowed is UNSURE:
        return Level.UNKNOWN, f"cannot tell whether {need.what} is allowed: it hangs on a policy variable", None
    level = Level.MISSING if need.required else Level.OPTIONAL
    part = "only a part of " if answer.allowed is SOME else ""
    verb = "is allowed" if part else "is not allowed"
    return level, f"{part}{need.what} {verb}: {need.without}", _why(policies, need.question)


def _why(policies: Sequence[object], question: Question) -> str | None:
    """The mistake that a statement for the same action makes, where it is one of the known ones."""
    for statement in (one for policy in policies for one in reading.statements(policy)):
        if statement.get("Effect") != "Allow" or reading.acts(statement, question.action) is NONE:
            continue
        for reason in (_wrong_principal(statement, question), _wrong_resource(statement, question)):
            if reason:
                return reason
        if reason := _wrong_condition(statement, question):
            return reason
    return None


def _wrong_principal(statement: reading.Statement, question: Question) -> str | None:
    if question.principal is None or reading.names(statement, question.principal) is not NONE:
        return None
    for named in reading.principals(statement):
        if re.fullmatch(r"A(ROA|IDA)[A-Z0-9]+", named):
            return f"{named} is what is left of a principal that was deleted: write the ARN again"
        if ":assumed-role/" in named:
            return f"{named} is a session, which ends: name the role, {question.principal}"
    return f"the principal must be {question.principal}"


def _wrong_resource(statement: reading.Statement, question: Question) -> str | None:
    if question.resource is None:
        return None
    patterns = reading.listed(statement, "Resource")
    extent = reading.either(reading.pattern_extent(one, question.resource) for one in patterns)
    if extent is not NONE or not patterns:
        return None
    if question.action.startswith("s3:GetObject"):
        bucket = question.resource.text.split("/")[0]
        if bucket in patterns:
            return f"{question.action} is asked of objects: the resource must be {question.resource.text}*"
    if question.action.startswith("s3:List") and any(one.startswith(question.resource.text + "/") for one in patterns):
        return f"{question.action} is asked of the bucket itself: the resource must be {question.resource.text}"
    return None


def _wrong_condition(statement: reading.Statement, question: Question) -> str | None:
    failing = reading.failing_keys(statement, question)
    action = question.action
    for key in failing:
        name = key.lower()
        if name == "s3:prefix" and not action.startswith("s3:List"):
            return "s3:prefix is a matter of listing: on other actions the condition never holds"
        if name == "s3:prefix" and isinstance(span := question.facts.get(name), Span):
            return f"the condition on s3:prefix must let in {span.text!r} and what begins with it"
        if name == "sts:externalid" and action != "sts:AssumeRole":
            return f"{action} carries no external ID: give it a statement of its own, without the condition"
        if name == "sts:externalid":
            return "the external ID is another one, or there is none: the match is exact, case and white space included"
        if name == "aws:sourceip" and action.startswith("kms:"):
            return "S3 asks KMS from an address of its own: no aws:SourceIp on this statement"
        if name == "aws:sourceip" and question.facts.get(name, "") is None:
            return "aws:SourceIp is absent where requests come through a VPC endpoint: use aws:SourceVpce"
        if name == "aws:multifactorauthpresent":
            return "sessions of roles carry no MFA: the condition can only hold for IAM users"
    return f"the condition on {failing[0]} does not hold" if failing else None


# --- forms, and what is good to have ----------------------------------------------------------------------


def _form(one: Given) -> Iterator[Finding]:
    """What AWS would refuse as it stands, and what an old version means."""
    kind, version = one.kind or "?", one.document.get("Version")
    variables = "${" in str(one.document.get("Statement"))
    if version is None or version == "2008-10-17":
        if variables:
            text = "without the version 2012-10-17, ${…} is taken letter by letter"
            yield Finding(Level.MISSING, kind, one.file, text, f'"Version": "{documents.VERSION}"')
        elif version is None:
            text = "the policy has no version, so it is of 2008-10-17"
            yield Finding(Level.OPTIONAL, kind, one.file, text, f'"Version": "{documents.VERSION}"')
    elif version != documents.VERSION:
        text = f'AWS refuses the version "{version}"'
        hint = f'"Version": "{documents.VERSION}", exactly so: it is a name, not a date of yours'
        yield Finding(Level.MISSING, kind, one.file, text, hint)
    for problem, remedy in _misformed(one.document.get("Statement"), kind):
        yield Finding(Level.MISSING, kind, one.file, problem, remedy)


def _misformed(found: object, kind: str) -> Iterator[tuple[str, str | None]]:
    """(problem, hint) of statements that AWS does not take.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
    """
    several = found if isinstance(found, list) else [found]
    if not several or found is None:
        yield "the policy has no statement: AWS refuses it", None
        return
    for number, statement in enumerate(several, 1):
        if not isinstance(statement, Mapping):
            yield f"statement {number} is no object: AWS refuses it", None
            continue
        name = f"statement {statement['Sid']}" if "Sid" in statement else "statement"
        if statement.get("Effect") not in ("Allow", "Deny"):
            yield f"{name} has neither Allow nor Deny as its Effect", None
        if not _texts(statement, "Action"):
            yield f"{name} has no Action", None
        if kind == "trust" and {"Resource", "NotResource"} & set(statement):
            yield f"{name} has a Resource: AWS refuses it in a trust policy", "leave it out: the role itself is meant"
        if kind not in ("trust", PODS, "?") and not _texts(statement, "Resource"):
            yield f"{name} has no Resource", None
        named = {"Principal", "NotPrincipal"} & set(statement)
        if named and kind in _NAMELESS:
            yield f"{name} has a Principal: AWS refuses it in a policy of a role or user", "leave it out"
        if not named and kind in _NAMING:
            yield f"{name} has no Principal", None


#: kinds whose statements name nobody, and kinds whose statements have to
_NAMELESS = frozenset({"role", "consumer", "session", "revoke"})
_NAMING = frozenset({"trust", PODS, "bucket", "key"})


def _texts(statement: reading.Statement, name: str) -> bool:
    """True where an element, or its negation, is a text or a list of some."""
    found = statement.get(name, statement.get(f"Not{name}"))
    several = found if isinstance(found, list) else [found]
    return bool(several) and all(isinstance(one, str) and one for one in several)


def _plain_http(policies: Sequence[object], grant: Grant, files: str) -> Iterator[Finding]:
    for place in buckets(grant):
        wanted = documents.deny_plain_http(grant, place)
        spans = [Span(text.removesuffix("*"), text.endswith("*")) for text in reading.listed(wanted, "Resource")]
        action = "s3express:CreateSession" if place.is_directory else "s3:GetObject"
        asked = [Question(action, span, None, {"aws:securetransport": "false"}) for span in spans]
        if not all(_refused(policies, one) for one in asked):
            text = f"requests to {place.bucket} over plain HTTP are not refused"
            yield Finding(Level.OPTIONAL, "bucket", files, text, "add the statement", wanted)


def _refused(policies: Sequence[object], question: Question) -> bool:
    """True where a Deny certainly applies to all of it, whoever asks."""
    return any(
        statement.get("Effect") == "Deny" and reading.applies(statement, question)[0] is ALL
        for policy in policies
        for statement in reading.statements(policy)
    )
