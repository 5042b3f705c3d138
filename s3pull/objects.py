"""The frozen records that rooms hand to each other. No I/O, no decisions beyond what a record means.

Sizes are bytes; times are seconds since the epoch as floats; ETags are stored without their quotes (a weak
one keeps its `W/` mark and its quotes, so that it never compares equal to a strong one).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from s3pull.records import NamedTuple, Record

FULL_OBJECT = "FULL_OBJECT"
COMPOSITE = "COMPOSITE"

#: Storage classes whose objects must be restored by their owner before they can be read.
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html
ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class Checksum(NamedTuple):
    """A checksum as S3 states it: `value` is base64, a COMPOSITE one ends in `-<parts>`."""

    algorithm: str
    value: str
    type: str = FULL_OBJECT


class RemoteObject(NamedTuple):
    """What a listing, a HEAD or a GET said about one object (or one version of it).

    A listing knows fewer fields than a HEAD: what was not said is None. `parts` is the number of parts that a
    HEAD with a part number reported. `restored` is True where an archived object can be read at present.
    """

    key: str
    size: int
    etag: str
    last_modified: float | None = None
    version_id: str | None = None
    storage_class: str | None = None
    checksum: Checksum | None = None
    encryption: str | None = None
    parts: int | None = None
    restored: bool | None = None

    @property
    def archived(self) -> bool:
        """True where a GET is known to fail with InvalidObjectState."""
        return self.storage_class in ARCHIVE_CLASSES and not self.restored


class ObjectVersion(NamedTuple):
    """One version out of a list of versions, or where `deleted` a delete marker (whose size and ETag mean nothing)."""

    object: RemoteObject
    deleted: bool


class Receipt(NamedTuple):
    """One file. `path` is relative to the destination; a `dir/` marker has the key and the path of a folder, with `/`.

    `size` is bytes, `mtime_ns` nanoseconds since the epoch, as the file system told them of the finished file.
    `modified` is LastModified in seconds. `checksum` is base64, of the whole content, as it was computed here;
    `verified` says that the content was proven to be the object's.
    """

    key: str
    path: str
    size: int
    mtime_ns: int
    etag: str
    version_id: str | None = None
    modified: float | None = None
    algorithm: str | None = None
    checksum: str | None = None
    verified: bool = False

    @property
    def folder(self) -> bool:
        """True for a `dir/` marker."""
        return self.path.endswith("/")


class Credentials(Record, hidden=("secret_key", "token")):
    """Keys that sign requests. `repr` shows neither the secret nor the token. `expires` is None for long-term keys."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires: float | None = None


class CredentialSource(Protocol):
    """Where the engine gets its credentials from; implemented in `access/`, called from many threads.

    `current` is cheap and returns None for anonymous access. `renew` is told which credentials were refused and
    returns newer ones (one STS call however many threads ask); it raises CredentialsError when there are none.
    """

    def current(self) -> Credentials | None: ...

    def renew(self, refused: Credentials) -> Credentials: ...


class Endpoint(NamedTuple):
    """Where requests for one bucket go and how they are signed. `path` is what stands before the key ('' or '/bucket').

    `algorithm` is 's3v4', 's3v4a' or 's3express'. Made by `remote.endpoint`, kept by the credential cache.
    """

    scheme: str
    host: str
    port: int
    path: str
    region: str
    service: str = "s3"
    algorithm: str = "s3v4"


class Access(Record, hidden=("external_id",), aside=("origins",)):
    """All that is needed to reach one source, after options, share, environment and profile were joined.

    `bucket` is a bucket name or an access-point ARN. `role_arn` None means own credentials, directly.
    `bucket_owner` is the account ID to expect, or None for no expectation. `duration` is seconds.
    """

    bucket: str
    prefix: str = ""
    share: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    profile: str | None = None
    region: str | None = None
    mfa_serial: str | None = None
    duration: int = 3600
    session_name: str | None = None
    source_identity: str | None = None
    session_tags: tuple[tuple[str, str], ...] = ()
    bucket_owner: str | None = None
    anonymous: bool = False
    request_payer: bool = False
    narrow: bool = True
    endpoint_url: str | None = None
    sts_endpoint_url: str | None = None
    ca_bundle: str | None = None
    cache: str = "auto"
    allow_http: bool = False
    #: where each value came from ('option', 'share', 'environment', 'profile', 'default'), for `-v` and doctor
    origins: Mapping[str, str] = MappingProxyType({})


JSON = dict[str, Any]
