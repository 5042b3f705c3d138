"""The folder that a bench works in, and what stays in it until the end."""

from __future__ import annotations

import os
from pathlib import Path


def folder(text: str) -> Path:
    """`--scratch`, made where it is missing."""
    path = Path(text)
    path.mkdir(parents=True, exist_ok=True)
    return path


def empty(tree: Path) -> None:
    """Give the space of what was fetched back; there may be nothing.

    The files stay: ext4 looks long for inodes that were not deleted just now, and the next run would pay for that.
    """
    for file in tree.rglob("*"):
        if file.is_file():
            os.truncate(file, 0)
