"""FakeAws: two services, their accounts and buckets, on one local port, with a memory of every request.

    with FakeAws() as aws:
        ana = aws.user("222222222222", "ana")
        role = aws.role("111111111111", "reader", trust={"222222222222": "external-id"})
        aws.bucket("acme", owner="111111111111")
        aws.put("acme", "2026/a.csv", b"...")
        subprocess.run([...], env=aws.env(ana))
        assert aws.count("AssumeRole") == 1

State and wiring only: what STS answers is in sts.py, what S3 answers in s3.py, who may do what in policies.py, how
answers go wrong in faults.py, page_faults.py and, by chance, seeded.py.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self

from tests.fakes import s3, sigv4, sts
from tests.fakes import tls as authority
from tests.fakes.bodies import Body, Held
from tests.fakes.buckets import AccessPoint, Bucket, State, Version
from tests.fakes.faults import Action, Fault, Match, at, paced
from tests.fakes.http import Request, Response, Server
from tests.fakes.identities import READ_ONLY, Directory, Keys, Role, Session
from tests.fakes.policies import ALLOW_ALL, Document, Guard
from tests.fakes.refusals import Refusal
from tests.fakes.seeded import Seeded

OWNER = "111111111111"
#: where container credentials are served; no bucket's name starts with a dot
CONTAINER = "/.container/"
NOWHERE = os.devnull


@dataclass
class Recorded:
    """One request and what became of it. `bytes_sent` counts body bytes as they go out."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    action: str
    bucket: str | None
    key: str | None
    #: the ARN of the access point that was named, or None
    access_point: str | None
    #: what STS was asked (AssumeRole's form fields)
    form: dict[str, str]
    client_port: int
    request_id: str
    host_id: str
    when: float
    access_key: str | None = None
    status: int = 0
    code: str | None = None
    bytes_sent: int = 0
    faults: tuple[str, ...] = ()

    def went(self, count: int) -> None:
        self.bytes_sent += count


@dataclass
class Clock:
    """The services' time is the machine's plus `offset` seconds."""

    offset: float = 0.0

    def now(self) -> float:
        return time.time() + self.offset


class FakeAws:
    """The services of any number of accounts. Thread-safe; starts when it is made, ends with `stop` or `with`."""

    def __init__(self, tls: bool = False) -> None:
        self.clock = Clock()
        self.directory = Directory(self.clock.now)
        self.store = State()
        #: seconds before the first byte of every answer
        self.latency = 0.0
        #: bytes/s of each connection, or None
        self.bandwidth: float | None = None
        #: S3 requests per second before 503 SlowDown, or None
        self.throttle: float | None = None
        #: what a wrong region in the credential scope gets: 'malformed' (400) or 'redirect' (301)
        self.wrong_region = "malformed"
        #: True: AssumeRole's denials say that the trust policy is the reason, as AWS may
        self.trust_reasons = False
        #: True: an MFA code is good for one AssumeRole, as AWS's are
        self.single_use_codes = False
        #: SCPs and RCPs (by account), and the caller's VPC endpoint policy: see `guard`
        self.guards: list[tuple[str | None, Guard]] = []
        self.requests: list[Recorded] = []
        self.faults: list[Fault] = []
        self._seeded: Seeded | None = None
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.tls = tls
        self.server = Server(self._answer, authority.server_context() if tls else None)

    # --- life -------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server.port}"

    @property
    def ca_file(self) -> str:
        """The PEM of the CA to trust."""
        return str(authority.authority()[0])

    def stop(self) -> None:
        self.server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def env(self, keys: Keys | None = None, *, region: str = "us-east-1") -> dict[str, str]:
        """The AWS variables of a process that uses these keys and this server, and nothing else of the machine's."""
        found = {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_REGION": region,
            "AWS_CONFIG_FILE": NOWHERE,
            "AWS_SHARED_CREDENTIALS_FILE": NOWHERE,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if keys:
            found |= {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
            if keys.token:
                found["AWS_SESSION_TOKEN"] = keys.token
        if self.tls:
            found["AWS_CA_BUNDLE"] = self.ca_file
        return found

    # --- accounts ---------------------------------------------------------------------------------------

    def container_env(self, account: str, role: str) -> dict[str, str]:
        """The variables of an ECS task or EKS pod of this role, whose credentials come from an endpoint of ours."""
        keys = self.session(account, role, "task")
        found = self.env()
        return found | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}{CONTAINER}{keys.access_key}"}

    def user(
        self, account: str, name: str, policy: Document | None = ALLOW_ALL, *, mfa_code: str | None = None
    ) -> Keys:
        """Long-term keys of an IAM user. `policy` None: no permissions at all. With `mfa_code` it has a device too."""
        return self.directory.add_user(account, name, policy, mfa_code)

    def role(
        self,
        account: str,
        name: str,
        trust: Mapping[str, Any],
        policy: Document | None = READ_ONLY,
        *,
        max_session: int = 3600,
        mfa_serial: str | None = None,
        mfa_code: str | None = None,
        tags: bool = True,
        path: str = "/",
        boundary: Document | None = None,
        packed: int = 0,
    ) -> str:
        """A role; returns its ARN. `trust`: {account or ARN: external ID or None}, or a whole trust policy.

        `tags`: whether the first form also allows sts:TagSession and sts:SetSourceIdentity. With `mfa_serial` and
        `mfa_code` it demands that device. `packed` is the percentage of the packed policy budget that is used up
        beforehand (as EKS Pod Identity's tags do).
        """
        return self.directory.add_role(
            account, name, trust, policy, max_session, mfa_serial, mfa_code, tags, path, boundary, packed
        )

    def session(self, account: str, role: str, name: str = "ana", *, lifetime: float = 3600) -> Keys:
        """Keys of a session of that role, made (and allowed all) where it does not exist: SSO, EC2, ECS, EKS."""
        return self.directory.open_session(account, role, name, lifetime)

    def role_of(self, arn: str) -> Role:
        return self.directory.roles[arn]

    def expire_sessions(self, role: str | None = None) -> None:
        """Every session so far (of this role ARN) ends now."""
        for session in self.sessions(role):
            session.expires = self.clock.now() - 1

    def revoke_sessions(self) -> None:
        """Every session so far is denied everything, by a policy of its role that names the moment."""
        moment = datetime.fromtimestamp(self.clock.now(), UTC).isoformat()
        older = {"DateLessThan": {"aws:TokenIssueTime": moment}}
        deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": older}
        for role in {session.role.arn: session.role for session in self.sessions()}.values():
            role.policies = (*role.policies, {"Version": "2012-10-17", "Statement": [deny]})

    def sessions(self, role: str | None = None) -> list[Session]:
        return [one for one in self.directory.sessions() if role in (None, one.role.arn)]

    def guard(
        self,
        kind: str,
        document: Document,
        *,
        account: str | None = None,
        arn: str | None = None,
        service: str = "s3",
    ) -> None:
        """An SCP (`account`: the caller's), an RCP (the resource's) or, for all, a service's VPC endpoint policy."""
        self.guards.append((account, Guard(kind, document, arn, service)))

    # --- buckets ----------------------------------------------------------------------------------------

    def bucket(
        self,
        name: str,
        owner: str = OWNER,
        region: str = "us-east-1",
        policy: Document | None = None,
        versioning: bool = False,
        *,
        requester_pays: bool = False,
    ) -> Bucket:
        return self.store.add_bucket(Bucket(name, owner, region, policy, versioning, requester_pays))

    def access_point(self, name: str, bucket: str, account: str = OWNER) -> AccessPoint:
        """Reached by Host `NAME-ACCOUNT.…` or its `alias` as a bucket; permissions are asked for on its `arn`."""
        region = self.store.buckets[bucket].region
        return self.store.add_access_point(AccessPoint(name, account, region, bucket))

    def kms_key(self, arn: str, policy: Document | None = None, *, state: str = "Enabled") -> str:
        """A customer key. `policy` None: it leaves that to the account's IAM. States: Disabled, PendingDeletion."""
        return self.store.add_kms_key(arn, policy, state)

    def put(
        self,
        bucket: str | None,
        key: str | None,
        body: bytes | Body = b"",
        *,
        parts: list[int] | None = None,
        checksum: str | None = "CRC64NVME",
        checksum_type: str | None = None,
        encryption: str | None = "AES256",
        kms_key: str | None = None,
        storage_class: str = "STANDARD",
        restore: str | None = None,
        archive_status: str | None = None,
        last_modified: float | None = None,
        etag: str | None = None,
        owner: str | None = None,
        sse_c: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Put an object and return its ETag, without quotes.

        `parts`: sizes of a multipart upload. `encryption`: 'AES256', 'aws:kms' or None. `etag` overrides (give one
        to huge bodies whose MD5 nobody needs). `owner`: an account other than the bucket's. `restore`: the value
        of x-amz-restore. `headers`: further ones that GET and HEAD return.
        """
        assert bucket is not None and key is not None
        version = Version(
            key=key,
            body=Held(body) if isinstance(body, bytes) else body,
            last_modified=self.clock.now() if last_modified is None else last_modified,
            parts=tuple(parts) if parts else None,
            algorithm=checksum,
            checksum_type=checksum_type,
            encryption=encryption,
            kms_key=kms_key,
            storage_class=storage_class,
            restore=restore,
            archive_status=archive_status,
            owner=owner,
            sse_c=sse_c,
            headers=dict(headers or {}),
            given_etag=etag,
        )
        return self.store.put(bucket, version).etag

    def delete(self, bucket: str, key: str) -> None:
        self.store.delete(bucket, key, self.clock.now())

    # --- what was asked, and what goes wrong ------------------------------------------------------------

    def asked(self, action: str | None = None, **fields: Any) -> list[Recorded]:
        """The requests so far with this action and these values (`status=200`, `key="a"`)."""
        return [
            one
            for one in list(self.requests)
            if action in (None, one.action) and all(getattr(one, name) == value for name, value in fields.items())
        ]

    def count(self, action: str | None = None, **fields: Any) -> int:
        return len(self.asked(action, **fields))

    def fault(
        self,
        match: Match | Mapping[str, Any] | str | Callable[[Recorded], bool] | None,
        action: Action,
        times: int | None = 1,
    ) -> Fault:
        """Let requests that match go wrong, `times` times (None: always).

        `match`: `at(...)`, the same as a dict, an operation's name, a predicate, or None for every request.
        """
        if isinstance(match, str):
            match = at(match)
        elif isinstance(match, Mapping):
            match = at(**match)
        elif callable(match):
            match = at(where=match)
        fault = Fault(match or at(), action, times)
        self.faults.append(fault)
        return fault

    def seeded_faults(self, seed: int, rate: float, **menu: Any) -> None:
        """Let this share of S3 reads go wrong, the same way for the same seed; rate 0 ends it. `menu`: see `Seeded`."""
        self._seeded = Seeded(seed, rate, **menu) if rate else None

    def faults_served(self) -> dict[str, int]:
        """How many there were of each of the seeded faults since they began, by `operation: name`."""
        return dict(self._seeded.served) if self._seeded else {}

    # --- one request ------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Response:
        record = self._record(request)
        if self.latency:
            self.server.stopping.wait(self.latency)
        actions = [action for fault in self.faults if (action := fault.take(record))]
        if self._seeded and not actions and (action := self._seeded.take(record)):
            actions.append(action)
        record.faults = tuple(action.name for action in actions)
        try:
            response = self._reply(request, record, actions)
        except Refusal as refusal:
            record.code = refusal.code
            response = (
                refusal.as_s3(record.request_id, record.host_id)
                if record.action not in sts.ACTIONS
                else refusal.as_sts(record.request_id)
            )
        record.status = response.status
        ids = (
            {"x-amzn-RequestId": record.request_id}
            if record.action in sts.ACTIONS
            else {"x-amz-request-id": record.request_id, "x-amz-id-2": record.host_id, "Server": "AmazonS3"}
        )
        response.headers = {**ids, "Date": formatdate(self.clock.now(), usegmt=True), **response.headers}
        response.sent = record.went
        for action in actions:
            if action.after:
                action.after(self, record, response)
            if action.wire:
                response.wires.append(action.wire(self, record, response))
        if self.bandwidth:
            response.wires.append(paced(self, self.bandwidth))
        return response

    def _record(self, request: Request) -> Recorded:
        form = sts.form_of(request)
        if request.path.startswith(CONTAINER):
            route = s3.Route("ContainerCredentials")
        else:
            route = s3.Route(form["Action"]) if form else s3.route(request, self.store)
        number = next(self._ids)
        record = Recorded(
            method=request.method,
            path=request.path,
            query=dict(request.query_pairs),
            headers=request.headers,
            action=route.action,
            bucket=route.bucket,
            key=route.key,
            access_point=route.access_point,
            form=form,
            client_port=request.client_port,
            request_id=f"{number:016X}",
            host_id=f"{number:08d}hostid/fake==",
            when=self.clock.now(),
        )
        try:
            if signature := sigv4.parse(request):
                record.access_key = signature.access_key
        except (ValueError, KeyError):
            pass  # answered below, by the service that was asked
        self.requests.append(record)
        return record

    def _reply(self, request: Request, record: Recorded, actions: list[Action]) -> Response:
        for action in actions:
            if action.before and (instead := action.before(self, record, request)):
                return instead
        if record.action in sts.ACTIONS:
            return sts.answer(self, request, record)
        if request.path.startswith(CONTAINER):
            return self._container_credentials(request.path.removeprefix(CONTAINER))
        self._hold_back()
        return s3.answer(self, request, record)

    def _container_credentials(self, access_key: str) -> Response:
        """https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"""
        session = self.directory.holder(access_key)
        assert isinstance(session, Session)
        if session.expires < self.clock.now():
            session = self.directory.add_session(session.role, session.name, 3600)
        document = {
            "RoleArn": session.role.arn,
            "AccessKeyId": session.keys.access_key,
            "SecretAccessKey": session.keys.secret_key,
            "Token": session.keys.token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.expires)),
        }
        return Response(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _hold_back(self) -> None:
        if self.throttle is None:
            return
        now = time.monotonic()
        with self._lock:
            while self._recent and self._recent[0] < now - 1:
                self._recent.popleft()
            if len(self._recent) >= self.throttle:
                raise Refusal(503, "SlowDown", "Please reduce your request rate.")
            self._recent.append(now)
