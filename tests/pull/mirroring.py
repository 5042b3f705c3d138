"""Runs of `sync` in this process, against the model bucket, on a real file system."""

from pathlib import Path

from s3pull.errors import S3pullError
from s3pull.pull.globs import Filters
from s3pull.pull.guard import parse_limit
from s3pull.pull.puller import Choices
from s3pull.pull.source import parse_source
from s3pull.pull.sync import Sync, SyncOrder, Voice


class Outcome:
    def __init__(self, run, events, flights, said, error):
        self.events, self.flights, self.said, self.error = events, flights, said, error
        self.summary = run.summary(error)

    def actions(self):
        return {event.key: str(event.action) for event in self.events}

    def reasons(self):
        return {event.key: event.reason and str(event.reason) for event in self.events}

    @property
    def refused(self):
        return {event.key for event in self.events if event.action == "refused"}


def mirror(
    store, dest, source="acme:", *, filters=(), limit=None, durable=False, every=False, dry_run=False, fail_fast=False,
    require_checksum=False, checksums=None, **order
):  # fmt: skip
    events, flights, said = [], [], []
    publish = order.get("publishing") is not None
    choices = Choices(
        durable=durable, mirror=True, strict=publish, dry_run=dry_run, fail_fast=fail_fast,
        require_checksum=require_checksum, checksums=checksums,
    )  # fmt: skip
    run = Sync(
        SyncOrder(
            parse_source(source),
            Path(dest),
            "bucket",
            choices=choices,
            filters=Filters(filters),
            max_delete=parse_limit(limit) if limit else None,
            jobs=4,
            **order,
        ),
        store,
        Voice(events.append, flights.append, said.append, every=every),
    )
    try:
        run.run()
        error = None
    except S3pullError as raised:
        error = raised
    return Outcome(run, events, flights, said, error)


def tree(folder):
    """Every file with its bytes, but for what is s3pull's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.is_symlink() and ".s3pull" not in path.relative_to(folder).parts
    }
