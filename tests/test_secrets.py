"""Canaries for keys, tokens, external IDs and passwords, and a search for them wherever a run can leave something.

Every command, in every mode, without a failure and with each: stdout, stderr, tracebacks, files, command lines, and
the limits of core dumps. External IDs may show in `policy`, `share export` and `share import`'s preview; the secrets of
a session in `credentials` (stdout alone) and, where there is no keyring, in a cache file that only its owner reads.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from s3pull.cli.app import main
from tests.access.ward import share_loader
from tests.fakes import FakeAws, at, faults
from tests.fakes.faults import Action
from tests.fakes.refusals import Refusal
from tests.faulty import hurry
from tests.transcript import start_s3pull

OWNER, CONSUMER = "111111111111", "222222222222"
EXTERNAL_ID = "Canary-External-Id-7c1e"
PASSWORD = "Canary-Proxy-Password-83"

SHARE = "acme"
COMMANDS = {
    "get": f"get {SHARE}:a/ out",
    "get one": f"get {SHARE}:a/k one",
    "get none": f"get {SHARE}:none one",
    "sync": f"sync {SHARE}: m",
    "verify": "verify m --remote",
    "lock": f"lock {SHARE}:",
    "ls": "ls",
    "ls share": f"ls -r -l {SHARE}:",
    "cat": f"cat {SHARE}:a/k",
    "schedule": f"schedule {SHARE}: /srv/m --every 1h --format systemd",
    "share list": "share list",
    "share show": f"share show {SHARE}",
    "share export": f"share export {SHARE}",
    "share import": "share import theirs.toml",
    "policy": f"policy {SHARE}",
    "policy check": f"policy {SHARE} --check theirs.json",
    "login": f"login {SHARE}",
    "status": "status",
    "doctor": f"doctor {SHARE}:",
    "credentials": f"credentials {SHARE}",
    "credentials env": f"credentials {SHARE} --format env",
    "a habit": f"cp {SHARE}:a/k . --recursive",
    "a mistake": f"get {SHARE}:a/k one --jobs none",
    "logout": f"logout {SHARE}",
}
#: commands that may show an external ID, on stdout
TELL_EXTERNAL_IDS = {"share export", "share import", "policy", "policy check"}
TELL_SESSIONS = {"credentials", "credentials env"}
#: have no --json
PLAIN = {"cat", "login", "logout", "lock", "schedule", "share show", "share export", "share import", "verify", "policy"}
PLAIN |= {"policy check", "a habit", *TELL_SESSIONS}


def echo(status: int, code: str, where: str) -> Action:
    """A refusal that repeats what the request carried, as S3 and STS do of a signature or a token that is wrong."""

    def before(aws, record, request):
        told = "\n".join(f"{name}:{value}" for name, value in request.headers.items())
        told += f"\n{request.body.decode(errors='replace')}\n{request.raw_query}"
        if where == "message":
            raise Refusal(status, code, f"The canonical string should have been '{told}'")
        token = request.headers.get("x-amz-security-token", "")
        raise Refusal(status, code, "no", extra={"CanonicalRequest": told, "Token-0": token, "StringToSign": told})

    return Action(f"echo({code}, {where})", before=before)


class Setting:
    def __init__(self, aws: FakeAws, home: Path) -> None:
        self.aws, self.home = aws, home
        self.own = aws.session(CONSUMER, "worker", "ana", lifetime=3600)
        self.role = aws.role(OWNER, "reader", trust={CONSUMER: EXTERNAL_ID})
        aws.bucket("acme", owner=OWNER)
        for key in ("a/k", "a/l", "b"):
            aws.put("acme", f"2026/{key}", random.Random(key).randbytes(1000))
        self.env = {**aws.env(self.own), "S3PULL_DEBUG": "1"}
        self.config = home / "config.toml"
        self.write_config()
        theirs = f'[shares.other]\nbucket = "acme"\nrole_arn = "{self.role}"\nexternal_id = "{EXTERNAL_ID}"\n'
        Path("theirs.toml").write_text(theirs)
        Path("theirs.json").write_text('{"Version": "2012-10-17", "Statement": []}')
        self.allowed = {Path("theirs.toml").absolute(), self.config}

    def write_config(self, more: str = "") -> None:
        self.config.write_text(
            f'[shares.{SHARE}]\nbucket = "acme"\nprefix = "2026/"\nregion = "us-east-1"\nrole_arn = "{self.role}"\n'
            f'external_id = "{EXTERNAL_ID}"\n{more}'
        )
        self.config.chmod(0o600)

    def session_secrets(self) -> set[str]:
        given = self.aws.sessions(self.role)
        return {secret for one in given for secret in (one.keys.secret_key, one.keys.token)}

    def own_secrets(self) -> set[str]:
        return {self.own.secret_key, self.own.token, PASSWORD}


@pytest.fixture
def acme(fake_aws, isolated, monkeypatch, tmp_path):
    hurry(monkeypatch)
    share_loader(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S3PULL_CONFIG", str(isolated / "config.toml"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    setting = Setting(fake_aws, isolated)
    for name, value in setting.env.items():
        monkeypatch.setenv(name, value)
    return setting


def found_in(text: str, secrets: set[str]) -> set[str]:
    """Which of them are in it, also percent-encoded or cut short (a third of one is enough to tell)."""

    return {
        one for one in secrets if any(form in text for form in (one, quote(one, safe=""), one[: len(one) // 3 + 8]))
    }


def check(acme: Setting, told: str, name: str, out: str, err: str) -> None:
    sessions, own = acme.session_secrets(), acme.own_secrets()
    assert not found_in(err, sessions | own), told
    assert not found_in(out, own), told
    if name not in TELL_SESSIONS:
        assert not found_in(out, sessions), told
    assert EXTERNAL_ID not in err or name in TELL_EXTERNAL_IDS, told
    assert EXTERNAL_ID not in out or name in TELL_EXTERNAL_IDS, told


def check_files(acme: Setting, told: str) -> None:
    """Nothing on disk holds a secret but what its owner alone reads: configuration and cache."""
    sessions, own = acme.session_secrets(), acme.own_secrets()
    cache = acme.home / ".cache" / "s3pull"
    for path in [path for root in (acme.home, Path.cwd()) for path in root.rglob("*") if path.is_file()]:
        text = path.read_bytes().decode("latin-1")
        assert not found_in(text, own) or path.is_relative_to(acme.home / ".aws"), (told, path)
        assert EXTERNAL_ID not in text or path.absolute() in acme.allowed, (told, path)
        if found_in(text, sessions):
            assert path.is_relative_to(cache), (told, path)
            assert path.stat().st_mode & 0o077 == 0, (told, path)


def sweep(acme, capsysbinary, told, names, modes=((), ("--json",), ("-v",), ("-vv",))) -> set[int]:
    codes = set()
    for name in names:
        for mode in modes:
            if mode == ("--json",) and name in PLAIN:
                continue
            capsysbinary.readouterr()
            code = main([*COMMANDS[name].split(), *mode])
            said = capsysbinary.readouterr()
            where = f"{told}: {name} {mode}, exit {code}\n{said.out!r}\n{said.err!r}"
            check(acme, where, name, said.out.decode("latin-1"), said.err.decode("latin-1"))
            codes.add(code)
    check_files(acme, told)
    return codes


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def test_every_command_in_every_mode(acme, capsysbinary):
    assert sweep(acme, capsysbinary, "no failure", COMMANDS) >= {0, 2, 4}
    assert acme.session_secrets()


ASKING = ["login", "status", "get", "ls share", "doctor", "credentials"]
READING = ["get", "get one", "sync", "verify", "lock", "ls share", "cat", "doctor"]
ECHOES = [("SignatureDoesNotMatch", 403), ("ExpiredToken", 400)]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["message", "fields"])
@pytest.mark.parametrize(("code", "status"), ECHOES)
@pytest.mark.parametrize("action", ["AssumeRole", "GetCallerIdentity", "GetObject", "HeadObject", "ListObjectsV2"])
def test_a_service_that_repeats_what_it_was_sent(acme, capsysbinary, action, code, status, where):
    if action in ("GetObject", "HeadObject", "ListObjectsV2"):
        main(["sync", f"{SHARE}:", "m"])
    acme.aws.fault(at(action), echo(status, code, where), times=None)
    names = READING if "Object" in action else ASKING
    sweep(acme, capsysbinary, f"{action} {code} in its {where}", names, [("-vv",), ("--json",)])


def _wrong_external_id(acme, patch):
    acme.write_config()
    acme.config.write_text(acme.config.read_text().replace(EXTERNAL_ID, EXTERNAL_ID + "-wrong"))


def _broken_config(acme, patch):
    acme.config.write_text(acme.config.read_text() + f"external_id = {EXTERNAL_ID}\nexternal_id = '{EXTERNAL_ID}\n")


def _misplaced_external_id(acme, patch):
    acme.write_config(f'external-id = "{EXTERNAL_ID}"\n{EXTERNAL_ID} = 1\n')


def _broken_aws_files(acme, patch):
    folder = acme.home / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(f"[default]\naws_access_key_id = AKIA\n{acme.own.secret_key}\n")
    (folder / "config").write_text(f"[default\naws_session_token {acme.own.token}\n")
    for name in [name for name in os.environ if name.startswith("AWS_") and ("FILE" in name or "KEY" in name)]:
        patch.delenv(name)


def _broken_process(acme, patch):
    folder = acme.home / ".aws"
    folder.mkdir()
    told = f'{{"SecretAccessKey": "{acme.own.secret_key}", "SessionToken": "{acme.own.token}"'
    (folder / "secret.json").write_text(told)
    (folder / "config").write_text(f"[default]\ncredential_process = cat {folder}/secret.json\n")
    for name in [name for name in os.environ if name.startswith("AWS_") and ("FILE" in name or "KEY" in name)]:
        patch.delenv(name)
    patch.delenv("AWS_SESSION_TOKEN")


def _failing_process(acme, patch):
    _broken_process(acme, patch)
    script = f"cat {acme.home}/.aws/secret.json >&2; exit 1"
    (acme.home / ".aws" / "config").write_text(f"[default]\ncredential_process = sh -c '{script}'\n")


def _dead_proxy(acme, patch):
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        patch.setenv(name, f"http://ana:{PASSWORD}@127.0.0.1:9")


def _broken_proxy(acme, patch):
    patch.setenv("http_proxy", f"http://ana:{PASSWORD}@[127.0.0.1:x")


def _secret_in_a_url(acme, patch):
    patch.setenv("S3PULL_ENDPOINT_URL", f"http://ana:{PASSWORD}@127.0.0.1:9")
    patch.setenv("S3PULL_STS_ENDPOINT_URL", f"http://ana:{PASSWORD}@127.0.0.1:9")


def _swapped_keys(acme, patch):
    """The secret where the key's ID should be, and the other way round, as people paste them."""
    patch.setenv("AWS_ACCESS_KEY_ID", acme.own.secret_key)
    patch.setenv("AWS_SECRET_ACCESS_KEY", acme.own.access_key)


def _fault_of_our_own(acme, patch):
    from s3pull.access import session
    from s3pull.remote import routes

    def fail(*args, **more):
        raise ZeroDivisionError("a bug")

    patch.setattr(routes.Route, "wire", fail)
    patch.setattr(session, "_value", fail)


def _odd_cache(acme, patch):
    main(["login", SHARE])
    for path in (acme.home / ".cache" / "s3pull").iterdir():
        path.write_bytes(path.read_bytes().replace(b'"secret_key"', b'"secret_kex"'))


FAILURES = [
    *(_wrong_external_id, _broken_config, _misplaced_external_id, _broken_aws_files, _broken_process, _failing_process),
    *(_dead_proxy, _broken_proxy, _secret_in_a_url, _swapped_keys, _fault_of_our_own, _odd_cache),
]


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__.strip("_"))
def test_what_is_configured_wrongly(acme, capsysbinary, monkeypatch, failure):
    failure(acme, monkeypatch)
    names = [name for name in COMMANDS if name not in ("verify", "schedule", "logout", "a habit")]
    sweep(acme, capsysbinary, failure.__name__, names, [("-vv",), ("--json",)])


# --- as other users of the machine see it ----------------------------------------------------------------


def processes_of(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += processes_of(int(child))
    return found


@pytest.fixture
def cores():
    """What this process starts may leave cores."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="there is no /proc here")
def test_what_proc_shows_of_a_run(acme, cores, tmp_path):
    """No command line holds a secret, and a crash leaves no core: it would hold them all."""
    stalled = acme.aws.fault(at("GetObject"), faults.stall_after(10), times=None)
    running = start_s3pull(["get", f"{SHARE}:a/", "out"], {"S3PULL_DEBUG": "0"}, tmp_path)
    seen = set()
    deadline = time.monotonic() + 60
    while not stalled.fired and running.process.poll() is None and time.monotonic() < deadline:
        for pid in processes_of(running.pid):
            seen.add(Path(f"/proc/{pid}/cmdline").read_bytes().decode("latin-1"))
        time.sleep(0.005)
    limits = Path(f"/proc/{running.pid}/limits").read_text()
    running.kill()
    assert stalled.fired
    limit = re.search(r"^Max core file size +(\S+)", limits, re.MULTILINE)[1]
    assert limit == "0"
    assert seen
    secrets = {*acme.session_secrets(), *acme.own_secrets(), EXTERNAL_ID}
    assert not [text for text in seen if found_in(text, secrets)]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no core files")
def test_cores_are_kept_where_they_are_asked_for():
    """S3PULL_DEBUG=1 is for who looks for a fault of ours; the hard limit stays as it is."""
    code = (
        "import resource, sys; from s3pull import __main__; before = resource.getrlimit(resource.RLIMIT_CORE);"
        "sys.argv = ['s3pull', '--version'];"
        "__main__.command()"
        "\nafter = resource.getrlimit(resource.RLIMIT_CORE); "
        "print(before == after, after[0] == 0, before[1] == after[1])"
    )
    told = {}
    for debug in ("0", "1"):
        env = {**os.environ, "S3PULL_DEBUG": debug}
        raise_limit = "import resource; soft, hard = resource.getrlimit(resource.RLIMIT_CORE);"
        raise_limit += "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard));"
        done = subprocess.run([sys.executable, "-c", raise_limit + code], env=env, capture_output=True, text=True)
        told[debug] = done.stdout.splitlines()[-1].split()
    assert told["0"][1:] == ["True", "True"]
    assert told["1"][0] == "True"
