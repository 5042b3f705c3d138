"""What commands that transfer share: options as choices, a run from its start to its summary and exit code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from s3pull.cli.options import TransferChoice
from s3pull.errors import S3pullError
from s3pull.events import Summary

if TYPE_CHECKING:
    from s3pull.cli.render import Output
    from s3pull.cli.wiring import OpenSource
    from s3pull.pull.progress import Progress
    from s3pull.pull.puller import Choices

MOST_CONNECTIONS = 256


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
        **more,
    )


def endpoint_host(opened: OpenSource) -> str:
    """The host of a service that is not AWS, '' for AWS: with the bucket's name it tells one source from another."""
    from urllib.parse import urlsplit

    url = opened.access.endpoint_url
    host = (urlsplit(url).hostname or "") if url else ""
    return "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else host


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


def with_access(summary: Summary, opened: OpenSource | None) -> Summary:
    """`summary`, with who it was that read."""
    if opened is None:
        return summary
    return replace(
        summary,
        role_arn=opened.access.role_arn,
        session_name=opened.session.session_name,
        source_identity=opened.access.source_identity,
    )


def conclude(run: Run, opened: OpenSource, out: Output) -> int:
    """Run it, tell its error and its summary; the exit code."""
    error = finish(run, out, resumes=True)
    summary = with_access(run.summary(error), opened)
    if error is not None:
        out.error(error)
    out.summary(summary)
    return summary.exit
