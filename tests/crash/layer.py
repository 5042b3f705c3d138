"""Command lines on a disk that dies, fills or forgets: `Stage` runs them over `layer.c`, `read` reads its record."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
COUNT, KILL, TEAR, FAIL = range(4)
KINDS = (
    *("create", "write", "truncate", "fsync", "fdatasync", "syncfs", "range", "rename", "link", "symlink"),
    *("unlink", "rmdir", "mkdir", "utime"),
)
#: what takes room on a disk
SPACE = ("create", "write", "mkdir", "link", "symlink")
KILLED = -9
_HEAD = struct.Struct("<IQqIIQ")


class Op(NamedTuple):
    """One call that changed something. `two`: a second name, or that the layer let it fail (`killed`, `failed`)."""

    kind: str
    inode: int
    #: where bytes were written; the length after a truncate; nanoseconds of a time
    offset: int
    path: str
    two: str
    data: bytes


def read(log: Path) -> list[Op]:
    """What was recorded, in order."""
    text = log.read_bytes() if log.exists() else b""
    found, at = [], 0
    while at < len(text):
        kind, inode, offset, one, two, count = _HEAD.unpack_from(text, at)
        at += _HEAD.size
        pieces = []
        for length in (one, two, count):
            pieces.append(text[at : at + length])
            at += length
        found.append(Op(KINDS[kind], inode, offset, os.fsdecode(pieces[0]), os.fsdecode(pieces[1]), pieces[2]))
    return found


@dataclass(frozen=True)
class Fate:
    """What the layer does at the `at`-th call that changes something below the roots."""

    what: int = COUNT
    at: int = 0
    kinds: Sequence[str] = SPACE
    error: int = errno.ENOSPC
    sticky: bool = True
    fold: int = 0
    nolock: bool = False
    boot: str = ""
    user: int = 0


UNTOUCHED = Fate()


@dataclass
class Ran:
    code: int
    out: str
    err: str
    ops: list[Op] = field(repr=False)

    @property
    def hit(self) -> Op | None:
        """The first call at which the layer did what it was told."""
        return next((op for op in self.ops if op.two in ("killed", "torn", "failed")), None)

    @property
    def summary(self) -> dict:
        return json.loads(self.out.splitlines()[-1])


class Stage:
    """Runs command lines, one at a time; `roots` are the folders of which changes count."""

    def __init__(self, library: Path, work: Path) -> None:
        self._work = work
        self._log, self._out, self._err = (work / name for name in ("log", "out", "err"))
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "stage.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(HERE.parent.parent)},
            text=True,
        )
        assert self._answer() == "ready"

    def __call__(
        self, args: Sequence[str], env: dict[str, str], cwd: Path, roots: Sequence[Path], fate: Fate = UNTOUCHED
    ) -> Ran:
        self._log.unlink(missing_ok=True)
        for file in (self._log, self._out, self._err):
            file.touch()
            file.chmod(0o666)
        order = {
            "args": list(args),
            "env": env,
            "cwd": str(cwd),
            "roots": [str(root) for root in roots],
            "log": str(self._log),
            "out": str(self._out),
            "err": str(self._err),
            "what": fate.what,
            "at": fate.at,
            "kinds": sum(1 << KINDS.index(kind) for kind in fate.kinds),
            "error": fate.error,
            "sticky": int(fate.sticky),
            "fold": fate.fold,
            "nolock": int(fate.nolock),
            "boot": fate.boot,
            "user": fate.user,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = int(self._answer())
        out, err = self._out.read_text(errors="replace"), self._err.read_text(errors="replace")
        assert "Traceback" not in err, err
        return Ran(code, out, err, read(self._log))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def build(folder: Path) -> Path:
    """Compile the layer. Skips where there is no compiler, or no system for which it is written."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler (Debian: gcc libc6-dev)")
    library = folder / "layer.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "layer.c", "-lpthread", "-ldl"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"cannot compile the layer: {done.stderr[-300:]}")
    return library


def stage(folder: Path) -> Iterator[Stage]:
    """For a fixture."""
    made = Stage(build(folder), folder)
    yield made
    made.close()
