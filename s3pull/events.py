"""What a run reports, as frozen records with a JSON form. The text form is `cli.render`'s.

The words in `Action` and `Reason` are a published list that may grow; scripts match on them.
"""

from __future__ import annotations

from enum import StrEnum

from s3pull.errors import S3pullError
from s3pull.objects import JSON, Checksum
from s3pull.records import NamedTuple

SCHEMA = 1


class Action(StrEnum):
    """What became of one object."""

    DOWNLOADED = "downloaded"
    RESUMED = "resumed"
    SKIPPED = "skipped"
    DELETED = "deleted"
    REFUSED = "refused"
    FAILED = "failed"


class Reason(StrEnum):
    """Why. Errors add their own word: `S3pullError.reason`."""

    NEW = "new"  # nothing stood at the path
    CHANGED = "changed"  # what stood there was not this object
    OVERWRITE = "overwrite"  # --overwrite replaced a file that was edited here
    SAME_RECEIPT = "same-receipt"  # a receipt says that it is the same
    SAME_CHECKSUM = "same-checksum"  # its bytes were hashed and are the same
    SAME_TIME = "same-time"  # size and LastModified agree and nothing better can be had
    LOCAL_EDIT = "local-edit"  # what stood there was changed here since: `sync` replaced it, `get` refuses
    REMOVED = "removed-here"  # a receipt says that it was here, and nothing is
    LINKED = "linked"  # unchanged since the release before: `sync --publish` gave it a second name
    GONE = "gone"  # no longer in the source: `sync --delete` removed the file
    NO_CLOBBER = "no-clobber"  # --no-clobber and something is there
    DIRECTORY = "directory"  # a `dir/` marker


class ObjectEvent(NamedTuple):
    """One object is done with. `received` counts bytes that came over the network for it in this run."""

    action: Action
    key: str
    path: str | None
    size: int | None = None
    received: int = 0
    etag: str | None = None
    version_id: str | None = None
    checksum: Checksum | None = None
    verified: bool = False
    reason: str | None = None
    error: S3pullError | None = None
    #: what a `--dry-run` would do: `"event":"plan"`, so that no script takes it for done
    planned: bool = False

    def json(self) -> JSON:
        """The line of the `--json` contract."""
        checksum = None
        if self.checksum is not None:
            checksum = {
                "algorithm": self.checksum.algorithm,
                "value": self.checksum.value,
                "verified": self.verified,
            }
        return {
            "schema": SCHEMA,
            "event": "plan" if self.planned else "object",
            "action": str(self.action),
            "key": self.key,
            "path": self.path,
            "size": self.size,
            "received": self.received,
            "etag": self.etag,
            "version_id": self.version_id,
            "checksum": checksum,
            "reason": str(self.reason) if self.reason is not None else None,
            "error": error_json(self.error) if self.error is not None else None,
        }


class Preflight(NamedTuple):
    """What a run is about to do, told before its first byte. Sizes are bytes.

    `files` and `bytes` are what may have to be fetched (what turns out to be here already is not); `refused` are names
    that cannot be held here; `free` is what the disk has; `payer` says whose account pays for requests and transfer.
    """

    files: int = 0
    bytes: int = 0
    requests: int = 0
    archived: int = 0
    refused: int = 0
    delete: int = 0
    delete_bytes: int = 0
    same: int = 0
    free: int | None = None
    payer: str = ""

    def json(self) -> JSON:
        """The line of the `--json` contract."""
        return {"schema": SCHEMA, "event": "preflight", **self._asdict()}


class Summary(NamedTuple):
    """The last event of every run."""

    downloaded: int = 0
    resumed: int = 0
    skipped: int = 0
    deleted: int = 0
    refused: int = 0
    failed: int = 0
    local_changes: int = 0
    #: objects that a list of `--checksums` says nothing of
    unlisted: int = 0
    received: int = 0
    seconds: float = 0.0
    source: str = ""
    role_arn: str | None = None
    session_name: str | None = None
    source_identity: str | None = None
    started: str = ""
    exit: int = 0

    def json(self) -> JSON:
        """The line of the `--json` contract."""
        return {"schema": SCHEMA, "event": "summary", **self._asdict()}


def error_json(error: S3pullError) -> JSON:
    """The `error` member of an object line."""
    return {
        "code": error.code,
        "status": error.status,
        "request_id": error.request_id,
        "message": error.message,
        "hint": error.hint,
    }


def run_error_json(error: S3pullError) -> JSON:
    """The line of a run that failed as a whole."""
    return {"schema": SCHEMA, "event": "error", "reason": error.reason, "exit": error.exit_code, **error_json(error)}
