"""Two AWS accounts in this process, for `s3pull demo`: moto on 127.0.0.1, with IAM enforced and a role to assume.

moto checks signatures and what a role may do, but trusts everybody across accounts: what AssumeRole depends on (who
asks, with which external ID) is checked here, before moto sees the request. Nothing here is for tests of the access
rules, which need more than moto knows.

moto reads the environment as every AWS SDK does: a profile that does not exist turns its denials into 500s. Whoever
starts this clears the AWS variables first. moto comes with the extra `demo`.
"""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from s3pull.errors import UsageError
from s3pull.objects import Credentials

OWNER, CONSUMER = "111111111111", "222222222222"
REGION = "eu-west-1"
BUCKET = "acme-exports"
ROLE_NAME, USER_NAME = "acme-readers", "ana"
ROLE_ARN = f"arn:aws:iam::{OWNER}:role/{ROLE_NAME}"
USER_ARN = f"arn:aws:iam::{CONSUMER}:user/{USER_NAME}"

#: what the role may do, read below one prefix and nothing else
READ_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/2026/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
    ],
}

_DENIED = """\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>\
<Message>{message}</Message></Error><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Emulator:
    """A running pair of accounts: `with Emulator(external_id) as aws:`. Raises UsageError without the extra `demo`.

    `user` are the keys of USER_ARN, who may assume ROLE_ARN with the external ID and do nothing else.
    """

    def __init__(self, external_id: str) -> None:
        try:
            from moto.moto_server.werkzeug_app import (
                DomainDispatcherApplication,
                MotoRequestHandler,
                create_backend_app,
            )
            from werkzeug.serving import make_server
        except ImportError as missing:
            raise UsageError(
                f"the demo needs {missing.name}, which is not installed", hint="pip install 's3pull[demo]'"
            ) from None
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # or it prints every request
        self._moto: Application = DomainDispatcherApplication(create_backend_app)
        self._external_id = external_id
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="emulator", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.user: Credentials | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._post("reset-auth", b"inf")  # moto's state is the process's
        self._post("reset", b"")
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, service: str, credentials: Credentials) -> Any:
        """A botocore client of this emulator."""
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token,
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )

    def furnish(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Make the bucket with its objects, the role and the user; from then on IAM is enforced."""
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": USER_ARN}}
        trust["Condition"] = {"StringEquals": {"sts:ExternalId": self._external_id}}
        owner, consumer = self._account(OWNER), self._account(CONSUMER)
        s3, iam = self.client("s3", owner), self.client("iam", owner)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        for key, body in objects:
            s3.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")
        iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=_policy(trust))
        iam.put_role_policy(RoleName=ROLE_NAME, PolicyName="read", PolicyDocument=json.dumps(READ_POLICY))
        iam = self.client("iam", consumer)
        iam.create_user(UserName=USER_NAME)
        allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE_ARN}
        iam.put_user_policy(UserName=USER_NAME, PolicyName="assume", PolicyDocument=_policy(allow))
        made = iam.create_access_key(UserName=USER_NAME)["AccessKey"]
        self._post("reset-auth", b"0")  # from now on IAM is enforced
        self.user = Credentials(made["AccessKeyId"], made["SecretAccessKey"])

    def _account(self, account: str) -> Credentials:
        """Keys that may do all in an account: before IAM is enforced, moto lets anybody assume any role."""
        sts = self.client("sts", Credentials("anybody", "anything"))
        made = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/setup", RoleSessionName="setup")["Credentials"]
        return Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def _post(self, setting: str, value: bytes) -> None:
        """Change one of moto's own settings."""
        import urllib.request

        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        plain = {"Content-Type": "text/plain"}
        direct.open(urllib.request.Request(f"{self.url}/moto-api/{setting}", value, plain)).close()  # noqa: S310

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI: moto's answer, but for an AssumeRole that the role's trust policy does not allow."""
        if self.user is not None and environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if form.get("Action") == "AssumeRole" and not self._trusted(environ, form):
                return _refuse(form.get("RoleArn", ""), start)
        return self._moto(environ, start)

    def _trusted(self, environ: dict[str, Any], form: dict[str, str]) -> bool:
        asks = environ.get("HTTP_AUTHORIZATION", "")
        return (
            self.user is not None
            and f"Credential={self.user.access_key}/" in asks
            and form.get("RoleArn") == ROLE_ARN
            and form.get("ExternalId") == self._external_id
        )


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _refuse(role_arn: str, start: Callable[..., Any]) -> list[bytes]:
    """STS's denial: it tells a wrong external ID from a missing role as little as AWS does."""
    message = f"User: {USER_ARN} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
    body = _DENIED.format(message=escape(message)).encode()
    start("403 Forbidden", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]
