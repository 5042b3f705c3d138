"""How each client is asked for the same work, as its own manual says.

No client is asked to skip a check that it would make against S3. Two are helped: rclone's four transfers are its
users' first complaint, so it gets 64 of all; and aws-cli is told to use its client in C (CRT) on any machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from objects import BUCKET
from server import Nginx

#: the work that a peer can do is named by its keys
GET, LIST, SYNC = "get", "list", "sync"

#: not what a search finds first: that may be its first version, which is another program
AWS = "/usr/bin/aws"


class Job(NamedTuple):
    """What to do. `source` is a key, or a prefix that ends in `/`; `target` the folder to fill or to compare."""

    work: str
    source: str
    target: Path
    endpoint: str

    @property
    def tree(self) -> bool:
        return self.source.endswith("/")

    @property
    def uri(self) -> str:
        return f"s3://{BUCKET}/{self.source}"


class Peer(NamedTuple):
    """A client: its name in the table, its program, its arguments for a job (None: it cannot do that), and how it
    tells its version. `report`: what makes it print a JSON line an object, with whether it was verified.

    `reference`: it is not a rival, but shows what the machine gives. `synced`: what it wrote is on the disk when it
    ends, as it is with s3pull unless told otherwise.
    """

    name: str
    program: str
    arguments: Callable[[Job], list[str] | None]
    version: str = "--version"
    report: tuple[str, ...] = ()
    ours: bool = False
    reference: bool = False
    synced: bool = False


def program(name: str) -> str | None:
    """Where a program is: beside this Python, or on the PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def version(peer: Peer) -> str:
    """The first line that the peer prints about itself."""
    told = subprocess.run([program(peer.program), peer.version], capture_output=True, text=True).stdout
    first = told.strip().splitlines()[0] if told.strip() else "?"
    words = " ".join(first.split()[:2])
    return words if peer.program in words else f"{peer.name} {words}"


def environment(site: Nginx) -> dict[str, str]:
    """What every peer sees: keys, region, the CA, and a home of its own; nothing of the user's."""
    home = site.folder / "home"
    config = home / ".aws" / "config"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("[default]\ns3 =\n  preferred_transfer_client = crt\n")
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
    access = ["--no-assume", "--endpoint-url", job.endpoint]
    match job.work:
        case "get":
            return ["get", *access, job.uri, f"{job.target}/"]
        case "sync":
            return ["sync", *access, job.uri, str(job.target)]
        case _:
            return ["ls", "-r", *access, job.uri]


def s3pull_not_durable(job: Job) -> list[str] | None:
    return [*s3pull(job), "--no-durable"] if job.work == GET else None


def s3pull_unverified(job: Job) -> list[str] | None:
    """Checksums switched off, from outside: what they cost is the difference to `s3pull --no-durable`."""
    if job.work != GET:
        return None
    return [str(Path(__file__).with_name("unverified.py")), *s3pull(job), "--no-durable"]


def s5cmd(job: Job) -> list[str]:
    wildcard = "*" if job.tree else ""
    words = {GET: ["cp", job.uri + wildcard, f"{job.target}/"], LIST: ["ls", job.uri + wildcard]}
    words[SYNC] = ["sync", job.uri + wildcard, f"{job.target}/"]
    return ["--endpoint-url", job.endpoint, *words[job.work]]


def rclone(job: Job) -> list[str]:
    remote = f":s3,provider=Other,env_auth=true,list_version=2,endpoint='{job.endpoint}':{BUCKET}/{job.source}"
    many = ["--transfers", "64", "--checkers", "64", "--multi-thread-streams", "16", "--multi-thread-cutoff", "64M"]
    words = {GET: ["copy", remote, str(job.target)], LIST: ["lsf", "-R", "--files-only", remote]}
    words[SYNC] = ["copy", "--size-only", remote, str(job.target)]
    return ["--config", os.devnull, *many, "--fast-list", *words[job.work]]


def aws(job: Job) -> list[str]:
    target = f"{job.target}/"
    words = {
        GET: ["cp", "--only-show-errors", *(["--recursive"] if job.tree else []), job.uri, target],
        LIST: ["ls", "--recursive", job.uri],
        SYNC: ["sync", "--only-show-errors", job.uri, target],
    }
    return ["--endpoint-url", job.endpoint, "s3", *words[job.work]]


def curl(job: Job) -> list[str] | None:
    """One stream, nothing checked: what the machine gives."""
    if job.tree or job.work != GET:
        return None
    return ["-sSf", "-o", f"{job.target}/{job.source}", f"{job.endpoint}/{BUCKET}/{job.source}"]


def then_synced(name: str, arguments: Callable[[Job], list[str]]) -> Callable[[Job], list[str] | None]:
    """The same, and one syncfs(2) when it is done, which brings all files and names to the disk."""

    def both(job: Job) -> list[str] | None:
        if job.work != GET:
            return None
        return ["-c", '"$@" && sync -f "$0"', str(job.target), program(name) or name, *arguments(job)]

    return both


PEERS = (
    Peer("s3pull", "s3pull", s3pull, report=("--json",), ours=True, synced=True),
    Peer("s3pull --no-durable", "s3pull", s3pull_not_durable, report=("--json",), ours=True),
    Peer("s3pull, not verified", sys.executable, s3pull_unverified, ours=True),
    Peer("s5cmd", "s5cmd", s5cmd, "version"),
    Peer("s5cmd, then sync", "sh", then_synced("s5cmd", s5cmd), synced=True),
    Peer("rclone", "rclone", rclone, "version"),
    Peer("rclone, then sync", "sh", then_synced("rclone", rclone), synced=True),
    Peer("aws-cli", AWS, aws),
    Peer("curl", "curl", curl, reference=True),
)
