"""The Python of a second process (`pull.mate`), which can be started before it is known whether there will be one.

What it has to load takes as long as this process needs to its first answer, and meanwhile another core is idle: 2,000
small objects take a tenth less time. Where it turns out that there is little to do, it was a twentieth of a second of
that core. Nothing secret is known to it before somebody takes it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from s3pull.pull.cores import cores

if TYPE_CHECKING:
    import subprocess

#: connections that a run must be allowed for two processes to share them
LEAST_JOBS = 4

#: sys.path comes first: what is found here is to be found there, and nothing that lies in the working directory
_START = """import sys; sys.path[:] = {}; from s3pull import garbage; garbage.loading()
from s3pull.pull.mate_process import main; main()"""


def launch() -> subprocess.Popen[bytes] | None:
    """A process that waits at its standard input for what to do (`mate.Setup`); None where there can be none."""
    import subprocess  # late: few runs need it

    if not _is_python(sys.executable):
        return None
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _START.format([entry for entry in sys.path if entry])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, ValueError):
        return None


def close_pipes(process: subprocess.Popen[bytes]) -> None:
    """Of a process that has ended."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except OSError:
            pass  # bytes that it will not read any more


def is_new(folder: Path) -> bool:
    """Whether nothing is there, or an empty folder: then all that there is will be fetched."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False  # whoever goes there will say why


class Spare:
    """One that was started ahead, for one taker; `close` ends it if there was none. `wanted` False: there is none.

    None on Windows either, where to start a process costs the one that starts it too much.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._process = launch() if wanted and sys.platform != "win32" and cores() > 1 else None

    def __bool__(self) -> bool:
        """Whether it is there to be taken."""
        return self._process is not None

    def take(self) -> subprocess.Popen[bytes] | None:
        """The process, which is the caller's from now on; None where there is none, or it was taken."""
        process, self._process = self._process, None
        return process

    def close(self) -> None:
        """Nobody will take it."""
        process = self.take()
        if process is not None:
            process.kill()
            process.wait()
            close_pipes(process)


def _is_python(program: str | None) -> bool:
    """False where this interpreter lives in another program, which would make something else of our arguments."""
    return not getattr(sys, "frozen", False) and Path(program or "").name.lower().startswith(("python", "pypy"))
