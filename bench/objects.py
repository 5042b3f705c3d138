"""The objects that the bench serves: made from a seed, stated as S3 would state them.

It writes the files, the listing pages and what nginx needs to answer with the right ETag and checksum. It serves
nothing itself. Contents are incompressible; the same seed gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

BUCKET = "bench"
BLOCK = 1 << 20
PAGE = 1000
#: 2026-01-02T03:04:05Z, every object's LastModified
MODIFIED = 1767323045
MODIFIED_TEXT = "2026-01-02T03:04:05.000Z"


class Stored(NamedTuple):
    """One object: `md5` in hex, `crc64nvme` in base64 as in x-amz-checksum-crc64nvme."""

    key: str
    size: int
    md5: str
    crc64nvme: str

    def etag(self, *, md5: bool) -> str:
        """The ETag without its quotes: S3's for a single PUT, or the one that nginx makes of time and size."""
        return self.md5 if md5 else f"{MODIFIED:x}-{self.size:x}"


class Bucket:
    """A folder that nginx serves as a bucket. `files` holds the objects, `lists` the pages of ListObjectsV2."""

    def __init__(self, folder: Path, *, seed: int, md5_etags: bool) -> None:
        self.files = folder / BUCKET
        self.lists = folder / "lists"
        self.md5_etags = md5_etags
        self.stored: list[Stored] = []
        self._random = random.Random(seed)
        self.lists.mkdir(parents=True)

    def add_object(self, key: str, size: int) -> None:
        """One object of `size` bytes."""
        self._write(key, size)

    def add_hole(self, key: str, size: int) -> None:
        """One object of zeros that takes no room; its ETag is that of a multipart upload."""
        from awscrt.checksums import crc64nvme

        self.files.mkdir(parents=True, exist_ok=True)
        with (self.files / key).open("wb") as file:
            file.truncate(size)
        crc, zeros = 0, bytes(BLOCK)
        for at in range(0, size, BLOCK):
            crc = crc64nvme(zeros[: size - at], crc)
        stated = base64.b64encode(crc.to_bytes(8, "big")).decode()
        self.stored.append(Stored(key, size, "0" * 32 + "-2", stated))

    def _listed(self, prefix: str, tree: list[Stored]) -> None:
        name = prefix.strip("/")
        pages = [tree[at : at + PAGE] for at in range(0, len(tree), PAGE)]
        for number, page in enumerate(pages):
            following = number + 1 if number + 1 < len(pages) else None
            (self.lists / f"{name}-{number}.xml").write_text(self._page(prefix, page, number, following))

    def add_sizes(self, prefix: str, sizes: list[int]) -> None:
        """An object for each size, a hundred in each directory, and their listing."""
        self._listed(prefix, [self._write(f"{prefix}{n // 100:03}/{n:06}.bin", size) for n, size in enumerate(sizes)])

    def log_normal(self, count: int, least: int, most: int, total: int) -> list[int]:
        """Sizes of a mixed tree: log-normal between `least` and `most` bytes, scaled to `total` in all."""
        middle = math.log(math.sqrt(least * most))
        spread = math.log(most / least) / 5
        drawn = [self._random.lognormvariate(middle, spread) for _ in range(count)]
        for _ in range(20):  # what is cut off at an end moves the sum
            scale = total / sum(drawn)
            drawn = [min(most, max(least, size * scale)) for size in drawn]
        return [round(size) for size in drawn]

    def count(self, source: str) -> int:
        """How many objects a key, or a prefix, names."""
        return sum(1 for it in self.stored if it.key.startswith(source))

    def size(self, source: str) -> int:
        """Their bytes."""
        return sum(it.size for it in self.stored if it.key.startswith(source))

    def answers(self) -> str:
        """nginx `map` blocks: each object's ETag and checksum by path."""
        etags = "".join(f'  /{BUCKET}/{it.key} "\\"{it.etag(md5=True)}\\"";\n' for it in self.stored)
        checksums = "".join(f"  /{BUCKET}/{it.key} {it.crc64nvme};\n" for it in self.stored)
        etag_map = f"map $uri $object_etag {{\n{etags}}}\n" if self.md5_etags else ""
        return f"{etag_map}map $uri $object_crc64nvme {{\n{checksums}}}\n"

    def _write(self, key: str, size: int) -> Stored:
        from awscrt.checksums import crc64nvme

        path = self.files / key
        path.parent.mkdir(parents=True, exist_ok=True)
        md5, crc = hashlib.md5(), 0
        with path.open("wb") as file:
            for block in self._blocks(size):
                md5.update(block)
                crc = crc64nvme(block, crc)
                file.write(block)
        os.utime(path, (MODIFIED, MODIFIED))
        stored = Stored(key, size, md5.hexdigest(), base64.b64encode(crc.to_bytes(8, "big")).decode())
        self.stored.append(stored)
        return stored

    def _blocks(self, size: int) -> Iterator[bytes]:
        for at in range(0, size, BLOCK):
            yield self._random.randbytes(min(BLOCK, size - at))

    def _page(self, prefix: str, page: list[Stored], number: int, following: int | None) -> str:
        contents = "".join(
            f"<Contents><Key>{escape(it.key)}</Key><LastModified>{MODIFIED_TEXT}</LastModified>"
            f"<ETag>&quot;{it.etag(md5=self.md5_etags)}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
            f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{it.size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for it in page
        )
        token = f"<ContinuationToken>{number}</ContinuationToken>" if number else ""
        if following is not None:
            token += f"<NextContinuationToken>{following}</NextContinuationToken>"
        truncated = "true" if following is not None else "false"
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{PAGE}</MaxKeys>"
            f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{truncated}</IsTruncated>{token}{contents}</ListBucketResult>"
        )
