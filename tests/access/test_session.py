"""Sessions: warm starts, many processes at once, renewal under way, and a cache key over all inputs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from s3pull.access import keys, profiles
from s3pull.access.holder import LAST_MOMENT, Held, RoleCredentials, margin
from s3pull.access.session import session_entry
from s3pull.errors import AccessDenied, CredentialsError, ServiceError, UsageError
from s3pull.objects import Access, Credentials, Endpoint
from tests.access.conftest import CONSUMER, EXTERNAL_ID, OWNER
from tests.fakes import faults

SERIAL = f"arn:aws:iam::{CONSUMER}:mfa/ana"
ENDPOINT = Endpoint("https", "acme.s3.eu-west-1.amazonaws.com", 443, "", "eu-west-1")

#: a process that opens the session of tests' share and says what it has loaded
PROGRAM = """
import os, sys
from s3pull.access import cache, config, options, profiles, session
share = config.load(config.config_path(None, os.environ)).share("acme")
found = profiles.load(os.environ)
access = options.resolve(share=share, bucket=None, prefix="", options={}, environ=os.environ, profiles=found)
kept = cache.open_cache(access.cache, os.environ)
opened = session.open_session(access, environ=os.environ, profiles=found, cache=kept)
heavy = {"boto3", "botocore", "cryptography", "keyring", "tomlkit", "email", "urllib3"} & set(sys.modules)
print(opened.credentials.current().access_key, opened.from_cache, ",".join(sorted(heavy)))
"""


def configured(reach) -> None:
    path = reach.home / ".config" / "s3pull" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f'[shares.acme]\nbucket = "acme"\nprefix = "2026/"\nrole_arn = "{reach.role}"\nexternal_id = "{EXTERNAL_ID}"\n'
    )


def run(count: int = 1) -> list[list[str]]:
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    return [process.communicate(timeout=60)[0].split() for process in started]


def test_a_warm_start_loads_nothing_heavy(reach):
    configured(reach)
    (cold,) = run()
    assert cold[1] == "False"
    (warm,) = run()
    assert warm == [cold[0], "True"]
    assert reach.aws.count("AssumeRole") == 1


@pytest.mark.slow
def test_twenty_processes_make_one_call(reach):
    configured(reach)
    reach.aws.latency = 0.2
    found = run(20)
    assert len(found) == 20
    assert len({process[0] for process in found}) == 1
    assert reach.aws.count("AssumeRole") == 1


def test_twenty_threads_make_one_renewal(reach):
    session = reach.open()
    refused = session.credentials.current()
    reach.aws.latency = 0.1
    found = []
    threads = [threading.Thread(target=lambda: found.append(session.credentials.renew(refused))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.access_key for one in found}) == 1
    assert found[0] != refused
    assert reach.aws.count("AssumeRole") == 2


def test_another_process_has_renewed_already(reach):
    mine, theirs = reach.open(), reach.open()
    refused = mine.credentials.current()
    newer = theirs.credentials.renew(refused)
    assert mine.credentials.renew(refused) == newer
    assert reach.aws.count("AssumeRole") == 2


# --- what is a hit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lifetime", "seconds"), [(900, 180), (1500, 300), (3600, 300), (43200, 300)])
def test_the_margin_fits_the_lifetime(lifetime, seconds):
    assert margin(lifetime) == seconds


def test_a_session_of_fifteen_minutes_is_a_hit(reach):
    access = reach.access(duration="15m")
    reach.open(access)
    assert reach.open(access).from_cache
    now = time.time()
    assert reach.open(access, clock=lambda: now + 700).from_cache
    assert not reach.open(access, clock=lambda: now + 740).from_cache


def test_login_asks_whatever_is_cached(reach):
    first = reach.open().credentials.current()
    again = reach.open(anew=True)
    assert not again.from_cache
    assert again.credentials.current() != first
    assert reach.open().credentials.current() == again.credentials.current()


CHANGES = {
    "external_id": {"external_id": "another-external-id"},
    "session_name": {"session_name": "bob"},
    "duration": {"duration": "15m"},
    "mfa_serial": {"mfa_serial": SERIAL},
    "source_identity": {"source_identity": "ana"},
    "session_tag": {"session_tag": ["a=b"]},
    "narrow": {"narrow": False},
    "sts_endpoint_url": {"sts_endpoint_url": "http://127.0.0.1:1"},
    "role": {"role_arn": f"arn:aws:iam::{OWNER}:role/other"},
    "prefix": {"share": {"prefix": "2025/"}},
    "bucket": {"share": {"bucket": "other"}},
    "profile": {"profile": "work"},
    "region": {"environment": {"AWS_REGION": "eu-west-1"}},
    "key": {"environment": {"AWS_ACCESS_KEY_ID": "AKIAOTHER"}},
    "sts endpoint": {"environment": {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:2"}},
    "any endpoint": {"environment": {"AWS_ENDPOINT_URL": "http://127.0.0.1:2"}},
}


def test_every_input_is_in_the_cache_key(reach):
    reach.aws_files("[profile work]\nregion=eu-west-1\n", f"[work]\n{reach.keys_of(reach.ana)}")
    reach.patch.setenv("AWS_ACCESS_KEY_ID", reach.ana.access_key)

    def name(environment=None, **chosen) -> str:
        with pytest.MonkeyPatch.context() as patch:
            for key, value in (environment or {}).items():
                patch.setenv(key, value)
            return session_entry(reach.access(**chosen), os.environ, profiles.load(os.environ))

    names = {change: name(**chosen) for change, chosen in CHANGES.items()}
    assert len({name(), *names.values()}) == len(CHANGES) + 1
    assert name() == name()
    assert name(endpoint_url="https://s3.example.org", cache="none") == name(), "S3's business, and where it is kept"


def test_what_changes_under_way_is_noticed(reach):
    reach.aws_files("", f"[default]\n{reach.keys_of(reach.ana)}")
    assert not reach.open().from_cache
    assert reach.open().from_cache
    bob = reach.aws.user(CONSUMER, "bob")
    (reach.home / ".aws" / "credentials").write_text(f"[default]\n{reach.keys_of(bob)}")
    assert reach.open().session_name == "bob"


# --- renewal ------------------------------------------------------------------------------------------------


class Clock:
    """Time that moves when it is told to, for holders."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def held(number: int, expires: float, issued: float) -> Held:
    return Held(Credentials(f"ASIA{number}", "s", "t", expires), issued, {})


def test_renewed_in_the_background_before_its_end():
    made = threading.Event()

    def make(refused):
        made.set()
        return held(2, 1e12, time.time())

    holder = RoleCredentials(held(1, time.time() + 299, time.time() - 3301), make, time.time)
    try:
        assert made.wait(10)
        assert settles(lambda: holder.current().access_key == "ASIA2")
    finally:
        holder.close()


def settles(condition) -> bool:
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_about_to_end_waits_for_the_newer_one():
    clock = Clock()
    holder = RoleCredentials(held(1, 4600.0, 1000.0), lambda refused: held(2, 9000.0, 5000.0), clock)
    holder.close()
    assert holder.current().access_key == "ASIA1"
    clock.now = 4600.0 - LAST_MOMENT + 1
    assert holder.current().access_key == "ASIA2"


def test_not_renewed_is_used_to_its_end_and_then_an_error():
    clock = Clock()

    def fail(refused):
        raise ServiceError("no network")

    holder = RoleCredentials(held(1, 4600.0, 1000.0), fail, clock)
    holder.close()
    clock.now = 4599.0
    assert holder.current().access_key == "ASIA1"
    clock.now = 4601.0
    with pytest.raises(ServiceError, match="no network"):
        holder.current()


def test_a_failed_renewal_is_tried_again():
    tries = []

    def make(refused):
        tries.append(refused)
        if len(tries) < 2:
            raise ServiceError("no network")
        return held(2, 1e12, time.time())

    holder = RoleCredentials(held(1, time.time() + 200, time.time() - 3400), make, time.time)
    try:
        assert settles(lambda: len(tries) == 2 and holder.current().access_key == "ASIA2")
    finally:
        holder.close()


def test_a_newer_one_that_is_due_at_once_is_not_asked_for_in_a_circle():
    tries = []

    def make(refused):
        tries.append(refused)
        return held(len(tries), time.time() + 1, time.time() - 3600)

    holder = RoleCredentials(held(0, time.time() + 200, time.time() - 3400), make, time.time)
    try:
        assert settles(lambda: bool(tries))
        time.sleep(0.3)
        assert len(tries) == 1
    finally:
        holder.close()


def test_close_ends_the_thread(reach):
    session = reach.open()
    thread = session.credentials._thread
    assert thread.daemon
    assert thread.is_alive()
    session.close()
    thread.join(10)
    assert not thread.is_alive()
    assert session.credentials.current() is not None


def test_renewal_with_a_code_asks_again(reach):
    asked = []

    def prompt(question):
        asked.append(question)
        return "123456"

    session = reach.open(reach.access(mfa_serial=SERIAL), prompt=prompt)
    session.credentials.renew(session.credentials.current())
    assert len(asked) == 2


def test_notes_are_said_once(reach):
    reach.use(reach.aws.env(reach.aws.session(CONSUMER, "dev", "ana")))
    session = reach.open(reach.access(duration="12h"))
    session.credentials.renew(session.credentials.current())
    assert len(reach.notes) == 1


def test_a_renewal_reads_the_credentials_file_again(reach):
    temporary = reach.aws.session(CONSUMER, "dev", "ana")
    reach.aws_files("", f"[default]\n{reach.keys_of(temporary)}")
    session = reach.open()
    reach.aws.expire_sessions()
    with pytest.raises(CredentialsError, match="expired"):
        session.credentials.renew(session.credentials.current())
    (reach.home / ".aws" / "credentials").write_text(
        f"[default]\n{reach.keys_of(reach.aws.session(CONSUMER, 'dev', 'ana'))}"
    )
    refused = session.credentials.current()
    assert session.credentials.renew(refused).access_key != refused.access_key


# --- without a role -----------------------------------------------------------------------------------------


def test_anonymous(reach):
    session = reach.open(reach.access(anonymous=True, share={"role_arn": None}))
    assert session.credentials.current() is None
    assert (session.expires, session.role_arn, session.session_name) == (None, None, None)
    with pytest.raises(CredentialsError):
        session.credentials.renew(Credentials("a", "b"))
    assert reach.aws.requests == []


def test_own_credentials_directly(reach):
    session = reach.open(reach.access(no_assume=True))
    assert session.credentials.current().access_key == reach.ana.access_key
    assert session.expires is None
    with pytest.raises(CredentialsError, match="there are no newer ones"):
        session.credentials.renew(session.credentials.current())
    assert reach.aws.requests == []


def test_own_credentials_replaced_on_disk(reach):
    reach.aws_files("", f"[default]\n{reach.keys_of(reach.ana)}")
    session = reach.open(reach.access(no_assume=True))
    bob = reach.aws.user(CONSUMER, "bob")
    (reach.home / ".aws" / "credentials").write_text(f"[default]\n{reach.keys_of(bob)}")
    assert session.credentials.renew(session.credentials.current()).access_key == bob.access_key


# --- the cache ----------------------------------------------------------------------------------------------


def test_no_writable_home(reach, tmp_path):
    (tmp_path / "file").write_text("")
    reach.patch.setenv("S3PULL_CACHE_DIR", str(tmp_path / "file" / "cache"))
    session = reach.open()
    assert session.credentials.current() is not None
    session.remember(ENDPOINT)
    assert session.endpoint == ENDPOINT
    assert len(reach.details) == 1
    assert "memory only" in reach.details[0]


def test_the_keyring_or_nothing(reach):
    with pytest.raises(UsageError, match="keyring cannot be used"):
        reach.open(reach.access(cache="keyring"), cache=reach.cache("keyring"))
    assert reach.aws.requests == []
    sealed = reach.cache("keyring", fetch_key=lambda _: keys.Key(b"k" * 32, "Ring"))
    reach.open(reach.access(cache="keyring"), cache=sealed)
    assert [entry.sealed for entry in sealed.entries()] == [True]


def test_a_denial_leaves_nothing(reach):
    with pytest.raises(AccessDenied):
        reach.open(reach.access(share={"external_id": "wrong-external-id"}))
    assert reach.cache().entries() == []


def test_an_entry_that_is_no_session_is_a_miss(reach):
    access = reach.access()
    name = session_entry(access, os.environ, profiles.load(os.environ))
    reach.cache().put(name, "session", {"access_key": "x"}, time.time() + 1000)
    assert not reach.open(access).from_cache


def test_no_secret_in_any_repr(reach):
    session = reach.open()
    keys_held = session.credentials.current()
    text = repr([session.access, keys_held, session.credentials._held, reach.cache().entries(), session])
    assert keys_held.secret_key not in text
    assert keys_held.token not in text
    assert EXTERNAL_ID not in text


# --- the endpoint -------------------------------------------------------------------------------------------


def test_an_endpoint_is_remembered(reach):
    first = reach.open()
    assert first.endpoint is None
    first.remember(ENDPOINT)
    assert reach.open().endpoint == ENDPOINT
    assert reach.open(reach.access(no_assume=True)).endpoint == ENDPOINT
    assert reach.open(reach.access(share={"bucket": "other"})).endpoint is None
    assert reach.open(reach.access(region="eu-west-2")).endpoint is None
    assert reach.open(reach.access(endpoint_url="https://s3.example.org")).endpoint is None


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_another_way_to_s3_is_another_endpoint(reach, variable):
    reach.open().remember(ENDPOINT)
    reach.patch.setenv(variable, "http://127.0.0.1:9" if "URL" in variable else "true")
    assert reach.open().endpoint is None


def test_another_profile_is_another_endpoint(reach):
    reach.aws_files("[default]\ns3 =\n  addressing_style = path\n", f"[default]\n{reach.keys_of(reach.ana)}")
    reach.open().remember(ENDPOINT)
    assert reach.open().endpoint == ENDPOINT
    (reach.home / ".aws" / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    assert reach.open().endpoint is None


def test_an_endpoint_of_another_shape_is_none(reach):
    session = reach.open()
    reach.cache().put(session._endpoint_entry, "endpoint", {"host": "x", "shape": "new"}, time.time() + 1000)
    assert reach.open().endpoint is None


def test_what_a_narrowed_session_may_do(reach):
    reach.aws.bucket("acme", owner=OWNER)
    for key in ("2026/a", "2025/a"):
        reach.aws.put("acme", key, b"x")
    import boto3
    from botocore.exceptions import ClientError

    found = reach.open().credentials.current()
    client = boto3.client(
        "s3", endpoint_url=reach.aws.url, aws_access_key_id=found.access_key,
        aws_secret_access_key=found.secret_key, aws_session_token=found.token,
    )  # fmt: skip
    assert client.get_object(Bucket="acme", Key="2026/a")["Body"].read() == b"x"
    assert client.list_objects_v2(Bucket="acme", Prefix="2026/")["KeyCount"] == 1
    for refused in (
        lambda: client.get_object(Bucket="acme", Key="2025/a"),
        lambda: client.list_objects_v2(Bucket="acme"),
        lambda: client.put_object(Bucket="acme", Key="2026/b", Body=b""),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
    client.close()


def test_a_slow_first_call_holds_the_others_back_and_no_longer(reach):
    """The lock is let go of by a process that dies in the call."""
    configured(reach)
    reach.aws.fault("AssumeRole", faults.slow_head(20), times=1)
    dying = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.DEVNULL)
    assert settles(lambda: reach.aws.count("AssumeRole") == 1)
    dying.kill()
    dying.wait()
    assert run()[0][1] == "False"


def test_access_is_what_was_opened(reach):
    access = reach.access()
    session = reach.open(access)
    assert session.access is access
    assert isinstance(session.access, Access)
    assert (session.role_arn, session.width) == (reach.role, "prefix")


RING = '''
import pathlib, keyring.backend
class DiskRing(keyring.backend.KeyringBackend):
    """A keyring that keeps its one password in a file, and notes that it was asked."""
    priority = 1
    place = pathlib.Path(__file__).with_name("kept")
    def get_password(self, service, username):
        return self.place.read_text() if self.place.exists() else None
    def set_password(self, service, username, password):
        self.place.write_text(password)
'''


def test_sealed_under_a_real_keyrings_key(reach, tmp_path):
    configured(reach)
    (tmp_path / "ring_of_tests.py").write_text(RING)
    reach.patch.setenv("PYTHONPATH", str(tmp_path))
    reach.patch.setenv("PYTHON_KEYRING_BACKEND", "ring_of_tests.DiskRing")
    (cold,), (warm,) = run(), run()
    assert (warm[0], warm[1]) == (cold[0], "True")
    assert {"boto3", "botocore", "cryptography", "keyring"} & set(warm[2].split(",")) == {"cryptography", "keyring"}
    (entry,) = (one for one in reach.cache().directory.iterdir() if len(one.name) == 64)
    assert cold[0].encode() not in entry.read_bytes()
    assert b'"sealed":true' in entry.read_bytes()
