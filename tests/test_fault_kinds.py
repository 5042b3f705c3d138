"""Each way in which the server can go wrong, once and always, over HTTP and TLS: what `get` makes of it, and its exit.

The server's whole menu is in tests/fakes/seeded.py; what is not in a table here must not show at all.
"""

from __future__ import annotations

import json
import random

import pytest

from s3pull.cli.app import main
from tests.fakes import at, faults, listings, page_faults
from tests.fakes.seeded import everything
from tests.faulty import Bucket, check_run, hurry, watched

MENU = everything("http://127.0.0.1:1")
KINDS = [(action, name) for action in MENU for name in MENU[action]]

#: what one such answer makes of a run; all others are got over
ONCE = {
    ("GetObject", "redirect"): 3,
    ("HeadObject", "redirect"): 15,
    ("HeadObject", "chunked"): 3,
    ("HeadObject", "no Content-Length"): 3,
    ("ListObjectsV2", "redirect"): 15,
    ("ListObjectsV2", "same token"): 15,
    ("ListObjectsV2", "circle"): 15,
    ("ListObjectsV2", "no token"): 15,
    ("ListObjectsV2", "duplicate keys"): 3,
    ("ListObjectsV2", "entity bomb"): 15,
    ("ListObjectsV2", "huge key"): 15,
    ("ListObjectsV2", "listed ETag missing"): 15,
}
#: and what it comes to where every answer is such
ALWAYS = {
    **ONCE,
    **{
        (action, name): 15 for action in MENU for name in ("500", "503", "429", "request timeout", "dropped", "garbage")
    },
    **{(action, name): 11 for action in MENU for name in ("expired token", "invalid token")},
    **{(action, "200 with an error"): 15 for action in MENU},
    (
        "HeadObject",
        "invalid token",
    ): 15,  # a HEAD's refusal has no words, and the GET that asks for them is answered well
    ("GetObject", "redirect"): 15,
    ("GetObject", "long body"): 3,  # of an object without a byte every answer is too long, and that one fails
    ("GetObject", "flipped bit"): 3,
    ("GetObject", "wrong Content-Range"): 3,
    ("GetObject", "no Content-Range"): 3,
    ("GetObject", "Range ignored"): 3,
    ("GetObject", "wrong ETag"): 15,
    ("GetObject", "ETag weak"): 15,
    ("GetObject", "ETag huge-parts"): 15,
    ("GetObject", "ETag missing"): 15,
    ("HeadObject", "wrong ETag"): 15,
    ("HeadObject", "ETag weak"): 15,
    ("HeadObject", "ETag huge-parts"): 15,
    ("HeadObject", "ETag missing"): 15,
    ("ListObjectsV2", "first page again"): 15,
    ("ListObjectsV2", "cut document"): 15,
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """By whether they speak TLS, and a cache for all: a new session takes longer than all else. Tests undo faults."""
    both = {tls: Bucket(tls=tls) for tls in (False, True)}
    yield {"cache": tmp_path_factory.mktemp("cache"), **both}
    for bucket in both.values():
        bucket.close()


@pytest.fixture(params=[False], ids=[""])
def bucket(request, servers, monkeypatch, tmp_path):
    shared = servers[request.param]
    monkeypatch.setenv("S3PULL_CACHE_DIR", str(servers["cache"]))
    hurry(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name, value in shared.env().items():
        monkeypatch.setenv(name, value)
    yield shared
    shared.aws.faults.clear()
    shared.aws.requests.clear()


def run(bucket, action, name, dest, capsys):
    """Get a tree, that with the large object where ranges matter; of what concerns HEADs one object. The exit code."""
    what = "a/006" if action == "HeadObject" else "b/" if "Range" in name else "c/"
    capsys.readouterr()
    code = watched(["get", f"s3://acme/d/{what}", str(dest), "--json", "-v"])
    said = capsys.readouterr()
    keys = [key for key in bucket.bodies if key.startswith(what)]
    wanted = {key[2:]: bucket.bodies[key] for key in keys}
    check_run(f"exit {code}\n{said.err}\n{said.out}", said.out, said.err, code, wanted, dest)
    assert not bucket.elsewhere.requests
    return code


@pytest.mark.parametrize(
    ("bucket", "times", "table"),
    [(True, 1, ONCE), (False, None, ALWAYS)],
    ids=["once-over-tls", "always"],
    indirect=["bucket"],
)
@pytest.mark.parametrize(("action", "name"), KINDS)
def test_each_fault_is_got_over_or_is_a_clear_error(bucket, tmp_path, capsys, action, name, times, table):
    dest = tmp_path / "d"
    dest.mkdir()
    fault = bucket.aws.fault(action, everything(bucket.elsewhere.url)[action][name](random.Random(3)), times=times)
    assert run(bucket, action, name, dest, capsys) == table.get((action, name), 0)
    assert fault.fired
    if times is None:
        bucket.aws.faults.clear()
        assert run(bucket, action, name, dest, capsys) == 0  # and whatever it left, the next run ends right


READING = {
    "GetObject": ("cat s3://acme/d/b/007", "cat s3://acme/d/b/007 --range 5-9", "sync s3://acme/d/a/ r --publish"),
    "HeadObject": ("ls -l s3://acme/d/a/006", "sync s3://acme/d/a/ r"),
    "ListObjectsV2": ("ls -r -l s3://acme/d/", "ls --json s3://acme/d/", "lock s3://acme/d/", "verify m --remote"),
}


@pytest.mark.parametrize(("action", "name"), KINDS)
def test_every_reading_command_ends_in_an_answer(bucket, capsysbinary, action, name):
    """Not a fault of our own (exit 1), whatever comes."""
    assert main(["sync", "s3://acme/d/c/", "m"]) == 0
    dish = everything(bucket.elsewhere.url)[action][name]
    bucket.aws.fault(action, dish(random.Random(3)), times=None)
    for command in READING[action]:
        capsysbinary.readouterr()
        code = watched(command.split())
        said = capsysbinary.readouterr()
        # a manifest has its keys in order: of a service that has none it cannot be made
        assert code in (0, 3, 6, 11, 15) or (command.startswith("lock") and code == 2), (command, said)
        assert b"internal error:" not in said.err, (command, said)
        assert b"Traceback" not in said.err, (command, said)
        assert len(said.err) < 20_000, (command, said.err[:1000])


def test_revoked_sessions_are_denied_and_a_new_login_is_let_in(bucket, tmp_path, capsys, monkeypatch):
    """The owner revokes sessions in mid-transfer: that is a denial, and it says so."""
    monkeypatch.setattr(listings, "PAGE", 1000)  # the listing is over before the first object: what is denied is one
    dest = tmp_path / "d"
    role = bucket.aws.role_of(bucket.role)
    policies = role.policies
    bucket.aws.fault(at("GetObject", nth=3), faults.revoke_tokens())
    assert main(["login", "s3://acme/d/"]) == 0
    capsys.readouterr()
    try:
        code = watched(["get", "s3://acme/d/b/", str(dest), "--json", "--jobs", "1"])
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        lost = [event for event in events if event["event"] == "object" and event["action"] == "failed"]
        assert code in (3, 10)
        assert lost
        assert {event["reason"] for event in lost} == {"denied"}
        assert "explicit deny" in lost[0]["error"]["message"]
        assert main(["login", "s3://acme/d/"]) == 0
        assert watched(["get", "s3://acme/d/b/", str(dest)]) == 0
    finally:
        role.policies = policies


@pytest.mark.parametrize("seconds", [86_400, -86_400])
def test_a_clock_that_is_off_by_a_day_is_exit_11_and_told(bucket, tmp_path, capsys, seconds):
    bucket.aws.fault(at("ListObjectsV2"), faults.clock_off(seconds), times=None)
    assert watched(["get", "s3://acme/d/b/", str(tmp_path / "d")]) == 11
    err = capsys.readouterr().err
    assert "time" in err
    assert "hint: set this machine's clock" in err


def test_an_entity_that_asks_for_a_file_is_not_read(bucket, tmp_path, capsys):
    secret = tmp_path / "secret"
    secret.write_text("canary-of-a-file")
    bucket.aws.fault("ListObjectsV2", page_faults.outside_entity(str(secret)), times=None)
    assert watched(["ls", "-r", "s3://acme/d/"]) == 15
    said = capsys.readouterr()
    assert "canary" not in said.out + said.err
