"""Runs the real command as a process, and returns all it left: output, exit code, files.

`run_s3pull` waits for the end; `start_s3pull` returns at once, for tests that kill. With `tty=True` the process
has a terminal of its own (POSIX).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

Env = Mapping[str, str]


class Result(NamedTuple):
    """`tree`: every file below the working directory, by relative path with `/`, with its size."""

    stdout: str
    stderr: str
    code: int
    tree: dict[str, int]


def tree_of(folder: Path | str) -> dict[str, int]:
    """Files and symlinks below a folder with their sizes; a symlink's is its target's name's."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # another process may be at work there
            if path.is_symlink() or not path.is_dir():
                found[path.relative_to(folder).as_posix()] = path.lstat().st_size
    return found


def _command(args: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "s3pull", *args]


def _environment(env: Env | None) -> dict[str, str]:
    return {**os.environ, **(env or {})}


@dataclass
class Running:
    """A process under way; its output goes to files, so that it never waits for a reader."""

    process: subprocess.Popen[bytes]
    cwd: Path
    _out: IO[bytes]
    _err: IO[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> Result:
        """SIGKILL, and what was left."""
        self.process.kill()
        return self.finish()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def finish(self, timeout: float = 180) -> Result:
        """Wait for the end; a process that does not come to one is killed, and fails the test."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running after {timeout} s\n{self._text(self._err)}") from None
        finally:
            out, err = self._text(self._out), self._text(self._err)
            self._out.close()
            self._err.close()
        return Result(out, err, code, tree_of(self.cwd))

    def stderr_so_far(self) -> str:
        return self._text(self._err)

    @staticmethod
    def _text(file: IO[bytes]) -> str:
        # by descriptor and offset: the child shares the file's own position
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, 0).decode(errors="replace")


def start_s3pull(
    args: Sequence[str], env: Env | None = None, cwd: Path | str = ".", *, stdin: Any = subprocess.DEVNULL
) -> Running:
    out, err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
    process = subprocess.Popen(
        _command(args), stdin=stdin, stdout=out, stderr=err, cwd=cwd, env=_environment(env), close_fds=True
    )
    return Running(process, Path(cwd), out, err)


def run_s3pull(
    args: Sequence[str],
    env: Env | None = None,
    cwd: Path | str = ".",
    stdin: str | bytes | None = None,
    tty: bool = False,
    *,
    answers: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> Result:
    """Run `s3pull ARGS` to its end with `env` over this process's environment.

    `answers` (with `tty`): what to type, and Enter, once the terminal shows the text that is its key.
    """
    if tty:
        return _run_on_terminal(args, env, cwd, stdin, dict(answers or {}), timeout)
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        _command(args),
        input=data if data is not None else b"",
        capture_output=True,
        cwd=cwd,
        env=_environment(env),
        timeout=timeout,
        check=False,
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return Result(out, err, done.returncode, tree_of(cwd))


def _run_on_terminal(
    args: Sequence[str],
    env: Env | None,
    cwd: Path | str,
    stdin: str | bytes | None,
    answers: dict[str, str],
    timeout: float,
) -> Result:
    """stdin and stderr on the controlling terminal, stdout on a second one, so that they can be told apart."""
    import pty

    keyboard, screen = pty.openpty()
    out_side, out = pty.openpty()
    for end in (screen, out):
        _plain(end)
    launcher = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", launcher, *_command(args)],
        stdin=screen,
        stdout=out,
        stderr=screen,
        cwd=cwd,
        env=_environment({"TERM": "xterm", **(env or {})}),
        start_new_session=True,
    )
    os.close(screen)
    os.close(out)
    shown = {keyboard: bytearray(), out_side: bytearray()}
    if stdin is not None:
        os.write(keyboard, stdin.encode() if isinstance(stdin, str) else stdin)
    try:
        _follow(shown, keyboard, answers, time.monotonic() + timeout)
        code = process.wait(10)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for end in shown:
            os.close(end)
    texts = [bytes(shown[end]).decode(errors="replace") for end in (out_side, keyboard)]
    return Result(texts[0], texts[1], code, tree_of(cwd))


def _follow(shown: dict[int, bytearray], keyboard: int, answers: dict[str, str], give_up: float) -> None:
    """Read both terminals to their end, and type each answer when its prompt is there."""
    live = set(shown)
    while live:
        ready, _, _ = select.select(list(live), [], [], max(0.0, give_up - time.monotonic()))
        if not ready:
            text = bytes(shown[keyboard]).decode(errors="replace")
            raise AssertionError(f"still running on its terminal, which shows:\n{text}")
        for end in ready:
            try:
                data = os.read(end, 1 << 16)
            except OSError:  # Linux: the other side was closed
                data = b""
            if not data:
                live.discard(end)
            shown[end] += data
        for prompt in [prompt for prompt in answers if prompt.encode() in shown[keyboard]]:
            time.sleep(0.05)  # getpass throws away what was typed before it turned the echo off
            os.write(keyboard, answers.pop(prompt).encode() + b"\n")


def _plain(terminal: int) -> None:
    """No \\n to \\r\\n, 100 columns."""
    import fcntl
    import struct
    import termios

    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
