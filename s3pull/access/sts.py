"""STS through botocore, and the one place where botocore's errors become ours.

What each answer means: ACCESS.md's table, after
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html#API_AssumeRole_Errors. It asks what it is told
to ask: names, durations, policies and second tries are `assume`'s.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from s3pull import __version__
from s3pull.access.options import refuse_plain_http
from s3pull.access.profiles import Profiles, effective, sts_region
from s3pull.errors import AccessDenied, CredentialsError, S3pullError, ServiceError, UsageError
from s3pull.objects import Access, Credentials
from s3pull.records import NamedTuple

CONNECT_TIMEOUT = 10
READ_TIMEOUT = 30
ATTEMPTS = 3

#: what a credential_process that fails may have printed, which botocore quotes
_SECRETS = (
    r"""(?i)((?:SecretAccessKey|SessionToken|aws_secret_access_key|aws_session_token)["'\s]*[:=]["'\s]*)[^"'\s,}]+"""
)
_BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "InvalidIdentityToken",
    "UnauthorizedException",
    "OptInRequired",
}
_BAD_REQUEST = {
    "ValidationError",
    "MalformedPolicyDocument",
    "PackedPolicyTooLarge",
    "InvalidParameterValue",
    "RegionDisabledException",
}
_DENIAL_HINTS = (
    ("MultiFactorAuthentication", "check the code, the clock of the device, and --mfa-serial"),
    (
        "sts:TagSession",
        "the role's trust policy and your own policy must allow sts:TagSession, or leave --session-tag out",
    ),
    (
        "sts:SetSourceIdentity",
        "the role's trust policy and your own policy must allow sts:SetSourceIdentity, or leave --source-identity out",
    ),
    ("role trust policy", "ask the data owner to trust you: `s3pull status` prints the ARN to give them"),
    ("identity-based policy", "your own account must allow you sts:AssumeRole on this role"),
    ("permissions boundary", "your permissions boundary must allow sts:AssumeRole on this role"),
    ("session policy", "your own session is narrowed: it must allow sts:AssumeRole on this role"),
    ("service control policy", "your organization must allow sts:AssumeRole on this role"),
    ("VPC endpoint policy", "the STS VPC endpoint must allow sts:AssumeRole on this role"),
    ("resource control policy", "the data owner's organization must allow it"),
)
_BARE_DENIAL = (
    "check the external ID and the role ARN with the data owner; `s3pull status` prints the ARN that they must trust"
)


class Caller(NamedTuple):
    """Who STS says that some credentials are."""

    arn: str
    account: str
    user_id: str


class Answer(NamedTuple):
    """A session as STS gave it. `credentials.expires` is by this machine's clock. `packed` is in per cent."""

    credentials: Credentials
    arn: str
    packed: int | None
    request_id: str | None


class Sts:
    """STS, asked with one set of credentials."""

    def __init__(
        self, access: Access, credentials: Credentials, environ: Mapping[str, str], profiles: Profiles
    ) -> None:
        self._secrets = (access.external_id, credentials.secret_key, credentials.token)
        self._profile = effective(access.profile, environ)
        with self._translated("cannot reach STS"):
            self._client = client(access, credentials, environ, profiles)

    def caller(self) -> Caller:
        """GetCallerIdentity. Raises CredentialsError, ServiceError, AccessDenied (a VPC endpoint's policy)."""
        with self._translated("cannot tell whose credentials these are"):
            answer = self._client.get_caller_identity()
        return Caller(answer["Arn"], answer["Account"], answer["UserId"])

    def assume_role(self, parameters: Mapping[str, Any], clock: Callable[[], float] = time.time) -> Answer:
        """AssumeRole. Raises AccessDenied, CredentialsError, UsageError, ServiceError; the code of AWS is kept."""
        with self._translated(f"cannot assume {parameters['RoleArn']}", parameters.get("ExternalId")):
            answer = self._client.assume_role(**parameters)
        given = answer["Credentials"]
        metadata = answer.get("ResponseMetadata", {})
        expires = given["Expiration"].timestamp() - _skew(metadata.get("HTTPHeaders", {}), clock())
        return Answer(
            Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], expires),
            answer.get("AssumedRoleUser", {}).get("Arn", ""),
            answer.get("PackedPolicySize"),
            metadata.get("RequestId"),
        )

    @contextlib.contextmanager
    def _translated(self, what: str, *more: str | None) -> Iterator[None]:
        with translated(what, profile=self._profile, masked=(*self._secrets, *more)):
            yield


def client(
    access: Access,
    credentials: Credentials,
    environ: Mapping[str, str],
    profiles: Profiles,
    *,
    of: Any = None,
    config: Any = None,
) -> Any:
    """botocore's STS client: of a session made before, where there is one. `config` goes over that of the session.

    Raises UsageError; botocore's errors pass.
    """
    check_bundle(access.ca_bundle)
    made = (of or session(access.profile)).create_client(
        "sts",
        region_name=sts_region(access, environ, profiles),
        endpoint_url=access.sts_endpoint_url,
        verify=access.ca_bundle,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token,
        config=config,
    )
    if not access.allow_http:
        refuse_plain_http(made.meta.endpoint_url, "the STS endpoint")
    return made


def check_bundle(path: str | None) -> None:
    """botocore would call a CA bundle that is not there a failed TLS handshake."""
    if path is None:
        return
    try:
        Path(path).open("rb").close()
    except IsADirectoryError:
        return
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        hint = "check AWS_CA_BUNDLE and the profile's ca_bundle"
        raise UsageError(f"the CA bundle {path} cannot be read: {why}", hint=hint) from None


def session(profile: str | None) -> Any:
    """A botocore session whose every client, also those inside its credential chain, has our time limits and name.

    `profile` None leaves the choice to the environment. botocore reads `os.environ` by itself.
    """
    import botocore.session
    from botocore.config import Config

    made = botocore.session.Session(profile=profile)
    made.user_agent_name, made.user_agent_version = "s3pull", __version__
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    made.set_default_client_config(config)
    return made


def _skew(headers: Mapping[str, str], now: float) -> float:
    """How far STS's clock is ahead of ours, in seconds; Expiration is by theirs. Network delay does not count."""
    import email.utils

    try:
        ahead = email.utils.parsedate_to_datetime(headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError):
        return 0.0
    return ahead if abs(ahead) > READ_TIMEOUT else 0.0


@contextlib.contextmanager
def translated(what: str, *, profile: str, masked: tuple[str | None, ...] = ()) -> Iterator[None]:
    """What botocore raises inside becomes an error of ours that begins with `what`, with nothing of `masked` in it."""
    try:
        yield
    except S3pullError:
        raise
    except Exception as error:
        ours = translate(error, what, profile, masked)
        if ours is None:
            raise
        # `from None`: a chained botocore exception would carry request parameters into tracebacks
        raise ours from None


def translate(error: Exception, what: str, profile: str, masked: tuple[str | None, ...] = ()) -> S3pullError | None:
    """Our error for one of botocore's, None for what is none of its business (a bug of ours)."""
    from botocore import exceptions as theirs

    if isinstance(error, theirs.ClientError):
        return _client_error(error.response, what, profile, masked)
    if isinstance(error, theirs.ConfigParseError):
        # its text quotes the malformed line, which may be a secret key
        return UsageError(f"{what}: the AWS configuration is malformed", hint="aws configure list")
    text = re.sub(_SECRETS, r"\1…", masked_text(str(error).rstrip("."), masked))
    login = "" if profile == "default" else f" --profile {profile}"
    if isinstance(error, theirs.SSOError | theirs.TokenRetrievalError):
        hint = f"aws sso login{login}"
        return CredentialsError(f"{what}: the login of AWS profile {profile!r} has expired ({text})", hint=hint)
    if isinstance(error, theirs.LoginError):
        return CredentialsError(f"{what}: {text}", hint=f"aws login{login}")
    if isinstance(error, theirs.NoCredentialsError):
        return CredentialsError("no AWS credentials of your own were found", hint=NO_CREDENTIALS)
    if isinstance(
        error,
        theirs.PartialCredentialsError
        | theirs.CredentialRetrievalError
        | theirs.MetadataRetrievalError
        | theirs.RefreshWithMFAUnsupportedError,
    ):
        return CredentialsError(f"{what}: {text}", hint=NO_CREDENTIALS)
    if isinstance(error, theirs.ProxyConnectionError):
        return ServiceError(f"{what}: {text}", hint="check HTTPS_PROXY and NO_PROXY")
    if isinstance(error, theirs.SSLError):
        return ServiceError(f"{what}: {text}", hint="behind a private CA: AWS_CA_BUNDLE=/path/to/ca.pem")
    if isinstance(error, theirs.HTTPClientError | theirs.ConnectionError):
        return ServiceError(f"{what}: {text}", hint="check the network, HTTPS_PROXY, and AWS_REGION")
    if isinstance(error, theirs.BotoCoreError | OSError | ValueError):
        return UsageError(f"{what}: {text}", hint=f"aws configure list{login}")
    return None


NO_CREDENTIALS = "`aws configure`, `aws sso login`, or --profile NAME; `s3pull status` shows what is found"


def _client_error(response: Mapping[str, Any], what: str, profile: str, masked: tuple[str | None, ...]) -> S3pullError:
    code = str(response.get("Error", {}).get("Code", ""))
    text = masked_text(str(response.get("Error", {}).get("Message") or code).rstrip("."), masked)
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    kind, hint = _meaning(code, status, text, profile)
    return kind(f"{what}: {text}", hint=hint, code=code, status=status, request_id=metadata.get("RequestId"))


def _meaning(code: str, status: int, text: str, profile: str) -> tuple[type[S3pullError], str | None]:
    """Whose fault an answer of STS is, and what to do. The code decides, then the status.

    bad credentials              CredentialsError   log in again, or the clock
    ValidationError and the like UsageError         the option at fault
    throttled, 5xx               ServiceError
    403, whatever else           AccessDenied       by the words of the denial
    """
    if code in _BAD_CREDENTIALS:
        if code == "SignatureDoesNotMatch":
            return CredentialsError, "the secret key is wrong, or this machine's clock is"
        if "Expired" in code:
            login = "" if profile == "default" else f" --profile {profile}"
            return CredentialsError, f"your own session has expired: log in again, e.g. `aws sso login{login}`"
        return CredentialsError, NO_CREDENTIALS
    if code in _BAD_REQUEST:
        if "DurationSeconds" in text:
            return UsageError, "--duration 1h, or ask the data owner to raise the role's MaxSessionDuration"
        if code == "RegionDisabledException":
            return UsageError, "another STS region: AWS_REGION=us-east-1"
        if code in {"PackedPolicyTooLarge", "MalformedPolicyDocument"}:
            return UsageError, "--no-narrow leaves the session policy out"
        return UsageError, None
    if code in {"Throttling", "ThrottlingException", "RequestLimitExceeded"} or status >= 500:
        return ServiceError, "try again in a while"
    if status == 403 or code == "AccessDenied":
        return AccessDenied, next((hint for words, hint in _DENIAL_HINTS if words in text), _BARE_DENIAL)
    return ServiceError, None


def masked_text(text: str, masked: tuple[str | None, ...]) -> str:
    for secret in masked:
        if secret:
            text = text.replace(secret, "…")
    return text
