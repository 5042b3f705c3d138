"""`s3pull lock`: a manifest on stdout, for `sync --locked`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from s3pull.cli.command import App, Choice, Option, command
from s3pull.cli.options import AccessChoice, FilterChoice, QuietChoice, Source

app = App()


def _moment(text: str) -> float:
    from s3pull.pull.lock import moment

    return moment(text)


class LockChoice(Choice):
    """What `lock` is asked."""

    as_of: Annotated[
        float | None,
        Option(
            "--as-of", metavar="TIME", help="As it was then (2026-07-01T12:00Z; needs a versioned bucket)."
        ),
        _moment,
    ] = None  # fmt: skip


@command(app)
def lock(
    source: Source,
    *,
    lock: LockChoice,
    filters: FilterChoice,
    access: AccessChoice,
    output: QuietChoice,
) -> None:
    """Write down exactly what a source has.

    A manifest goes to stdout: JSON lines with key, version, ETag, size and checksum of each object. s3pull sync
    --locked pulls just that, here or elsewhere, or fails. --as-of takes a versioned bucket as it was at a time (UTC
    if no zone is given); that needs s3:ListBucketVersions and s3:GetObjectVersion.

    \b
      s3pull lock acme: > july.jsonl
      s3pull sync --locked july.jsonl data/
    """
    from s3pull.cli.render import Output
    from s3pull.pull.globs import Filters
    from s3pull.pull.lock import Lock
    from s3pull.pull.manifest import end_record, head_record, object_record
    from s3pull.pull.opening import open_source

    out = Output(output)
    rules = Filters(filters.rules)
    then = datetime.fromtimestamp(lock.as_of, UTC).isoformat() if lock.as_of is not None else None
    count = size = 0
    with open_source(access, source, out) as opened:
        run = Lock(opened.store, opened.spec, opened.prefix, filters=rules, as_of=lock.as_of)
        for found in run.objects():
            if not count:  # before that it may still turn out that there is nothing to write down
                out.record(head_record(opened.spec.text, opened.access.bucket, run.root, then))
            count += 1
            size += found.size
            out.record(object_record(found, run.root))
    out.record(end_record(count, size))
