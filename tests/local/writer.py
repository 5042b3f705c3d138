"""A process that downloads: writes known bytes into a part file at DEST/a/final, slowly, until it is killed or done.

`python writer.py ROOT SEED SIZE SEGMENT PAUSE [WAIT_AT]` prints one line a step: the part's name, how much it resumed,
and `done`. With WAIT_AT it stops before that segment until a line comes in.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import zlib
from pathlib import Path

from s3pull.errors import S3pullError
from s3pull.local.checkpoint import Header
from s3pull.local.directory import FileStat
from s3pull.local.parts import PartFile
from s3pull.local.settle import Settler
from s3pull.local.tree import Tree

PIECE = 16 * 1024


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def header(size: int, segment: int) -> Header:
    return Header("some/key", "etag", size, segment, "CRC32")


def crc(data: memoryview, value: int) -> int:
    return zlib.crc32(data, value)


def write_segment(part: PartFile, data: memoryview, segment: int, pause: float) -> None:
    """What a connection does: read, checksum, write, note."""
    start = segment * part.header.segment
    done, value = part.resume(segment, crc)
    end = part.header.length(segment)
    while done < end:
        piece = data[start + done : start + min(done + PIECE, end)]
        part.write_at(start + done, piece)
        value = zlib.crc32(piece, value)
        done += len(piece)
        part.checkpoint(segment, done, value)
        time.sleep(pause)


def finish(part: PartFile, mtime: float | None = None, *, durable: bool = False) -> FileStat:
    """What follows when all is there: the settler gives it its name."""
    errors: list[S3pullError] = []
    look = part.complete(mtime)
    with Settler(durable) as settler:
        settler.add(
            *(part.directory, part.name, part.final_name, None),
            lambda error: errors.append(error) if error is not None else part.named(),
            keep=True,
        )
    if errors:
        part.close()
        raise errors[0]
    return look


def main(root: str, seed: int, size: int, segment: int, pause: float, wait_at: int = -1) -> None:
    data = memoryview(content(seed, size))
    with Tree(Path(root), create=True) as tree:
        part = PartFile.open(tree.directory("a"), "final", header(size, segment))
        print(part.name, sum(part.claimed.values()), flush=True)
        numbers = list(range(part.header.segments))
        if wait_at >= 0:
            for number in numbers[:wait_at]:
                write_segment(part, data, number, pause)
            print("waiting", flush=True)
            input()
            numbers = numbers[wait_at:]
        threads = [
            threading.Thread(
                target=lambda some: [write_segment(part, data, n, pause) for n in some], args=(numbers[k::3],)
            )
            for k in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        finish(part, 1_600_000_000.0, durable=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *(int(text) for text in sys.argv[2:5]), float(sys.argv[5]), *map(int, sys.argv[6:]))
