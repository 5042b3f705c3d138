"""Makes the pictures of docs/pictures anew, from real runs: `python docs/site/pictures.py [FOLDER]`.

It needs a clone and its dependency group `dev`.

A command runs on a terminal of its own against the tests' own STS and S3 (`tests/acme.py`); pyte understands what it
draws, and rich writes that as SVG. Nothing in a picture was typed by hand but the prompt and the command.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.acme import Acme  # noqa: E402
from tests.fakes import FakeAws, Sparse  # noqa: E402

WIDTH, HEIGHT = 100, 40
MIB = 1 << 20
_PATIENCE = 120.0
#: pyte's name for what others call yellow
_COLORS = {"brown": "yellow", "default": None}


class Terminal:
    """A screen on which commands are typed one after the other."""

    def __init__(self, acme: Acme) -> None:
        self._acme = acme
        self._screen = pyte.Screen(WIDTH, HEIGHT)
        self._stream = pyte.ByteStream(self._screen)

    def type(self, line: str, *, until: Callable[[str], bool] | None = None, send: int | None = None) -> None:
        """Type `line` and wait for its end; or until the screen shows `until`: then send the signal, and wait for the
        end if it is Ctrl-C.
        """
        self._stream.feed(f"\x1b[32m$\x1b[0m {line}\r\n".encode())
        keyboard, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        process = subprocess.Popen(
            ["sh", "-c", line], stdin=screen, stdout=screen, stderr=screen, cwd=self._acme.folder,
            env={**self._acme.env, "TERM": "xterm", "COLUMNS": str(WIDTH)}, start_new_session=True,
        )  # fmt: skip
        os.close(screen)
        give_up = time.monotonic() + _PATIENCE
        try:
            while self._feed(keyboard, give_up):
                if until is not None and until("\n".join(self._screen.display)):
                    os.killpg(process.pid, send or signal.SIGKILL)
                    if send is None:
                        return
                    until = None
        finally:
            if process.poll() is None and until is not None:
                process.kill()
            process.wait()
            os.close(keyboard)

    def picture(self, title: str) -> str:
        """What is on the screen, as SVG; nothing in it is loaded from elsewhere."""
        rows = [self._row(number) for number in range(HEIGHT)]
        while rows and not rows[-1].plain.strip():
            rows.pop()
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
        for row in rows:
            console.print(row, no_wrap=True, overflow="crop")
        text = console.export_svg(title=title, theme=MONOKAI, unique_id=re.sub(r"\W", "", title))
        return re.sub(r"@font-face \{.*?\}\n", "", text, flags=re.DOTALL)

    def _feed(self, keyboard: int, give_up: float) -> bool:
        """Take what there is to see; False at the end."""
        ready, _, _ = select.select([keyboard], [], [], max(0.0, give_up - time.monotonic()))
        if not ready:
            raise TimeoutError("\n".join(self._screen.display))
        try:
            data = os.read(keyboard, 1 << 16)
        except OSError:  # Linux: the other side was closed
            return False
        self._stream.feed(data)
        return bool(data)

    def _row(self, number: int) -> Text:
        text = Text()
        cells = self._screen.buffer[number]
        last = max((column for column in cells if cells[column].data.strip()), default=-1)
        for column in range(last + 1):
            cell = cells[column]
            text.append(cell.data, Style(color=_COLORS.get(cell.fg, cell.fg), bold=cell.bold or None))
        return text


def shows(pattern: str) -> Callable[[str], bool]:
    return lambda screen: re.search(pattern, screen) is not None


def get(aws: FakeAws, acme: Acme) -> str:
    """A download that is half done, with its bars."""
    for name in ("model.bin", "index.bin"):
        aws.put("acme-exports", f"2026/{name}", Sparse(48 * MIB), etag=f"{name}-1", checksum=None)
    aws.bandwidth = 2 * MIB
    terminal = Terminal(acme)
    terminal.type("s3pull get acme:2026/ data/", until=shows(r"\b[4-9]\d% \|[^\n]*files"))
    aws.bandwidth = None
    return terminal.picture("s3pull get")


def resume(aws: FakeAws, acme: Acme) -> str:
    """Ctrl-C in the middle, and the same command again."""
    aws.put("acme-exports", "2026/model.bin", Sparse(48 * MIB), etag="model-2", checksum=None)
    aws.bandwidth = 2 * MIB
    terminal = Terminal(acme)
    terminal.type("s3pull get acme:2026/model.bin", until=shows(r"\b[5-9]\d% \|[^\n]*file"), send=signal.SIGINT)
    aws.bandwidth = None
    terminal.type("s3pull get acme:2026/model.bin")
    return terminal.picture("s3pull get, interrupted")


def sync(aws: FakeAws, acme: Acme) -> str:
    """A mirror that is new, one that changed, and one of which something would be deleted."""
    aws.delete("acme-exports", "2026/model.bin")
    aws.delete("acme-exports", "2026/index.bin")
    terminal = Terminal(acme)
    terminal.type("s3pull sync acme: mirror/")
    aws.put("acme-exports", "2026/report.csv", b"day,sum\n0,1\n")
    aws.delete("acme-exports", "2025/old.csv")
    terminal.type("s3pull sync acme: mirror/ --delete --dry-run")
    terminal.type("s3pull sync acme: mirror/ --delete")
    terminal.type("s3pull sync acme: mirror/ --delete")
    return terminal.picture("s3pull sync")


def doctor(_: FakeAws, acme: Acme) -> str:
    """A wrong external ID."""
    acme.sh("s3pull share add other --replace s3://acme-exports/ --external-id 77ab "
            "--role-arn arn:aws:iam::111122223333:role/acme-readers")  # fmt: skip
    terminal = Terminal(acme)
    terminal.type("s3pull doctor other: | head -20")
    return terminal.picture("s3pull doctor")


PICTURES = (get, resume, sync, doctor)


def main(folder: Path) -> None:
    """Write all pictures into `folder`."""
    with tempfile.TemporaryDirectory() as temporary, FakeAws() as aws:
        acme = Acme(aws, Path(temporary) / "acme")
        acme.sh("s3pull share import acme.toml")
        acme.sh("s3pull ls acme:")
        folder.mkdir(parents=True, exist_ok=True)
        for make in PICTURES:
            (folder / f"{make.__name__}.svg").write_text(make(aws, acme), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures")
