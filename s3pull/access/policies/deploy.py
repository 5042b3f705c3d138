"""What a kind of document is to CloudFormation and Terraform: resources to make, or a reason why there is none. Pure.

The formats themselves are `cloudformation`'s and `terraform`'s. Nothing here replaces a policy that may exist unless
that kind was asked for by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from s3pull.access.policies import documents, trail
from s3pull.access.policies.grant import Grant, sso_pattern
from s3pull.access.policies.kinds import ALL, buckets, unfit
from s3pull.errors import UsageError
from s3pull.objects import Access

READ, ASSUME, REVOKE = "s3pull-read", "s3pull-assume", "s3pull-revoke-older-sessions"


@dataclass(frozen=True, slots=True)
class Role:
    """A role with its trust policy and, where `permissions` is given, an inline policy. `duration` is in seconds."""

    title: str
    name: str
    path: str
    trust: documents.Document
    permissions: documents.Document | None = None
    policy_name: str = READ
    duration: int = 3600


@dataclass(frozen=True, slots=True)
class Attached:
    """An inline policy of a role or user that exists; of neither (`owner` None) a managed policy to attach."""

    title: str
    kind: str
    owner: str | None
    policy_name: str
    policy: documents.Document


@dataclass(frozen=True, slots=True)
class BucketPolicy:
    """The whole policy of a bucket, directory bucket or access point: it replaces the one that is there.

    `behind` is the access point whose bucket it is: then the bucket's name is not known, and `bucket` stands for it.
    """

    title: str
    bucket: str
    policy: documents.Document
    directory: bool = False
    access_point: bool = False
    behind: str | None = None


@dataclass(frozen=True, slots=True)
class Trail:
    """A trail of its own, so that no selectors are replaced. Its logs go to a bucket that the user names."""

    title: str
    name: str
    selectors: tuple[dict[str, Any], ...]


Resource = Role | Attached | BucketPolicy | Trail


def deployed(kind: str, grant: Grant, accesses: tuple[Access, ...], now: str) -> list[Resource]:
    """The resources of a kind. `all` is what the owner needs to grant: the role, or the bucket's policy where reading
    is direct; the consumer's side belongs to another account. Raises UsageError for what cannot be a resource.
    """
    if kind == ALL:
        return _buckets(grant) if grant.direct else [_role(grant, permissions=True)]
    if reason := unfit(kind, grant, accesses):
        raise UsageError(f"--kind {kind}: {reason[0]}", hint=reason[1])
    if kind == "trust":
        return [_role(grant, permissions=False)]
    if kind == "role":
        return [Attached("ReaderPolicy", "role", _name(grant.role_arn)[1], READ, documents.role(grant))]
    if kind == "bucket":
        return _buckets(grant)
    if kind == "consumer":
        return [_consumer(grant)]
    if kind == "cloudtrail":
        return [Trail("ReadsTrail", "s3pull-reads", tuple(trail.selectors(grant)))]
    if kind == "revoke":
        return [Attached("RevokePolicy", "role", _name(grant.role_arn)[1], REVOKE, documents.revoke(now))]
    why = {
        "key": "a key has one policy, and a template would replace it",
        "session": "a session policy is sent with AssumeRole and stored nowhere",
    }
    raise UsageError(f"--kind {kind} is no resource: {why[kind]}", hint="--format json")


def _role(grant: Grant, *, permissions: bool) -> Role:
    path, name = _name(grant.role_arn)
    inline = documents.role(grant) if permissions else None
    return Role("ReaderRole", name, path, documents.trust(grant), inline, READ, grant.duration)


def _buckets(grant: Grant) -> list[Resource]:
    found: list[Resource] = []
    for number, place in enumerate(buckets(grant), 1):
        title = "BucketPolicy" if number == 1 else f"BucketPolicy{number}"
        policy = documents.bucket(grant, place)
        found.append(
            BucketPolicy(title, place.bucket, policy, directory=place.is_directory, access_point=place.is_access_point)
        )
        if place.is_access_point:
            hidden, policy = documents.hidden_bucket(place), documents.behind(grant, place)
            found.append(BucketPolicy(f"{title}Behind", hidden, policy, behind=place.bucket))
    return found


def _consumer(grant: Grant) -> Resource:
    permissions, arn = documents.consumer(grant), grant.consumer
    policy_name = READ if grant.direct else ASSUME
    if arn is not None and sso_pattern(arn):
        raise UsageError(
            "--kind consumer: a role of IAM Identity Center takes no policy but its permission set's",
            hint="--format json: the policy goes into the permission set",
        )
    if grant.pod_identity:
        path, name = _name(arn) if arn and ":role/" in arn else ("/", "s3pull-consumer")
        return Role("ConsumerRole", name, path, documents.pods(), permissions, policy_name)
    if arn is None or grant.is_account:
        return Attached("ConsumerPolicy", "managed", None, policy_name, permissions)
    kind = "role" if ":role/" in arn else "user"
    return Attached("ConsumerPolicy", kind, _name(arn)[1], policy_name, permissions)


def _name(arn: str | None) -> tuple[str, str]:
    """(path, name) of a role or user: `role/a/b/NAME` has the path `/a/b/`."""
    _, *folders, name = (arn or "").split(":", 5)[5].split("/")
    return "/" + "".join(f"{folder}/" for folder in folders), name
