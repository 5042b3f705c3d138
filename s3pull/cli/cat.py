"""`s3pull cat`: one object to stdout."""

from __future__ import annotations

import sys
from typing import Annotated

from s3pull.cli.command import App, Option, command
from s3pull.cli.options import AccessChoice, OutputChoice, Source

app = App()


def byte_range(text: str) -> tuple[int | None, int | None]:
    """`A-B`, `A-` or `A`: bytes from 0, B included, as in HTTP. Raises ValueError."""
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()) or (last and int(last) < int(first)):
        raise ValueError("not a byte range like 0-99 or 1000-")
    return int(first), int(last) if last else None if dash else int(first)


@command(app)
def cat(
    source: Source,
    span: Annotated[
        tuple[int | None, int | None] | None,
        Option("--range", metavar="A-B", help="These bytes only, counted from 0, B included (not verified)."),
        byte_range,
    ] = None,
    version_id: Annotated[str | None, Option("--version-id", metavar="ID", help="This version.")] = None,
    require_checksum: Annotated[
        bool, Option("--require-checksum", help="Exit 6 where the bytes cannot be proven right.")
    ] = False,
    *,
    access: AccessChoice,
    output: OutputChoice,
) -> None:
    """Write one object to stdout, verified.

    What was written cannot be taken back: where the bytes turn out not to be what the service states, the exit code is
    6 afterwards.
    """
    from s3pull.cli.render import Output
    from s3pull.errors import UsageError
    from s3pull.pull.opening import open_source
    from s3pull.pull.source import Kind
    from s3pull.pull.stream import stream

    out = Output(output)
    with open_source(access, source, out) as opened:
        if opened.spec.kind is not Kind.OBJECT:
            raise UsageError("cat writes one object", hint="name one key; `s3pull get` takes trees and globs")
        first, last = span or (None, None)
        stream(
            opened.store,
            opened.prefix + opened.spec.key,
            sys.stdout.buffer.write,
            version_id=version_id,
            first=first,
            last=last,
            require_checksum=require_checksum,
        )
        sys.stdout.buffer.flush()
