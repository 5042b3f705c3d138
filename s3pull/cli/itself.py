"""How somebody else starts this s3pull: cron, systemd, a `credential_process`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path


def words(config: Path | None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """The words that start this s3pull, with this configuration, from anywhere."""
    return [*program(sys.argv[0], shutil.which("s3pull"), sys.executable), *_config_words(config, environ)]


def program(started_as: str, found: str | None, python: str) -> list[str]:
    """The words that start s3pull from anywhere: the command that is running, else the one on PATH, else a module."""
    if Path(started_as).stem == "s3pull" and Path(started_as).is_file():
        return [str(Path(started_as).absolute())]
    if Path(started_as).name != "__main__.py" and found is not None:
        return [str(Path(found).absolute())]
    return [python, "-m", "s3pull"]


def _config_words(given: Path | None, environ: Mapping[str, str]) -> list[str]:
    """`--config FILE`, unless it is the one that is found where nothing is set."""
    from s3pull.access.config import config_path

    if given is None and not any(environ.get(name) for name in ("S3PULL_CONFIG", "XDG_CONFIG_HOME")):
        return []
    return ["--config", str(config_path(given, environ).absolute())]
