"""`s3pull ls`: the shares, or what is at a source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from s3pull.cli.command import App, Option, command
from s3pull.cli.options import AccessChoice, OptionalSource, ReportChoice
from s3pull.cli.render import Output, printable

if TYPE_CHECKING:
    from s3pull.objects import JSON
    from s3pull.pull.ls import Entry

app = App()


@command(app)
def ls(
    source: OptionalSource = None,
    recursive: Annotated[bool, Option("-r", "--recursive", help="All below, not one level.")] = False,
    long: Annotated[bool, Option("-l", "--long", help="Size, time and storage class, too.")] = False,
    summarize: Annotated[bool, Option("--summarize", help="Count objects and bytes at the end.")] = False,
    *,
    access: AccessChoice,
    output: ReportChoice,
) -> None:
    """List shares and objects.

    Names are printed as they can be typed after NAME: (or s3://bucket/); folders end in /. Listing streams: the first
    names come at once.
    """
    from s3pull.pull.opening import open_source

    out = Output(output)
    if source is None:
        from s3pull.cli.shares import list_shares

        list_shares(access.config, out)
        return
    from s3pull.pull.ls import entries

    count = size = 0
    with open_source(access, source, out) as opened:
        for page in entries(opened.store, opened.spec, opened.prefix, recursive=recursive):
            objects = [entry.object for entry in page if entry.object is not None]
            count += len(objects)
            size += sum(found.size for found in objects)
            if out.json:
                out.records(map(_record, page))
            else:
                out.lines(map(_long if long else _short, page))
    if summarize:
        _show_sum(count, size, out)


def _short(entry: Entry) -> str:
    return printable(entry.name)


def _long(entry: Entry) -> str:
    found = entry.object
    if found is None:
        return f"{'-':>14}  {'-':<20}  {'-':<12}  {printable(entry.name)}"
    when = _time(found.last_modified) if found.last_modified is not None else "-"
    storage = found.storage_class or "STANDARD"
    if found.restored:
        storage += "*"
    return f"{found.size:>14}  {when:<20}  {storage:<12}  {printable(entry.name)}"


def _record(entry: Entry) -> JSON:
    from s3pull.events import SCHEMA

    found = entry.object
    if found is None:
        return {"schema": SCHEMA, "event": "folder", "key": entry.name}
    return {
        "schema": SCHEMA,
        "event": "object",
        "key": entry.name,
        "size": found.size,
        "etag": found.etag,
        "last_modified": _time(found.last_modified) if found.last_modified is not None else None,
        "storage_class": found.storage_class,
        "restored": found.restored,
    }


def _show_sum(count: int, size: int, out: Output) -> None:
    from s3pull.cli.render import counted, human_size
    from s3pull.events import SCHEMA

    if out.json:
        out.record({"schema": SCHEMA, "event": "summary", "objects": count, "bytes": size})
    else:
        out.line(f"{counted(count, 'object')}, {size} bytes ({human_size(size)})")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
