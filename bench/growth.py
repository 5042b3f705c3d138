"""How the cost of s3pull grows, and whether `--limit-rate` holds: `python bench/growth.py [PART…]`. See README.md.

No peers here: these figures say where the knee is, and what a larger machine would need.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from measure import Cost, measure
from objects import BUCKET, Bucket
from peers import environment, program
from scratch import empty, folder, rest
from server import Nginx, make_mirror, md5_etags

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PARTS = ("keys", "objects", "bytes", "rate")


class Growth:
    """A bucket behind nginx, and runs of s3pull on it."""

    def __init__(self, choice: argparse.Namespace, scratch: Path) -> None:
        self.choice = choice
        self.scratch = scratch
        self.bucket = Bucket(scratch, seed=1, md5_etags=md5_etags())
        self._number = 0

    def run(self, site: Nginx, *words: str, tls: bool, source: str, target: Path | None = None) -> Cost:
        """The median of the rounds, by wall time; what is fetched is emptied. One run before finds the endpoint."""
        costs = []
        for _ in range(self.choice.rounds + 1):
            self._number += 1
            into = target or self.scratch / f"out-{self._number}"
            os.sync()
            where = [f"s3://{BUCKET}/{source}", *([] if words[0] == "ls" else [f"{into}/"])]
            command = [program("s3pull") or "s3pull", *words, "--no-assume", "--endpoint-url"]
            cost, _, stderr = measure([*command, site.tls_url if tls else site.http_url, *where], environment(site))
            if cost.code:
                sys.exit(f"growth: {' '.join(words)} {source} ended with {cost.code}\n{stderr}")
            costs.append(cost)
            if target is None:
                empty(into)
        return sorted(costs[1:])[self.choice.rounds // 2]

    def keys(self) -> Iterator[str]:
        """Listing, and a sync with nothing to do, of more and more keys; a page takes no time."""
        yield table("keys: `ls -r`, and `sync` with nothing to do, a page takes no time", "keys", "µs of CPU a key")
        for count in powers(1000, self.choice.keys):
            with Nginx(self.scratch, self.bucket, many=count, page=0.0, first_byte=0.0) as site:
                yield row(f"{count:,} `ls`", self.run(site, "ls", "-r", tls=False, source="many/"), count)
                mirror = self.scratch / f"mirror-{count}"
                make_mirror(mirror, count)
                self.run(site, "sync", tls=False, source="many/", target=mirror)
                cost = self.run(site, "sync", tls=False, source="many/", target=mirror)
                yield row(f"{count:,} `sync`", cost, count)
                shutil.rmtree(mirror)

    def objects(self) -> Iterator[str]:
        """Small objects, more and more of them."""
        yield table("objects: `get --no-durable` of 4 KiB each over TLS", "objects", "µs of CPU an object")
        for count in powers(1000, self.choice.objects):
            prefix = f"small{count}/"
            self.bucket.add_sizes(prefix, [4 * KIB] * count)
            with Nginx(self.scratch, self.bucket, many=0, page=0.0, first_byte=0.0) as site:
                yield row(f"{count:,}", self.run(site, "get", "--no-durable", tls=True, source=prefix), count)

    def bytes(self) -> Iterator[str]:
        """One object, larger and larger; it is a hole on the server's side."""
        yield table("bytes: `get --no-durable` of one object of zeros", "size", "CPU s a GiB")
        for size in [MIB, 64 * MIB, GIB, *(GIB << n for n in range(2, 8, 2) if GIB << n <= self.choice.bytes * GIB)]:
            name = f"zeros-{size}"
            self.bucket.add_hole(name, size)
            with Nginx(self.scratch, self.bucket, many=0, page=0.0, first_byte=0.0) as site:
                for tls in (False, True):
                    cost = self.run(site, "get", "--no-durable", tls=tls, source=name)
                    label = f"{size / MIB:,.0f} MiB {'TLS' if tls else 'HTTP'}"
                    yield row(label, cost, size / GIB, unit=1.0)

    def rate(self) -> Iterator[str]:
        """`--limit-rate`: what came in a second over the whole run, of the rate that was asked for."""
        yield "\n### rate: `--limit-rate 16M` over TLS\n\n| | wall s | of the rate |\n|---|---|---|"
        rate = 16 * MIB
        mixes = {
            "one of 192 MiB": [192 * MIB],
            "48 of 4 MiB": [4 * MIB] * 48,
            "6,144 of 32 KiB": [32 * KIB] * 6144,
            "mixed": self.bucket.log_normal(300, KIB, 64 * MIB, 192 * MIB),
        }
        for number, (name, sizes) in enumerate(mixes.items()):
            self.bucket.add_sizes(f"mix{number}/", sizes)
            with Nginx(self.scratch, self.bucket, many=0, page=0.0, first_byte=0.0) as site:
                cost = self.run(site, "get", "--limit-rate", "16M", tls=True, source=f"mix{number}/")
            yield f"| {name} | {cost.wall:.2f} | {sum(sizes) / cost.wall / rate:.3f} |"


def powers(first: int, most: int) -> list[int]:
    """first, 10 x first, … up to `most`."""
    return [first * 10**n for n in range(10) if first * 10**n <= most]


def table(title: str, what: str, unit: str) -> str:
    """The head of a Markdown table."""
    return f"\n### {title}\n\n| {what} | wall s | CPU s | {unit} | peak MB |\n|---|---|---|---|---|"


def row(label: str, cost: Cost, count: float, unit: float = 1e6) -> str:
    """A line of it."""
    return f"| {label} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.cpu / count * unit:,.2f} | {cost.peak / 1e6:.0f} |"


def main(args: Sequence[str] | None = None) -> int:
    """Measure what was asked for and print Markdown."""
    parser = argparse.ArgumentParser(description="how the cost of s3pull grows")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them")
    parser.add_argument("--rounds", type=int, default=3, help="runs, of which the median counts (3)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="up to so many keys (1000000)")
    parser.add_argument("--objects", type=int, default=100_000, help="up to so many small objects (100000)")
    parser.add_argument("--bytes", type=int, default=16, metavar="GIB", help="up to so large an object (16)")
    parser.add_argument("--scratch", type=folder, help="folder for data and downloads")
    choice = parser.parse_args(args)
    unknown = sorted(set(choice.parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    print(f"{os.cpu_count()} cores shared with nginx; load before {os.getloadavg()[0]:.1f}; median of {choice.rounds}")
    with tempfile.TemporaryDirectory(prefix="s3pull-growth-", dir=choice.scratch) as scratch:
        rest(Path(scratch))
        growth = Growth(choice, Path(scratch))
        for part in choice.parts or PARTS:
            for line in getattr(growth, part)():
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
