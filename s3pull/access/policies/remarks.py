"""What should be said beside a document: where it goes, what it replaces, and which pitfalls remain. Pure."""

from __future__ import annotations

import json

from s3pull.access.policies import documents
from s3pull.access.policies.grant import Grant, sso_pattern
from s3pull.access.policies.kinds import ALL, unfit
from s3pull.objects import Access

#: characters: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
LONGEST_TRUST = 2048
LONGEST_ROLE = 10_240


def remarks(kind: str, form: str, grant: Grant, accesses: tuple[Access, ...], *, made: bool) -> list[str]:
    """Lines for people, most important first. `made`: a new external ID is in the document."""

    def shown(one: str) -> bool:
        return kind == one or (kind == ALL and form == "json" and unfit(one, grant, accesses) is None)

    trusted = shown("trust") or (kind == ALL and not grant.direct)
    found = []
    if trusted:
        found += _trust(grant, {access.external_id for access in accesses}, made=made)
    if (shown("role") or (kind == ALL and not grant.direct)) and _length(documents.role(grant)) > LONGEST_ROLE:
        found.append(f"role: longer than {LONGEST_ROLE:,} characters, which is all that inline policies may have")
    if grant.duration > 3600 and trusted and form == "json":
        hours = f"--max-session-duration {grant.duration}"
        found.append(f"trust: sessions longer than 1 h must be allowed by the role itself: aws iam update-role {hours}")
    if shown("bucket") or (kind == ALL and grant.direct):
        found.append("bucket: a bucket has one policy, and putting this one replaces it: join their statements")
        if any(place.is_access_point for place in grant.places):
            where = "in a variable" if form == "terraform" else "in place of BUCKET-BEHIND-…"
            found.append(
                "bucket: an access point has two policies: its own, and one for the bucket behind it, whose name goes "
                f"{where}: without that the point lets nobody in"
            )
        if grant.direct:
            found.append("bucket: it covers objects that the bucket's owner owns: set BucketOwnerEnforced")
    if shown("key"):
        found.append("key: a statement to add to the policy that the key has, not a policy; where that leaves it to "
                     "IAM (the default), a role of the same account needs none")  # fmt: skip
    if shown("consumer") and grant.consumer and sso_pattern(grant.consumer):
        found.append("consumer: it goes into the permission set of IAM Identity Center, not to the role")
    if shown("session"):
        found.append("session: s3pull sends it by itself; it is shown to be read")
    if shown("cloudtrail"):
        found.append("cloudtrail: put-event-selectors replaces the selectors that a trail has: add these to them")
        found.append("cloudtrail: data events cost money; a denied AssumeRole is in the consumer's trail, not here")
    if kind == "revoke":
        found.append("revoke: it ends the sessions of all consumers of the role; they may assume it again, unless the "
                     "trust policy no longer lets them")  # fmt: skip
    return found


def _trust(grant: Grant, own: set[str | None], *, made: bool) -> list[str]:
    """`own`: the external IDs that the shares themselves have."""
    found = []
    if made:
        found.append(
            "trust: it has a new external ID; `s3pull share add --external-id` and `share export` hand it over"
        )
    if len(grant.external_ids) > 1 and own.issuperset(grant.external_ids):
        found.append(f"trust: {len(grant.external_ids)} external IDs are accepted, one of each share: whoever has one "
                     "of them reads all of these shares; a role of its own for each keeps them apart")  # fmt: skip
    elif len(grant.external_ids) > 1:
        found.append(f"trust: {len(grant.external_ids)} external IDs are accepted: take the old one out when all have "
                     "the new one")  # fmt: skip
    if not grant.external_ids:
        found.append("trust: there is no external ID: whoever serves others from that account can be made to read for "
                     "a stranger; --new-external-id makes one")  # fmt: skip
    if grant.is_account:
        found.append(
            "trust: a whole account is trusted: everyone whom it lets; --consumer-role with a role is narrower"
        )
    elif not grant.survives and grant.consumer and ":role/" in grant.consumer:
        again = "it is made again whenever its permission set is; " if sso_pattern(grant.consumer) else ""
        found.append(
            f"trust: the role must exist, and trust ends when it is deleted: {again}--recreate-safe outlives it"
        )
    if _length(documents.trust(grant)) > LONGEST_TRUST:
        found.append(f"trust: longer than {LONGEST_TRUST:,} characters, a quota that AWS raises on request")
    return found


def _length(document: documents.Document) -> int:
    """Without white space, as IAM counts."""
    return len(json.dumps(document, separators=(",", ":")))
