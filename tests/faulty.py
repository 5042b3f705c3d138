"""A server with all that can go wrong, objects of all kinds on it, and what must hold of a command run against it.

For the tests that let thousands of transfers go wrong; commands run in this process, and wait for next to nothing.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import sys
from pathlib import Path

import pytest

from s3pull.cli.app import main
from s3pull.local import durability, releases
from s3pull.pull import opening
from s3pull.remote import engine, retry
from tests.access.ward import share_loader
from tests.fakes import FakeAws, listings
from tests.fakes.witness import Witness

OWNER, CONSUMER = "111111111111", "222222222222"
MIB = 1 << 20
#: seconds after which a round hangs; it takes two or three
HANGS = 240.0

#: (size, how it is stored): what flipped bits can do must be provable, or nobody could tell right from wrong
OBJECTS = (
    *((size, {}) for size in (0, 1, 100, 4096, 70_000, 256 * 1024, 256 * 1024 + 1, 700_000)),
    *((size, {"checksum": None}) for size in (10, 5000, 300_000)),
    *((size, {"checksum": "SHA256"}) for size in (7, 100_000)),
    *((size, {"checksum": "CRC32"}) for size in (9, 400_000)),
    (3 * MIB, {"parts": [MIB, MIB, MIB], "checksum": "CRC32C"}),
    (20 * MIB, {}),
)
WRITTEN = {"downloaded", "resumed", "skipped"}
CODES = {"denied": 10, "credentials": 11, "service": 15, "corrupt": 6, "changed": 3, "unsupported": 3, "unsafe-name": 3}


class Bucket:
    """One server and what it holds; all rounds of a scheme share it, each with faults of its own."""

    def __init__(self, tls: bool) -> None:
        self.aws = FakeAws(tls=tls)
        self.elsewhere = Witness(tls=tls)
        self.ana = self.aws.user(CONSUMER, "ana")
        self.role = self.aws.role(OWNER, "reader", trust={CONSUMER: None})
        self.aws.bucket("acme", owner=OWNER)
        dice = random.Random(1)
        self.bodies: dict[str, bytes] = {}
        for number in range(150):
            # one giant, all kinds three times, and many small ones
            size, stored = OBJECTS[16] if number == 19 else OBJECTS[number % 16 if number < 48 else number % 5]
            key = f"{'abc'[number % 3]}/{number:03}"
            self.bodies[key] = dice.randbytes(size)
            self.aws.put("acme", f"d/{key}", self.bodies[key], **stored)

    def env(self) -> dict[str, str]:
        more = {"S3PULL_ROLE_ARN": self.role, "S3PULL_REGION": "us-east-1", "S3PULL_CACHE": "file"}
        return {**self.aws.env(self.ana), **more}

    def close(self) -> None:
        self.elsewhere.server.stop()
        self.aws.stop()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk, and little between tries; silence is short, and so are the pages of listings."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for module in (durability, releases):
        monkeypatch.setattr(module, "syncfs", lambda: lambda _: None)
    for name, value in {"FIRST_WAIT": 0.001, "LONGEST_WAIT": 0.02, "LONGEST_RETRY_AFTER": 0.02}.items():
        monkeypatch.setattr(retry, name, value)
    monkeypatch.setattr(opening, "open_store", lambda *args, **more: engine.open_store(*args, silence=3.0, **more))
    monkeypatch.setattr(listings, "PAGE", 7)
    share_loader(monkeypatch)


def watched(args: list[str]) -> int:
    """`main`, with an end to it: what hangs tells where, and takes the whole process with it."""
    faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.__stderr__)
    try:
        return main(args)
    finally:
        faulthandler.cancel_dump_traceback_later()


def check_run(told: str, out: str, err: str, code: int, bodies: dict[str, bytes], dest: Path) -> None:
    """A `get` or `sync` of all keys: files are right, the exit is what the events say, nothing else is left."""
    assert "Traceback" not in out + err, told
    assert "internal error:" not in out + err, told
    events = [json.loads(line) for line in out.splitlines()]
    summary = events[-1]
    assert summary["event"] == "summary", told
    assert summary["exit"] == code, told
    fatal = [event for event in events if event["event"] == "error"]
    lost = [event for event in events if event["event"] == "object" and event["action"] in ("failed", "refused")]
    assert all(event["error"]["message"] and event["reason"] for event in lost), told
    right = {path: body for path, body in bodies.items() if (dest / path).exists()}
    for path, body in right.items():
        assert (dest / path).read_bytes() == body, f"{told}: {path} is wrong"
    done = {event["path"] for event in events if event["event"] == "object" and event["action"] in WRITTEN}
    assert done <= set(right), told
    for file in [path for path in dest.rglob("*") if path.is_file()]:
        name = file.relative_to(dest).as_posix()
        ours = name in bodies or file.name.startswith(".s3pull-") or name.startswith(".s3pull/")
        assert ours, f"{told}: {name} was left"
    if code == 0:
        assert not lost, told
        assert not fatal, told
        assert set(right) == set(bodies), f"{told}: exit 0, and {set(bodies) - set(right)} is missing"
    elif fatal:
        assert code == CODES[fatal[0]["reason"]], f"{told}: {fatal}"
    else:
        codes = {CODES[event["reason"]] for event in lost}
        assert code in {3, *codes}, f"{told}: {codes}"
        assert code == 3 or len(codes) == 1, f"{told}: {codes}"
