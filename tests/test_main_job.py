"""The main job as users meet it: a share, a role in another account, real processes, kills and faults.

Each test runs the command itself against the tests' own STS and S3, and looks at stdout, stderr, the exit code and the
files that are left.
"""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from tests.fakes import Held, at, faults
from tests.transcript import run_s3pull, start_s3pull
from tests.waiting import wait_until

MIB = 1 << 20
OWNER, CONSUMER = "111111111111", "222222222222"
EXTERNAL_ID = "Canary-External-Id-5d2f"


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


class Setting:
    """One share `acme`, the owner's role behind it, and a consumer `ana` who may assume it."""

    def __init__(self, aws, home):
        self.aws = aws
        self.ana = aws.user(CONSUMER, "ana")
        self.role = aws.role(OWNER, "reader", trust={CONSUMER: EXTERNAL_ID})
        aws.bucket("acme-exports", owner=OWNER, region="eu-west-1")
        self.env = aws.env(self.ana)
        self.home = home

    def add_share(self, *more):
        args = [
            "share",
            "add",
            "acme",
            "s3://acme-exports/2026/",
            "--role-arn",
            self.role,
            "--external-id",
            EXTERNAL_ID,
        ]
        done = run_s3pull([*args, *more], self.env, self.home)
        assert done.code == 0, done.stderr

    def put(self, name, body, **facts):
        return self.aws.put("acme-exports", f"2026/{name}", body, **facts)

    def run(self, cwd, *args, **kwargs):
        return run_s3pull(args, {**self.env, **kwargs.pop("env", {})}, cwd, **kwargs)

    def start(self, cwd, *args):
        return start_s3pull(args, self.env, cwd)


@pytest.fixture
def acme(fake_aws, isolated):
    setting = Setting(fake_aws, isolated)
    setting.add_share("--region", "eu-west-1")
    return setting


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def parts_in(tree):
    return [name for name in tree if ".s3pull-" in name]


# --- the happy path -----------------------------------------------------------------------------------------


def test_a_share_is_pulled_through_the_owners_role(acme, tmp_path):
    acme.put("a.csv", b"alpha")
    acme.put("sub/b.bin", noise(3 * MIB))
    acme.put("../other", b"refused")
    acme.aws.put("acme-exports", "2025/secret", b"not shared")
    done = acme.run(tmp_path, "get", "acme:")
    assert done.tree == {"acme/a.csv": 5, "acme/sub/b.bin": 3 * MIB}
    assert done.code == 3
    assert done.stdout == ""
    assert "../other" in done.stderr
    assert "2 files, 3.0 MiB" in done.stderr
    assert acme.aws.count("AssumeRole") == 1
    sent = acme.aws.asked("AssumeRole")[0].form
    assert sent["RoleSessionName"] == "ana"
    assert sent["ExternalId"] == EXTERNAL_ID
    assert "acme-exports/2026/*" in sent["Policy"]
    again = acme.run(tmp_path, "get", "acme:", "--json", "-v")
    assert [line["action"] for line in lines(again)[:-1]].count("skipped") == 2
    assert lines(again)[-1]["received"] == 0
    assert acme.aws.count("AssumeRole") == 1


def test_the_json_contract(acme, tmp_path):
    acme.put("a.csv", b"alpha", last_modified=1_700_000_000)
    done = acme.run(tmp_path, "get", "acme:a.csv", "--json")
    assert done.code == 0
    assert done.stderr == ""
    line, summary = lines(done)
    assert line["checksum"]["algorithm"] == "CRC64NVME"
    assert line["checksum"]["verified"] is True
    told = ("schema", "event", "action", "key", "path", "size", "received", "reason")
    assert {name: line[name] for name in told} == {
        "schema": 1, "event": "object", "action": "downloaded", "key": "2026/a.csv", "path": "a.csv", "size": 5,
        "received": 5, "reason": "new",
    }  # fmt: skip
    assert summary["event"] == "summary"
    assert summary["downloaded"] == 1
    assert summary["exit"] == 0
    assert summary["role_arn"] == acme.role
    assert summary["session_name"] == "ana"
    assert (tmp_path / "a.csv").stat().st_mtime == 1_700_000_000


def test_ls_and_cat(acme, tmp_path):
    acme.put("a.csv", b"alpha")
    acme.put("sub/deep/b", b"beta")
    acme.put("sub/c", b"gamma")
    assert acme.run(tmp_path, "ls", "acme:").stdout == "a.csv\nsub/\n"
    assert acme.run(tmp_path, "ls", "-r", "acme:").stdout == "a.csv\nsub/c\nsub/deep/b\n"
    assert acme.run(tmp_path, "ls", "acme:sub/").stdout == "sub/c\nsub/deep/\n"
    assert acme.run(tmp_path, "ls", "acme:**/b").stdout == "sub/deep/b\n"
    assert acme.run(tmp_path, "cat", "acme:a.csv").stdout == "alpha"
    assert acme.run(tmp_path, "cat", "acme:a.csv", "--range", "1-2").stdout == "lp"
    assert acme.run(tmp_path, "get", "acme:a.csv", "-").stdout == "alpha"
    none = acme.run(tmp_path, "cat", "acme:none")
    assert none.code == 4
    assert none.tree == {}


def test_from_file_takes_what_ls_prints(acme, tmp_path):
    acme.put("a.csv", b"alpha")
    acme.put("sub/b", b"beta")
    listing = acme.run(tmp_path, "ls", "-r", "--json", "acme:").stdout
    acme.aws.requests.clear()
    done = acme.run(tmp_path, "get", "acme:", "out", "--from-file", "-", stdin=listing)
    assert done.tree == {"out/a.csv": 5, "out/sub/b": 4}
    assert acme.aws.count("ListObjectsV2") == 0
    assert acme.aws.count("HeadObject") == 0


def test_a_warm_get_imports_neither_boto3_nor_botocore(acme, tmp_path):
    acme.put("a.csv", b"alpha")
    acme.run(tmp_path, "get", "acme:a.csv", "first")
    code = (
        "import sys; from s3pull.cli.app import main; code = main(['get', 'acme:a.csv', 'second']);"
        "print(code, sorted({'boto3', 'botocore', 'keyring', 'tomlkit', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **acme.env},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "0 []\n"
    assert (tmp_path / "second").read_bytes() == b"alpha"


def test_the_region_is_found_and_remembered(fake_aws, isolated, tmp_path):
    acme = Setting(fake_aws, isolated)
    acme.add_share()
    acme.put("a", b"1")
    assert acme.run(tmp_path, "get", "acme:a").code == 0
    acme.put("b", b"2")
    acme.aws.requests.clear()
    assert acme.run(tmp_path, "get", "acme:b").code == 0
    assert [one.status for one in acme.aws.requests] == [200, 200]


# --- kills ----------------------------------------------------------------------------------------------------


def sent_of(aws, key):
    return sum(one.bytes_sent for one in aws.asked("GetObject", key=key))


def test_a_killed_download_goes_on_where_it_was(acme, tmp_path):
    body = Held(noise(48 * MIB))
    acme.put("big", body)
    acme.run(tmp_path, "login", "acme")
    acme.aws.bandwidth = 12 * MIB
    running = acme.start(tmp_path, "get", "acme:big", "--jobs", "2")
    wait_until(lambda: sent_of(acme.aws, "2026/big") > 20 * MIB)
    killed = running.kill()
    assert "big" not in killed.tree
    assert parts_in(killed.tree)
    acme.aws.bandwidth = None
    done = acme.run(tmp_path, "get", "acme:big", "--json")
    line = lines(done)[0]
    assert line["action"] == "resumed"
    assert line["received"] <= 32 * MIB
    assert line["checksum"]["verified"]
    assert (tmp_path / "big").read_bytes() == body.data
    assert done.tree == {"big": 48 * MIB}


def test_ctrl_c_stops_soon_and_says_how_to_go_on(acme, tmp_path):
    acme.put("big", Held(noise(48 * MIB)))
    acme.run(tmp_path, "login", "acme")
    acme.aws.bandwidth = MIB // 4
    running = acme.start(tmp_path, "get", "acme:big", "--jobs", "2")
    wait_until(lambda: sent_of(acme.aws, "2026/big") > MIB)
    running.signal(signal.SIGINT)
    done = running.finish(20)  # to its end it would take 90 s
    assert done.code == 130
    assert "hint: the same command goes on from here" in done.stderr
    assert "Traceback" not in done.stderr
    assert parts_in(done.tree)
    assert "big" not in done.tree


def test_sigterm_exits_143_with_a_summary(acme, tmp_path):
    for n in range(100):
        acme.put(f"{n:03}", noise(MIB, n))
    acme.run(tmp_path, "login", "acme")
    acme.aws.bandwidth = MIB
    running = acme.start(tmp_path, "get", "acme:", "out", "--json", "--jobs", "4")
    wait_until(lambda: sent_of(acme.aws, "2026/003") > 0)
    running.signal(signal.SIGTERM)
    done = running.finish(10)
    assert done.code == 143
    assert [line["event"] for line in lines(done)[-2:]] == ["error", "summary"]
    assert lines(done)[-1]["exit"] == 143


def test_an_object_replaced_between_kill_and_resume_is_wholly_the_new_one(acme, tmp_path):
    acme.put("big", Held(noise(40 * MIB, 1)))
    acme.run(tmp_path, "login", "acme")
    acme.aws.bandwidth = 8 * MIB
    running = acme.start(tmp_path, "get", "acme:big", "--jobs", "2")
    wait_until(lambda: sent_of(acme.aws, "2026/big") > 10 * MIB)
    running.kill()
    new = noise(40 * MIB, 2)
    acme.put("big", Held(new))
    acme.aws.bandwidth = None
    done = acme.run(tmp_path, "get", "acme:big", "--json")
    assert lines(done)[0]["action"] == "downloaded"
    assert (tmp_path / "big").read_bytes() == new


# --- faults ---------------------------------------------------------------------------------------------------

FAULTS = {
    "flipped bit": faults.flip_bit(100),
    "truncated": faults.truncate_at(1000),
    "reset": faults.reset_after(1000),
    "overlong": faults.overlong(5),
    "500": faults.status(500, "InternalError"),
    "503": faults.status(503, "SlowDown"),
    "expired": faults.expire_tokens(),
    "wrong etag": faults.wrong_etag(),
    "error in a 200": faults.ok_with_error_body(),
    "chunked": faults.chunked(),
    "no length": faults.no_content_length(),
    "dropped": faults.drop(),
}


@pytest.mark.parametrize("size", [2000, 5 * MIB, 20 * MIB])
@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_wrong_once_is_tried_again(acme, tmp_path, name, size):
    body = noise(size)
    acme.put("k", body)
    fault = acme.aws.fault(at("GetObject"), FAULTS[name], times=1)
    done = acme.run(tmp_path, "get", "acme:k", "--json")
    assert fault.fired == 1
    assert "Traceback" not in done.stderr
    if done.code == 0:
        assert done.tree == {"k": size}
        assert (tmp_path / "k").read_bytes() == body
        assert lines(done)[0]["checksum"]["verified"]
    else:
        assert name in ("no length", "wrong etag"), done.stdout
        assert "k" not in done.tree
        assert lines(done)[0]["error"]["message"]


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [pytest.param(500, "InternalError", 15, marks=pytest.mark.slow), (403, "AccessDenied", 10)],
)
def test_what_goes_wrong_to_the_end_is_reported_with_code_and_request_id(acme, tmp_path, status, code, exit_code):
    acme.put("k", b"x" * 1000)
    acme.aws.fault(at("GetObject"), faults.status(status, code), times=None)
    done = acme.run(tmp_path, "get", "acme:k", "--json")
    assert done.code == exit_code
    error = lines(done)[0]["error"]
    assert error["code"] == code
    assert error["status"] == status
    assert error["request_id"]
    assert done.tree == {}


def test_a_bit_that_flips_every_time_is_never_a_file(acme, tmp_path):
    acme.put("k", noise(300_000))
    acme.aws.fault(at("GetObject"), faults.flip_bit(7), times=None)
    done = acme.run(tmp_path, "get", "acme:k")
    assert done.code == 6
    assert done.tree == {}
    assert "damaged" in done.stderr


def test_cat_says_afterwards_that_the_bytes_were_wrong(acme, tmp_path):
    acme.put("k", noise(300_000))
    acme.aws.fault(at("GetObject"), faults.flip_bit(7), times=None)
    done = acme.run(tmp_path, "cat", "acme:k")
    assert done.code == 6
    assert "do not use what was written" in done.stderr


def test_an_object_replaced_in_mid_download_is_wholly_the_new_one(acme, tmp_path):
    new = noise(20 * MIB, 2)
    acme.put("k", Held(noise(40 * MIB, 1)))
    acme.aws.fault(at("GetObject", nth=2), faults.replace_object(Held(new), at=MIB))
    done = acme.run(tmp_path, "get", "acme:k", "--jobs", "1")
    assert done.code == 0, done.stderr
    assert (tmp_path / "k").read_bytes() == new
    assert done.tree == {"k": 20 * MIB}


def test_a_session_that_ends_underway_is_renewed_once(acme, tmp_path):
    for n in range(200):
        acme.put(f"{n:03}", b"x" * 1000)
    acme.aws.fault(at("GetObject", nth=50), faults.expire_tokens())
    done = acme.run(tmp_path, "get", "acme:", "out")
    assert done.code == 0, done.stderr
    assert len(done.tree) == 200
    assert acme.aws.count("AssumeRole") == 2


def test_a_denial_of_everything_ends_the_run_with_10(acme, tmp_path):
    for n in range(1000):
        acme.put(f"{n:03}", b"x")
    acme.aws.fault(at("GetObject"), faults.status(403, "AccessDenied", "Access Denied"), times=None)
    done = acme.run(tmp_path, "get", "acme:", "out")
    assert done.code == 10
    assert acme.aws.count("GetObject") < 100


# --- many processes, secrets --------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_processes_on_a_cold_cache_make_one_assume_role_call(acme, tmp_path):
    acme.put("k", b"x" * 1000)
    running = [acme.start(tmp_path, "get", "acme:k", f"copy-{n}") for n in range(20)]
    done = [one.finish() for one in running]
    assert [one.code for one in done] == [0] * 20, done[0].stderr
    assert acme.aws.count("AssumeRole") == 1
    assert len(list(tmp_path.iterdir())) == 20


def test_two_processes_on_one_object_both_end_right(acme, tmp_path):
    body = noise(40 * MIB)
    acme.put("k", Held(body))
    acme.run(tmp_path, "login", "acme")
    acme.aws.bandwidth = 30 * MIB
    running = [acme.start(tmp_path, "get", "acme:k", "f") for _ in range(2)]
    assert [one.finish(60).code for one in running] == [0, 0]
    assert (tmp_path / "f").read_bytes() == body
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.slow
def test_no_secret_anywhere(acme, tmp_path):
    acme.put("k", b"x" * 1000)
    acme.aws.fault(at("GetObject"), faults.status(403, "AccessDenied"), times=1)
    seen = []
    commands = [
        "get acme:k -v", "get acme:k --json -v", "status", "status --json", "ls acme: -v", "share list",
        "share show acme", "login acme -v", "get acme:none -v", "ls", "logout --all",
    ]  # fmt: skip
    for command in commands:
        done = acme.run(tmp_path, *command.split(), env={"S3PULL_DEBUG": "1"})
        seen.append(done.stdout + done.stderr)
    sessions = acme.aws.sessions()
    secrets = [
        EXTERNAL_ID,
        acme.ana.secret_key,
        *(one.keys.secret_key for one in sessions),
        *(one.keys.token for one in sessions),
    ]
    assert len(secrets) >= 4
    for secret in secrets:
        assert not any(secret in text for text in seen), secret
    for path in acme.home.rglob("*"):
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
            assert path.stat().st_mode & 0o077 == 0, path
