"""What became of an object whose bytes are proven and on the disk: the settler names the file, then it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3pull.errors import S3pullError
from s3pull.events import Action
from s3pull.local.parts import PartFile
from s3pull.local.settle import Written
from s3pull.objects import Checksum, RemoteObject
from s3pull.records import NamedTuple

if TYPE_CHECKING:
    from s3pull.local.directory import Directory
    from s3pull.pull.crew import Worker
    from s3pull.pull.puller import Item, Puller


class Outcome(NamedTuple):
    """What is told of a file once it has its name. `by` is the checksum that proved it, `content` that of its bytes."""

    item: Item
    stated: RemoteObject
    action: Action
    reason: str
    received: int
    by: Checksum | None
    content: Checksum | None
    verified: bool


def settle(
    puller: Puller,
    directory: Directory,
    written: Written,
    outcome: Outcome,
    worker: Worker,
    *,
    part: PartFile | None = None,
) -> None:
    """Let the settler name a file, and tell of it then. `part`: what the next run goes on with if that fails.

    Raises the DiskError that stopped the settler.
    """
    item, stated, action, reason, received, by, content, verified = outcome

    def settled(error: S3pullError | None) -> None:
        try:
            if error is not None:
                if part is not None:
                    part.close()
                puller.failed(stated, item.path, error, received)
                return
            if part is not None:
                part.named()
            if puller.ledger is not None:
                assert written.look is not None  # whoever wrote it knows that there are receipts
                puller.wrote(item, stated, written.look, content, verified=verified)
            puller.finished(item, action, reason=reason, received=received, stated=stated, by=by, verified=verified)
        except BaseException as fatal:
            # this runs in the settler's thread, which has others' files to settle
            puller.crew.stop(fatal)

    puller.settler.add(directory, written.name, item.name, None, settled, size=stated.size, keep=part is not None)
    worker.meter.done_files += 1
