"""What is stored: buckets, their versions of objects, and KMS keys. No permissions, no HTTP."""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass, field

from tests.fakes import bodies
from tests.fakes.bodies import Body, Held
from tests.fakes.policies import Document, check

ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


@dataclass
class Version:
    """One version of one object. `given_etag` and `kind` override what S3 would compute."""

    key: str
    body: Body
    last_modified: float
    parts: tuple[int, ...] | None = None
    algorithm: str | None = None
    checksum_type: str | None = None
    encryption: str | None = "AES256"
    kms_key: str | None = None
    storage_class: str = "STANDARD"
    restore: str | None = None
    archive_status: str | None = None
    owner: str | None = None
    sse_c: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    given_etag: str | None = None
    version_id: str = "null"
    delete_marker: bool = False
    etag: str = field(init=False, default="")
    #: this object's element in listings, made when it is first listed
    listed: str | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if self.delete_marker:
            return
        if self.given_etag is not None:
            self.etag = self.given_etag
            return
        self.etag = bodies.md5_etag(self.body, self.parts)
        if self.sse_c or (self.encryption or "").startswith("aws:kms"):
            # looks like an MD5 and is none (ACCESS.md 2, Integrity)
            self.etag = self.etag[::-1] if self.parts is None else f"{self.etag[31::-1]}-{len(self.parts)}"

    @property
    def quoted_etag(self) -> str:
        return self.etag if self.etag.startswith(('"', "W/")) else f'"{self.etag}"'

    @property
    def kind(self) -> str:
        """FULL_OBJECT or COMPOSITE."""
        assert self.algorithm is not None
        return self.checksum_type or bodies.default_type(self.algorithm, self.parts)

    def checksum_headers(self) -> dict[str, str]:
        assert self.algorithm is not None
        value = bodies.checksum(self.body, self.algorithm, self.kind, self.parts)
        return {f"x-amz-checksum-{self.algorithm.lower()}": value, "x-amz-checksum-type": self.kind}

    @property
    def archived(self) -> bool:
        """True where a GET needs a restore that has not happened (or is under way)."""
        cold = self.storage_class in ARCHIVES or bool(self.archive_status)
        return cold and 'ongoing-request="false"' not in (self.restore or "")


@dataclass
class Bucket:
    name: str
    owner: str
    region: str = "us-east-1"
    policy: Document | None = None
    versioning: bool = False
    requester_pays: bool = False
    #: every version of every key, newest first
    versions: dict[str, list[Version]] = field(default_factory=dict, repr=False)
    _sorted: list[str] | None = field(default=None, repr=False)

    @property
    def arn(self) -> str:
        return f"arn:aws:s3:::{self.name}"

    def find(self, key: str, version_id: str | None = None) -> Version | None:
        """The current version, a delete marker too, or the one named."""
        found = self.versions.get(key, [])
        if version_id is None:
            return found[0] if found else None
        return next((one for one in found if one.version_id == version_id), None)

    def keys(self) -> list[str]:
        """In S3's order: by the bytes of the UTF-8."""
        if self._sorted is None:
            self._sorted = sorted(self.versions, key=str.encode)
        return self._sorted

    def keys_after(self, marker: str, prefix: str) -> list[str]:
        """Keys that start with `prefix` and come after `marker`."""
        keys = self.keys()
        encoded = prefix.encode()
        first = bisect.bisect_left(keys, encoded, key=str.encode)
        if marker:
            first = max(first, bisect.bisect_right(keys, marker.encode(), key=str.encode))
        last = bisect.bisect_right(keys, encoded + b"\xff", lo=first, key=str.encode)
        return keys[first:last]

    def add(self, version: Version) -> None:
        held = self.versions.setdefault(version.key, [])
        if len(held) == 0:
            self._sorted = None
        if not self.versioning:
            held.clear()
        held.insert(0, version)

    def drop(self, key: str) -> None:
        if self.versions.pop(key, None):
            self._sorted = None


@dataclass(frozen=True)
class KmsKey:
    """`managed`: the AWS-managed `aws/s3` of an account."""

    arn: str
    policy: Document | None
    state: str
    managed: bool = False

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


@dataclass(frozen=True)
class AccessPoint:
    name: str
    account: str
    region: str
    bucket: str

    @property
    def arn(self) -> str:
        return f"arn:aws:s3:{self.region}:{self.account}:accesspoint/{self.name}"

    @property
    def label(self) -> str:
        """The first label of its host."""
        return f"{self.name}-{self.account}"

    @property
    def alias(self) -> str:
        return f"{self.name}-fake0alias-s3alias"


class State:
    """All buckets, access points and keys of all accounts."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        #: by label and by alias
        self.access_points: dict[str, AccessPoint] = {}
        self.kms_keys: dict[str, KmsKey] = {}
        self._lock = threading.Lock()
        self._versions = 0

    def add_bucket(self, bucket: Bucket) -> Bucket:
        if bucket.policy:
            check(bucket.policy)
        self.buckets[bucket.name] = bucket
        return bucket

    def add_access_point(self, point: AccessPoint) -> AccessPoint:
        self.access_points[point.label] = self.access_points[point.alias] = point
        return point

    def add_kms_key(self, arn: str, policy: Document | None, state: str) -> str:
        self.kms_keys[arn] = KmsKey(arn, policy, state)
        return arn

    def managed_key(self, bucket: Bucket) -> str:
        arn = f"arn:aws:kms:{bucket.region}:{bucket.owner}:key/aws-s3-managed"
        self.kms_keys.setdefault(arn, KmsKey(arn, None, "Enabled", managed=True))
        return arn

    def bucket_of_host(self, host: str) -> str | None:
        """The bucket, or the access point's label, that a virtual-hosted Host names; of several the longest."""
        if host.replace(".", "").isdigit():
            return None
        fitting = [name for name in [*self.buckets, *self.access_points] if host.startswith(f"{name}.")]
        return max(fitting, key=len, default=None)

    def put(self, bucket: str, version: Version) -> Version:
        with self._lock:
            holder = self.buckets[bucket]
            if holder.versioning:
                self._versions += 1
                version.version_id = f"v{self._versions:031d}"
            holder.add(version)
        return version

    def delete(self, bucket: str, key: str, when: float) -> None:
        holder = self.buckets[bucket]
        if holder.versioning:
            self.put(bucket, Version(key, Held(b""), when, delete_marker=True))
        else:
            with self._lock:
                holder.drop(key)
