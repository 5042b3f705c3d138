"""One S3 request on its way through the checks that come before any work, in S3's order.

Signature and scope, bucket, region, expiry, bucket owner, payer, then permission and decryption as an operation
demands them. What an operation answers is in s3.py, the evaluation itself in policies.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes import sigv4
from tests.fakes.buckets import Bucket, KmsKey, Version
from tests.fakes.http import Request
from tests.fakes.identities import Session
from tests.fakes.listings import iso
from tests.fakes.policies import ANONYMOUS, ENDPOINT, RCP, RESOURCE, SCP, Ask, Principal, Values, Verdict, decide
from tests.fakes.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.aws import FakeAws, Recorded

SKEW = 900.0


class Call:
    """One request on its way through the checks."""

    def __init__(self, aws: FakeAws, request: Request, record: Recorded) -> None:
        self.aws = aws
        self.request = request
        self.record = record
        self.query = record.query
        self.signature = self._signature()
        self.bucket = self._bucket()
        self._check_region()
        self.who = self._principal()
        self._check_owner()
        self._check_payer()

    # --- who asks, and of whom --------------------------------------------------------------------------

    def _signature(self) -> sigv4.Signature | None:
        try:
            return sigv4.parse(self.request)
        except (ValueError, KeyError) as malformed:
            text = f"The authorization header is malformed; {malformed}"
            raise Refusal(400, "AuthorizationHeaderMalformed", text) from None

    def _bucket(self) -> Bucket | None:
        name = self.record.bucket
        if name is None:
            return None
        bucket = self.aws.store.buckets.get(name)
        if bucket is None:
            self._principal()
            text = "The specified bucket does not exist"
            raise Refusal(404, "NoSuchBucket", text, extra={"BucketName": name})
        return bucket

    def _check_region(self) -> None:
        bucket = self.bucket
        if bucket is None or self.signature is None or self.signature.region == bucket.region:
            return
        told = {"x-amz-bucket-region": bucket.region}
        if self.record.action == "HeadBucket" or self.aws.wrong_region == "redirect":
            endpoint = f"{bucket.name}.s3.{bucket.region}.amazonaws.com"
            text = (
                "The bucket you are attempting to access must be addressed using the specified endpoint. Please send "
                "all future requests to this endpoint."
            )
            raise Refusal(
                301, "PermanentRedirect", text, extra={"Endpoint": endpoint, "Bucket": bucket.name}, headers=told
            )
        text = (
            f"The authorization header is malformed; the region '{self.signature.region}' is wrong; "
            f"expecting '{bucket.region}'"
        )
        raise Refusal(400, "AuthorizationHeaderMalformed", text, extra={"Region": bucket.region})

    def _principal(self) -> Principal:
        signature, aws = self.signature, self.aws
        if signature is None:
            return ANONYMOUS
        now = aws.clock.now()
        if signature.expires is not None:
            if now > signature.time + signature.expires:
                raise Refusal(403, "AccessDenied", "Request has expired", extra={"ServerTime": iso(now)})
        elif abs(now - signature.time) > SKEW:
            raise Refusal(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                extra={
                    "RequestTime": signature.stamp,
                    "ServerTime": iso(now),
                    "MaxAllowedSkewMilliseconds": "900000",
                },
            )
        holder = aws.directory.holder(signature.access_key)
        if holder is None:
            text = "The AWS Access Key Id you provided does not exist in our records."
            raise Refusal(403, "InvalidAccessKeyId", text, extra={"AWSAccessKeyId": signature.access_key})
        if signature.token != holder.keys.token:
            raise Refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if isinstance(holder, Session) and holder.expires <= now:
            raise Refusal(400, "ExpiredToken", "The provided token has expired.")
        if signature.service not in ("s3", "s3express") or not sigv4.fits(
            self.request, signature, holder.keys.secret_key
        ):
            raise Refusal(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and "
                "signing method.",
                extra={"AWSAccessKeyId": signature.access_key, "SignatureProvided": signature.value},
            )
        return holder.principal()

    def _check_owner(self) -> None:
        expected = self.request.headers.get("x-amz-expected-bucket-owner")
        if self.bucket and expected not in (None, self.bucket.owner):
            raise Refusal(403, "AccessDenied", "Access Denied", headers=self.region_header())

    def _check_payer(self) -> None:
        bucket = self.bucket
        if bucket is None or not bucket.requester_pays or self.who.account == bucket.owner:
            return
        if self.request.headers.get("x-amz-request-payer") != "requester" or self.who.account is None:
            raise Refusal(403, "AccessDenied", "Access Denied", headers=self.region_header())

    @property
    def arn(self) -> str:
        """What permissions on the bucket are asked for: through an access point, that one's ARN."""
        assert self.bucket is not None
        return self.record.access_point or self.bucket.arn

    @property
    def object_arn(self) -> str:
        return f"{self.arn}/object/{self.record.key}" if self.record.access_point else f"{self.arn}/{self.record.key}"

    def region_header(self) -> dict[str, str]:
        bucket_call = self.record.action in ("HeadBucket", "ListObjectsV2", "ListObjectVersions")
        return {"x-amz-bucket-region": self.bucket.region} if self.bucket and bucket_call else {}

    # --- may it -----------------------------------------------------------------------------------------

    def verdict(self, action: str, resource: str, **context: Values) -> Verdict:
        assert self.bucket is not None
        bucket, account = self.bucket, self.who.account
        applies = {SCP: (None, account), RCP: (None, bucket.owner), ENDPOINT: (None,)}
        guards = [guard for whose, guard in self.aws.guards if whose in applies[guard.kind] and guard.applies_to("s3")]
        return decide(
            self.who,
            Ask(action, resource, {**self.context(), **context}),
            resource_policy=bucket.policy,
            resource_account=bucket.owner,
            guards=guards,
        )

    def context(self) -> dict[str, Values]:
        headers = self.request.headers
        found: dict[str, Values] = {
            "aws:SourceIp": "127.0.0.1",
            "aws:SecureTransport": str(self.request.secure).lower(),
            "aws:UserAgent": headers.get("user-agent", ""),
            "s3:authType": "REST-HEADER" if "authorization" in headers else "REST-QUERY-STRING",
        }
        if self.signature:
            found["s3:signatureversion"] = "AWS4-HMAC-SHA256"
        return found

    def demand(self, action: str, resource: str, **context: Values) -> None:
        """The 403 with AWS's reason; across accounts, from directory buckets and to nobody in particular a bare one."""
        verdict = self.verdict(action, resource, **context)
        if verdict.allowed:
            return
        assert self.bucket is not None
        if self.who.account != self.bucket.owner or self.bucket.name.endswith("--x-s3"):
            raise Refusal(403, "AccessDenied", "Access Denied", headers=self.region_header())
        message = verdict.message(self.who.arn, Ask(action, resource), quoted=True)
        raise Refusal(403, "AccessDenied", message, headers=self.region_header())

    def decrypt(self, version: Version) -> None:
        """kms:Decrypt through S3, for objects that were encrypted with a KMS key."""
        if version.encryption not in ("aws:kms", "aws:kms:dsse"):
            return
        assert self.bucket is not None
        arn = version.kms_key or self.aws.store.managed_key(self.bucket)
        key = self.aws.store.kms_keys[arn]
        bare = (
            f"User: {self.who.arn} is not authorized to perform: kms:Decrypt on the resource associated with this "
            "ciphertext because the resource does not exist in this Region, no resource-based policies allow access, "
            "or a resource-based policy explicitly denies access"
        )
        _check_state(key)
        if key.managed:
            # its policy allows every principal of its account through S3, and nobody else
            if self.who.account != key.account:
                raise Refusal(403, "AccessDenied", bare)
            return
        context: dict[str, Values] = {
            **self.context(),
            "kms:ViaService": f"s3.{self.bucket.region}.amazonaws.com",
            "kms:CallerAccount": self.who.account or "",
            "kms:EncryptionContext:aws:s3:arn": f"{self.bucket.arn}/{version.key}",
        }
        root = {"AWS": f"arn:aws:iam::{key.account}:root"}
        delegating = {"Statement": [{"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}]}
        verdict = decide(
            self.who,
            Ask("kms:Decrypt", arn, context),
            resource_policy=key.policy or delegating,
            resource_account=key.account,
            resource_rules=True,
        )
        if not verdict.allowed:
            plain = verdict.message(self.who.arn, Ask("kms:Decrypt", arn))
            raise Refusal(403, "AccessDenied", bare if verdict.kind == RESOURCE else plain)

    # --- which object -----------------------------------------------------------------------------------

    def version(self) -> Version:
        """The version asked for, after its permission was checked; a missing key is a 404 only to who may list."""
        bucket, key = self.bucket, self.record.key
        assert bucket is not None and key is not None
        wanted = self.query.get("versionId")
        action = "s3:GetObject" if wanted is None else "s3:GetObjectVersion"
        resource = self.object_arn
        context: dict[str, Values] = {"s3:VersionId": wanted} if wanted else {}
        found = bucket.find(key, wanted)
        verdict = self.verdict(action, resource, **context)
        if found is None and not self.verdict("s3:ListBucket", self.arn, **{"s3:prefix": key}).allowed:
            self.demand(action, resource, **context)
            self.demand("s3:ListBucket", self.arn, **{"s3:prefix": key})
        if not verdict.allowed:
            self.demand(action, resource, **context)
        if found is None and wanted is not None:
            extra = {"Key": key, "VersionId": wanted}
            raise Refusal(404, "NoSuchVersion", "The specified version does not exist.", extra=extra)
        if found is None:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.", extra={"Key": key})
        if found.delete_marker:
            headers = {"x-amz-delete-marker": "true", "x-amz-version-id": found.version_id}
            if wanted is None:
                text = "The specified key does not exist."
                raise Refusal(404, "NoSuchKey", text, extra={"Key": key}, headers=headers)
            text = "The specified method is not allowed against this resource."
            raise Refusal(
                405,
                "MethodNotAllowed",
                text,
                extra={"Method": self.request.method},
                headers={**headers, "Allow": "DELETE"},
            )
        if found.owner not in (None, bucket.owner) and self.who.account != found.owner:
            # a bucket policy and the role's own policies say nothing about another account's object
            raise Refusal(403, "AccessDenied", "Access Denied")
        return found


def _check_state(key: KmsKey) -> None:
    if key.state == "Disabled":
        raise Refusal(400, "KMS.DisabledException", f"{key.arn} is disabled.")
    if key.state == "PendingDeletion":
        raise Refusal(400, "KMS.KMSInvalidStateException", f"{key.arn} is pending deletion.")
    if key.state != "Enabled":
        raise Refusal(400, "KMS.NotFoundException", f"Key '{key.arn}' does not exist")
