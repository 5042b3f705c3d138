"""What can go wrong, named by whose fault it is; each error knows its exit code.

Foreign exceptions (OSError, ssl, botocore, sqlite) are translated once, where they arise, into one of
these; above that line nothing else is caught. An error carries what a support ticket needs (S3 code, HTTP
status, request IDs) and never a secret. Messages are lower case without a full stop and say what failed on
what; `hint` says what to do about it.

This module does not print and does not decide what to retry: `Transient` marks what is worth another try.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from s3pull.events import ObjectEvent, Summary


class S3pullError(Exception):
    """Anything s3pull reports. `exit_code` is the process's; `reason` is the published word for `--json`."""

    exit_code: ClassVar[int] = 1
    reason: ClassVar[str] = "unexpected"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        host_id: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        #: what it means, in one line for people; added by the command line where it knows the source
        self.diagnosis: str | None = None
        self.code = code
        self.status = status
        self.request_id = request_id
        self.host_id = host_id
        self.key = key


def let_go(error: BaseException | None) -> None:
    """Nobody raises `error` again: let go of the calls that it and those behind it ended.

    Those hold folders, connections and buffers. Where one holds the error, too, all of it would stay open until Python
    looks for garbage.
    """
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


class UsageError(S3pullError):
    """A wrong option, source, destination or configuration: nothing was asked of anybody."""

    exit_code = 2
    reason = "usage"


# --- one object -----------------------------------------------------------------------------------------


class ObjectError(S3pullError):
    """One object failed or was refused; the run goes on and exits 3."""

    exit_code = 3
    reason = "failed"


class NameRefused(ObjectError):
    """The key cannot be a safe path below the destination."""

    reason = "unsafe-name"


class LocalEdit(ObjectError):
    """A local file that is not ours to replace stands where the object would go."""

    reason = "local-edit"


class Archived(ObjectError):
    """The object lies in GLACIER or DEEP_ARCHIVE and is not restored: only its owner can restore it."""

    reason = "archived"


class ObjectChanged(ObjectError):
    """An answer did not match the pin (ETag, size or version). `now` is the ETag seen, where one was."""

    reason = "changed"

    def __init__(self, message: str, *, now: str | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.now = now


class Unsupported(ObjectError):
    """Something that this client refuses by name (SSE-C, a body encoding) rather than get wrong."""

    reason = "unsupported"


class Incomplete(S3pullError):
    """Some of several objects failed or were refused; the others are here. Raised by `s3pull.pull` and `s3pull.sync`.

    `failures` has an event, with its error, for each of them (of very many the first ones); `summary` counts them all.
    """

    exit_code = 3
    reason = "incomplete"

    def __init__(
        self,
        message: str,
        *,
        summary: Summary | None = None,
        failures: tuple[ObjectEvent, ...] = (),
        hint: str | None = None,
    ) -> None:
        from s3pull.events import Summary

        super().__init__(message, hint=hint)
        self.summary = summary or Summary(exit=self.exit_code)
        self.failures = failures


class NothingThere(S3pullError):
    """No such share, bucket, key, version or prefix."""

    exit_code = 4
    reason = "missing"


class DiskError(S3pullError):
    """The local disk: full, read-only, no permission, quota. Stops the run."""

    exit_code = 5
    reason = "disk"


class CheckFailed(S3pullError):
    """Bytes are not what they should be, or could not be proven although proof was demanded."""

    exit_code = 6
    reason = "corrupt"


class NotAsListed(CheckFailed):
    """The bytes are not those whose SHA-256 `--checksums` names."""

    reason = "not-as-listed"


class NotListed(CheckFailed):
    """`--checksums` names no SHA-256 of the object, and with --require-checksum it has to."""

    reason = "not-listed"


class ListedMissing(CheckFailed):
    """`--checksums` names an object that the source does not have."""

    reason = "listed-missing"


# --- access ---------------------------------------------------------------------------------------------


class AccessDenied(S3pullError):
    """AWS said no to an authenticated caller."""

    exit_code = 10
    reason = "denied"


class CredentialsError(S3pullError):
    """No credentials, expired ones, or an MFA code is needed and there is no terminal."""

    exit_code = 11
    reason = "credentials"


class TokenExpired(CredentialsError):
    """The session that signed a request is no longer honoured: renew once, then it is final."""


# --- guards, locks, time --------------------------------------------------------------------------------


class Locked(S3pullError):
    """Another run holds the destination."""

    exit_code = 12
    reason = "locked"


class DeadlineReached(S3pullError):
    """Stopped at `--deadline`; the next run goes on."""

    exit_code = 13
    reason = "deadline"


class GuardRefused(S3pullError):
    """A guard against mass deletion stopped the run before it changed anything."""

    exit_code = 14
    reason = "guard"


# --- network and service --------------------------------------------------------------------------------


class ServiceError(S3pullError):
    """The network or the service, to the end: DNS, TLS, time-outs, 5xx. Another run may succeed."""

    exit_code = 15
    reason = "service"


class Transient(ServiceError):
    """Worth another try now. `retry_after` is the server's own wish in seconds; `throttled` slows everyone."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, throttled: bool = False, **facts: object
    ) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.retry_after = retry_after
        self.throttled = throttled

    def final(self) -> ServiceError:
        """The same failure when it will not be tried again: nobody further up may take it for transient."""
        return ServiceError(
            self.message,
            hint=self.hint or "try again later: what was downloaded so far is kept",
            code=self.code,
            status=self.status,
            request_id=self.request_id,
            host_id=self.host_id,
            key=self.key,
        )


class WrongRegion(ServiceError):
    """The endpoint was resolved for another region. `region` is the right one where the answer named it."""

    def __init__(self, message: str, *, region: str | None = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.region = region


class Cancelled(S3pullError):
    """The run was told to stop (Ctrl-C, SIGTERM, `--fail-fast`, a deadline): sockets were closed under a read."""

    exit_code = 130
    reason = "interrupted"
