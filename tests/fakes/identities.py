"""Users, roles and sessions: who a key belongs to, and as which principal it acts.

Nothing here checks signatures or policies; see sigv4.py, sts.py and policies.py.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.policies import ALLOW_ALL, Document, Principal, Values, check

READ_ONLY: Document = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*", "kms:Decrypt"], "Resource": "*"}],
}


@dataclass(frozen=True)
class Keys:
    """What a client signs with."""

    access_key: str
    secret_key: str
    token: str | None = None


@dataclass
class User:
    account: str
    name: str
    user_id: str
    keys: Keys
    policies: tuple[Document, ...]
    mfa_serial: str | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:user/{self.name}"

    def principal(self) -> Principal:
        context: dict[str, Values] = {
            "aws:PrincipalArn": self.arn,
            "aws:PrincipalAccount": self.account,
            "aws:PrincipalType": "User",
            "aws:username": self.name,
            "aws:userid": self.user_id,
        }
        return Principal(self.account, self.arn, (), self.policies, context=context)


@dataclass
class Role:
    account: str
    name: str
    path: str
    role_id: str
    trust: Document
    policies: tuple[Document, ...]
    max_session: int
    boundary: Document | None
    packed: int

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


@dataclass
class Session:
    """One AssumeRole. `expires` may be moved by tests; `tags` and `source_identity` are what was asked for."""

    role: Role
    name: str
    keys: Keys
    expires: float
    policy: Document | None = None
    source_identity: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    issued: float = 0.0

    @property
    def arn(self) -> str:
        return f"arn:aws:sts::{self.role.account}:assumed-role/{self.role.name}/{self.name}"

    @property
    def user_id(self) -> str:
        return f"{self.role.role_id}:{self.name}"

    def principal(self) -> Principal:
        context: dict[str, Values] = {
            "aws:PrincipalArn": self.role.arn,
            "aws:PrincipalAccount": self.role.account,
            "aws:PrincipalType": "AssumedRole",
            "aws:userid": self.user_id,
            # AssumeRole does not pass MFA on: API_AssumeRole, "Using MFA with AssumeRole"
            "aws:MultiFactorAuthPresent": "false",
            "aws:TokenIssueTime": datetime.fromtimestamp(self.issued, UTC).isoformat(),
            **{f"aws:PrincipalTag/{name}": value for name, value in self.tags.items()},
        }
        if self.source_identity:
            context["aws:SourceIdentity"] = self.source_identity
        role = self.role
        names = (role.arn, role.role_id)
        return Principal(role.account, self.arn, names, role.policies, role.boundary, self.policy, context)


class Directory:
    """All accounts' users, roles, sessions and MFA devices. Keys are made up from a counter, so runs repeat."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.roles: dict[str, Role] = {}
        self.mfa_codes: dict[str, str] = {}
        #: OIDC tokens that AssumeRoleWithWebIdentity accepts, with their subject
        self.web_tokens: dict[str, str] = {}
        self._holders: dict[str, User | Session] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add_user(self, account: str, name: str, policy: Document | None, mfa_code: str | None) -> Keys:
        user = User(account, name, self._id("AIDA"), self._keys("AKIA"), (check(policy),) if policy else ())
        if mfa_code:
            user.mfa_serial = f"arn:aws:iam::{account}:mfa/{name}"
            self.mfa_codes[user.mfa_serial] = mfa_code
        self._holders[user.keys.access_key] = user
        return user.keys

    def add_role(
        self,
        account: str,
        name: str,
        trust: Mapping[str, Any],
        policy: Document | None,
        max_session: int,
        mfa_serial: str | None,
        mfa_code: str | None,
        tags: bool,
        path: str,
        boundary: Document | None,
        packed: int,
    ) -> str:
        whole = trust if "Statement" in trust else trust_policy(trust, tags=tags, mfa=mfa_serial is not None)
        if mfa_serial and mfa_code:
            self.mfa_codes[mfa_serial] = mfa_code
        policies = (check(policy),) if policy else ()
        role = Role(
            account, name, path, self._id("AROA"), check(whole, trust=True), policies, max_session, boundary, packed
        )
        self.roles[role.arn] = role
        return role.arn

    def open_session(self, account: str, role: str, name: str, lifetime: float) -> Keys:
        arn = f"arn:aws:iam::{account}:role/{role}"
        if arn not in self.roles:
            self.add_role(account, role, {account: None}, ALLOW_ALL, 43200, None, None, True, "/", None, 0)
        return self.add_session(self.roles[arn], name, lifetime).keys

    def add_session(self, role: Role, name: str, lifetime: float, **facts: Any) -> Session:
        keys = self._keys("ASIA")
        token = hashlib.sha512(keys.secret_key.encode()).hexdigest() * 4
        now = self.now()
        whole = Keys(keys.access_key, keys.secret_key, f"FwoGZXIvYXdz{token}")
        session = Session(role, name, whole, now + lifetime, issued=now, **facts)
        self._holders[keys.access_key] = session
        return session

    def holder(self, access_key: str) -> User | Session | None:
        return self._holders.get(access_key)

    def sessions(self) -> list[Session]:
        return [one for one in list(self._holders.values()) if isinstance(one, Session)]

    def forget(self, keys: Keys) -> None:
        """The key no longer exists."""
        self._holders.pop(keys.access_key)

    def _keys(self, prefix: str) -> Keys:
        number = self._next()
        secret = hashlib.sha256(f"secret {number}".encode()).hexdigest()[:40]
        return Keys(f"{prefix}{number:016d}", secret)

    def _id(self, prefix: str) -> str:
        return f"{prefix}{self._next():017d}"

    def _next(self) -> int:
        with self._lock:
            return next(self._numbers)


def trust_policy(trust: Mapping[str, str | None], *, tags: bool = True, mfa: bool = False) -> Document:
    """ACCESS.md 4: the external ID is asked of AssumeRole alone, tags and source identity have their own statement."""
    found: list[Document] = []
    for who, external_id in trust.items():
        principal = {"AWS": who if who.startswith("arn:") or who == "*" else f"arn:aws:iam::{who}:root"}
        condition: dict[str, Any] = {}
        if external_id is not None:
            condition["StringEquals"] = {"sts:ExternalId": external_id}
        if mfa:
            condition["Bool"] = {"aws:MultiFactorAuthPresent": "true"}
        allow = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        found.append({**allow, "Condition": condition} if condition else allow)
        if tags:
            found.append(
                {"Effect": "Allow", "Principal": principal, "Action": ["sts:TagSession", "sts:SetSourceIdentity"]}
            )
    return {"Version": "2012-10-17", "Statement": found}
