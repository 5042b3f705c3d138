"""`s3pull sync`: make a folder mirror a source."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from s3pull.cli.command import App, Argument, Choice, Option, command
from s3pull.cli.options import (
    AccessChoice,
    FilterChoice,
    OutputChoice,
    Source,
    TransferChoice,
    number,
    span,
)
from s3pull.errors import UsageError
from s3pull.pull.shards import Shard, parse_shard
from s3pull.pull.workers import Workers, parse_workers

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from s3pull.cli.render import Output
    from s3pull.pull.fleet import Carrier, Fleet
    from s3pull.pull.globs import Filters
    from s3pull.pull.guard import Limit
    from s3pull.pull.manifest import Manifest
    from s3pull.pull.opening import OpenSource
    from s3pull.pull.spare import Spare

app = App()
PUBLISH = "Publish"
FAR = "Several processes or machines"


class SyncChoice(Choice):
    """What `sync` alone is asked."""

    delete: Annotated[
        bool, Option("--delete", help="Remove files whose objects are gone: only those that s3pull fetched.")
    ] = False
    max_delete: Annotated[
        str | None,
        Option(
            "--max-delete", metavar="N|P%", help="Delete no more than this (else exit 14); half if not given."
        ),
    ] = None  # fmt: skip
    dry_run: Annotated[bool, Option("-n", "--dry-run", help="Say what would be done, and do nothing.")] = False
    locked: Annotated[
        str | None,
        Option("--locked", metavar="FILE", help="Pull exactly what this manifest of s3pull lock says, or fail."),
    ] = None
    deadline: Annotated[
        float | None,
        Option("--deadline", metavar="SPAN", help="Stop after so long (30m): exit 13, the next run goes on."),
        span,
    ] = None
    wait: Annotated[
        float,
        Option("--wait", metavar="SPAN", help="Wait so long for another run that holds DEST; else exit 12."),
        span,
    ] = 0.0  # fmt: skip
    metrics: Annotated[
        str | None,
        Option("--metrics", metavar="FILE", help="Write what the run came to for Prometheus (textfile)."),
    ] = None
    publish: Annotated[
        bool,
        Option(
            "--publish", help="Build each state beside the last one and swap DEST/current to it, whole.",
            panel=PUBLISH,
        ),
    ] = False  # fmt: skip
    keep: Annotated[
        int | None,
        Option("--keep", metavar="N", help="Releases to keep, at least 2 (default).", panel=PUBLISH),
        number(2),
    ] = None
    grace: Annotated[
        float | None,
        Option(
            "--grace", metavar="SPAN", help="Keep a release so long after its successor came (default 15m).",
            panel=PUBLISH,
        ),
        span,
    ] = None  # fmt: skip
    shard: Annotated[
        Shard | None,
        Option(
            "--shard", metavar="I/N", help="Only part I (from 0) of N; N processes, anywhere, share DEST at once.",
            panel=FAR,
        ),
        parse_shard,
    ] = None  # fmt: skip
    dask: Annotated[
        Workers | None,
        Option(
            "--dask", metavar="URL", help="Let Dask workers that share DEST fetch: tcp://host:8786, or local:N.",
            panel=FAR,
        ),
        parse_workers,
    ] = None  # fmt: skip


@command(app)
def sync(
    source: Source,
    dest: Annotated[
        str | None, Argument(metavar="DEST", help="The folder that will mirror it; made if it is not there.")
    ] = None,
    *,
    sync: SyncChoice,
    filters: FilterChoice,
    transfer: TransferChoice,
    access: AccessChoice,
    output: OutputChoice,
) -> int:
    """Make a folder mirror a source, fetching only what changed.

    What a file is, is remembered in DEST/.s3pull: the ETag decides, so a change of equal size is never missed, and
    files that were changed here are noticed and replaced. Files that another tool fetched are taken up, not fetched
    again. Nothing is deleted without --delete, and never a file that s3pull did not fetch.

    \b
      s3pull sync acme: mirror/                        fetch what is new or changed
      s3pull sync acme: mirror/ --delete -n            what would be deleted, too
      s3pull sync acme: mirror/ -q --deadline 50m      from cron; see s3pull schedule
      s3pull sync acme: data/ --publish                whole releases: read data/current
      s3pull sync --locked july.jsonl mirror/          exactly what s3pull lock wrote down
      s3pull sync acme: /shared/m/ --shard 0/4         a quarter of it; 1/4, 2/4 and 3/4 elsewhere
      s3pull sync acme: /shared/m/ --dask tcp://h:8786 by the workers of a Dask cluster
    """
    from s3pull.cli.running import spare_for
    from s3pull.pull.guard import EXCLUSIVE, check_options

    check_options(**{name: getattr(sync, name) for name in EXCLUSIVE})
    if sync.dask is not None:
        _check_sent(access)
    manifest = _manifest(sync.locked)
    source, dest = _places(source, dest, manifest)
    to_fill = Path(dest) if sync.dask is None else None  # with Dask others fetch
    with closing(spare_for(to_fill, transfer, dry_run=sync.dry_run)) as spare:
        from s3pull.cli.metrics import metered
        from s3pull.cli.render import Output
        from s3pull.cli.running import accounted
        from s3pull.pull.dest import mirror_dest
        from s3pull.pull.globs import Filters
        from s3pull.pull.opening import open_source

        rules, limit = Filters(filters.rules), _limit(sync.max_delete)
        folder = mirror_dest(dest)
        out = Output(output)
        with (
            metered(sync.metrics if not sync.dry_run else None, source, folder, out),
            accounted(access, source, out),
            _carrier(sync, out) as carrier,
            open_source(access, source, out, limit_rate=transfer.limit_rate) as opened,
        ):
            fleet = _fleet(carrier, opened, folder, access, transfer, sync) if carrier is not None else None
            return _run(opened, folder, sync, rules, limit, transfer, manifest, fleet, out, spare)


def _run(
    opened: OpenSource,
    folder: Path,
    sync: SyncChoice,
    rules: Filters,
    limit: Limit | None,
    transfer: TransferChoice,
    manifest: Manifest | None,
    fleet: Fleet | None,
    out: Output,
    spare: Spare,
) -> int:
    from s3pull.cli.running import choices, conclude
    from s3pull.pull.opening import payer
    from s3pull.pull.publish import Publishing
    from s3pull.pull.sync import Sync, SyncOrder, Voice
    from s3pull.pull.transfer import MOST_CONNECTIONS

    if manifest is not None:
        manifest.check(opened.access.bucket, opened.prefix, opened.spec)
    order = SyncOrder(
        spec=opened.spec,
        dest=folder,
        bucket=opened.access.bucket,
        endpoint=opened.endpoint_host,
        prefix=opened.prefix,
        choices=choices(transfer, dry_run=sync.dry_run, mirror=True, strict=sync.publish),
        filters=rules,
        encode_names=transfer.encode_names,
        delete=sync.delete,
        max_delete=limit,
        publishing=Publishing.of(sync.keep, sync.grace) if sync.publish else None,
        deadline=sync.deadline,
        wait=sync.wait,
        locked=manifest,
        jobs=transfer.jobs or MOST_CONNECTIONS,
        payer=payer(opened.access),
        shard=sync.shard,
        fleet=fleet,
    )
    voice = Voice(out.event, out.preflight, out.say, out.note, every=bool(out.verbose))
    return conclude(Sync(order, opened.store, voice, spare), opened, out)


def _check_sent(access: AccessChoice) -> None:
    """Raises UsageError where an option would have to reach the workers that may not cross a scheduler."""
    from s3pull.access.options import BY_NAME

    for name in access.values:
        if BY_NAME[name].secret:
            raise UsageError(
                f"{BY_NAME[name].flag} is not sent through a scheduler",
                hint=f"each worker needs it by itself: in the share of its config.toml, or as {BY_NAME[name].variable}",
            )


def _carrier(sync: SyncChoice, out: Output) -> AbstractContextManager[Carrier | None]:
    """The way to the workers of `--dask`. Raises UsageError (not installed), ServiceError (nobody answers)."""
    if sync.dask is None:
        return nullcontext()
    from s3pull.cli.deputy import do_errand
    from s3pull.pull.cluster import connected

    return connected(sync.dask, do_errand, verbose=out.verbose > 1)


def _fleet(
    carrier: Carrier, opened: OpenSource, folder: Path, access: AccessChoice, transfer: TransferChoice, sync: SyncChoice
) -> Fleet:
    """What workers are told of the way to the source: what was typed here, and where it has to lead."""
    from s3pull import __version__
    from s3pull.cli.running import choices
    from s3pull.pull.errand import Way
    from s3pull.pull.fleet import Fleet
    from s3pull.pull.transfer import MOST_CONNECTIONS

    way = Way(
        version=__version__,
        source=opened.spec.text,
        options=dict(access.values),
        config=str(access.config.absolute()) if access.config is not None else None,
        bucket=opened.access.bucket,
        endpoint=opened.endpoint_host,
        dest=str(folder.absolute()),
        encode_names=transfer.encode_names,
        locked=sync.locked is not None,
        jobs=transfer.jobs or MOST_CONNECTIONS,
        limit_rate=transfer.limit_rate,
        choices=choices(transfer, mirror=True),
    )
    return Fleet(carrier, way)


def _manifest(path: str | None) -> Manifest | None:
    from s3pull.pull.manifest import Manifest

    return Manifest(Path(path)) if path is not None else None


def _places(source: str, dest: str | None, manifest: Manifest | None) -> tuple[str, str]:
    """SOURCE and DEST. With a manifest, which knows the source, one argument is DEST."""
    if dest is not None:
        return source, dest
    if manifest is None:
        raise UsageError("DEST is missing", hint="s3pull sync SOURCE DEST: the folder that will mirror the source")
    return manifest.source, source


def _limit(text: str | None) -> Limit | None:
    from s3pull.pull.guard import parse_limit

    if text is None:
        return None
    try:
        return parse_limit(text)
    except ValueError as error:
        raise UsageError(f"--max-delete {text!r}: {error}", hint="--max-delete 100 or --max-delete 20%") from None
