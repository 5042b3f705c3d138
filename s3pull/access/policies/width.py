"""What a policy allows beyond a grant: other principals, actions, objects, keys; no external ID. Pure.

It judges what concerns the grant: other statements of a bucket's or key's policy, and what else a consumer's role may
do, are none of its business. What it names is certain; what it does not name may still be wide by a condition that it
cannot see through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from s3pull.access.narrow import resources
from s3pull.access.policies import reading
from s3pull.access.policies.grant import Grant
from s3pull.access.policies.needs import asker, came_from, listed_spans, needs, object_spans
from s3pull.access.policies.reading import ALL, NONE, Question, Span, Statement

Width = tuple[str, str | None]

#: actions that show nothing which a reader may not see
_HARMLESS = ("s3:GetObjectAttributes", "s3:GetBucketLocation", "kms:DescribeKey")
_TRUSTED = ("sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession")
#: no ID can be this: STS takes no tilde, so that only what takes any ID takes it
_NOBODYS_ID = "~" * 32
_EXACT = ("StringEquals", "StringEqualsIgnoreCase", "StringLike")
_STRANGER = "arn:{partition}:iam::000000000000:role/somebody-else"
_COLLEAGUE = "arn:{partition}:iam::{account}:role/somebody-else"


def too_wide(kind: str, policies: Sequence[object], grant: Grant, now: str) -> Iterator[Width]:
    """(problem, hint) of everything that `policies` of a kind allow beyond the grant."""
    allows = [one for policy in policies for one in reading.statements(policy) if one.get("Effect") == "Allow"]
    if kind == "trust":
        yield from _negations(allows)
        yield from _trust(allows, policies, grant)
    elif kind == "consumer" and not grant.direct:
        yield from _assuming(allows, grant)
    elif kind in {"role", "session", "consumer"}:
        yield from _negations(allows)
        yield from _reading(allows, grant, session=kind == "session")
        yield from _listing(policies, allows, grant, now)
        yield from _decrypting(policies, grant, None)
    elif kind == "bucket":
        yield from _public(allows)
        if grant.direct:
            mine = [one for one in allows if _concerns(one, grant) and not _delegates(one)]
            yield from _negations(mine)
            yield from _reading(mine, grant)
            yield from _listing(policies, mine, grant, now)
    elif kind == "key":
        yield from _public(allows)
        yield from _decrypting(policies, grant, grant.reader)


def _negations(allows: Sequence[Statement]) -> Iterator[Width]:
    for name in ("NotAction", "NotResource", "NotPrincipal"):
        if any(name in one for one in allows):
            yield f"an Allow with {name} allows everything but that", f"write what is meant, without {name}"


# --- trust ------------------------------------------------------------------------------------------------


def _trust(allows: Sequence[Statement], policies: Sequence[object], grant: Grant) -> Iterator[Width]:
    for one in _beyond(allows, _TRUSTED):
        yield f"the trust policy allows {one}", f"{', '.join(_TRUSTED)} are all that is needed"
    consumer = grant.consumer or ""
    account = consumer.split(":")[4]
    ids: dict[str, reading.Fact] = {"sts:externalid": grant.external_ids or None}
    stranger = _STRANGER.format(partition=grant.partition)
    if _may_assume(policies, grant, stranger, ids):
        yield "every AWS account may assume the role", f"the principal should be {consumer}"
    elif not grant.is_account and _may_assume(
        policies, grant, _COLLEAGUE.format(partition=grant.partition, account=account), ids
    ):
        hint = f"the principal should be {consumer}, or add a condition on aws:PrincipalArn"
        yield f"everyone in account {account} whom it lets may assume the role", hint
    assuming = [one for one in allows if reading.acts(one, "sts:AssumeRole") is not NONE]
    for named in dict.fromkeys(name for one in assuming for name in reading.principals(one)):
        if named != "*" and ":assumed-role/" not in named and not named.startswith("A") and not _is(named, grant):
            yield f"{named} may assume the role, too", None
    if grant.external_ids:
        yield from _external_ids(assuming, policies, grant)


def _external_ids(assuming: Sequence[Statement], policies: Sequence[object], grant: Grant) -> Iterator[Width]:
    """IDs that are accepted and not the grant's. None is repeated here."""
    who = grant.consumer or ""
    if _may_assume(policies, grant, who, {"sts:externalid": None}):
        yield (
            "the role can be assumed without an external ID: whoever serves others from that account can be "
            "made to read for a stranger (confused deputy)",
            "make sts:ExternalId a condition of sts:AssumeRole",
        )
    elif _may_assume(policies, grant, who, {"sts:externalid": _NOBODYS_ID}):
        yield "any external ID is accepted: it protects nothing", "StringEquals, and the one ID"
    accepted = {pair for one in assuming for pair in reading.compared(one, "sts:ExternalId")}
    patterns = {value for operator, value in accepted if operator == "StringLike" and re.search(r"[*?]", value)}
    if any(value.strip("*?") for value in patterns - set(grant.external_ids)):
        yield "every external ID of a pattern is accepted", "StringEquals, and the one ID"
    exact = {value for operator, value in accepted if operator in _EXACT} - patterns
    if others := len(exact - set(grant.external_ids)):
        more = "another external ID is" if others == 1 else f"{others} other external IDs are"
        yield f"{more} accepted, too", "after a rotation, take the old one out"


def _may_assume(policies: Sequence[object], grant: Grant, who: str, facts: dict[str, reading.Fact]) -> bool:
    known = {**came_from(grant), **asker(grant, who), **facts}
    if who.endswith("/somebody-else"):
        # a stranger's Organization is unknown, and so is whether it is the consumer's
        known.pop("aws:principalorgid", None)
    return reading.ask(policies, Question("sts:AssumeRole", None, who, known)).allowed is ALL


def _is(named: str, grant: Grant) -> bool:
    """True where `named` is the consumer, or its account (which is judged by whom it lets)."""
    account = (grant.consumer or "").split(":")[4]
    return named in {grant.consumer, account} or named.split(":")[4:] == [account, "root"]


def _assuming(allows: Sequence[Statement], grant: Grant) -> Iterator[Width]:
    for one in allows:
        if reading.acts(one, "sts:AssumeRole") is NONE:
            continue
        for pattern in reading.listed(one, "Resource"):
            if reading.within(pattern, [Span(grant.role_arn or "")]) is NONE and "*" in pattern:
                yield f"the consumer may assume {pattern}", f"the resource should be {grant.role_arn}"
        if "NotResource" in one:
            yield "the consumer may assume all roles but some", f"the resource should be {grant.role_arn}"


# --- reading ----------------------------------------------------------------------------------------------


def _reading(allows: Sequence[Statement], grant: Grant, *, session: bool = False) -> Iterator[Width]:
    allowed = {need.question.action for need in needs("consumer" if grant.direct else "role", grant, "")}
    if session:
        # what `narrow` asks for whatever the share is: a session policy only ever takes away
        allowed |= {"s3:GetObjectVersion", "s3:ListBucketVersions", "kms:Decrypt"}
    for name in _beyond(allows, [*allowed, *_HARMLESS]):
        yield f"{name} is more than reading needs", f"needed: {', '.join(sorted(allowed))}"
    spans = [*object_spans(grant), *listed_spans(grant), *(Span(arn) for arn in grant.kms_keys)]
    directories = tuple(f":bucket/{place.bucket}" for place in grant.places if place.is_directory)
    for one in allows:
        for pattern in reading.listed(one, "Resource"):
            # `narrow` names neither keys nor a directory bucket's region; bucket names are one account's in any
            narrowed = session and (reading.condition_values(one, "kms:ViaService") or pattern.endswith(directories))
            if reading.within(pattern, spans) is NONE and not narrowed:
                shown = ", ".join(span.text + "*" * span.open for span in spans)
                yield f"{pattern} is more than what is granted", f"granted: {shown}"


def _listing(policies: Sequence[object], allows: Sequence[Statement], grant: Grant, now: str) -> Iterator[Width]:
    """Listing is limited by s3:prefix alone: without the condition all names of the bucket are shown."""
    direct_by_bucket = any("Principal" in one for one in allows)
    kind = "bucket" if direct_by_bucket else "consumer" if grant.direct else "role"
    told = set()
    for need in needs(kind, grant, now):
        question = need.question
        prefix = question.facts.get("s3:prefix")
        if not isinstance(prefix, Span) or question.resource is None or question.resource in told:
            continue
        told.add(question.resource)
        here = question.resource.text
        granted = [one.prefix for one in grant.places if resources(one.bucket, grant.partition)[0] == here]
        if "" in granted:
            continue
        unlimited = Question(
            question.action, question.resource, question.principal, {**question.facts, "s3:prefix": None}
        )
        if reading.ask(policies, unlimited).allowed is ALL:
            yield f"all of {question.resource.text} can be listed", "make s3:prefix a condition of s3:ListBucket"
            continue
        spans = [Span(text, True) for text in granted]
        for one in allows:
            if reading.acts(one, "s3:ListBucket") is NONE or not _reaches(one, question.resource):
                continue
            for value in reading.condition_values(one, "s3:prefix"):
                if reading.within(value, spans) is NONE:
                    yield f"names that begin with {value!r} can be listed, too", f"granted: {', '.join(granted)}"


def _reaches(statement: Statement, resource: Span) -> bool:
    return any(reading.pattern_extent(one, resource) is not NONE for one in reading.listed(statement, "Resource"))


def _decrypting(policies: Sequence[object], grant: Grant, principal: str | None) -> Iterator[Width]:
    """Without kms:ViaService the key can be used for whatever else is encrypted with it."""
    for arn in grant.kms_keys:
        facts: dict[str, reading.Fact] = {**asker(grant, grant.reader), "kms:viaservice": None, "aws:sourceip": None}
        question = Question("kms:Decrypt", Span(arn), principal, facts)
        named = [
            one
            for policy in policies
            for one in reading.statements(policy)
            if principal is None or principal in reading.principals(one)
        ]
        if reading.ask([{"Statement": named}], question).allowed is ALL:
            yield "kms:Decrypt is allowed to others than S3, too", "make kms:ViaService a condition of it"


def _public(allows: Sequence[Statement]) -> Iterator[Width]:
    for one in allows:
        if "*" in reading.principals(one) and not one.get("Condition"):
            sid = f" ({one['Sid']})" if "Sid" in one else ""
            yield f"everybody is allowed something{sid}", "name principals"
        if "NotPrincipal" in one:
            yield "an Allow with NotPrincipal allows everybody but those", "name principals"


def _concerns(statement: Statement, grant: Grant) -> bool:
    return grant.consumer is not None and reading.names(statement, grant.consumer) is not NONE


def _delegates(statement: Statement) -> bool:
    """True of a bucket's statement that leaves it to access points, whose policies are others."""
    keys = ("s3:DataAccessPointAccount", "s3:DataAccessPointArn")
    return any(reading.condition_values(statement, key) for key in keys)


def _beyond(allows: Sequence[Statement], allowed: Sequence[str]) -> list[str]:
    """Action patterns that match more than what is allowed."""
    spans = [Span(name.lower()) for name in allowed]
    found = [name for one in allows for name in reading.listed(one, "Action")]
    return [name for name in dict.fromkeys(found) if reading.within(name.lower(), spans) is NONE]
