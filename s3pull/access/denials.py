"""What a refusal of STS or S3 means: which policy said no, who must act, and what it may be, most likely first. Pure.

AWS names one denying policy type in a message, in a published grammar, and across accounts it may blame the wrong side;
often it names none. Words that are not of the grammar are never guessed at: then nobody can tell, and what remains is
listed. It asks nothing and prints nothing; how a cause is put right is `doctor`'s.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum


class Who(StrEnum):
    """Who must act. `platform` runs the data owner's organization, `network` is your network's administrator."""

    YOU = "you"
    OWNER = "owner"
    PLATFORM = "platform"
    NETWORK = "network"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """What it may be: a published list that may grow. docs/TROUBLESHOOTING.md has an entry for each."""

    EXTERNAL_ID = "external-id"
    TRUST = "trust"
    TRUST_RECREATED = "trust-recreated"
    TRUST_CONDITION = "trust-condition"
    ROLE_MISSING = "role-missing"
    IDENTITY_POLICY = "identity-policy"
    SESSION_POLICY = "session-policy"
    RESOURCE_POLICY = "resource-policy"
    SCP = "scp"
    RCP = "rcp"
    BOUNDARY = "boundary"
    VPC_ENDPOINT = "vpc-endpoint"
    KMS = "kms"
    ARCHIVED = "archived"
    REGION = "region"
    BUCKET_MISSING = "bucket-missing"
    DIRECTORY_BUCKET = "directory-bucket"
    PREFIX = "prefix"
    KEY_MISSING = "key-missing"
    VERSION = "version"
    CHANGED = "changed"
    OWNERSHIP = "ownership"
    REQUESTER_PAYS = "requester-pays"
    SSE_C = "sse-c"
    MFA = "mfa"
    DURATION = "duration"
    CONFIGURATION = "configuration"
    CREDENTIALS = "credentials"
    CLOCK = "clock"
    NETWORK = "network"
    PROXY = "proxy"
    TLS = "tls"
    SERVICE = "service"
    KEYRING = "keyring"
    PYTHON = "python"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Suspect:
    """One thing that it may be, half a sentence on why, and who would have to act."""

    cause: Cause
    why: str
    who: Who


@dataclass(frozen=True, slots=True)
class Clause:
    """A denial taken apart; None for what it does not say. `policy` is one of POLICIES, in their words."""

    principal: str | None = None
    action: str | None = None
    resource: str | None = None
    policy: str | None = None
    explicit: bool = False
    policy_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`told`: AWS said what it is. Otherwise `who` is unknown and `causes` is what remains, most likely first."""

    who: Who
    causes: tuple[Suspect, ...]
    told: bool
    clause: Clause = Clause()

    @property
    def line(self) -> str:
        """One line for people: `the data owner must act: …`, or `cannot tell …`."""
        if self.told:
            return f"{MUST_ACT[self.who]}: {self.causes[0].why}"
        return "AWS does not say why; most likely first: " + "; ".join(one.why for one in self.causes[:2])


MUST_ACT = {
    Who.YOU: "you must act",
    Who.OWNER: "the data owner must act",
    Who.PLATFORM: "the data owner's platform team must act",
    Who.NETWORK: "your network administrator must act",
    Who.UNKNOWN: "nobody can tell who must act",
}

# --- the grammar ------------------------------------------------------------------------------------------

IDENTITY, RESOURCE, BOUNDARY = "identity-based policy", "resource-based policy", "permissions boundary"
SESSION, SCP, RCP = "session policy", "service control policy", "resource control policy"
ENDPOINT, TRUST = "VPC endpoint policy", "role trust policy"
POLICIES = (IDENTITY, RESOURCE, BOUNDARY, SESSION, SCP, RCP, ENDPOINT, TRUST)

#: whole clauses with their ends: other words between them are not understood, and so not half understood
_KINDS = "|".join(
    re.escape(kind).replace("policy", "polic(?:y|ies)").replace("boundary", "boundar(?:y|ies)") for kind in POLICIES
)
_VIA = r"(?: transitively through an? [a-z ]{1,40})?"
_ARN = r"(?::? (arn:[^\s\"]+))?"
_IMPLICIT = re.compile(rf"because no ({_KINDS}){_VIA} allows? the ([\w-]+:[\w*-]+) action{_ARN}\.?\s*$", re.IGNORECASE)
_EXPLICIT = re.compile(rf"with an explicit deny in (?:an?|the) ({_KINDS}){_VIA}{_ARN}\.?\s*$", re.IGNORECASE)
_ASKED = re.compile(r"User: (\S+) is not authorized to perform: ([\w-]+:[\w*-]+)")
_ON = re.compile(r"on resource: (\S+)")
_QUOTED = re.compile(r'on resource: "(.*)"', re.DOTALL)
_GENERIC_KMS = "on the resource associated with this ciphertext because the resource does not exist in this region"
_OLD_KMS = "the ciphertext refers to a customer master key that does not exist"
_BARE = re.compile(r"(?:.*: )?(?:access denied|forbidden|access ?denied|403)?\.?", re.IGNORECASE | re.DOTALL)


def parse(message: str) -> Clause:
    """Take a denial apart. What stands in quotes is a key of somebody's choice, and never read as words of AWS."""
    quoted = _QUOTED.search(message)
    plain = message[: quoted.start(1)] + message[quoted.end(1) :] if quoted else message
    asked = _ASKED.search(plain)
    on = None if quoted else _ON.search(plain)
    resource = quoted[1] if quoted else on[1].rstrip(".") if on else None
    principal, action = (asked[1], asked[2]) if asked else (None, None)
    if implicit := _IMPLICIT.search(plain):
        return Clause(principal, action or implicit[2], resource, _kind(implicit[1]), False, implicit[3])
    if explicit := _EXPLICIT.search(plain):
        return Clause(principal, action, resource, _kind(explicit[1]), True, explicit[2])
    return Clause(principal, action, resource)


def _kind(text: str) -> str:
    lowered = text.lower().replace("policies", "policy").replace("boundaries", "boundary")
    return next(kind for kind in POLICIES if kind.lower() == lowered)


def diagnose(
    service: str,
    status: int | None,
    code: str,
    message: str,
    *,
    assumed: bool = True,
    anonymous: bool = False,
    listing: bool = False,
) -> Diagnosis:
    """What a refusal of `service` ('sts' or 's3') means. Never raises.

    `assumed`: S3 was asked by the data owner's role; otherwise with your own credentials, or by nobody (`anonymous`),
    who has no policy of his own. `listing`: no object was asked for. The code decides, then the words of the denial:

    | policy named          | AssumeRole           | S3, as the role        | S3, as yourself      |
    |-----------------------|----------------------|------------------------|----------------------|
    | identity-based        | you, identity-policy | owner, identity-policy | you, identity-policy |
    | permissions boundary  | you, boundary        | platform, boundary     | you, boundary        |
    | session policy        | you, session-policy  | you, session-policy    | you, session-policy  |
    | service control       | you, scp             | platform, scp          | you, scp             |
    | resource control      | owner, rcp           | platform, rcp          | platform, rcp        |
    | role trust            | owner, trust         | owner, trust           | owner, trust         |
    | resource-based        | owner, trust         | owner, resource-policy | owner, resource-policy |
    | VPC endpoint          | network              | network                | network              |
    | of kms:Decrypt        | –                    | owner, kms             | owner, kms           |
    | none                  | cannot tell: what remains, most likely first                         |
    """
    clause = parse(message)
    found = _by_code(service, code, message)
    if found is not None:
        return Diagnosis(found[0].who, found, True, clause)
    if (status is not None and status >= 500) or status == 429:
        return Diagnosis(Who.UNKNOWN, (_SERVICE,), True, clause)
    if code not in _DENIALS and status != 403:
        return Diagnosis(Who.UNKNOWN, (_unknown(code, message),), False, clause)
    suspects = _sts_denial(clause, message) if service == "sts" else _s3_denial(clause, message, assumed=assumed)
    if anonymous and (suspects is None or clause.policy in _OF_A_CALLER):
        suspects = _BARE_S3_NOBODY[: 1 if listing else None]
    if suspects is not None:
        return Diagnosis(suspects[0].who, suspects, True, clause)
    remaining = remains(service, assumed=assumed, listing=listing)
    if not is_bare(message, clause):
        remaining = (_unknown(code, message), *remaining)
    return Diagnosis(Who.UNKNOWN, remaining, False, clause)


_LISTINGS = frozenset({"s3:ListBucket", "s3:ListBucketVersions"})


def at_one_key(found: Diagnosis) -> Diagnosis:
    """What a denial means where one exact key was asked for and nothing listed.

    S3 then names a listing for a key that is not there, and only for that: who may not list is not to learn it.
    """
    if found.clause.action not in _LISTINGS:
        return found
    why = "there is most likely no such object: who may not list hears 403 instead of 404"
    return replace(found, who=_YOU, causes=(Suspect(Cause.KEY_MISSING, why, _YOU), *found.causes), told=True)


def is_bare(message: str, clause: Clause) -> bool:
    """True where a denial says only that it is one: `Access Denied`, or a sentence that ends at its resource."""
    if clause.policy is not None:
        return False
    if clause.action is None:
        return _BARE.fullmatch(message) is not None
    ends = message.rstrip(' ."')
    return ends.endswith((clause.resource or clause.action).rstrip(' ."'))


_DENIALS = frozenset({"AccessDenied", "403", "AllAccessDisabled", "AccessDeniedException", "Forbidden"})
_SERVICE = Suspect(Cause.SERVICE, "the service is overloaded or failing: try again in a while", Who.UNKNOWN)


def _unknown(code: str, message: str) -> Suspect:
    said = message if message else code
    return Suspect(Cause.UNKNOWN, f"AWS said what this version does not know: {said[:500]}", Who.UNKNOWN)


# --- codes that say it all --------------------------------------------------------------------------------

_YOU, _OWNER = Who.YOU, Who.OWNER
_EXPIRED = Suspect(Cause.CREDENTIALS, "the credentials have expired: log in again", _YOU)
_WRONG_KEY = Suspect(Cause.CREDENTIALS, "AWS does not know the key: it is wrong, deleted or inactive", _YOU)
_WRONG_SECRET = Suspect(Cause.CREDENTIALS, "the secret key does not belong to the key ID", _YOU)
_CLOCK = Suspect(Cause.CLOCK, "this machine's clock is more than 15 minutes off", _YOU)
_WRONG_REGION = Suspect(Cause.REGION, "the bucket is in another region", _YOU)
_ARCHIVED = Suspect(Cause.ARCHIVED, "the object is archived, and only its owner can restore it", _OWNER)
_NO_BUCKET = Suspect(Cause.BUCKET_MISSING, "there is no bucket of that name", _YOU)
_NO_KEY = Suspect(Cause.KEY_MISSING, "there is no object of that key", _YOU)
_NO_VERSION = Suspect(Cause.VERSION, "there is no such version of the object", _YOU)
_DELETED = Suspect(Cause.VERSION, "the version is a delete marker: the object was deleted", _OWNER)
_CHANGED = Suspect(Cause.CHANGED, "the object was replaced in this moment", _YOU)
_KMS_STATE = "the object's KMS key cannot be used: it is disabled, about to be deleted, or gone"
_SSE_C = Suspect(Cause.SSE_C, "the object is encrypted with a key that whoever wrote it keeps (SSE-C)", _OWNER)

_CODES: dict[str, Suspect] = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "InvalidToken": Suspect(Cause.CREDENTIALS, "the session token does not belong to the keys", _YOU),
    "InvalidClientTokenId": _WRONG_KEY,
    "UnrecognizedClientException": _WRONG_KEY,
    "InvalidAccessKeyId": _WRONG_KEY,
    "InvalidIdentityToken": Suspect(Cause.CREDENTIALS, "the identity token was refused", _YOU),
    "MissingAuthenticationToken": Suspect(Cause.CREDENTIALS, "the request was not signed", _YOU),
    "IncompleteSignature": Suspect(Cause.CREDENTIALS, "the request was not signed as it must be", _YOU),
    "OptInRequired": Suspect(Cause.CREDENTIALS, "your account is not signed up for the service", _YOU),
    "RequestTimeTooSkewed": _CLOCK,
    "InvalidObjectState": _ARCHIVED,
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _NO_KEY,
    "NoSuchVersion": _NO_VERSION,
    "MethodNotAllowed": _DELETED,
    "PreconditionFailed": _CHANGED,
    "InvalidRange": _CHANGED,
    "PermanentRedirect": _WRONG_REGION,
    "TemporaryRedirect": _WRONG_REGION,
    "IllegalLocationConstraintException": Suspect(
        Cause.REGION, "the bucket is in another region, one that has to be enabled", _YOU
    ),
    "PackedPolicyTooLarge": Suspect(
        Cause.SESSION_POLICY, "our session policy does not fit beside what your session carries already", _YOU
    ),
    "MalformedPolicyDocument": Suspect(Cause.SESSION_POLICY, "AWS does not take our session policy", _YOU),
    "RegionDisabledException": Suspect(
        Cause.REGION, "the data owner's account has not enabled STS in the region that was asked", _YOU
    ),
    "SlowDown": _SERVICE,
    "ServiceUnavailable": _SERVICE,
    "InternalError": _SERVICE,
    "Throttling": _SERVICE,
    "ThrottlingException": _SERVICE,
    "RequestLimitExceeded": _SERVICE,
}


def _by_code(service: str, code: str, message: str) -> tuple[Suspect, ...] | None:
    """Suspects by the code alone, where it says enough."""
    lowered = message.lower()
    if code == "SignatureDoesNotMatch":
        if "signature expired" in lowered or "not yet current" in lowered:
            return (_CLOCK,)
        return (_WRONG_SECRET, _CLOCK)
    if code == "AuthorizationHeaderMalformed":
        return (_WRONG_REGION,) if "region" in lowered else (_WRONG_KEY,)
    if code.startswith("KMS."):
        return (Suspect(Cause.KMS, _KMS_STATE, _OWNER),)
    if code == "ValidationError" and "DurationSeconds" in message:
        if "chaining" in lowered:
            return (Suspect(Cause.DURATION, "a role that assumes a role gets one hour at most", _YOU),)
        return (Suspect(Cause.DURATION, "the session is to last longer than the role allows", _YOU),)
    if code == "ValidationError":
        return (Suspect(Cause.CONFIGURATION, "STS does not take a value as it was given", _YOU),)
    if code in ("InvalidRequest", "400") and service == "s3" and speaks_of_sse_c(lowered):
        return (_SSE_C,)
    found = _CODES.get(code)
    return (found,) if found is not None else None


def speaks_of_sse_c(lowered: str) -> bool:
    """True where a message (in lower case) is about a key that the customer must send."""
    return (
        "form of server side encryption" in lowered
        or "server side encryption. the correct parameters" in lowered
        or "customer-provided" in lowered
        or "customer provided" in lowered
    )


# --- denials ----------------------------------------------------------------------------------------------


def _sts_denial(clause: Clause, message: str) -> tuple[Suspect, ...] | None:
    """Suspects of a denied AssumeRole whose words say something; None where they do not."""
    if message.find("MultiFactorAuthentication failed") >= 0:
        if "unable to validate" in message:
            return (Suspect(Cause.MFA, "the MFA device is not one of yours", _YOU),)
        return (Suspect(Cause.MFA, "the MFA code is wrong, or was used before", _YOU),)
    named = clause.policy
    action = clause.action or "sts:AssumeRole"
    if named is None and action in _EXTRAS:
        option = _EXTRAS[action]
        return (
            Suspect(Cause.TRUST, f"the role's trust policy must allow {action}, or leave {option} out", _OWNER),
            Suspect(Cause.IDENTITY_POLICY, f"your own policy must allow {action} on the role", _YOU),
        )
    by_policy: dict[str | None, Suspect] = {
        IDENTITY: Suspect(Cause.IDENTITY_POLICY, f"your own policy does not allow {action} on the role", _YOU),
        BOUNDARY: Suspect(Cause.BOUNDARY, f"your own permissions boundary does not allow {action}", _YOU),
        SESSION: Suspect(Cause.SESSION_POLICY, f"your own session is narrowed: it does not allow {action}", _YOU),
        SCP: Suspect(Cause.SCP, f"your own organization does not allow {action} on the role", _YOU),
        RCP: Suspect(Cause.RCP, f"a resource control policy of the data owner's organization denies {action}", _OWNER),
        TRUST: Suspect(Cause.TRUST, f"the role's trust policy {_verb(clause)} you {action}", _OWNER),
        RESOURCE: Suspect(Cause.TRUST, f"the role's trust policy {_verb(clause)} you {action}", _OWNER),
        ENDPOINT: Suspect(
            Cause.VPC_ENDPOINT, f"the policy of your VPC endpoint for STS {_verb(clause)} {action}", Who.NETWORK
        ),
    }
    found = by_policy[named] if named is not None else None
    if found is None:
        return None
    if found.cause is Cause.TRUST and not clause.explicit:
        # the trust policy's own words: still several ways not to be allowed by it
        more = [one for one in _BARE_STS if one.cause in _OF_TRUST]
        return (found, *more)
    return (found,)


_EXTRAS = {"sts:TagSession": "--session-tag", "sts:SetSourceIdentity": "--source-identity"}


def _verb(clause: Clause) -> str:
    return "denies" if clause.explicit else "does not allow"


def _s3_denial(clause: Clause, message: str, *, assumed: bool) -> tuple[Suspect, ...] | None:
    """Suspects of an S3 denial whose words say something; None where they do not."""
    lowered = message.lower()
    if _GENERIC_KMS in lowered or _OLD_KMS in lowered:
        found = [Suspect(Cause.KMS, "the policy of the object's KMS key does not allow the role to decrypt", _OWNER)]
        if not assumed:
            why = "the object is encrypted with the owner's aws/s3 key, which no other account can use"
            found.insert(0, Suspect(Cause.KMS, why, _OWNER))
        return (*found, Suspect(Cause.KMS, "the object's KMS key no longer exists, or is in another region", _OWNER))
    if clause.policy is None:
        return None
    action = clause.action or "that"
    decrypts = action.startswith("kms:")
    verb = _verb(clause)
    reader = "the role's" if assumed else "your own"
    theirs, platform = (_OWNER, Who.PLATFORM) if assumed else (_YOU, _YOU)
    organization = "the data owner's organization" if assumed else "your own organization"
    match clause.policy:
        case "identity-based policy":
            if decrypts:
                why = f"{reader} policy {verb} {action} with the object's key"
                return (Suspect(Cause.KMS, why, theirs),)
            return (Suspect(Cause.IDENTITY_POLICY, f"{reader} policy {verb} {action} here", theirs),)
        case "resource-based policy":
            if decrypts:
                return (Suspect(Cause.KMS, f"the policy of the object's KMS key {verb} {action}", _OWNER),)
            why = f"the bucket's policy {verb} {action}"
            if clause.explicit:
                why += " from where you are: an IP address, a VPC endpoint, TLS, or who you are"
            return (Suspect(Cause.RESOURCE_POLICY, why, _OWNER),)
        case "permissions boundary":
            return (Suspect(Cause.BOUNDARY, f"{reader} permissions boundary {verb} {action}", platform),)
        case "session policy":
            whose = "our own narrowing of the session" if assumed else "the policy of your own session"
            return (Suspect(Cause.SESSION_POLICY, f"{whose} {verb} {action} here", _YOU),)
        case "service control policy":
            why = f"a service control policy of {organization} {verb} {action}"
            return (Suspect(Cause.SCP, why, platform),)
        case "resource control policy":
            why = f"a resource control policy of the data owner's organization {verb} {action}"
            return (Suspect(Cause.RCP, why, Who.PLATFORM),)
        case "VPC endpoint policy":
            why = f"the policy of your VPC endpoint for S3 {verb} {action}"
            return (Suspect(Cause.VPC_ENDPOINT, why, Who.NETWORK),)
    return (Suspect(Cause.TRUST, f"the role's trust policy {verb} {action}", _OWNER),)


# --- what remains where AWS does not say ------------------------------------------------------------------

_BARE_STS = (
    Suspect(
        Cause.EXTERNAL_ID,
        "the external ID is missing, or is not the one in the role's trust policy (case counts)",
        _YOU,
    ),
    Suspect(Cause.TRUST, "the role's trust policy does not name you as its principal", _OWNER),
    Suspect(Cause.ROLE_MISSING, "there is no role of that ARN: a typing error, or it was deleted", _OWNER),
    Suspect(Cause.IDENTITY_POLICY, "your own policy does not allow sts:AssumeRole on the role", _YOU),
    Suspect(
        Cause.TRUST_RECREATED,
        "your role or user was deleted and made again: the trust policy still means the old one (AROA…, AIDA…)",
        _OWNER,
    ),
    Suspect(
        Cause.TRUST_CONDITION,
        "a condition of the trust policy is not met: IP address, organization, MFA, session name",
        _OWNER,
    ),
)
_OF_TRUST = frozenset({Cause.EXTERNAL_ID, Cause.TRUST_RECREATED, Cause.TRUST_CONDITION})

_BARE_S3_ROLE = (
    Suspect(Cause.VPC_ENDPOINT, "the policy of your VPC endpoint for S3 does not allow the role", Who.NETWORK),
    Suspect(Cause.OWNERSHIP, "the bucket belongs to another account than the role", _OWNER),
    Suspect(Cause.IDENTITY_POLICY, "the role's policy does not allow it", _OWNER),
)
_BARE_S3_OBJECT = Suspect(
    Cause.OWNERSHIP, "the object belongs to another account, which uploaded it, than the bucket", _OWNER
)
_BARE_S3_OWN = (
    Suspect(Cause.RESOURCE_POLICY, "the bucket's policy does not allow you", _OWNER),
    Suspect(Cause.IDENTITY_POLICY, "your own policy does not allow it", _YOU),
    Suspect(Cause.REQUESTER_PAYS, "the bucket wants the requester to pay: --request-payer", _YOU),
    Suspect(Cause.OWNERSHIP, "the bucket or the object belongs to another account than it seems", _OWNER),
    Suspect(Cause.VPC_ENDPOINT, "the policy of your VPC endpoint for S3 does not allow it", Who.NETWORK),
)


#: nobody is let in by the bucket's owner alone
_BARE_S3_NOBODY = (
    Suspect(
        Cause.RESOURCE_POLICY,
        "the bucket's policy does not let everybody do this, or Block Public Access does not let the policy",
        _OWNER,
    ),
    Suspect(
        Cause.OWNERSHIP, "the object belongs to another account than the bucket, which has not made it public", _OWNER
    ),
)
#: policies that somebody has to be to have
_OF_A_CALLER = frozenset({IDENTITY, BOUNDARY, SESSION, SCP})


def remains(service: str, *, assumed: bool = True, listing: bool = False) -> tuple[Suspect, ...]:
    """What a denial can be that says nothing, most likely first.

    A role of the bucket's own account is told reasons, so that one which hears none hints at what stands outside of
    that account: ACCESS, "a bare Access Denied in an assumed-role session is itself evidence".
    """
    if service == "sts":
        return _BARE_STS
    if not assumed:
        return _BARE_S3_OWN
    return _BARE_S3_ROLE if listing else (*_BARE_S3_ROLE[:2], _BARE_S3_OBJECT, *_BARE_S3_ROLE[2:])
