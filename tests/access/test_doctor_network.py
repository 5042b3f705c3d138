"""Doctor where nothing answers, or something else does: it names the network, the proxy or the certificate, in time."""

from __future__ import annotations

import json
import socket
import threading
import time

import botocore.httpsession
import pytest

from s3pull.access.denials import Cause, Who
from s3pull.access.doctor import machine
from s3pull.access.doctor.asking import LIMITS, Answer, Limits
from s3pull.access.doctor.patience import within
from s3pull.errors import CredentialsError, UsageError
from tests.access.test_doctor_sts import heal, told
from tests.access.ward import Ward
from tests.fakes import FakeAws, faults

IMPATIENT = Limits(connect=0.3, read=0.3, total=100)


@pytest.fixture
def ward(fake_aws, monkeypatch, isolated, shared_loader):
    return Ward(fake_aws, monkeypatch)


@pytest.fixture
def black_hole():
    """Takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def nobody():
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(("service", "step"), [("STS", "caller"), ("S3", "bucket")])
def test_a_service_that_takes_and_never_answers(ward, black_hole, service, step):
    ward.environment[f"AWS_ENDPOINT_URL_{service}"] = black_hole
    report = ward.examine(limits=IMPATIENT)
    assert told(report) == (step, "network", "network")
    assert service in report.broken.causes[0].why


@pytest.mark.parametrize(("service", "step"), [("STS", "caller"), ("S3", "bucket")])
def test_a_port_at_which_nobody_listens(ward, nobody, service, step):
    ward.environment[f"AWS_ENDPOINT_URL_{service}"] = nobody
    assert told(ward.examine()) == (step, "network", "network")


def test_whatever_hangs_the_report_comes_in_time_and_says_where(ward):
    """The limits of connections do not help against a resolver or a credential process that hangs."""
    ward.aws.fault("GetCallerIdentity", faults.slow_head(3600), None)
    report = ward.examine(limits=Limits(connect=100, read=100, total=3))
    assert told(report) == ("caller", "network", "network")
    assert report.broken.observed == "no answer: given up after 3 s"
    assert [one.step for one in report.steps] == ["local", "caller"]


def test_the_limit_is_below_half_a_minute_with_room_to_start_and_to_print():
    assert LIMITS.total <= 25
    assert LIMITS.connect + LIMITS.read < LIMITS.total


def test_a_certificate_that_is_not_trusted(monkeypatch, isolated, shared_loader):
    with FakeAws(tls=True) as aws:
        ward = Ward(aws, monkeypatch)
        ward.environment["AWS_CA_BUNDLE"] = botocore.httpsession.where()
        report = ward.examine()
        assert told(report) == ("caller", "you", "tls")
        heal(ward, report)
        assert ward.examine().sound


def test_a_ca_bundle_that_is_not_there(ward):
    ward.environment["AWS_CA_BUNDLE"] = "/nowhere/ca.pem"
    report = ward.examine()
    assert told(report) == ("caller", "you", "tls")
    assert "/nowhere/ca.pem" in report.broken.observed


def test_a_proxy_that_does_not_answer(ward, nobody):
    ward.environment["HTTP_PROXY"] = nobody
    report = ward.examine()
    assert told(report) == ("caller", "you", "proxy")
    heal(ward, report)
    assert ward.examine().sound


@pytest.mark.parametrize("limits", [IMPATIENT, Limits(connect=100, read=100, total=2)])
def test_a_proxy_that_takes_and_never_answers(ward, black_hole, limits):
    """It may as well be what lies behind it: the proxy comes first, the network second."""
    ward.environment["HTTP_PROXY"] = black_hole.replace("//", "//ana:hush@")
    report = ward.examine(limits=limits)
    assert told(report) == ("caller", "you", "proxy")
    assert [str(one.cause) for one in report.broken.causes] == ["proxy", "network"]
    assert black_hole.removeprefix("http://") in report.broken.causes[0].why
    assert "hush" not in json.dumps(report.json())
    heal(ward, report)
    assert ward.examine().sound


def test_a_proxy_that_is_gone_past_is_not_to_blame(ward, nobody, black_hole):
    ward.environment |= {"HTTP_PROXY": nobody, "NO_PROXY": "127.0.0.1", "AWS_ENDPOINT_URL_STS": black_hole}
    report = ward.examine(limits=IMPATIENT)
    assert [str(one.cause) for one in report.broken.causes] == ["network"]


# --- the watchdog -------------------------------------------------------------------------------------------


def test_work_that_ends_is_waited_for():
    done = []
    assert within(60, lambda ask: done.append(ask), None)
    assert done == [None]


def test_what_work_raises_is_raised():
    def fail(ask):
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        within(60, fail, None)


def test_work_that_hangs_is_left_behind():
    hang = threading.Event()
    assert not within(0.05, lambda ask: hang.wait(60), None)
    hang.set()


def test_a_question_is_asked_on_the_callers_thread_and_its_time_does_not_count():
    here = threading.get_ident()
    seen = []

    def prompt(question):
        seen.append((question, threading.get_ident()))
        time.sleep(0.5)
        return "123456"

    got = []
    assert within(0.4, lambda ask: got.append(ask("code? ")), prompt)
    assert got == ["123456"]
    assert seen == [("code? ", here)]


def test_a_terminal_that_goes_away_is_the_works_error():
    def prompt(question):
        raise CredentialsError("no terminal")

    caught = []

    def work(ask):
        try:
            ask("code? ")
        except CredentialsError as error:
            caught.append(error.message)

    assert within(60, work, prompt)
    assert caught == ["no terminal"]


# --- this machine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "ok", "cause"),
    [
        (machine.python((3, 11, 0)), True, None),
        (machine.python((3, 10, 9)), False, Cause.PYTHON),
        (machine.ca(None), True, None),
        (machine.ca("/nowhere"), False, Cause.TLS),
        (machine.ca(__file__), False, Cause.TLS),
        (machine.proxy(None, None), True, None),
        (machine.proxy("proxy:3128", None), True, None),
        (machine.proxy(None, UsageError("cannot read the proxy URL")), False, Cause.PROXY),
        (machine.keyring("auto", "keyring", None), True, None),
        (machine.keyring("auto", "file", "no keyring is available"), None, None),
        (machine.keyring("file", "file", "as asked"), None, None),
        (machine.keyring("keyring", "file", "no keyring is available"), False, Cause.KEYRING),
        (machine.keyring("keyring", "memory", None), False, Cause.KEYRING),
        (machine.clock(Answer(True, ahead=2.0))[0], True, None),
        (machine.clock(Answer(True, ahead=-901.0))[0], False, Cause.CLOCK),
    ],
)
def test_what_is_here(step, ok, cause):
    assert step.ok is ok
    assert [one.cause for one in step.causes] == ([cause] if cause else [])
    assert step.who is (Who.YOU if cause else Who.UNKNOWN)
    assert bool(step.snippets) == (cause not in (None, Cause.PYTHON))
    json.dumps(step.json())


def test_a_clock_that_nobody_told_is_no_step():
    assert machine.clock(Answer(True)) == (None, [])
