"""Fixtures of the servers that tests talk to: our own fake, moto, and `rclone serve s3`.

moto and rclone run once a session and are handed out with nothing left from the test before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeAws

ACCESS_KEY, SECRET_KEY = "AKIATESTTESTTESTTEST", "test-secret-key"


@dataclass
class S3Server:
    """An S3 that somebody else wrote. `env` is what a process needs to reach it with its one key."""

    url: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = "us-east-1"
    _clients: list[Any] = field(default_factory=list, repr=False)

    @property
    def client(self) -> Any:
        """A boto3 client to fill it with."""
        if not self._clients:
            import boto3
            from botocore.config import Config

            self._clients.append(
                boto3.client(
                    "s3",
                    endpoint_url=self.url,
                    aws_access_key_id=self.access_key,
                    aws_secret_access_key=self.secret_key,
                    region_name=self.region,
                    config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
                )
            )
        return self._clients[0]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass
class RcloneServer(S3Server):
    """rclone's: a bucket is a folder below `root`, and tests may write files there directly."""

    root: Path = Path()

    def bucket(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        return folder


@pytest.fixture
def fake_aws() -> Iterator[FakeAws]:
    with FakeAws() as aws:
        yield aws


@pytest.fixture
def fake_aws_tls() -> Iterator[FakeAws]:
    with FakeAws(tls=True) as aws:
        yield aws


@pytest.fixture(scope="session")
def moto_process() -> Iterator[S3Server]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def moto_server(moto_process: S3Server) -> Iterator[S3Server]:
    """moto, empty, without IAM enforcement."""
    request = urllib.request.Request(f"{moto_process.url}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    yield moto_process
    moto_process.close()


def tool(name: str) -> str:
    """The path of a program that came with a package of the dev group, or is on the PATH."""
    beside = [Path(sysconfig.get_path("scripts")), Path(sys.executable).parent]
    found = next((shutil.which(name, path=str(folder)) for folder in beside if shutil.which(name, path=folder)), None)
    found = found or shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is neither beside {sys.executable} nor on the PATH")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def rclone_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServer]:
    root = tmp_path_factory.mktemp("rclone")
    port = free_port()
    command = [
        *(tool("rclone"), "serve", "s3", str(root), "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", os.devnull, "--dir-cache-time", "0s"),
    ]
    log = (root.parent / f"{root.name}.log").open("wb")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for(port, process, Path(log.name))
        yield RcloneServer(f"http://127.0.0.1:{port}", root=root)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@pytest.fixture
def rclone_server(rclone_process: RcloneServer) -> Iterator[RcloneServer]:
    """rclone's, with no buckets."""
    for folder in rclone_process.root.iterdir():
        shutil.rmtree(folder)
    yield rclone_process
    rclone_process.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not listen on {port}: {log.read_text(errors='replace')}")
