"""The session policy that narrows a session to one source. Pure.

A session policy intersects with the role's own: it can take away and never add. What is written here is what s3pull
itself asks for: reading objects, listing them, versions of both, and decrypting by way of S3. Whoever steals the cached
session can read this source and nothing else.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session
"""

from __future__ import annotations

import json
from typing import Any

from s3pull.access import values
from s3pull.objects import Access
from s3pull.records import NamedTuple

#: STS's limit on the plain text of a session policy
MOST_CHARACTERS = 2048

_READ = ["s3:GetObject", "s3:GetObjectVersion"]
_LIST = ["s3:ListBucket", "s3:ListBucketVersions"]
_ESCAPES = str.maketrans({"*": "${*}", "?": "${?}", "$": "${$}"})


class Narrowing(NamedTuple):
    """A session policy (None: none), how wide it is ('prefix', 'bucket', 'role'), and what should be said about it."""

    policy: str | None
    width: str
    note: str | None = None


def narrowing(access: Access, *, at_most: str = "prefix") -> Narrowing:
    """The session policy for `access`; `at_most="bucket"` leaves the prefix out.

    --no-narrow                      none: the role's own rights     width role
    a share with a prefix            the prefix                      width prefix
    … whose policy is too long       the bucket, said                width bucket
    a share without one, s3://…      the bucket                      width bucket
    a directory bucket               the bucket: S3 Express knows no prefix there
    """
    if not access.narrow:
        return Narrowing(None, "role")
    if access.bucket.endswith("--x-s3"):
        return Narrowing(_compact([_express(access)]), "bucket")
    if access.share is not None and access.prefix and at_most == "prefix":
        policy = _compact(_statements(access, access.prefix))
        if len(policy) <= MOST_CHARACTERS:
            return Narrowing(policy, "prefix")
        note = "the prefix is too long for a session policy: the session is narrowed to the bucket"
        return Narrowing(_compact(_statements(access, "")), "bucket", note)
    return Narrowing(_compact(_statements(access, "")), "bucket")


def escaped(text: str) -> str:
    """`text` as a pattern that matches itself alone: unescaped, `*` and `?` would widen and `$` could begin a variable.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
    """
    return text.translate(_ESCAPES)


def _statements(access: Access, prefix: str) -> list[dict[str, Any]]:
    partition = values.partition(access.role_arn)
    bucket, objects = resources(access.bucket, partition)
    listing: dict[str, Any] = {"Effect": "Allow", "Action": _LIST, "Resource": bucket}
    if prefix:
        # `*` matches nothing too, so this is the prefix itself and all below it
        listing["Condition"] = {"StringLike": {"s3:prefix": escaped(prefix) + "*"}}
    return [
        {"Effect": "Allow", "Action": _READ, "Resource": f"{objects}/{escaped(prefix)}*"},
        listing,
        {
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": "*",
            "Condition": {"StringLike": {"kms:ViaService": via_service("*", partition)}},
        },
    ]


def via_service(region: str, partition: str) -> str:
    """What kms:ViaService says when S3 decrypts for somebody in `region`.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    """
    return f"s3.{region}.{'amazonaws.com.cn' if partition == 'aws-cn' else 'amazonaws.com'}"


def resources(bucket: str, partition: str) -> tuple[str, str]:
    """(what is listed, what the objects are below). An access point is authorised by its own ARN, not the bucket's."""
    if bucket.startswith("arn:"):
        return bucket, f"{bucket}/object"
    if bucket.endswith("-s3alias"):
        # an alias does not say which access point it is: any of them, but nothing that is named as a bucket
        return f"arn:{partition}:s3:*:*:accesspoint/*", f"arn:{partition}:s3:*:*:accesspoint/*/object"
    return f"arn:{partition}:s3:::{bucket}", f"arn:{partition}:s3:::{bucket}"


def _express(access: Access) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": "s3express:CreateSession",
        "Resource": f"arn:{values.partition(access.role_arn)}:s3express:*:*:bucket/{access.bucket}",
        "Condition": {"StringEquals": {"s3express:SessionMode": "ReadOnly"}},
    }


def _compact(statements: list[dict[str, Any]]) -> str:
    """ASCII only: STS takes no character beyond U+00FF in a policy, escaped ones it does."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
