"""How each client is asked for the same download, as its own manual says, and with its own defaults where they serve.

No client is asked to skip a check that it would make against S3. rclone's four transfers are its users' first
complaint, so it gets 64; s5cmd has 256 workers by default.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from objects import BUCKET
from server import Nginx


class Job(NamedTuple):
    """What to download to where. `source` is a key, or a prefix that ends in `/`."""

    source: str
    target: Path
    endpoint: str

    @property
    def tree(self) -> bool:
        return self.source.endswith("/")


class Peer(NamedTuple):
    """A client: its name in the table, its program, its arguments for a job, and how it tells its version.

    `report` are the arguments that make it print, one JSON line an object, whether that object was verified.
    """

    name: str
    program: str
    arguments: Callable[[Job], list[str]]
    version: str = "--version"
    report: tuple[str, ...] = ()


def program(name: str) -> str | None:
    """Where a program is: beside this Python, or on the PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def version(peer: Peer) -> str:
    """The first line that the peer prints about itself."""
    told = subprocess.run([program(peer.program), peer.version], capture_output=True, text=True).stdout
    first = told.strip().splitlines()[0] if told.strip() else "?"
    return first if peer.program in first else f"{peer.program} {first}"


def environment(site: Nginx) -> dict[str, str]:
    """What every peer sees: keys, region, the CA, and a home of its own; nothing of the user's."""
    home = site.folder / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CA_BUNDLE": str(site.ca_file),
        "SSL_CERT_FILE": str(site.ca_file),
    }


def s3pull(job: Job) -> list[str]:
    return ["get", "--no-assume", "--endpoint-url", job.endpoint, f"s3://{BUCKET}/{job.source}", f"{job.target}/"]


def s3pull_not_durable(job: Job) -> list[str]:
    return [*s3pull(job), "--no-durable"]


def s5cmd(job: Job) -> list[str]:
    wildcard = "*" if job.tree else ""
    return ["--endpoint-url", job.endpoint, "cp", f"s3://{BUCKET}/{job.source}{wildcard}", f"{job.target}/"]


def rclone(job: Job) -> list[str]:
    remote = f":s3,provider=Other,env_auth=true,list_version=2,endpoint='{job.endpoint}':{BUCKET}/{job.source}"
    return ["copy", "--config", os.devnull, "--transfers", "64", "--fast-list", remote, str(job.target)]


PEERS = (
    Peer("s3pull", "s3pull", s3pull, report=("--json",)),
    Peer("s3pull --no-durable", "s3pull", s3pull_not_durable, report=("--json",)),
    Peer("s5cmd", "s5cmd", s5cmd, "version"),
    Peer("rclone", "rclone", rclone, "version"),
)
