"""Which documents a word after `--kind` comes to, as JSON. Pure; forms other than JSON are `deploy`'s and its formats'.

| kind | as JSON | with a role | direct |
|---|---|---|---|
| trust | a trust policy | yes | no |
| role | a policy | yes | no |
| bucket | a policy; several by bucket or access point | no plain HTTP | that, and who may read |
| key | one statement | with a customer key | with a customer key |
| consumer | a policy; of a pod an object: trust, permissions | yes | yes |
| session | a session policy | one share's | no |
| cloudtrail | an object: AdvancedEventSelectors, AthenaQuery | yes | yes |
| revoke | a policy | when asked for, never in `all` | no |
| all | an object by kind | all that apply | all that apply |

An access point has two policies: its own, and one for the bucket behind it, which has to leave it to its points.
"""

from __future__ import annotations

from typing import Any

from s3pull.access.policies import documents, trail
from s3pull.access.policies.grant import Grant, Place
from s3pull.errors import UsageError
from s3pull.objects import Access

KINDS = ("trust", "role", "bucket", "key", "consumer", "session", "cloudtrail", "revoke")
ALL = "all"
#: a revocation ends what is under way: nobody gets one without having asked for it
_NOT_IN_ALL = frozenset({"revoke"})


def as_json(kind: str, grant: Grant, accesses: tuple[Access, ...], now: str) -> Any:
    """What `--format json` prints. `now` is for `revoke`. Raises UsageError for a kind that does not apply."""
    if kind != ALL:
        if reason := unfit(kind, grant, accesses):
            raise UsageError(f"--kind {kind}: {reason[0]}", hint=reason[1])
        return _one(kind, grant, accesses, now)
    fitting = [one for one in KINDS if one not in _NOT_IN_ALL and unfit(one, grant, accesses) is None]
    return {one: _one(one, grant, accesses, now) for one in fitting}


def unfit(kind: str, grant: Grant, accesses: tuple[Access, ...]) -> tuple[str, str] | None:
    """(why this grant has no document of this kind, what to do); None where it has one."""
    if grant.direct and kind in {"trust", "role", "revoke", "session"}:
        hint = "take the statements out of the bucket policy" if kind == "revoke" else "--kind bucket"
        return "there is no role: the consumer reads directly", f"{hint}; or name the role: --role-arn ARN"
    if kind == "key" and not grant.kms_keys:
        return "no key is named", "--kms-key ARN, where objects are encrypted with a customer key (SSE-KMS)"
    if kind == "session" and len(accesses) > 1:
        return "each share has a session policy of its own", "one share at a time"
    if kind == "session" and documents.session(accesses[0]) is None:
        return "narrowing is off, so none is sent", "--narrow turns it on"
    return None


def _one(kind: str, grant: Grant, accesses: tuple[Access, ...], now: str) -> Any:
    if kind == "bucket":
        found = {}
        for place in buckets(grant):
            found[place.bucket] = documents.bucket(grant, place)
            if place.is_access_point:
                found[f"the bucket behind {place.bucket}"] = documents.behind(grant, place)
        return found if len(found) > 1 else next(iter(found.values()))
    if kind == "consumer":
        permissions = documents.consumer(grant)
        return {"trust": documents.pods(), "permissions": permissions} if grant.pod_identity else permissions
    if kind == "session":
        return documents.session(accesses[0])
    if kind == "cloudtrail":
        return {"AdvancedEventSelectors": trail.selectors(grant), "AthenaQuery": trail.query(grant)}
    if kind == "revoke":
        return documents.revoke(now)
    return {"trust": documents.trust, "role": documents.role, "key": documents.key}[kind](grant)


def buckets(grant: Grant) -> list[Place]:
    """One place of each bucket: a bucket has one policy, however many prefixes are granted."""
    return list({place.bucket: place for place in grant.places}.values())
