"""Whose own credentials a session was made with, told without botocore and without asking anybody.

The fingerprint is part of the cache key: a session is found again only by whoever made it. It may change without
need (then STS is asked once more) and must change with the person. It decides nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3pull.access.profiles import Profiles, effective
from s3pull.errors import UsageError
from s3pull.objects import Access

_LARGEST_TOKEN = 64 * 1024
_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_TOKEN_FILES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")


def fingerprint(access: Access, environ: Mapping[str, str], profiles: Profiles) -> str:
    """A hash over all that decides whose the own credentials are (hex).

    The environment's key ID, its web-identity and container URIs with the subject of their tokens, every profile on
    the chain with its SSO session, the tokens of `aws sso login` and `aws login`. Where nothing of it says anything,
    the credentials are the machine's (EC2) and the host name stands for them.
    """
    name = effective(access.profile, environ)
    facts: dict[str, Any] = {"explicit": bool(access.profile), "role_from": access.origins.get("role_arn")}
    facts["environment"] = {key: environ[key] for key in _VARIABLES if environ.get(key)}
    facts["subjects"] = [_subject(environ[key]) for key in _TOKEN_FILES if environ.get(key)]
    keys_in_environment = not access.profile and bool(environ.get("AWS_ACCESS_KEY_ID"))
    if not keys_in_environment:
        try:
            chain = profiles.chain(name)
        except UsageError:
            chain = (name,)
        facts["profiles"] = [[link, profile_facts(link, profiles)] for link in chain]
        facts["tokens"] = [_token(profiles, link, environ) for link in chain]
    if not facts["environment"] and not profiles.has_credentials(name):
        import platform

        facts["host"] = platform.node()
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def profile_facts(name: str, profiles: Profiles) -> dict[str, Any]:
    """Everything that a profile says, with the SSO session and the services section that it names. Holds secrets."""
    facts: dict[str, Any] = {"profile": dict(profiles.section(name))}
    if session := profiles.value(name, "sso_session"):
        facts["sso"] = dict(profiles.sso_sessions.get(session, {}))
    if services := profiles.value(name, "services"):
        facts["services"] = dict(profiles.services.get(services, {}))
    return facts


def _token(profiles: Profiles, name: str, environ: Mapping[str, str]) -> str | None:
    """A hash of the login token that the profile uses; None where it uses none or is not logged in."""
    home = Path(os.path.expanduser("~/.aws"))  # noqa: PTH111  pathlib raises where there is no home
    if sso := profiles.value(name, "sso_session") or profiles.value(name, "sso_start_url"):
        # https://github.com/boto/botocore: SSOTokenLoader._generate_cache_key
        path = home / "sso" / "cache" / f"{hashlib.sha1(sso.encode(), usedforsecurity=False).hexdigest()}.json"
    elif login := profiles.value(name, "login_session"):
        folder = environ.get("AWS_LOGIN_CACHE_DIRECTORY")
        # https://github.com/boto/botocore: LoginCredentialsLoader._generate_cache_key
        cache = Path(os.path.expanduser(os.path.expandvars(folder))) if folder else home / "login" / "cache"  # noqa: PTH111
        path = cache / f"{hashlib.sha256(login.encode()).hexdigest()}.json"
    elif file := profiles.value(name, "web_identity_token_file"):
        return json.dumps(_subject(file))
    else:
        return None
    content = _read(path)
    return hashlib.sha256(content).hexdigest() if content is not None else None


def _subject(path: str) -> list[str] | None:
    """Issuer and subject of the token in a file. The token itself is renewed every hour and says nothing more."""
    content = _read(Path(path))
    parts = (content or b"").strip().split(b".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        return [str(claims.get("iss")), str(claims.get("sub"))]
    except (ValueError, AttributeError, RecursionError, binascii.Error):
        return None


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_TOKEN)
    except OSError:
        return None
