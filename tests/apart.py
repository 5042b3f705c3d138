"""Python in a process of its own: for libraries with threads of their own, beside which nobody should fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def apart(code: str, *args: str, timeout: float = 240) -> str:
    """What `code` prints; `args` are its sys.argv[1:]. It sees this process's environment and working directory."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
