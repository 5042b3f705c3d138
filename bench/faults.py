"""What s3pull and its peers make of a server that goes wrong: `python bench/faults.py` prints RELIABILITY.md's table.

The server is the tests' own (tests/fakes). Each client gets a tree of three objects, once for each fault, into an empty
folder, with its own defaults and no longer than LIMIT seconds. Counted are its exit code, files that have their final
name and wrong bytes, files that are missing, other files that are left, and requests that reached another host with a
signature. Nothing here is a test: peers are measured, not judged.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from objects import BUCKET
from peers import GET, PEERS, Job, Peer, program, version

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fakes import FakeAws, at, faults, listings, page_faults
from tests.fakes.witness import Witness

MIB = 1 << 20
LIMIT = 60.0
CUT = 300_000
OBJECTS = {"small": 5_000, "medium": MIB, "large": 24 * MIB}
CLIENTS = [peer for peer in PEERS if peer.name in ("s3pull", "s5cmd", "rclone", "aws-cli")]

Arm = Callable[[FakeAws, Witness], None]


class Kind(NamedTuple):
    """A fault, and how it is brought about."""

    name: str
    arm: Arm


def always(name: str, action: faults.Action, operation: str = "GetObject", times: int | None = None) -> Kind:
    return Kind(name, lambda aws, _: void(aws.fault(operation, action, times)))


def void(_: object) -> None:
    """For lambdas that are run for what they do."""


def _redirect(aws: FakeAws, elsewhere: Witness) -> None:
    aws.fault("GetObject", faults.redirect(elsewhere.url), None)


def _cut_without_length(aws: FakeAws, _: Witness) -> None:
    aws.fault("GetObject", faults.no_content_length(), None)
    aws.fault("GetObject", faults.truncate_at(CUT), None)


def _replaced(aws: FakeAws, _: Witness) -> None:
    """After its first MiB is out, the large object becomes another one of the same size."""
    aws.fault(at("GetObject", key="*large"), faults.replace_object(body("new"), at=MIB))


def _expired(aws: FakeAws, _: Witness) -> None:
    aws.fault(at("GetObject", nth=2), faults.status(400, "ExpiredToken", "The provided token has expired."), None)


KINDS = (
    always("a bit flips, once", faults.flip_bit(100), times=1),
    always("a bit flips in every answer", faults.flip_bit(100)),
    always("every body ends after 300,000 bytes", faults.truncate_at(CUT)),
    Kind("the same, and no Content-Length", _cut_without_length),
    always("every body is too long", faults.overlong(100)),
    always("reset after 300,000 bytes, once", faults.reset_after(CUT), times=1),
    always("silence after 300,000 bytes, once", faults.stall_after(CUT), times=1),
    always("200 with an error document", faults.ok_with_error_body()),
    always("500, always", faults.status(500)),
    always("503, six times", faults.status(503), times=6),
    always("Range ignored", faults.ignore_range()),
    always("Content-Range one off", faults.wrong_content_range(1)),
    Kind("the object is replaced in mid-download", _replaced),
    Kind("the token expires in mid-transfer", _expired),
    Kind("every object redirects to another host", _redirect),
    always("the listing ends within its XML", page_faults.cut_document(), "ListObjectsV2"),
    always("the listing goes in a circle", page_faults.circle(), "ListObjectsV2"),
    always("the listing holds an entity bomb", page_faults.entity_bomb(), "ListObjectsV2"),
    always("the listing has each key twice", page_faults.duplicate_keys(), "ListObjectsV2"),
)


class Outcome(NamedTuple):
    """What one client left; `code` None: it was stopped at the limit."""

    code: int | None
    wrong: int
    missing: int
    left: int
    leaks: int

    def __str__(self) -> str:
        words = [f"**{self.wrong} wrong**"] * bool(self.wrong) + [f"{self.missing} missing"] * bool(self.missing)
        words += [f"{self.left} left"] * bool(self.left) + [f"**{self.leaks} signed requests there**"] * bool(
            self.leaks
        )
        code = f"over {LIMIT:.0f} s" if self.code is None else f"exit {self.code}"
        return f"{code}: {', '.join(words) or 'all right'}"


def body(name: str) -> bytes:
    return random.Random(name).randbytes(OBJECTS.get(name, OBJECTS["large"]))


def run(kind: Kind, peer: Peer) -> Outcome:
    with FakeAws() as aws, Witness() as elsewhere, tempfile.TemporaryDirectory(prefix="faults-") as place:
        aws.bucket(BUCKET)
        for name in OBJECTS:
            aws.put(BUCKET, f"t/{name}", body(name))
        kind.arm(aws, elsewhere)
        target, home = Path(place) / "target", Path(place) / "home"
        target.mkdir()
        home.mkdir()
        env = {
            **aws.env(aws.user("111111111111", "ana")),
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
        }
        arguments = peer.arguments(Job(GET, "t/", target, aws.url))
        assert arguments is not None
        try:
            done = subprocess.run(
                [program(peer.program), *arguments], env=env, cwd=place, capture_output=True, timeout=LIMIT, check=False
            )
            code: int | None = done.returncode
        except subprocess.TimeoutExpired:
            code = None
        files = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        allowed = {name: {body(name)} | ({body("new")} if name == "large" else set()) for name in OBJECTS}
        wrong = sum(files[name] not in allowed[name] for name in OBJECTS if name in files)
        missing = sum(name not in files for name in OBJECTS)
        return Outcome(code, wrong, missing, len(set(files) - set(OBJECTS)), len(elsewhere.leaks))


def main() -> None:
    listings.PAGE = 2
    clients = [peer for peer in CLIENTS if program(peer.program)]
    print("| Fault | " + " | ".join(version(peer) for peer in clients) + " |")
    print("|---|" + "---|" * len(clients))
    with ThreadPoolExecutor(len(clients)) as pool:
        for kind in KINDS:
            outcomes = list(pool.map(lambda peer, kind=kind: run(kind, peer), clients))
            print(f"| {kind.name} | " + " | ".join(map(str, outcomes)) + " |", flush=True)


if __name__ == "__main__":
    main()
