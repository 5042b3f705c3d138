"""A bucket with a prefix, a folder that mirrors it, and how tests of `sync`, `verify` and `lock` look at both.

Commands run as processes by `Mirrored.run`; tests that do not need that bring a way to run them in their own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from s3pull.cli.app import main
from s3pull.local import owner
from s3pull.local.checkpoint import RECORD_SIZE
from s3pull.local.receipts import Receipts
from s3pull.objects import Endpoint
from s3pull.remote import endpoint as endpoints
from s3pull.remote import engine
from tests.fakes import FakeAws, Recorded
from tests.transcript import Result, Running, run_s3pull, start_s3pull

OWNER = "111111111111"
#: LastModified of what is put without one; long ago, so that no file here is older by accident
LONG_AGO = 1_700_000_000
#: what may lie in the state folder of a mirror when no run is at work
STATE = {"receipts.db", "source.json"}


class Mirrored:
    """`s3://data/in/` and `cwd/m`, for a user who may read the bucket without any role."""

    source = "s3://data/in/"

    def __init__(self, aws: FakeAws, cwd: Path) -> None:
        self.aws = aws
        self.cwd = cwd
        self.folder = cwd / "m"
        self.env = aws.env(aws.user(OWNER, "ana"))
        aws.bucket("data", owner=OWNER)

    def lead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make this process ana's, and let nobody ask botocore where the fake is: that takes longer than a sync.

        Processes have it from the cache.
        """
        monkeypatch.chdir(self.cwd)
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)
        port = self.aws.server.port
        assert engine.endpoints is endpoints, "loaded later it would keep the fake for a default, of all tests after"
        monkeypatch.setattr(
            endpoints,
            "resolve",
            lambda access, _: Endpoint("http", "127.0.0.1", port, f"/{access.bucket}", "us-east-1"),
        )
        main(["ls", self.source])
        self.aws.requests.clear()

    def put(self, name: str, body: bytes = b"", **facts: Any) -> str:
        """Put the object `name` below the prefix; its ETag."""
        return self.aws.put("data", f"in/{name}", body, **{"last_modified": LONG_AGO, **facts})

    def delete(self, name: str) -> None:
        self.aws.delete("data", f"in/{name}")

    def run(self, *args: str) -> Result:
        """`s3pull ARGS` as a process, to its end."""
        return run_s3pull(args, self.env, self.cwd)

    def sync(self, *args: str) -> Result:
        """Mirror the prefix."""
        return self.run("sync", self.source, "m", *args)

    def start(self, *args: str) -> Running:
        return start_s3pull(args, self.env, self.cwd)

    # --- what is there ----------------------------------------------------------------------------------

    def files(self, below: str = "") -> dict[str, bytes]:
        """The content of every file below `below` in the folder, state apart; a link is what it leads to."""
        found = {}
        for folder, folders, names in os.walk(self.folder / below):
            folders[:] = [name for name in folders if name != ".s3pull"]
            for name in names:
                path = Path(folder, name)
                try:
                    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
                except FileNotFoundError:
                    continue  # a run at work has given it another name meanwhile
                found[path.relative_to(self.folder / below).as_posix()] = content
        return found

    def state(self) -> set[str]:
        """The names in `.s3pull`, an empty rollback journal apart."""
        names = os.listdir(self.folder / ".s3pull")
        return {name for name in names if not name.endswith("-journal")}

    def nothing_stray(self) -> bool:
        """Whether no part file, lock or journal of a run is left anywhere."""
        left = [name for _, _, names in os.walk(self.folder) for name in names if name.startswith(".s3pull-")]
        return not left and self.state() <= STATE

    def noted(self, name: str, body: bytes) -> int:
        """Records in the logs of the object's part files: each says that some more of it is on the disk."""
        folder, _, last = name.rpartition("/")
        etag = hashlib.md5(body).hexdigest()
        ident = owner.part_ident(f"in/{name}", etag, len(body), last)
        logs = (self.folder / folder).glob(f".s3pull-{ident}-*{owner.LOG_SUFFIX}")
        return sum(len(path.read_bytes().partition(b"\n")[2]) // RECORD_SIZE for path in logs)

    def receipts(self) -> dict[str, str]:
        """Paths by keys, from the receipts."""
        with Receipts.open(self.folder / ".s3pull" / "receipts.db", read_only=True) as receipts:
            return {brief.key: brief.path for brief in receipts.briefs()}


def lines(out: str) -> list[dict[str, Any]]:
    """The JSON lines of an output."""
    return [json.loads(line) for line in out.splitlines()]


def told(out: str) -> dict[str, tuple[str, str]]:
    """Of JSON lines: action and reason of each object, by its key's last segment or whole path."""
    return {
        line["path"] or line["key"]: (line["action"], line["reason"])
        for line in lines(out)
        if line["event"] in ("object", "plan")
    }


def summary(out: str) -> dict[str, Any]:
    """The last of the JSON lines."""
    last = lines(out)[-1]
    assert last["event"] == "summary"
    return last


def actions(requests: Iterable[Recorded]) -> list[str]:
    return [one.action for one in requests]


def snapshot(folder: Path, but: Sequence[str] = ()) -> dict[str, tuple[int, str]]:
    """mtime and hash of every file below a folder, whatever it is: two that are equal say that nothing was touched."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and name not in but:
            found[name] = (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
    return found
