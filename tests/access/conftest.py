"""What the tests of access share: a role to assume in a fake AWS, and short ways to resolve and open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from s3pull.access import cache, config, options, profiles, session
from tests.access.ward import share_loader

EXTERNAL_ID = "external-id-9f4c1d"
OWNER = "111111111111"
CONSUMER = "222222222222"


class Reach:
    """The data owner's role, a consumer called ana, and the code under test between them."""

    def __init__(self, aws, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.aws = aws
        self.home = home
        self.patch = monkeypatch
        self.ana = aws.user(CONSUMER, "ana", mfa_code="123456")
        self.role = aws.role(OWNER, "reader", trust={CONSUMER: EXTERNAL_ID}, max_session=43200)
        self.notes: list[str] = []
        self.details: list[str] = []
        self.opened: list[session.Session] = []
        self.use(aws.env(self.ana))

    def use(self, environment: dict[str, str]) -> None:
        for name in [name for name in os.environ if name.startswith(("AWS_", "S3PULL_"))]:
            self.patch.delenv(name)
        for name, value in environment.items():
            self.patch.setenv(name, value)

    def aws_files(self, config_text: str, credentials_text: str = "") -> None:
        """Write ~/.aws and let nothing else say whose credentials are used."""
        folder = self.home / ".aws"
        folder.mkdir(exist_ok=True)
        (folder / "config").write_text(config_text)
        (folder / "credentials").write_text(credentials_text)
        keep = self.aws.env()
        self.use({name: value for name, value in keep.items() if "FILE" not in name})

    def keys_of(self, keys) -> str:
        """The lines of ~/.aws/credentials for some keys."""
        lines = [f"aws_access_key_id = {keys.access_key}", f"aws_secret_access_key = {keys.secret_key}"]
        return "\n".join([*lines, *([f"aws_session_token = {keys.token}"] if keys.token else [])]) + "\n"

    def access(self, *, share: dict[str, Any] | None = None, plain: bool = False, **chosen: Any):
        """The Access of a share `acme` (its settings may be changed), or of s3://acme where `plain`."""
        settings = {"bucket": "acme", "prefix": "2026/", "role_arn": self.role, "external_id": EXTERNAL_ID}
        settings = {key: value for key, value in {**settings, **(share or {})}.items() if value is not None}
        return options.resolve(
            share=None if plain else config.share("acme", settings),
            bucket="acme" if plain else None,
            prefix="",
            options=chosen,
            environ=os.environ,
            profiles=profiles.load(os.environ),
        )

    def cache(self, mode: str = "file", **more: Any) -> cache.Cache:
        return cache.Cache(mode, environ=os.environ, detail=self.details.append, **more)

    def open(self, access=None, *, cache=None, anew: bool = False, **more: Any) -> session.Session:
        enter = session.login if anew else session.open_session
        found = enter(
            access or self.access(),
            environ=os.environ,
            profiles=profiles.load(os.environ),
            cache=cache or self.cache(),
            note=self.notes.append,
            **more,
        )
        self.opened.append(found)
        return found

    @property
    def assumed(self) -> list[dict[str, str]]:
        """What each AssumeRole was asked."""
        return [one.form for one in self.aws.asked("AssumeRole")]


@pytest.fixture
def reach(fake_aws, monkeypatch, isolated):
    found = Reach(fake_aws, monkeypatch, isolated)
    yield found
    for one in found.opened:
        one.close()


@pytest.fixture
def shared_loader(monkeypatch):
    """See `tests.access.ward.share_loader`."""
    share_loader(monkeypatch)
