"""What is granted to whom: the one input of every document builder. Pure; it prints no policy and asks nobody.

A `Grant` holds places to read, the owner's role (or none: a direct bucket policy) and the consumer's principal. Making
one refuses what AWS would take and then never honour, with the reason; whether AWS agrees is for `doctor` to find out.

Facts: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from s3pull.access import values
from s3pull.access.values import Wrong
from s3pull.errors import UsageError
from s3pull.objects import Access

_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(root|(?:role|user)/[\w+=,.@/-]+)", re.ASCII)
_KMS_KEY = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):(\d{12}):key/[A-Za-z0-9-]+", re.ASCII)
_ORG = re.compile(r"o-[a-z0-9]{10,32}", re.ASCII)
_VPCE = re.compile(r"vpce-[0-9a-f]{8,17}", re.ASCII)
_SSO = re.compile(r"(role/aws-reserved/sso\.amazonaws\.com)/(?:[a-z0-9-]+/)?(AWSReservedSSO_.+_)[0-9a-f]{16}", re.ASCII)
_VPC_HOST = re.compile(r"://[^/]*vpce(?:-[0-9a-z-]+)?\.[^/]*amazonaws\.com", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """One bucket (a name, an alias, or an access point's ARN) and what keys begin with there.

    `region` and `account` are the bucket's; only a directory bucket's documents need them.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    account: str | None = None

    @property
    def is_access_point(self) -> bool:
        return self.bucket.startswith("arn:") or self.bucket.endswith("-s3alias")

    @property
    def is_directory(self) -> bool:
        """An S3 Express bucket: its only permission is s3express:CreateSession, and it knows no prefix."""
        return self.bucket.endswith("--x-s3")


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may read what, and by what. `role_arn` None: nothing is assumed, the bucket's own policy names the consumer.

    places         what may be read; several are one role's
    role_arn       the owner's role
    consumer       the IAM ARN of the principal that may assume it (or read directly): a role, a user, an account's root
    external_ids   all that the trust policy accepts: one, or two while it is rotated; never repeated in a message
    source_ips     networks (CIDR) that requests must come from; public ones
    source_vpces   VPC endpoints that requests must come through
    org_id         the Organization that the consumer's account must be in
    kms_keys       ARNs of the customer keys that objects are encrypted with
    versions       whether old versions may be read and listed, too
    tags           whether sessions carry tags
    identified     whether sessions carry a source identity; the documents always allow one
    mfa            whether the consumer must show an MFA code (IAM users alone can)
    duration       seconds that a session may last; more than 3,600 must be allowed by the role itself
    survives       whether trust outlives the consumer's role being deleted and made again under its name
    pod_identity   whether the consumer is an EKS pod
    """

    places: tuple[Place, ...]
    role_arn: str | None = None
    consumer: str | None = None
    external_ids: tuple[str, ...] = field(default=(), repr=False)
    source_ips: tuple[str, ...] = ()
    source_vpces: tuple[str, ...] = ()
    org_id: str | None = None
    kms_keys: tuple[str, ...] = ()
    versions: bool = False
    tags: bool = False
    identified: bool = False
    mfa: bool = False
    duration: int = 3600
    survives: bool = False
    pod_identity: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for what could not work together."""
        if not self.places:
            raise UsageError("no bucket", hint="name a share, or give --bucket")
        if self.source_ips and self.source_vpces:
            raise UsageError(
                "a source IP and a VPC endpoint exclude each other: aws:SourceIp is absent where a request comes "
                "through an endpoint, so the condition would never hold",
                hint="give --source-vpce alone, or --source-ip for consumers that come over the internet",
            )
        if self.mfa and self.consumer is not None and ":user/" not in self.consumer and not self.is_account:
            raise UsageError(
                f"{self.consumer} is a role: its sessions carry no MFA, so the condition would never hold",
                hint="leave --mfa-serial out, or trust an IAM user",
            )
        if self.kms_keys and any(place.is_directory for place in self.places):
            # API_GetObject asks for kms:GenerateDataKey as well; which kms:ViaService S3 Express has is not documented
            raise UsageError(
                "documents for a customer key of a directory bucket are not written here",
                hint="docs.aws.amazon.com: Using server-side encryption with AWS KMS keys in directory buckets",
            )
        homes = {values.partition(arn) for arn in (self.role_arn, self.consumer, *self.kms_keys) if arn}
        if len(homes) > 1:
            raise UsageError(
                f"the ARNs are of different partitions: {', '.join(sorted(homes))}",
                hint="no role is assumed from one partition of AWS into another",
            )
        if self.role_arn is not None and self.role_arn == self.consumer:
            raise UsageError("the consumer is the role itself", hint="s3pull status prints the consumer's own ARN")

    @property
    def direct(self) -> bool:
        return self.role_arn is None

    @property
    def partition(self) -> str:
        return values.partition(self.role_arn or self.consumer or self.places[0].bucket)

    @property
    def is_account(self) -> bool:
        """True where a whole account is trusted instead of somebody in it."""
        return self.consumer is not None and self.consumer.endswith(":root")

    @property
    def reader(self) -> str | None:
        """The principal whose requests reach S3 and KMS: the owner's role, or the consumer directly."""
        return self.role_arn or self.consumer


def grant_for(access: Access, **more: object) -> Grant:
    """The grant that `access` needs to work; `more` are fields of Grant that it does not know or that override it."""
    facts: dict[str, object] = {
        "places": (place_of(access),),
        "role_arn": access.role_arn,
        "external_ids": (access.external_id,) if access.external_id else (),
        "tags": bool(access.session_tags),
        "identified": access.source_identity is not None,
        "mfa": access.mfa_serial is not None,
        "duration": access.duration,
    }
    return Grant(**{**facts, **more})  # type: ignore[arg-type]


def place_of(access: Access) -> Place:
    return Place(access.bucket, access.prefix, access.region, access.bucket_owner)


def directory_arn(grant: Grant, place: Place) -> str:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-security-iam.html"""
    if not place.region or not place.account:
        raise UsageError(
            f"the ARN of the directory bucket {place.bucket} has its region and account",
            hint="--region REGION --bucket-owner ID",
        )
    return f"arn:{grant.partition}:s3express:{place.region}:{place.account}:bucket/{place.bucket}"


# --- readers of single values, for options: they raise `values.Wrong` ---------------------------------------


def principal(value: object, partition: str = "aws") -> str:
    """The ARN that a trust or bucket policy names: a role, a user, or an account (its ID or root)."""
    arn = values.text(value).strip()
    if re.fullmatch(r"\d{12}", arn, re.ASCII):
        return f"arn:{partition}:iam::{arn}:root"
    if _PRINCIPAL.fullmatch(arn):
        return arn
    if arn == "*":
        raise Wrong("is everybody", "give the ARN that the consumer's `s3pull status` prints")
    if ":assumed-role/" in arn:
        raise Wrong(f"is the ARN of a session, which ends: {arn!r}", f"the ARN of its role is {role_behind(arn)}")
    if ":federated-user/" in arn:
        raise Wrong(f"is the ARN of a session, which ends: {arn!r}", "give the ARN of the IAM user behind it")
    if ":instance-profile/" in arn:
        raise Wrong(f"is an instance profile: {arn!r}", "give the ARN of the role in it")
    if ":group/" in arn:
        raise Wrong(f"is a group, which no policy can name: {arn!r}", "give the ARN of a role or of a user")
    raise Wrong(f"is not an IAM principal: {arn!r}", "it looks like arn:aws:iam::222222222222:role/NAME")


def role_behind(session_arn: str) -> str:
    """The IAM ARN of an assumed role's role; AWS leaves a path out of session ARNs, but for SSO it is known."""
    from s3pull.access.status import identity_of
    from s3pull.access.sts import Caller

    fields = session_arn.split(":")
    return identity_of(Caller(session_arn, fields[4] if len(fields) > 4 else "", "")).iam_arn


def kms_key(value: object) -> str:
    """The ARN of a customer key. An alias in a policy's Resource matches nothing."""
    arn = values.text(value).strip()
    if _KMS_KEY.fullmatch(arn):
        return arn
    if arn.endswith("alias/aws/s3"):
        raise Wrong(
            "is the AWS-managed key, which needs no statement for a role of its own account and works for nobody else",
            "leave it out; where the consumer reads directly, encrypt with a customer key",
        )
    if "alias/" in arn:
        raise Wrong(
            f"is an alias: {arn!r}; kms:Decrypt is asked of the key", "`aws kms describe-key` prints the key's ARN"
        )
    raise Wrong(f"is not the ARN of a key: {arn!r}", "it looks like arn:aws:kms:eu-west-1:111122223333:key/…")


def key_region(arn: str) -> str:
    match = _KMS_KEY.fullmatch(arn)
    return match.group(1) if match else ""


def source_ip(value: object) -> str:
    """A public network in CIDR form, or one address. aws:SourceIp never holds a private one."""
    text = values.text(value).strip()
    try:
        network = ipaddress.ip_network(text, strict=True)
    except ValueError as error:
        near = "has host bits" in str(error)
        hint = str(ipaddress.ip_network(text, strict=False)) if near else "it looks like 203.0.113.0/24"
        raise Wrong(f"is not a network: {text!r}", hint) from None
    if network.prefixlen == 0:
        raise Wrong(f"is everywhere: {text!r}", "leave it out, or name the consumer's own network")
    if network in _TEST_NETWORKS or not (network.is_private or network.is_link_local or network.is_multicast):
        return text
    raise Wrong(
        f"is not a public network: {text!r}; AWS sees the public address, and none through a VPC endpoint",
        "give the public address of the NAT gateway, or --source-vpce for a VPC endpoint",
    )


#: for documentation, and therefore in everyone's first try
_TEST_NETWORKS = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))


def source_vpce(value: object) -> str:
    """The ID of a VPC endpoint."""
    text = values.text(value).strip()
    if _VPCE.fullmatch(text):
        return text
    hint = (
        "that is the VPC; its endpoint looks like vpce-…" if text.startswith("vpc-") else "it looks like vpce-0a1b2c…"
    )
    raise Wrong(f"is not a VPC endpoint: {text!r}", hint)


def org_id(value: object) -> str:
    """The ID of an AWS Organization."""
    text = values.text(value).strip()
    if _ORG.fullmatch(text):
        return text
    raise Wrong(f"is not an organization: {text!r}", "it looks like o-a1b2c3d4e5")


def through_endpoint(access: Access) -> bool:
    """True where the access goes through a VPC interface endpoint by its own words."""
    return any(url and _VPC_HOST.search(url) for url in (access.endpoint_url, access.sts_endpoint_url))


def sso_pattern(arn: str) -> str | None:
    """A pattern for an SSO role that outlives its permission set's next provisioning; None for other principals.

    https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
    """
    head, _, tail = arn.rpartition(":")
    match = _SSO.fullmatch(tail)
    return f"{head}:{match.group(1)}*/{match.group(2)}*" if match else None
