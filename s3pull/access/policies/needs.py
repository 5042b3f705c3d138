"""What a grant needs from a policy of each kind: the questions that must be answered with yes. Pure.

A need names the statement of `documents` that meets it, so that what is missing can be shown as it should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from s3pull.access.narrow import resources, via_service
from s3pull.access.policies import documents
from s3pull.access.policies.given import PODS
from s3pull.access.policies.grant import Grant, Place, directory_arn, key_region
from s3pull.access.policies.reading import Fact, Question, Span, listed
from s3pull.errors import UsageError


@dataclass(frozen=True, slots=True)
class Need:
    """One question that must be answered with yes. `without` is what does not work otherwise.

    `required` False: nothing that this grant does fails without it. `denials_only`: it need not be allowed here, and
    must not be denied. `statement` is how `documents` would write it.
    """

    question: Question
    what: str
    without: str
    required: bool = True
    denials_only: bool = False
    statement: documents.Statement | None = None


def needs(kind: str, grant: Grant, now: str) -> list[Need]:
    """The needs of a kind of document. Raises UsageError where the grant does not say enough."""
    if kind == "trust":
        return list(_trust(grant))
    if kind == PODS:
        found = documents.pods()
        return [
            Need(Question(action, None, "pods.eks.amazonaws.com"), action, "pods get no credentials", statement=one)
            for one in found["Statement"]
            for action in one["Action"]
        ]
    if kind == "consumer" and not grant.direct:
        return list(_assuming(grant))
    if kind == "key":
        return list(_decrypting(grant, grant.reader, documents.key(grant)))
    if kind == "bucket":
        return list(_bucket(grant, now))
    document = documents.consumer(grant) if grant.direct else documents.role(grant)
    return list(_reading(grant, None, document["Statement"], now))


def came_from(grant: Grant) -> dict[str, Fact]:
    """What is known of where requests come from; what the grant does not say is unknown."""
    found: dict[str, Fact] = {"aws:securetransport": "true"}
    if grant.source_ips:
        found["aws:sourceip"] = grant.source_ips
    if grant.source_vpces:
        found |= {"aws:sourcevpce": grant.source_vpces, "aws:sourceip": None}
    if grant.org_id:
        found["aws:principalorgid"] = grant.org_id
    return found


def asker(grant: Grant, arn: str | None) -> dict[str, Fact]:
    """Condition keys that tell who asks; of a whole account none but the account."""
    if arn is None:
        return {}
    found: dict[str, Fact] = {"aws:principalaccount": arn.split(":")[4]}
    if not arn.endswith(":root"):
        found["aws:principalarn"] = arn
        # role sessions carry no MFA; without --mfa-serial a user may or may not have shown a code
        if grant.mfa:
            found["aws:multifactorauthpresent"] = "true"
        elif ":role/" in arn:
            found["aws:multifactorauthpresent"] = "false"
    return found


def object_spans(grant: Grant) -> list[Span]:
    return [
        Span(f"{resources(place.bucket, grant.partition)[1]}/{place.prefix}", True)
        for place in grant.places
        if not place.is_directory
    ]


def listed_spans(grant: Grant) -> list[Span]:
    """What is listed; of a directory bucket, what sessions are made for."""
    return [
        Span(directory_arn(grant, place) if place.is_directory else resources(place.bucket, grant.partition)[0])
        for place in grant.places
    ]


def _trust(grant: Grant) -> Iterator[Need]:
    by_action = {one["Action"]: one for one in documents.trust(grant)["Statement"]}
    facts = {**came_from(grant), **asker(grant, grant.consumer)}
    ids: dict[str, Fact] = {"sts:externalid": grant.external_ids or None}
    for action, without, required in (
        ("sts:AssumeRole", "the consumer cannot assume the role", True),
        ("sts:SetSourceIdentity", "sessions with a source identity are refused", grant.identified),
        ("sts:TagSession", "sessions with tags are refused", True),
    ):
        if action in by_action:
            # only AssumeRole itself carries the external ID
            asked = {**facts, **(ids if action == "sts:AssumeRole" else {"sts:externalid": None})}
            question = Question(action, None, grant.consumer, asked)
            yield Need(question, action, without, required, statement=by_action[action])


def _assuming(grant: Grant) -> Iterator[Need]:
    (statement,) = documents.consumer(grant)["Statement"]
    facts = {**came_from(grant), **asker(grant, grant.consumer), "sts:externalid": grant.external_ids or None}
    for action in statement["Action"]:
        required = action != "sts:SetSourceIdentity" or grant.identified
        without = "the consumer cannot assume the role" if required else "sessions with a source identity are refused"
        question = Question(action, Span(grant.role_arn or ""), None, facts)
        yield Need(question, f"{action} on {grant.role_arn}", without, required, statement=statement)


def _bucket(grant: Grant, now: str) -> Iterator[Need]:
    if grant.direct:
        if grant.consumer is None:
            raise UsageError(
                "it is not said who the consumer is",
                hint="--consumer-role ARN: the consumer's `s3pull status` prints it",
            )
        statements = [one for place in grant.places for one in documents.bucket(grant, place)["Statement"]]
        yield from _reading(grant, grant.consumer, statements, now, decrypting=False)
        return
    for need in _reading(grant, grant.role_arn, documents.role(grant)["Statement"], now, decrypting=False):
        yield Need(need.question, need.what, need.without, denials_only=True)


def _reading(
    grant: Grant, principal: str | None, statements: list[documents.Statement], now: str, *, decrypting: bool = True
) -> Iterator[Need]:
    reader = grant.reader
    facts = {**came_from(grant), **asker(grant, reader), "s3:prefix": None, "s3:delimiter": None, "s3:max-keys": None}
    facts["aws:tokenissuetime"] = now
    for place in grant.places:
        bucket, objects = resources(place.bucket, grant.partition)
        if place.is_directory:
            span = Span(directory_arn(grant, place))
            question = Question(
                "s3express:CreateSession", span, principal, {**facts, "s3express:sessionmode": "ReadOnly"}
            )
            shown = _find(statements, "s3express:CreateSession", span.text)
            yield Need(question, f"s3express:CreateSession on {place.bucket}", "nothing can be read", statement=shown)
            continue
        where = Span(f"{objects}/{place.prefix}", True)
        for action in ["s3:GetObject"] + ["s3:GetObjectVersion"] * grant.versions:
            what = "old versions" if action.endswith("Version") else "objects"
            shown = _find(statements, action)
            question = Question(action, where, principal, facts)
            yield Need(question, f"{action} on {where.text}*", f"{what} cannot be read", statement=shown)
        for action in ["s3:ListBucket"] + ["s3:ListBucketVersions"] * grant.versions:
            question = Question(action, Span(bucket), principal, {**facts, "s3:prefix": Span(place.prefix, True)})
            shown = _find(statements, action, bucket)
            yield Need(question, f"{action} on {bucket}{_below(place)}", "nothing can be listed", statement=shown)
    if decrypting:
        yield from _decrypting(grant, principal, _find(statements, "kms:Decrypt"))


def _decrypting(grant: Grant, principal: str | None, statement: documents.Statement | None) -> Iterator[Need]:
    for arn in grant.kms_keys:
        facts: dict[str, Fact] = {
            **asker(grant, grant.reader),
            "kms:viaservice": via_service(key_region(arn), grant.partition),
            # S3 asks on the reader's behalf, from an address of its own
            "aws:sourceip": None,
            "s3:prefix": None,
        }
        question = Question("kms:Decrypt", Span(arn), principal, facts)
        yield Need(question, f"kms:Decrypt on {arn}", "encrypted objects cannot be read", statement=statement)


def _below(place: Place) -> str:
    return f" with the prefix {place.prefix!r}" if place.prefix else ""


def _find(statements: list[documents.Statement], action: str, resource: Any = None) -> documents.Statement | None:
    """The statement of ours that allows `action`."""
    return next(
        (one for one in statements if action in listed(one, "Action") and resource in (None, one["Resource"])),
        None,
    )
