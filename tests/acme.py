"""The data owner `acme` of README and docs: a bucket with objects, a role, a consumer who may assume it, and a folder
in which what the pages print can be typed. Nothing of it is real: the tests' own STS and S3 serve it.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

from tests.fakes import FakeAws

OWNER, CONSUMER = "111122223333", "222222222222"
ROLE = f"arn:aws:iam::{OWNER}:role/acme-readers"
EXTERNAL_ID = "9f4c"
LONG_AGO = 1_780_000_000
#: of one object that takes a while
MODEL = 24 * 1024 * 1024

SHARE_FILE = f"""\
[shares.acme]
bucket = "acme-exports"
role_arn = "{ROLE}"
external_id = "{EXTERNAL_ID}"
"""
PUBLIC = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::some-public-bucket/*",
        }
    ],
}


def objects() -> dict[str, bytes]:
    """Keys and contents of the bucket."""
    chance = random.Random(2026)
    found = {
        "2026/notes.txt": b"the columns changed in July\n",
        "2026/report.csv": b"day,sum\n" + b"".join(b"%d,%d\n" % (day, chance.randrange(1000)) for day in range(365)),
        "2026/a.csv": b"a\n1\n",
        "2025/old.csv": b"old\n",
    }
    found |= {f"2026/{month:02}.parquet": b"PAR1" + chance.randbytes(200_000) + b"PAR1" for month in range(1, 8)}
    found |= {f"2026/07/{day:02}.json": b'{"day": %d}\n' % day for day in range(1, 29)}
    tool = {"tool.bin": chance.randbytes(5000), "LICENSE": b"as is\n"}
    sums = "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in sorted(tool.items()))
    return found | {f"tool/1.2/{name}": body for name, body in {**tool, "SHA256SUMS": sums.encode()}.items()}


class Acme:
    """`folder` is where commands are typed; `env` is the consumer's environment, with a home of its own."""

    def __init__(self, aws: FakeAws, folder: Path) -> None:
        self.aws = aws
        self.folder = folder
        home = folder.parent / "home"
        tools = folder.parent / "bin"
        for one in (folder, home, tools):
            one.mkdir(exist_ok=True)
        aws.role(OWNER, "acme-readers", trust={CONSUMER: EXTERNAL_ID})
        aws.bucket("acme-exports", owner=OWNER, region="eu-west-1")
        aws.bucket("some-public-bucket", owner=OWNER, policy=PUBLIC)
        aws.put("some-public-bucket", "file.csv", b"public\n", last_modified=LONG_AGO)
        for key, body in objects().items():
            aws.put("acme-exports", key, body, last_modified=LONG_AGO)
        (folder / "acme.toml").write_text(SHARE_FILE)
        program = tools / "s3pull"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m s3pull "$@"\n')
        program.chmod(0o755)
        kept = ("LANG", "PYTHONPATH", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
        self.env = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            **aws.env(aws.session(CONSUMER, "etl", "ana")),
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "AWS_CONFIG_FILE": str(home / "aws"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }

    def sh(self, line: str) -> subprocess.CompletedProcess[str]:
        """Type a line into a shell."""
        return subprocess.run(
            ["sh", "-c", line], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=300, check=False,
        )  # fmt: skip
