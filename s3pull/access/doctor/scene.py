"""What doctor knows of one source when it judges an answer. A record; it decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from s3pull.access import values
from s3pull.objects import Access


@dataclass(frozen=True, slots=True)
class Scene:
    """`source` is as it was typed. `prefix` is what is listed. `consumer` is the IAM ARN of your own role or user.

    `region` is the bucket's, `kms_key` the key of the object that was looked at, each None until it is known.
    """

    access: Access
    source: str
    prefix: str = ""
    key: str | None = None
    consumer: str | None = None
    region: str | None = None
    kms_key: str | None = None

    @property
    def assumed(self) -> bool:
        return self.access.role_arn is not None

    @property
    def reader(self) -> str | None:
        """Whose requests reach S3: the owner's role, or yourself."""
        return self.access.role_arn or self.consumer

    @property
    def chained(self) -> bool:
        """True where your own credentials are themselves a role's."""
        return self.consumer is not None and ":role/" in self.consumer

    @property
    def account(self) -> str | None:
        """The data owner's account, as far as the role says it."""
        return values.role_account(self.access.role_arn) if self.access.role_arn else self.access.bucket_owner
