"""Asks STS and S3 what doctor wants to know, through botocore, and says what came back: no exception, no guess.

One question is one try with short time limits (a wrong region is followed once, by botocore). What an answer means is
`denials`' and the steps' to say. Nothing that it returns shows a secret, messages of AWS included.
"""

from __future__ import annotations

import contextlib
import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from s3pull.access import sts
from s3pull.access.denials import Cause, Diagnosis, diagnose
from s3pull.access.options import refuse_plain_http
from s3pull.access.profiles import Profiles, effective
from s3pull.errors import CredentialsError, S3pullError, UsageError
from s3pull.objects import Access, Credentials

#: what S3 itself answers from for a bucket whose region is not known
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: for a connection, for silence on it, and for all of doctor, the time that a person types apart."""

    connect: float = 5.0
    read: float = 8.0
    total: float = 25.0


#: a dead network ends doctor in less than half a minute, its start and its print included
LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `trouble` is set where nothing did: then status and code say nothing.

    `facts` are further members of the error document, `data` those of a good answer (they may be secret). `ahead` is
    how far the service's clock is before ours, in seconds.
    """

    ok: bool
    status: int | None = None
    code: str = ""
    message: str = ""
    request_id: str | None = None
    host_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ahead: float | None = None
    #: botocore asked once more, in the region that the first answer named
    redirected: bool = False
    trouble: S3pullError | None = None
    #: what kind of trouble it is, and which proxy the question went to
    cause: Cause = Cause.UNKNOWN
    proxy: str | None = None

    @property
    def denied(self) -> bool:
        return self.status == 403 and self.code in ("AccessDenied", "403", "Forbidden")

    @property
    def region(self) -> str | None:
        """The bucket's region where the answer names it."""
        return self.headers.get("x-amz-bucket-region") or self.facts.get("Region")

    @property
    def said(self) -> str:
        """AWS's own words, with code and status: what a ticket quotes."""
        if self.trouble is not None:
            return self.trouble.message
        if self.ok:
            return str(self.status)
        return f"{self.status} {self.code}: {self.message}" if self.message else f"{self.status} {self.code}"

    def diagnosis(self, service: str, access: Access, *, listing: bool = False) -> Diagnosis:
        """What it means to whoever has this access."""
        assumed, anonymous = access.role_arn is not None, access.anonymous
        return diagnose(
            service, self.status, self.code, self.message, assumed=assumed, anonymous=anonymous, listing=listing
        )


class Aws:
    """STS and S3 as one access sees them, asked with any credentials."""

    def __init__(
        self,
        access: Access,
        environ: Mapping[str, str],
        profiles: Profiles,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.access, self.environ, self.profiles, self.limits, self.clock = access, environ, profiles, limits, clock
        self._session: Any = None
        self._sts_clients: dict[str, Any] = {}
        self._asked: str | None = None

    def prepare(self) -> None:
        """Load what botocore knows of STS and S3: a second of this machine's time, which is not to count as silence."""
        with contextlib.suppress(S3pullError), sts.translated("no client", profile=""):
            for service in ("sts", "s3"):
                self._made().create_client(service, DEFAULT_REGION, aws_access_key_id="-", aws_secret_access_key="-")  # noqa: S106

    def caller(self, keys: Credentials) -> Answer:
        """GetCallerIdentity."""
        return self._sts(keys, "get_caller_identity", {})

    def assume(self, keys: Credentials, parameters: Mapping[str, Any]) -> Answer:
        """AssumeRole."""
        return self._sts(keys, "assume_role", parameters)

    def store(self, keys: Credentials | None, region: str | None = None) -> Store:
        """The bucket, read with these credentials (None: unsigned). Raises S3pullError where no client can be made."""
        access = self.access
        sts.check_bundle(access.ca_bundle)
        name = region or access.region or self._configured_region()
        with sts.translated("cannot reach S3", profile=effective(access.profile, self.environ)):
            client = self._s3_client(keys, name)
        if not access.allow_http:
            refuse_plain_http(client.meta.endpoint_url, "the S3 endpoint")
        return Store(self, client, name, keys)

    def ask(self, call: Callable[..., Any], parameters: Mapping[str, Any], secrets: tuple[str | None, ...]) -> Answer:
        """One question. Never raises what AWS, the network or the local configuration is to blame for."""
        from botocore.exceptions import ClientError

        masked = (self.access.external_id, *secrets)
        self._asked = call.__self__.meta.endpoint_url  # type: ignore[attr-defined]
        try:
            answer = call(**parameters)
            body = answer.get("Body")
            if body is not None:
                # one byte was asked for; a server that sends more need not be heard out
                body.read(1)
                body.close()
        except ClientError as refused:
            return self._refused(refused.response, masked)
        except Exception as error:
            profile = effective(self.access.profile, self.environ)
            ours = sts.translate(error, "no answer", profile, masked)
            if ours is None:
                raise
            return Answer(False, trouble=ours, cause=cause_of(error, ours), proxy=self.proxy())
        return self._answered(answer)

    def proxy(self) -> str | None:
        """Host and port of the proxy before what was asked last, as botocore finds it; None where there is none."""
        from botocore.utils import get_environ_proxies

        if self._asked is None:
            return None
        url = get_environ_proxies(self._asked).get(urlsplit(self._asked).scheme) or ""
        # no user and no password
        return url.rpartition("@")[2].rpartition("//")[2].strip("/") or None

    def _sts(self, keys: Credentials, name: str, parameters: Mapping[str, Any]) -> Answer:
        try:
            with sts.translated("cannot reach STS", profile=effective(self.access.profile, self.environ)):
                client = self._sts_clients.get(keys.access_key)
                if client is None:
                    client = sts.client(
                        self.access, keys, self.environ, self.profiles, of=self._made(), config=self._config()
                    )
                    self._sts_clients[keys.access_key] = client
        except S3pullError as error:
            return Answer(False, trouble=error, cause=cause_of(error, error))
        return self.ask(getattr(client, name), parameters, (keys.secret_key, keys.token))

    def _s3_client(self, keys: Credentials | None, region: str) -> Any:
        from botocore import UNSIGNED

        more: dict[str, Any] = {"response_checksum_validation": "when_required"}
        if keys is None:
            more["signature_version"] = UNSIGNED
        if self.access.bucket.endswith("--x-s3"):
            # plain SigV4, as the engine signs
            more["s3"] = {"disable_s3_express_session_auth": True}
        return self._made().create_client(
            "s3",
            region_name=region,
            endpoint_url=self.access.endpoint_url,
            verify=self.access.ca_bundle,
            aws_access_key_id=keys and keys.access_key,
            aws_secret_access_key=keys and keys.secret_key,
            aws_session_token=keys and keys.token,
            config=self._config(**more),
        )

    def _made(self) -> Any:
        """One botocore session for all clients: it takes a second to read what it knows of S3."""
        if self._session is None:
            self._session = sts.session(self.access.profile)
        return self._session

    def _config(self, **more: Any) -> Any:
        from botocore.config import Config

        return Config(
            connect_timeout=self.limits.connect,
            read_timeout=self.limits.read,
            retries={"mode": "standard", "total_max_attempts": 1},
            **more,
        )

    def _configured_region(self) -> str:
        profile = effective(self.access.profile, self.environ)
        named = self.environ.get("AWS_REGION") or self.environ.get("AWS_DEFAULT_REGION")
        return named or self.profiles.value(profile, "region") or DEFAULT_REGION

    def _answered(self, answer: Mapping[str, Any]) -> Answer:
        metadata = answer.get("ResponseMetadata", {})
        headers = metadata.get("HTTPHeaders", {})
        return Answer(
            True,
            metadata.get("HTTPStatusCode"),
            request_id=metadata.get("RequestId"),
            host_id=metadata.get("HostId"),
            headers=headers,
            data=answer,
            ahead=self._ahead(headers),
            redirected=metadata.get("RetryAttempts", 0) > 0,
        )

    def _refused(self, answer: Mapping[str, Any], masked: tuple[str | None, ...]) -> Answer:
        error, metadata = answer.get("Error", {}), answer.get("ResponseMetadata", {})
        headers = metadata.get("HTTPHeaders", {})
        return Answer(
            False,
            metadata.get("HTTPStatusCode"),
            str(error.get("Code", "")),
            sts.masked_text(" ".join(str(error.get("Message", "")).split()), masked),
            metadata.get("RequestId") or headers.get("x-amz-request-id") or headers.get("x-amzn-requestid"),
            metadata.get("HostId"),
            headers,
            facts=error,
            ahead=self._ahead(headers),
            redirected=metadata.get("RetryAttempts", 0) > 0,
        )

    def _ahead(self, headers: Mapping[str, str]) -> float | None:
        try:
            return email.utils.parsedate_to_datetime(headers["date"]).timestamp() - self.clock()
        except (KeyError, ValueError, TypeError):
            return None


def cause_of(error: Exception, ours: S3pullError) -> Cause:
    """Why there was no answer.

    a certificate that nobody here trusts     tls
    the proxy                                 proxy
    no name, no way, no answer in time        network
    own credentials missing or expired        credentials
    a bundle, URL or profile that cannot be   configuration
    """
    from botocore import exceptions as theirs

    if isinstance(error, theirs.SSLError):
        return Cause.TLS
    if isinstance(error, theirs.ProxyConnectionError):
        return Cause.PROXY
    if isinstance(error, theirs.HTTPClientError | theirs.ConnectionError):
        return Cause.NETWORK
    if isinstance(ours, CredentialsError):
        return Cause.CREDENTIALS
    if isinstance(ours, UsageError):
        return Cause.TLS if "CA bundle" in ours.message else Cause.CONFIGURATION
    return Cause.NETWORK


class Store:
    """One bucket with one set of credentials. `owned` False leaves out which account must own the bucket."""

    def __init__(self, aws: Aws, client: Any, region: str, keys: Credentials | None) -> None:
        self.region = region
        self._aws, self._client, self._keys = aws, client, keys

    def head_bucket(self) -> Answer:
        return self._ask("head_bucket", {})

    def list(self, prefix: str, *, most: int | None = None, owned: bool = True) -> Answer:
        """ListObjectsV2, with the objects' owners. `most` None: as many as S3 gives, asked as the engine asks."""
        asked: dict[str, Any] = {"Prefix": prefix, "FetchOwner": True}
        if most is not None:
            asked["MaxKeys"] = most
        return self._ask("list_objects_v2", asked, owned=owned)

    def head(self, key: str, *, version: str | None = None) -> Answer:
        """HeadObject without checksum mode, which would ask for kms:Decrypt too and then prove nothing."""
        return self._ask("head_object", {"Key": key, **({"VersionId": version} if version else {})})

    def get(self, key: str, *, etag: str | None = None, whole: bool = False, owned: bool = True) -> Answer:
        """GetObject of the first byte; `whole` for an object that has none."""
        asked: dict[str, Any] = {"Key": key}
        if not whole:
            asked["Range"] = "bytes=0-0"
        if etag is not None:
            asked["IfMatch"] = etag
        return self._ask("get_object", asked, owned=owned)

    def _ask(self, name: str, asked: Mapping[str, Any], *, owned: bool = True) -> Answer:
        access = self._aws.access
        parameters: dict[str, Any] = {"Bucket": access.bucket, **asked}
        if access.bucket_owner is not None and owned:
            parameters["ExpectedBucketOwner"] = access.bucket_owner
        if access.request_payer and name != "head_bucket":  # which knows no such parameter
            parameters["RequestPayer"] = "requester"
        secrets = (self._keys.secret_key, self._keys.token) if self._keys else ()
        return self._aws.ask(getattr(self._client, name), parameters, secrets)
