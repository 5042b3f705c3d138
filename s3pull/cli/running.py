"""What commands that transfer share: options as choices, a run from its start to its summary and exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from s3pull.cli.options import AccessChoice, TransferChoice
from s3pull.errors import S3pullError
from s3pull.events import Summary

if TYPE_CHECKING:
    from s3pull.cli.render import Output
    from s3pull.pull.opening import OpenSource
    from s3pull.pull.progress import Progress
    from s3pull.pull.puller import Choices
    from s3pull.pull.spare import Spare


class Run(Protocol):
    """`Get`, `Sync`, `Repair`."""

    progress: Progress

    def run(self) -> None: ...

    def summary(self, error: S3pullError | None = None) -> Summary: ...


def choices(transfer: TransferChoice, **more: bool) -> Choices:
    """The choices that every transfer has, and `more` of a command's own."""
    from s3pull.pull.puller import Choices

    return Choices(
        require_checksum=transfer.require_checksum,
        durable=transfer.durable,
        fail_fast=transfer.fail_fast,
        checksums=transfer.checksums,
        **more,
    )


def spare_for(folder: Path | None, transfer: TransferChoice, *, dry_run: bool) -> Spare:
    """A process for a run that will probably have much to do: one that brings a tree to `folder`, where nothing is yet.

    To be started before anything else is loaded.
    """
    from s3pull.pull.spare import LEAST_JOBS, Spare, is_new

    allowed = transfer.limit_rate is None and (transfer.jobs or LEAST_JOBS) >= LEAST_JOBS
    return Spare(wanted=folder is not None and allowed and not dry_run and is_new(folder))


@contextmanager
def accounted(choice: AccessChoice, source: str, out: Output) -> Iterator[None]:
    """With `--json`, an error that leaves the block (the source could not be opened) is told here, and then a summary
    that says what is known: whoever reads the lines finds there which source it was, and whose role."""
    from s3pull.cli.exits import translate
    from s3pull.pull.opening import find_access
    from s3pull.pull.source import parse_source

    began = datetime.now(UTC)
    try:
        yield
    except (S3pullError, KeyboardInterrupt) as raised:
        error = translate(raised, resumes=True)
        if error is None or not out.json:
            raise
        summary = Summary(
            seconds=round((datetime.now(UTC) - began).total_seconds(), 3),
            source=source,
            started=began.isoformat(timespec="milliseconds"),
            exit=error.exit_code,
        )
        with suppress(S3pullError):  # where it is just that which failed
            access = find_access(choice, parse_source(source))
            summary = summary._replace(
                role_arn=access.role_arn,
                session_name=access.session_name,
                source_identity=access.source_identity,
            )
        out.error(error)
        out.summary(summary)
        from s3pull.cli.exits import Ended

        raise Ended(error.exit_code) from None


def finish(run: Run, out: Output, *, resumes: bool) -> S3pullError | None:
    """Run it with its progress shown; the error that ended it early. `resumes`: the same command would go on."""
    from s3pull.cli.exits import translate

    with out.showing(run.progress):
        try:
            run.run()
        except S3pullError as raised:
            return raised
        except BrokenPipeError:
            raise  # whoever read our stdout has left: silence, and 141
        except BaseException as raised:
            # Ctrl-C, SIGTERM and faults of our own have exit codes, too: the summary still has to be told
            error = translate(raised, resumes=resumes)
            if error is None:
                raise
            return error
    return None


def conclude(run: Run, opened: OpenSource, out: Output) -> int:
    """Run it, tell its error and its summary; the exit code."""
    error = finish(run, out, resumes=True)
    summary = opened.signed(run.summary(error))
    if error is not None:
        out.error(error)
    out.summary(summary)
    return summary.exit
