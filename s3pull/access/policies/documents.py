"""The policy documents that a grant comes to: least privilege, and none of the known pitfalls. Pure.

    trust      who may assume the owner's role               goes to the role
    role       what the role may read                        goes to the role
    bucket     who may read without a role; no plain HTTP    goes to the bucket, or to the access point
    behind     that the access point decides                 goes to the bucket behind the access point
    key        a statement for a customer key's policy       goes into the policy that the key has
    consumer   what the consumer must be allowed itself      goes to the consumer's role or user
    pods       who the consumer's own role is in an EKS pod  goes to the consumer's role, as its trust policy
    session    what s3pull narrows a session to              goes nowhere: s3pull sends it along
    revoke     an end to every session issued so far         goes to the role, beside `role`

Forms of the documents: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html. What S3 asks
for: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

import json
from typing import Any

from s3pull.access.narrow import escaped, narrowing, resources, via_service
from s3pull.access.policies.grant import Grant, Place, directory_arn, key_region, sso_pattern
from s3pull.errors import UsageError
from s3pull.objects import Access

Statement = dict[str, Any]
Document = dict[str, Any]

VERSION = "2012-10-17"


def document(*statements: Statement) -> Document:
    return {"Version": VERSION, "Statement": list(statements)}


# --- trust ------------------------------------------------------------------------------------------------


def trust(grant: Grant) -> Document:
    """The role's trust policy.

    The external ID is asked of AssumeRole alone: SetSourceIdentity and TagSession do not carry it, so that a condition
    on it would refuse every session with a source identity or tags. Raises UsageError without a consumer or a role.
    """
    _role(grant)
    principal, condition = _trusted(grant)
    conditions = _merged(condition, _circumstances(grant))
    if grant.external_ids:
        conditions = _merged(conditions, {"StringEquals": {"sts:ExternalId": _one(grant.external_ids)}})
    if grant.mfa:
        conditions = _merged(conditions, {"Bool": {"aws:MultiFactorAuthPresent": "true"}})
    found = [_allow("S3pullAssume", "sts:AssumeRole", principal=principal, condition=conditions)]
    found.append(_allow("S3pullSourceIdentity", "sts:SetSourceIdentity", principal=principal, condition=condition))
    if grant.tags or grant.pod_identity:
        # the tags of EKS Pod Identity are transitive: they come along whether anybody asks or not
        # https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html
        found.append(_allow("S3pullTags", "sts:TagSession", principal=principal, condition=condition))
    return document(*found)


def pods() -> Document:
    """The trust policy of the consumer's own role in an EKS pod.

    https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html
    """
    actions = ["sts:AssumeRole", "sts:TagSession"]
    return document(_allow("EksPods", actions, principal={"Service": "pods.eks.amazonaws.com"}))


# --- reading ----------------------------------------------------------------------------------------------


def role(grant: Grant) -> Document:
    """What the owner's role may do: read and list these places, and decrypt what is there by way of S3."""
    _role(grant)
    return document(*_reading(grant, None, grant.places), *_decrypting(grant, None))


def bucket(grant: Grant, place: Place) -> Document:
    """The policy of one place's bucket (or of its access point): who may read directly, and that nobody may in plain.

    With a role only the latter is needed: the role's own policy grants the rest, in its own account. Raises UsageError
    for an alias, and for a direct grant without a consumer.
    """
    _named(place)
    found = []
    if grant.direct:
        principal, condition = _trusted(grant)
        conditions = _merged(condition, _circumstances(grant))
        places = [one for one in grant.places if one.bucket == place.bucket]
        found += _reading(grant, principal, places, conditions)
    return document(*found, deny_plain_http(grant, place))


def behind(grant: Grant, place: Place) -> Document:
    """The policy of the bucket behind an access point: what is allowed through the point is allowed by the bucket.

    Without it the policies of reader and point are not enough, and with it nothing is allowed past points of that
    account. The bucket is not known here: `hidden_bucket` stands in its place.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-policies.html
    """
    account = _named(place).bucket.split(":")[4]
    principal, condition = ({"AWS": grant.role_arn}, {}) if grant.role_arn else _trusted(grant)
    through = _merged(condition, {"StringEquals": {"s3:DataAccessPointAccount": account}})
    hidden = Place(hidden_bucket(place))
    places = [Place(hidden.bucket, one.prefix) for one in grant.places if one.bucket == place.bucket]
    return document(*_reading(grant, principal, places, through), deny_plain_http(grant, hidden))


def hidden_bucket(place: Place) -> str:
    """What stands for the name of the bucket behind an access point; no bucket is called so."""
    return f"BUCKET-BEHIND-{place.bucket.rpartition('/')[2]}"


def deny_plain_http(grant: Grant, place: Place) -> Statement:
    """Refuses requests that are not encrypted on the way, whoever makes them."""
    if place.is_directory:
        targets, action = [directory_arn(grant, place)], "s3express:*"
    else:
        listed, objects = resources(place.bucket, grant.partition)
        targets, action = [listed, f"{objects}/*"], "s3:*"
    return {
        "Sid": "DenyInsecureTransport",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": _one(targets),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def key(grant: Grant) -> Statement:
    """A statement for the policies of the customer keys, which only applies where S3 asks on the reader's behalf.

    In a key policy `*` means this key. No aws:SourceIp here: S3 asks from an address of its own. Raises UsageError
    without a key, and without a reader.
    """
    if not grant.kms_keys:
        raise UsageError("no key", hint="--kms-key ARN, where objects are encrypted with a customer key (SSE-KMS)")
    if grant.reader is None:
        raise _no_consumer()
    principal, condition = ({"AWS": grant.role_arn}, {}) if grant.role_arn else _trusted(grant)
    (statement,) = _decrypting(grant, principal, condition)
    return statement


def consumer(grant: Grant) -> Document:
    """What the consumer's own role or user must be allowed: to assume that one role, or to read directly."""
    if grant.role_arn is None:
        return document(*_reading(grant, None, grant.places), *_decrypting(grant, None))
    actions = ["sts:AssumeRole", "sts:SetSourceIdentity"] + ["sts:TagSession"] * (grant.tags or grant.pod_identity)
    return document(_allow("S3pullAssume", actions, resource=grant.role_arn))


def session(access: Access) -> Document | None:
    """The session policy that s3pull sends with AssumeRole (see `narrow`); None where it sends none."""
    policy = narrowing(access).policy if access.role_arn else None
    found: Document | None = json.loads(policy) if policy else None
    return found


def revoke(before: str) -> Document:
    """Cuts off every session of the role that was issued before a time (ISO 8601, UTC): `2026-11-25T14:00:00Z`.

    Sessions issued later work: who must stay out has to leave the trust policy, too.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
    """
    return document(
        {
            "Sid": "RevokeOlderSessions",
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": {"DateLessThan": {"aws:TokenIssueTime": before}},
        }
    )


# --- statements -------------------------------------------------------------------------------------------


def _reading(
    grant: Grant, principal: Any, places: tuple[Place, ...] | list[Place], condition: Statement | None = None
) -> list[Statement]:
    plain = [_named(place) for place in places if not place.is_directory]
    found = [
        _allow(
            _numbered("Session", number),
            "s3express:CreateSession",
            principal=principal,
            resource=arn,
            condition=_merged(condition or {}, {"StringEquals": {"s3express:SessionMode": "ReadOnly"}}),
        )
        for number, arn in enumerate(_unique([directory_arn(grant, one) for one in places if one.is_directory]), 1)
    ]
    if not plain:
        return found
    read = ["s3:GetObject"] + ["s3:GetObjectVersion"] * grant.versions
    objects = [f"{resources(place.bucket, grant.partition)[1]}/{escaped(place.prefix)}*" for place in plain]
    found.append(_allow("Read", _one(read), principal=principal, resource=_one(_unique(objects)), condition=condition))
    listing = ["s3:ListBucket"] + ["s3:ListBucketVersions"] * grant.versions
    for number, name in enumerate(_unique([place.bucket for place in plain]), 1):
        prefixes = [place.prefix for place in plain if place.bucket == name]
        # `data/*` does match `data/`; both are written because readers of policies look for it
        shown = _unique([text for prefix in prefixes for text in (escaped(prefix), escaped(prefix) + "*")])
        limits = {} if "" in prefixes else {"StringLike": {"s3:prefix": shown}}
        found.append(
            _allow(
                _numbered("List", number),
                _one(listing),
                principal=principal,
                resource=resources(name, grant.partition)[0],
                condition=_merged(condition or {}, limits),
            )
        )
    return found


def _decrypting(grant: Grant, principal: Any, condition: Statement | None = None) -> list[Statement]:
    if not grant.kms_keys:
        return []
    services = _unique([via_service(key_region(arn), grant.partition) for arn in grant.kms_keys])
    return [
        _allow(
            "Decrypt",
            "kms:Decrypt",
            principal=principal,
            resource="*" if principal else _one(grant.kms_keys),
            condition=_merged(condition or {}, {"StringEquals": {"kms:ViaService": _one(services)}}),
        )
    ]


def _named(place: Place) -> Place:
    """An alias does not say which access point it is; a policy for it would have to name all of them."""
    if place.bucket.endswith("-s3alias"):
        raise UsageError(f"{place.bucket} is an alias: policies need the access point's ARN", hint="--access-point ARN")
    return place


def _trusted(grant: Grant) -> tuple[Statement, Statement]:
    """(Principal, conditions). Saving a role's ARN as a principal stores its unique ID: made anew, it is a stranger."""
    if grant.consumer is None:
        raise _no_consumer()
    if not grant.survives or grant.is_account:
        return {"AWS": grant.consumer}, {}
    account = grant.consumer.split(":")[4]
    pattern = sso_pattern(grant.consumer)
    condition = {"ArnLike" if pattern else "ArnEquals": {"aws:PrincipalArn": pattern or grant.consumer}}
    return {"AWS": f"arn:{grant.partition}:iam::{account}:root"}, condition


def _circumstances(grant: Grant) -> Statement:
    found: Statement = {}
    if grant.source_ips:
        found["IpAddress"] = {"aws:SourceIp": list(grant.source_ips)}
    equals: Statement = {}
    if grant.source_vpces:
        equals["aws:SourceVpce"] = _one(grant.source_vpces)
    if grant.org_id:
        equals["aws:PrincipalOrgID"] = grant.org_id
    return {**found, **({"StringEquals": equals} if equals else {})}


def _allow(
    sid: str,
    action: str | list[str],
    *,
    principal: Any = None,
    resource: Any = None,
    condition: Statement | None = None,
) -> Statement:
    found: Statement = {"Sid": sid, "Effect": "Allow"}
    if principal is not None:
        found["Principal"] = principal
    found["Action"] = action
    if resource is not None:
        found["Resource"] = resource
    if condition:
        found["Condition"] = condition
    return found


def _merged(*conditions: Statement) -> Statement:
    found: Statement = {}
    for condition in conditions:
        for operator, keys in condition.items():
            found[operator] = {**found.get(operator, {}), **keys}
    return found


def _role(grant: Grant) -> str:
    if grant.role_arn is None:
        raise UsageError("there is no role: the consumer reads directly", hint="--role-arn ARN, or --kind bucket")
    return grant.role_arn


def _no_consumer() -> UsageError:
    return UsageError(
        "it is not said who the consumer is", hint="--consumer-role ARN: the consumer's `s3pull status` prints it"
    )


def _one(found: Any) -> Any:
    """The one value alone, as people write it; several as a list."""
    return found[0] if len(found) == 1 else list(found)


def _unique(found: list[str]) -> list[str]:
    return list(dict.fromkeys(found))


def _numbered(name: str, number: int) -> str:
    """Sids are unique in a document, letters and digits alone."""
    return name if number == 1 else f"{name}{number}"
