"""A world in which everything is sound, and what pasting a snippet of doctor's does to it.

`Ward` is the world; `Ward.paste` is a person who does exactly what doctor printed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import Any

import botocore.loaders
import pytest

from s3pull.access import config, options, profiles, sts
from s3pull.access.doctor.asking import Limits
from s3pull.access.doctor.examine import examine
from s3pull.access.doctor.report import Report, Snippet
from tests.fakes import FakeAws, Keys
from tests.fakes.buckets import KmsKey

OWNER, CONSUMER, THIRD = "111111111111", "222222222222", "333333333333"
EXTERNAL_ID = "9f4c-external"
ANA = f"arn:aws:iam::{CONSUMER}:user/ana"
READER = f"arn:aws:iam::{OWNER}:role/readers"
KEY = f"arn:aws:kms:us-east-1:{OWNER}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BUCKET = "arn:aws:s3:::acme"
#: a busy machine is no dead network
PATIENT = Limits(50, 50, 100)


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


READ = allow("s3:GetObject", f"{BUCKET}/2026/*")
LIST = allow("s3:ListBucket", BUCKET, Condition={"StringLike": {"s3:prefix": ["2026/", "2026/*"]}})


_LOADER = botocore.loaders.create_loader()


def share_loader(patch: pytest.MonkeyPatch) -> None:
    """Let every botocore session of this process know the services from one reading: each takes a second else."""
    made = sts.session

    def session(profile: str | None) -> Any:
        fresh = made(profile)
        fresh.register_component("data_loader", _LOADER)
        return fresh

    patch.setattr(sts, "session", session)


class Ward:
    """Two accounts, a role with exactly the rights that are needed, a share, and ana, who examines it."""

    def __init__(self, aws: FakeAws, patch: pytest.MonkeyPatch) -> None:
        self.aws, self.patch = aws, patch
        self.ana = aws.user(CONSUMER, "ana", policy(allow("sts:*", READER)), mfa_code="123456")
        trust = {ANA: EXTERNAL_ID}
        aws.role(OWNER, "readers", trust=trust, policy=policy(READ, LIST), max_session=3600)
        self.bucket = aws.bucket("acme", owner=OWNER)
        aws.put("acme", "2026/a.csv", b"a,b\n")
        aws.put("acme", "2026/b.csv", b"a,b\n")
        aws.put("acme", "secret/s", b"-")
        self.keys: Keys | None = self.ana
        self.share: dict[str, Any] = {
            "bucket": "acme",
            "prefix": "2026/",
            "role_arn": READER,
            "external_id": EXTERNAL_ID,
        }
        self.options: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.key: str | None = None
        self.prompt: Any = None
        #: the statement that denies, or the document that does not allow, for snippets that change one
        self.denying: dict[str, Any] = {}
        self.limiting: dict[str, Any] = {}

    @property
    def role(self) -> Any:
        return self.aws.role_of(READER)

    @property
    def user(self) -> Any:
        return self.aws.directory.holder(self.ana.access_key)

    def role_may(self, *statements: dict[str, Any]) -> None:
        self.role.policies = (policy(*statements),)

    def encrypt(self, *, role_may: bool = True, key_policy: Any = None, state: str = "Enabled") -> None:
        """The objects are encrypted with a customer key."""
        self.aws.kms_key(KEY, key_policy, state=state)
        for name in ("2026/a.csv", "2026/b.csv"):
            self.aws.put("acme", name, b"a,b\n", encryption="aws:kms", kms_key=KEY)
        if role_may:
            self.role.policies += (policy(allow("kms:Decrypt", KEY)),)

    def guard(self, kind: str, *statements: dict[str, Any], account: str | None = None, service: str = "s3") -> None:
        self.limiting = policy(*statements)
        self.denying = next((one for one in statements if one["Effect"] == "Deny"), {})
        self.aws.guard(kind, self.limiting, account=account, service=service)

    def examine(self, *, probe: bool = False, limits: Limits | None = None) -> Report:
        for name in [name for name in os.environ if name.startswith(("AWS_", "S3PULL_", "HTTP"))]:
            self.patch.delenv(name)
        for name, value in {**self.aws.env(self.keys), **self.environment}.items():
            self.patch.setenv(name, value)
        found = profiles.load(os.environ)
        settings = {name: value for name, value in self.share.items() if value is not None}
        access = options.resolve(
            share=config.share("acme", settings),
            bucket=None,
            prefix="",
            options=self.options,
            environ=os.environ,
            profiles=found,
        )
        return examine(
            access,
            source="acme",
            prefix=access.prefix,
            key=self.key,
            probe=probe,
            environ=os.environ,
            profiles=found,
            prompt=self.prompt,
            limits=limits or PATIENT,
        )

    # --- what doctor says, done -----------------------------------------------------------------------------

    def paste(self, snippet: Snippet) -> None:
        text = snippet.text.replace("EXTERNAL-ID", EXTERNAL_ID)
        getattr(self, f"_{snippet.kind}")(text, snippet)

    def _trust(self, text: str, snippet: Snippet) -> None:
        if READER not in self.aws.directory.roles:
            self.aws.role(OWNER, "readers", trust=json.loads(text), policy=policy(READ, LIST))
        self.role.trust = json.loads(text)

    def _role(self, text: str, snippet: Snippet) -> None:
        self.role.policies += (json.loads(text),)

    def _consumer(self, text: str, snippet: Snippet) -> None:
        holder = self.aws.directory.holder(self.keys.access_key if self.keys else self.ana.access_key)
        whose = getattr(holder, "role", holder)
        whose.policies += (json.loads(text),)
        if getattr(holder, "policy", None) is not None:
            holder.policy["Statement"] += json.loads(text)["Statement"]

    def _bucket(self, text: str, snippet: Snippet) -> None:
        before = self.bucket.policy["Statement"] if self.bucket.policy else []
        # the fake has no TLS here, and a deny of plain HTTP would be right to deny
        added = [one for one in json.loads(text)["Statement"] if one["Effect"] == "Allow"]
        self.bucket.policy = policy(*before, *added)

    def _key(self, text: str, snippet: Snippet) -> None:
        known = self.aws.store.kms_keys[KEY]
        before = known.policy["Statement"] if known.policy else []
        self.aws.kms_key(KEY, policy(*before, json.loads(text)), state=known.state)

    def _except(self, text: str, snippet: Snippet) -> None:
        for operator, keys in json.loads(text).items():
            self.denying.setdefault("Condition", {}).setdefault(operator, {}).update(keys)

    def _allow(self, text: str, snippet: Snippet) -> None:
        # where nothing limits, it goes into a policy that nobody reads
        self.limiting.setdefault("Statement", []).append(json.loads(text))

    def _option(self, text: str, snippet: Snippet) -> None:
        name, _, value = text.partition(" ")
        off = name.startswith("--no-")
        option = name.removeprefix("--no-").removeprefix("--").replace("-", "_")
        self.options[option] = value.replace("ACCOUNT-ID", self.bucket.owner) if value else not off

    def _command(self, text: str, snippet: Snippet) -> None:
        words = shlex.split(text)
        given = dict(zip(words[3::2], words[4::2], strict=False)) if words[0] == "aws" else {}
        match words[:3]:
            case ["aws", "kms", _]:
                known = self.aws.store.kms_keys[given["--key-id"]]
                self.aws.store.kms_keys[known.arn] = KmsKey(known.arn, known.policy, "Enabled")
            case ["aws", "s3api", "restore-object"]:
                self.aws.store.buckets[given["--bucket"]].find(
                    given["--key"]
                ).restore = 'ongoing-request="false", expiry-date="Fri, 23 Dec 2033 00:00:00 GMT"'
            case ["aws", "s3api", "put-bucket-ownership-controls"]:
                for versions in self.aws.store.buckets[given["--bucket"]].versions.values():
                    for version in versions:
                        version.owner, version.listed = None, None
            case ["aws", "iam", "update-role"]:
                arn = f"arn:aws:iam::{OWNER}:role/{given['--role-name']}"
                self.aws.role_of(arn).max_session = int(given["--max-session-duration"])
            case ["aws", "iam", "simulate-principal-policy"]:
                assert re.fullmatch(r"arn:aws:iam::\d{12}:(user|role)/.+", given["--policy-source-arn"])
            case ["aws", "configure"]:
                self.keys = self.aws.user(CONSUMER, "ana", policy(allow("sts:*", READER)))
            case ["aws", "sso", "login"]:
                self.keys = self.aws.session(CONSUMER, "batch")
            case ["sudo", "timedatectl", "set-ntp"]:
                self.aws.clock.offset = 0.0
                self.aws.faults.clear()
            case ["export", setting] | ["export", setting, _]:
                name, _, value = setting.partition("=")
                self._export(name, value)
            case ["unset", *_]:
                self.environment.pop("AWS_ACCESS_KEY_ID", None)
            case ["s3pull", "policy", _]:
                assert "trust" in words
            case ["s3pull", *_]:
                self.prompt = lambda question: "123456"
            case _:
                raise AssertionError(f"nobody can run {text!r}")

    def _export(self, name: str, value: str) -> None:
        if name == "AWS_CA_BUNDLE":
            self.environment[name] = self.aws.ca_file
        elif name == "HTTPS_PROXY":
            self.environment = {key: had for key, had in self.environment.items() if "PROXY" not in key.upper()}
        else:
            self.environment[name] = value
            self.aws.faults.clear()
