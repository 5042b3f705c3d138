"""`s3pull get`: download an object, a tree or a glob."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from s3pull.cli.command import App, Choice, Option, command
from s3pull.cli.options import AccessChoice, Dest, FilterChoice, OutputChoice, Source, TransferChoice
from s3pull.errors import DiskError, NothingThere, UsageError

if TYPE_CHECKING:
    from s3pull.cli.render import Output
    from s3pull.pull.globs import Filters
    from s3pull.pull.opening import OpenSource
    from s3pull.pull.source import Dest as ParsedDest
    from s3pull.pull.spare import Spare

app = App()


class GetChoice(Choice):
    """What `get` alone is asked."""

    dry_run: Annotated[bool, Option("-n", "--dry-run", help="Say what would be done, and do nothing.")] = False
    from_file: Annotated[
        str | None,
        Option("--from-file", metavar="LIST", help="Keys below SOURCE, one a line, or ls --json lines; - is stdin."),
    ] = None
    version_id: Annotated[
        str | None,
        Option("--version-id", metavar="ID", help="This version of one object (needs s3:GetObjectVersion)."),
    ] = None
    overwrite: Annotated[bool, Option("--overwrite", help="Replace files that were changed here, too.")] = False
    no_clobber: Annotated[bool, Option("--no-clobber", help="Leave every file alone that is there.")] = False

    def check(self) -> None:
        """Raises UsageError where options contradict each other."""
        if self.overwrite and self.no_clobber:
            raise UsageError("--overwrite and --no-clobber contradict each other", hint="give one of them")
        if self.version_id is not None and self.from_file is not None:
            raise UsageError("--version-id goes with one exact key", hint="leave --from-file out")


@command(app)
def get(
    source: Source,
    dest: Dest = None,
    *,
    files: GetChoice,
    filters: FilterChoice,
    transfer: TransferChoice,
    access: AccessChoice,
    output: OutputChoice,
) -> int:
    """Download an object, a tree or a glob.

    What is there and the same is skipped, what was cut off goes on where it stopped, and nothing carries its final
    name before it was verified. Nothing is ever deleted.

    \b
      s3pull get acme:2026/report.csv         one object, to ./report.csv
      s3pull get acme:2026/ data/             a tree, below data/
      s3pull get 'acme:2026/*.parquet' data/  a glob (quote it)
      s3pull get acme:big.tar - | tar x       to stdout
    """
    from s3pull.cli.running import spare_for
    from s3pull.pull.source import Kind, parse_dest, parse_source

    files.check()
    spec = parse_source(source)
    folder = Path(parse_dest(dest, spec, is_directory=True).folder) if spec.kind is not Kind.OBJECT else None
    with closing(spare_for(folder, transfer, dry_run=files.dry_run)) as spare:
        from s3pull.cli.render import Output
        from s3pull.cli.running import accounted
        from s3pull.pull.dest import file_dest
        from s3pull.pull.globs import Filters
        from s3pull.pull.opening import open_source
        from s3pull.pull.source import Into

        rules = Filters(filters.rules)
        if files.from_file is not None and spec.path and not spec.path.endswith("/"):
            raise UsageError("--from-file takes keys below a tree", hint=f"end the source in /: {source}/")
        target = file_dest(dest, spec)
        out = Output(output)
        with (
            accounted(access, source, out),
            open_source(access, source, out, limit_rate=transfer.limit_rate) as opened,
        ):
            if target.into is Into.STDOUT:
                return _to_stdout(opened, files, transfer, out)
            with _lines(files.from_file) as lines:
                return _to_files(opened, target, files, lines, rules, transfer, out, spare)


def _to_files(
    opened: OpenSource,
    target: ParsedDest,
    files: GetChoice,
    lines: Iterator[str] | None,
    rules: Filters,
    transfer: TransferChoice,
    out: Output,
    spare: Spare,
) -> int:
    from s3pull.cli.running import choices, conclude
    from s3pull.pull.get import Get, Order
    from s3pull.pull.transfer import MOST_CONNECTIONS

    order = Order(
        spec=opened.spec,
        dest=target,
        prefix=opened.prefix,
        choices=choices(transfer, overwrite=files.overwrite, no_clobber=files.no_clobber, dry_run=files.dry_run),
        filters=rules,
        encode_names=transfer.encode_names,
        version_id=files.version_id,
        lines=lines,
        jobs=transfer.jobs or MOST_CONNECTIONS,
        bucket=opened.access.bucket,
        endpoint=opened.endpoint_host,
    )
    return conclude(Get(order, opened.store, out.event, spare), opened, out)


def _to_stdout(opened: OpenSource, files: GetChoice, transfer: TransferChoice, out: Output) -> int:
    from s3pull.pull.progress import Progress
    from s3pull.pull.stream import stream
    from s3pull.pull.sums import Passing, Sums

    if files.dry_run or files.from_file is not None:
        raise UsageError("--dry-run and --from-file do not go with stdout", hint="give a folder as DEST")
    if out.json:
        raise UsageError("stdout cannot hold the object and JSON lines at once", hint="leave --json out")
    key = opened.prefix + opened.spec.key
    progress, passing = Progress(), None
    if transfer.checksums is not None:
        sums = Sums(transfer.checksums, strict=transfer.require_checksum)
        sums.load(opened.store, opened.prefix + opened.spec.fixed)
        passing = Passing(sums, key, sys.stdout.buffer.write)
    with out.showing(progress):
        stream(
            opened.store,
            key,
            passing or sys.stdout.buffer.write,
            version_id=files.version_id,
            require_checksum=transfer.require_checksum,
            progress=progress,
        )
        sys.stdout.buffer.flush()
    if passing is not None:
        passing.judge()
    return 0


@contextmanager
def _lines(path: str | None) -> Iterator[Iterator[str] | None]:
    """The lines of `--from-file`. Raises NothingThere, DiskError, UsageError."""
    if path is None:
        yield None
        return
    if path == "-":
        yield _text(sys.stdin.buffer, "stdin")
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115
    except FileNotFoundError:
        raise NothingThere(f"no such file: {path}", hint="--from-file takes a list of keys, or - for stdin") from None
    except OSError as error:
        raise DiskError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    with file:
        yield _text(file, path)


def _text(lines: Iterator[bytes] | object, name: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):  # type: ignore[arg-type,var-annotated]
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise UsageError(f"line {number} of {name} is not UTF-8", hint="S3 keys are UTF-8") from None
