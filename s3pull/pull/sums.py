"""`--checksums`: holds every object of a run that a SHA256SUMS names to what it says there.

    | the list says             | then                                                                     |
    |---------------------------|--------------------------------------------------------------------------|
    | the same SHA-256          | the file is proven right, whatever else is known of it                   |
    | another one               | `not-as-listed`, exit 6: nothing that was fetched gets its name          |
    | nothing of the object     | it is fetched and counted; with --require-checksum `not-listed`, exit 6  |
    | a name that has no object | `listed-missing`, exit 6, where all of a tree or glob is wanted          |

The list itself and what is called like it with an ending more (SHA256SUMS.minisig, .asc, .sigstore.json) need not be
named. A file that was here already is held to the list, too; where it differs and may just be damaged it is fetched
anew, else it stays where it is and is told. How a list is read is `sumfile`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from s3pull.errors import CheckFailed, DiskError, ListedMissing, NotAsListed, NothingThere, NotListed
from s3pull.events import Reason
from s3pull.objects import FULL_OBJECT, JSON, Checksum, Receipt, RemoteObject
from s3pull.pull import plan, proof
from s3pull.pull.inorder import InOrder
from s3pull.pull.standing import Standing, content_of, receipt_checksum
from s3pull.pull.stream import stream
from s3pull.pull.sumfile import local_file, parse
from s3pull.remote import checksums

if TYPE_CHECKING:
    from s3pull.local.directory import Directory
    from s3pull.local.parts import PartFile
    from s3pull.local.receipts import Brief
    from s3pull.pull.puller import Item
    from s3pull.remote.store import Store

_ALGORITHM = "SHA256"
#: of a list: a million names of 100 bytes are 160 MB; a file that is no list at all should not fill the memory
_MOST_BYTES = 256 * 1024 * 1024


class Sums:
    """`file` is as `--checksums` has it. To be loaded first (`load`, `hear`); then it is asked from any thread.

    `strict`: what the list does not name is refused.
    """

    def __init__(self, file: str, *, strict: bool = False) -> None:
        self._file = file
        self._strict = strict
        self._root = ""
        self._list_key = ""
        self._read: dict[str, bytes] | None = None
        self._met: set[str] = set()
        #: objects that the list says nothing of
        self.unlisted = 0

    def load(self, store: Store, root: str) -> None:
        """Read the list: a file here, or the object at `root` (a key prefix, the source's fixed part) and its name.

        Raises NothingThere, CheckFailed (it cannot be read as a list), DiskError, and what `Store.get` raises.
        """
        here = local_file(self._file)
        if here is None:
            self._list_key = root + self._file
            folder = self._list_key[: self._list_key.rfind("/") + 1]
            data = _fetched(store, self._list_key, self._file)
        else:
            self._list_key = root + here.name
            folder, data = root, _read(here)
        self._root = root
        self._read = {folder + name: digest for name, digest in parse(data, self._file).items()}

    @property
    def _listed(self) -> dict[str, bytes]:
        """By whole key. Nothing passes before the list was read: then nobody is held to it."""
        if self._read is None:
            raise ValueError("the list of checksums was not read")
        return self._read

    def lent(self) -> Sums:
        """What another process needs to hold objects to the list."""
        other = Sums(self._file, strict=self._strict)
        other._root, other._list_key, other._read = self._root, self._list_key, self._listed
        return other

    def told(self, keys: Iterable[str]) -> JSON:
        """The same as JSON, for these objects alone: `hear` takes it, elsewhere."""
        digests = {key: self._listed[key].hex() for key in keys if key in self._listed}
        return {"root": self._root, "list": self._list_key, "digests": digests}

    def hear(self, said: JSON) -> None:
        """Be loaded with what `told` gave."""
        self._root, self._list_key = said["root"], said["list"]
        self._read = {key: bytes.fromhex(digest) for key, digest in said["digests"].items()}

    # --- what is to be had --------------------------------------------------------------------------------

    def meet(self, key: str) -> None:
        """The source has an object `key` that is wanted. (One thread.)"""
        if key in self._listed:
            self._met.add(key)
        elif not key.endswith("/") and not self._is_list(key):
            self.unlisted += 1

    def watching(
        self, pages: Iterable[list[RemoteObject]], wanted: Callable[[str], bool]
    ) -> Iterator[list[RemoteObject]]:
        """`pages` as they are; each object is met that `wanted` says yes of, by its key below the root."""
        self._met.clear()
        self.unlisted = 0
        cut = len(self._root)
        for page in pages:
            for found in page:
                if found.key.startswith(self._root) and wanted(found.key[cut:]):
                    self.meet(found.key)
            yield page

    def missing(self, wanted: Callable[[str], bool]) -> Iterator[ListedMissing]:
        """An error for each name of the list that was not met although `wanted` lets its key (below the root) in."""
        for key in self._listed:
            relative = key[len(self._root) :]
            if key not in self._met and key.startswith(self._root) and wanted(relative):
                yield ListedMissing(
                    f"{relative} is in {self._file} and not in the source",
                    hint="the release is not complete: tell its owner",
                    key=key,
                )

    def _is_list(self, key: str) -> bool:
        """Whether this is the list itself, or a signature of it."""
        return key == self._list_key or key.startswith(f"{self._list_key}.")

    # --- one object -----------------------------------------------------------------------------------------

    def names(self, key: str) -> bool:
        """Whether the list says something of `key`. Raises NotListed where it has to and does not."""
        if key in self._listed:
            return True
        if self._strict and not self._is_list(key):
            raise NotListed(
                f"{key[len(self._root) :]} is not in {self._file}",
                hint="leave --require-checksum out, --exclude it, or ask the owner to list it",
                key=key,
            )
        return False

    def says(self, key: str, data: memoryview | bytearray) -> bool:
        """False where `data` is not what the list says of `key`."""
        wanted = self._listed.get(key)
        return wanted is None or hashlib.sha256(data).digest() == wanted

    def content(self, key: str) -> Checksum | None:
        """What the list says of `key`."""
        wanted = self._listed.get(key)
        return checksums.full_object(_ALGORITHM, wanted) if wanted is not None else None

    def in_order(self, key: str, part: PartFile) -> InOrder | None:
        """What computes the SHA-256 of `part` while it is written, where that is asked for."""
        if key not in self._listed:
            return None
        return InOrder(part.header.segment, part.header.size, part.read_at)

    def prove(
        self, key: str, found: proof.Proof, digest: Callable[[], bytes], doubted: Checksum | None = None
    ) -> proof.Proof:
        """`found` is what the service's own word proved of these bytes, `digest` computes their SHA-256, `doubted` is
        what was wrong with them the first time. Raises NotAsListed.

        | service's checksum | list's    | then                                                         |
        |--------------------|-----------|--------------------------------------------------------------|
        | different          |           | different: they were damaged on the way                      |
        | any other          | equal     | equal                                                        |
        | equal              | different | NotAsListed: the owner's object is another one               |
        | none, or doubt     | different | different (it may have been the way); the second time NotAsListed |
        """
        wanted = self._listed.get(key)
        if wanted is None or (found.equal is False and not found.doubt):
            return found
        computed = digest()
        by = checksums.full_object(_ALGORITHM, computed)
        if computed == wanted:
            return proof.Proof(True, by)
        if found.equal or doubted is not None:
            raise self._differs(key, "nothing was kept; ask its owner which of the two is right")
        return proof.Proof(False, by)

    def hold(self, standing: Standing, item: Item, directory: Directory, receipt: Receipt | None) -> Standing:
        """A file that is here and would be left alone, held to the list.

        Raises NotListed, NotAsListed (the file stays as it is), NameRefused, DiskError.
        """
        key = item.object.key
        decision, found = standing.decision, standing.found
        if not self.names(key) or decision.fetch or found is None:
            return standing
        wanted = self.content(key)
        if decision.reason == Reason.SAME_RECEIPT and receipt_checksum(receipt) == wanted:
            return standing
        content = standing.content
        if content is None or content.algorithm != _ALGORITHM or content.type != FULL_OBJECT:
            content = content_of(directory, item.name, found.size, _ALGORITHM)
        if content == wanted:
            return standing._replace(content=content, listed=True)
        if decision.reason in (Reason.SAME_RECEIPT, Reason.SAME_TIME):
            return Standing(plan.Decision(True, Reason.CHANGED), found)
        raise self._differs(key, f"{item.path} stays as it is: do not use it; ask the owner which is right")

    def _differs(self, key: str, hint: str) -> NotAsListed:
        return NotAsListed(f"{key[len(self._root) :]} is not what {self._file} says", hint=hint, key=key)

    def unheld(self, briefs: Iterator[Brief], find: Callable[[str], Receipt | None]) -> Iterator[Brief]:
        """`briefs`, of which those that were never held to what the list says now have no ETag: they equal nothing."""
        for brief in briefs:
            key = self._root + brief.key
            wanted = self.content(key)
            strange = self._strict and not key.endswith("/") and not self._is_list(key)
            if strange if wanted is None else receipt_checksum(find(brief.key)) != wanted:
                brief = brief._replace(etag="")
            yield brief


class Passing:
    """Hashes one object on its way to a pipe, for which the verdict comes when all is written."""

    def __init__(self, sums: Sums, key: str, write: Callable[[memoryview], object]) -> None:
        self._sums = sums
        self._key = key
        self._write = write
        self._hash = hashlib.sha256()
        sums.names(key)

    def __call__(self, piece: memoryview) -> None:
        self._write(piece)
        self._hash.update(piece)

    def judge(self) -> None:
        """Raises NotAsListed where what went by is not what the list says."""
        wanted = self._sums.content(self._key)
        if wanted is not None and wanted != checksums.full_object(_ALGORITHM, self._hash.digest()):
            raise self._sums._differs(self._key, "do not use what was written")


def _fetched(store: Store, key: str, name: str) -> bytes:
    data = bytearray()

    def take(piece: memoryview) -> None:
        data.extend(piece)
        if len(data) > _MOST_BYTES:
            raise CheckFailed(f"{name} is too long for a list of checksums", hint="--checksums takes a SHA256SUMS")

    try:
        stream(store, key, take)
    except NothingThere as error:
        if error.code == "NoSuchBucket":
            raise
        raise NothingThere(
            f"there is no {name} beside the objects ({key})",
            hint=f"--checksums takes a key below the source; a file here is given as ./{name}",
            key=key,
            code=error.code,
            status=error.status,
            request_id=error.request_id,
        ) from error
    return bytes(data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise NothingThere(f"no such file: {path}", hint="--checksums takes a list of SHA-256") from None
    except OSError as error:
        raise DiskError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > _MOST_BYTES:
        raise CheckFailed(f"{path} is too long for a list of checksums", hint="--checksums takes a SHA256SUMS")
    return data
