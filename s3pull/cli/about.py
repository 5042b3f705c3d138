"""`s3pull --version -v`: what a support ticket needs. No secret, and no value of a variable that may hold one.

Nobody is asked: no AWS, no network, and of the keyring only which one it would be.
"""

from __future__ import annotations

import os
import platform
import re
import ssl
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from s3pull import __version__
from s3pull.access import keys
from s3pull.access.cache import cache_directory
from s3pull.access.config import config_path, load
from s3pull.errors import S3pullError

_PACKAGES = [
    *("boto3", "botocore", "awscrt", "anycrc", "typer"),
    *("cryptography", "keyring", "platformdirs", "tomlkit", "tqdm"),
]
_VARIABLES = re.compile(r"(AWS|S3PULL)_\w+|(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|SSLKEYLOGFILE", re.IGNORECASE)


def about(config: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """The lines, the version first."""
    lines = [
        f"s3pull {__version__}",
        f"Python {platform.python_version()} ({sys.executable})",
        ssl.OPENSSL_VERSION,
        platform.platform(),
        *map(_package, _PACKAGES),
        f"configuration: {_configuration(config_path(config, environ))}",
        f"cache: {cache_directory(environ)}",
        f"keyring: {keys.backend_name()}",
        f"certificates: {_certificates(environ)}",
        f"variables that are set: {', '.join(_set(environ)) or 'none'}",
    ]
    return "\n".join(lines) + "\n"


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} is missing"


def _configuration(path: Path) -> str:
    if not path.exists():
        return f"{path} (not there)"
    try:
        shares = len(load(path).shares)
    except S3pullError as error:
        return f"{path} (cannot be read: {error.message})"
    return f"{path} ({shares} share{'' if shares == 1 else 's'})"


def _certificates(environ: Mapping[str, str]) -> str:
    if bundle := environ.get("AWS_CA_BUNDLE"):
        return f"{bundle} (AWS_CA_BUNDLE)"
    found = ssl.get_default_verify_paths()
    return found.cafile or found.capath or "the system's"


def _set(environ: Mapping[str, str]) -> Iterator[str]:
    """The names of what access and network depend on; their values stay where they are."""
    return (name for name in sorted(environ) if environ[name] and _VARIABLES.fullmatch(name))
