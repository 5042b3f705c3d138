"""`s3pull.pull` and `s3pull.sync`: from a source to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

from s3pull.api.caller import AccessOptions, Caller
from s3pull.api.following import Report, Run, follow
from s3pull.errors import Incomplete, S3pullError, UsageError
from s3pull.events import ObjectEvent, Summary
from s3pull.pull.dest import file_dest, mirror_dest
from s3pull.pull.get import Get, Order
from s3pull.pull.globs import Filters
from s3pull.pull.guard import Limit, check_options, parse_limit
from s3pull.pull.manifest import Manifest
from s3pull.pull.opening import OpenSource, payer
from s3pull.pull.publish import Publishing
from s3pull.pull.puller import Choices
from s3pull.pull.source import Into, Kind, parse_source
from s3pull.pull.sync import Sync, SyncOrder, Voice
from s3pull.pull.transfer import MOST_CONNECTIONS

FilePath = str | os.PathLike[str]
Patterns = str | Sequence[str]
OnEvent = Callable[[ObjectEvent], object]

#: failures that an `Incomplete` carries; it counts them all
_MOST_KEPT = 1000


def pull(
    source: str,
    dest: FilePath | None = None,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    keys: Iterable[str] | None = None,
    version_id: str | None = None,
    overwrite: bool = False,
    no_clobber: bool = False,
    dry_run: bool = False,
    jobs: int | None = None,
    limit_rate: float | None = None,
    require_checksum: bool = False,
    encode_names: bool = False,
    fail_fast: bool = False,
    durable: bool = True,
    progress: bool | Report | None = None,
    on_event: OnEvent | None = None,
    **access: Unpack[AccessOptions],
) -> Summary:
    """Download an object, a tree or a glob: `s3pull get`.

    Goes on where an earlier call (or `s3pull get`) stopped, skips what is there and the same, verifies every byte
    before a file gets its name, and never deletes. `dest` is a folder or a file name, by default the source's own; a
    text that ends in `/` is a folder even where there is none yet.

    >>> done = s3pull.pull("acme:2026/report.csv", "report.csv")
    >>> done.downloaded, done.received
    (1, 14)
    >>> s3pull.pull("acme:2026/", "data/", include="*.csv").downloaded
    2

    `include` and `exclude` are patterns relative to the source, one or several; with both, what is included and not
    excluded is taken. `keys` are keys below a source that ends in `/`, and nothing is listed then. `limit_rate` is
    bytes a second. `durable=False` does not sync files to the disk. `progress` is True for tqdm's bar (a widget in
    notebooks), or a function that gets a `Status` about ten times a second, in the thread that called. `on_event`
    gets an `ObjectEvent` for each object as it is done with, from any thread, one at a time. An exception of either
    stops the run and is raised. The rest are the options of `s3pull get`, and `AccessOptions`.

    Returns the `Summary`. Raises the error of the one object that was asked for; `Incomplete` where some of several
    failed or were refused (the others are here then); and for the run as a whole UsageError, NothingThere, DiskError,
    AccessDenied, CredentialsError, ServiceError: see `s3pull.errors`.
    """
    caller = Caller(access, "pull")
    spec = parse_source(source)
    target = file_dest(_text(dest), spec)
    if target.into is Into.STDOUT:
        raise UsageError("s3pull.pull writes files", hint="s3pull.open(source) reads one object")
    if overwrite and no_clobber:
        raise UsageError("overwrite and no_clobber contradict each other", hint="give one of them")
    if keys is not None and (spec.kind is not Kind.TREE or version_id is not None):
        raise UsageError("keys= takes keys below a tree", hint="end the source in /, and leave version_id out")
    rules, most, rate = _filters(include, exclude), _jobs(jobs), _rate(limit_rate)
    choices = Choices(
        require_checksum=require_checksum,
        durable=durable,
        fail_fast=fail_fast,
        overwrite=overwrite,
        no_clobber=no_clobber,
        dry_run=dry_run,
    )
    witness = _Witness(caller, on_event)
    with caller.opened(source, limit_rate=rate) as opened:
        order = Order(
            spec=opened.spec,
            dest=target,
            prefix=opened.prefix,
            choices=choices,
            filters=rules,
            encode_names=encode_names,
            version_id=version_id,
            lines=keys,
            jobs=most,
            bucket=opened.access.bucket,
            endpoint=opened.endpoint_host,
        )
        return _conclude(Get(order, opened.store, witness.event), opened, witness, progress)


def sync(
    source: str | None,
    dest: FilePath,
    *,
    delete: bool = False,
    max_delete: int | str | None = None,
    include: Patterns = (),
    exclude: Patterns = (),
    dry_run: bool = False,
    publish: bool = False,
    keep: int | None = None,
    grace: float | None = None,
    deadline: float | None = None,
    wait: float = 0.0,
    locked: FilePath | None = None,
    jobs: int | None = None,
    limit_rate: float | None = None,
    require_checksum: bool = False,
    encode_names: bool = False,
    fail_fast: bool = False,
    durable: bool = True,
    progress: bool | Report | None = None,
    on_event: OnEvent | None = None,
    **access: Unpack[AccessOptions],
) -> Summary:
    """Make the folder `dest` mirror `source`, fetching only what changed: `s3pull sync`.

    >>> s3pull.sync("acme:2026/", "mirror").downloaded
    3
    >>> s3pull.sync("acme:2026/", "mirror", delete=True).downloaded
    0

    `grace`, `deadline` and `wait` are seconds, `limit_rate` is bytes a second, `max_delete` is a number of files or a
    text like `"20%"`. With `locked`, a manifest of `s3pull lock`, `source` may be None: the manifest knows it. Filters,
    `progress` and `on_event` are as for `pull`, the rest are the options of `s3pull sync`, and `AccessOptions`.

    Returns the `Summary`. Raises as `pull` does, and Locked (another run holds `dest`), GuardRefused (it would delete
    too much), DeadlineReached (the next call goes on).
    """
    caller = Caller(access, "sync")
    check_options(delete=delete, max_delete=max_delete, publish=publish, keep=keep, grace=grace)
    if keep is not None and keep < 2:
        raise UsageError(f"keep={keep} is less than 2 releases", hint="readers may still be in the one before")
    manifest = Manifest(Path(locked)) if locked is not None else None
    if source is None:
        if manifest is None:
            raise UsageError("the source is missing", hint="only with locked= it may be None")
        source = manifest.source
    parse_source(source)
    folder = mirror_dest(_text(dest) or "")
    rules, limit = _filters(include, exclude), _limit(max_delete)
    most, rate = _jobs(jobs), _rate(limit_rate)
    choices = Choices(
        require_checksum=require_checksum,
        durable=durable,
        fail_fast=fail_fast,
        dry_run=dry_run,
        mirror=True,
        strict=publish,
    )
    witness = _Witness(caller, on_event)
    with caller.opened(source, limit_rate=rate) as opened:
        if manifest is not None:
            manifest.check(opened.access.bucket, opened.prefix, opened.spec)
        order = SyncOrder(
            spec=opened.spec,
            dest=folder,
            bucket=opened.access.bucket,
            endpoint=opened.endpoint_host,
            prefix=opened.prefix,
            choices=choices,
            filters=rules,
            encode_names=encode_names,
            delete=delete,
            max_delete=limit,
            publishing=Publishing.of(keep, grace) if publish else None,
            deadline=deadline,
            wait=wait,
            locked=manifest,
            jobs=most,
            payer=payer(opened.access),
        )
        voice = Voice(witness.event, lambda _: None, caller.say, caller.note, every=on_event is not None)
        return _conclude(Sync(order, opened.store, voice), opened, witness, progress)


class _Witness:
    """Hears of each object, from many threads, one at a time (the puller sees to that)."""

    def __init__(self, caller: Caller, on_event: OnEvent | None) -> None:
        self._caller = caller
        self._on_event = on_event
        self.failures: list[ObjectEvent] = []
        self.failed = 0

    def event(self, event: ObjectEvent) -> None:
        if event.error is not None:
            self._caller.explain(event.error, seen=event.etag is not None)
            self.failed += 1
            if len(self.failures) < _MOST_KEPT:
                self.failures.append(event)
        if self._on_event is not None:
            self._on_event(event)


def _conclude(run: Any, opened: OpenSource, witness: _Witness, progress: bool | Report | None) -> Summary:
    """Run it; the summary where all went well, else the error that says what did not."""
    followed: Run = run
    follow(followed, progress, opened.spec.text)
    summary: Summary = opened.signed(run.summary())
    if not witness.failed:
        return summary
    alone = witness.failures[0].error
    if opened.spec.kind is Kind.OBJECT and witness.failed == 1 and alone is not None:
        raise alone
    raise _incomplete(summary, witness)


def _incomplete(summary: Summary, witness: _Witness) -> S3pullError:
    first = witness.failures[0]
    words = "1 object" if witness.failed == 1 else f"{witness.failed:,} objects"
    why = first.error.message if first.error is not None else first.key
    error = Incomplete(
        f"{words} of {summary.source} failed or were refused, the first: {why}",
        hint=first.error.hint if first.error is not None else None,
        summary=summary,
        failures=tuple(witness.failures),
    )
    error.__cause__ = first.error
    return error


def _text(path: FilePath | None) -> str | None:
    return os.fspath(path) if path is not None else None


def _filters(include: Patterns, exclude: Patterns) -> Filters:
    return Filters([*((True, one) for one in _each(include)), *((False, one) for one in _each(exclude))])


def _each(patterns: Patterns) -> Iterator[str]:
    yield from [patterns] if isinstance(patterns, str) else patterns


def _limit(most: int | str | None) -> Limit | None:
    try:
        return parse_limit(str(most)) if most is not None else None
    except ValueError as error:
        raise UsageError(f"max_delete={most!r}: {error}", hint="max_delete=100 or max_delete='20%'") from None


def _jobs(jobs: int | None) -> int:
    if jobs is not None and not 1 <= jobs <= 1024:
        raise UsageError(f"jobs={jobs} is not 1 to 1024", hint="leave it out: how many pay is found by measuring")
    return jobs or MOST_CONNECTIONS


def _rate(rate: float | None) -> float | None:
    if rate is not None and rate < 1:
        raise UsageError("limit_rate must be more than 0 bytes a second", hint="None is no limit")
    return rate
