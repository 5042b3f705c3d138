"""`s3pull.pull` and `s3pull.sync`: what comes back, what is raised, who is told, and that nothing else happens."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path

import pytest

import s3pull
from s3pull import errors
from tests.fakes import at, faults
from tests.partner import BUCKET, PREFIX, REPORT


def below(folder):
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def test_a_tree_and_again(partner):
    partner.put_release()
    done = s3pull.pull("acme:2026/", "data/")
    assert (done.downloaded, done.exit, done.role_arn, done.session_name) == (3, 0, partner.role, "ana")
    assert below("data") == {"report.csv", "deep/later.csv", "prices.parquet"}
    again = s3pull.pull("acme:2026/", Path("data"))
    assert (again.downloaded, again.skipped, again.received) == (0, 3, 0)


def test_its_own_name_a_name_and_a_folder(partner):
    partner.put_release()
    s3pull.pull("acme:2026/report.csv")
    s3pull.pull("acme:2026/report.csv", Path("other.csv"))
    s3pull.pull("acme:2026/report.csv", "new/")
    assert below(".") == {"report.csv", "other.csv", "new/report.csv"}


def test_filters_keys_and_dry_run(partner):
    partner.put_release()
    assert s3pull.pull("acme:2026/", "a/", include="*.csv", exclude=["deep/*"]).downloaded == 1
    assert s3pull.pull("acme:2026/", "b/", keys=["report.csv", "deep/later.csv"]).downloaded == 2
    events = []
    assert s3pull.pull("acme:", "c/", dry_run=True, on_event=events.append).downloaded == 3
    assert {event.planned for event in events} == {True}
    assert not Path("c").exists()


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: s3pull.pull("acme:x", "-"), "writes files"),
        (lambda: s3pull.pull("acme:x", "s3://elsewhere/"), "only downloads"),
        (lambda: s3pull.pull("acme:x", overwrite=True, no_clobber=True), "contradict"),
        (lambda: s3pull.pull("acme:x", keys=["a"]), "keys below a tree"),
        (lambda: s3pull.pull("acme:x", jobs=0), "jobs=0"),
        (lambda: s3pull.pull("acme:x", limit_rate=0), "limit_rate"),
        (lambda: s3pull.pull("acme:x", role_arn="nonsense"), "role-arn"),
        (lambda: s3pull.sync(None, "m"), "source is missing"),
        (lambda: s3pull.sync("acme:", "m", max_delete=5), "max-delete"),
        (lambda: s3pull.sync("acme:", "m", delete=True, max_delete="many"), "max_delete='many'"),
        (lambda: s3pull.sync("acme:", "m", publish=True, keep=1), "keep=1"),
        (lambda: s3pull.sync("acme:", "-"), "not a folder"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_asked(partner, call, complaint):
    with pytest.raises(errors.UsageError, match=complaint):
        call()
    assert partner.aws.requests == []


def test_a_misspelt_option_is_a_type_error_that_knows_better(partner):
    with pytest.raises(
        TypeError, match=r"pull\(\) got an unexpected keyword argument 'rolearn'; did you mean role_arn"
    ):
        s3pull.pull("acme:", rolearn="x")


def test_access_options_hold_as_on_the_command_line(partner):
    partner.put_release()
    source = f"s3://{BUCKET}/{PREFIX}2026/report.csv"
    with pytest.raises(errors.AccessDenied) as denied:
        s3pull.pull(source, role_arn=partner.role, external_id="wrong", cache="none")
    assert denied.value.hint == f"s3pull doctor {source}"
    assert "wrong" not in repr(denied.value) + str(denied.value)
    done = s3pull.pull(source, role_arn=partner.role, external_id="external-id-9f4c1d", session_name="batch")
    assert (done.downloaded, done.session_name) == (1, "batch")


def test_no_such_thing(partner):
    with pytest.raises(errors.NothingThere, match="no share 'acne'"):
        s3pull.pull("acne:x")
    with pytest.raises(errors.NothingThere, match="nothing at"):
        s3pull.pull("acme:nowhere/")


def test_the_one_object_that_was_asked_for_raises_its_own_error(partner):
    partner.put("cold", b"x", storage_class="GLACIER")
    with pytest.raises(errors.Archived):
        s3pull.pull("acme:cold")


def test_of_several_the_others_are_here_and_the_error_names_those_that_are_not(partner):
    partner.put_release()
    partner.put("2026/cold.csv", b"x", storage_class="GLACIER")
    partner.put("2026/../evil", b"x")
    with pytest.raises(errors.Incomplete, match="2 objects of acme:2026/ failed or were refused") as raised:
        s3pull.pull("acme:2026/", "data/")
    assert below("data") == {"report.csv", "deep/later.csv", "prices.parquet"}
    assert {event.error.reason for event in raised.value.failures} == {"archived", "unsafe-name"}
    assert (raised.value.summary.downloaded, raised.value.summary.exit, raised.value.exit_code) == (3, 3, 3)
    assert raised.value.__cause__ in [event.error for event in raised.value.failures]


def test_nothing_is_printed_and_the_log_is_where_a_program_finds_it(partner, capfd, caplog):
    partner.put_release()
    with caplog.at_level(logging.DEBUG, logger="s3pull"):
        s3pull.pull("acme:2026/", "data/")
        s3pull.sync("acme:", "mirror", include="*.none")
        with s3pull.open("acme:2026/report.csv") as file:
            file.read()
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert "the filters leave out all 3 objects" in caplog.text


def test_sync_mirrors_deletes_and_guards(partner):
    partner.put_release()
    assert s3pull.sync("acme:", "mirror").downloaded == 3
    partner.aws.delete(BUCKET, PREFIX + "2026/report.csv")
    assert s3pull.sync("acme:", Path("mirror"), delete=True).deleted == 1
    for name in ("2026/deep/later.csv", "2026/prices.parquet"):
        partner.aws.delete(BUCKET, PREFIX + name)
    partner.put("new", b"x")
    with pytest.raises(errors.GuardRefused):
        s3pull.sync("acme:", "mirror", delete=True)
    assert s3pull.sync("acme:", "mirror", delete=True, max_delete="100%").deleted == 2
    assert below("mirror") - {"new"} == {name for name in below("mirror") if name.startswith(".s3pull/")}


def test_sync_publishes_and_holds_to_a_manifest(partner, capsys):
    from s3pull.cli.app import main

    partner.put_release()
    s3pull.sync("acme:", "data", publish=True)
    assert Path("data/current/2026/report.csv").read_bytes() == REPORT
    capsys.readouterr()
    assert main(["lock", "acme:2026/"]) == 0
    Path("july.jsonl").write_text(capsys.readouterr().out)
    assert s3pull.sync(None, "locked", locked="july.jsonl").downloaded == 3
    with pytest.raises(errors.UsageError, match="the manifest is of"):
        s3pull.sync("acme:other/", "locked", locked="july.jsonl")


# --- progress ---------------------------------------------------------------------------------------------


def test_a_callback_is_told_in_the_thread_that_called(partner):
    partner.put_release()
    heard = []
    s3pull.pull("acme:2026/", "data/", progress=lambda status: heard.append((threading.get_ident(), status)))
    assert {ident for ident, _ in heard} == {threading.get_ident()}
    last = heard[-1][1]
    assert (last.done_files, last.total_files) == (3, 3)
    assert (
        last.done_bytes == last.total_bytes == last.received == sum(p.stat().st_size for p in Path("data").rglob("*.*"))
    )


class Enough(Exception):
    pass


@pytest.mark.parametrize("raised", [Enough, KeyboardInterrupt])
def test_an_exception_of_the_callback_stops_the_run_and_the_next_one_goes_on(partner, raised):
    body = bytes(range(256)) * 40_000
    partner.put("big", body)
    partner.aws.fault(at("GetObject", key="*big"), faults.stall_after(5_000_000))

    def stop_halfway(status):
        if status.received > 4_000_000:
            raise raised

    with pytest.raises(raised):
        s3pull.pull("acme:big", "big", progress=stop_halfway)
    assert not Path("big").exists()
    done = s3pull.pull("acme:big", "big")
    assert Path("big").read_bytes() == body
    assert (done.resumed, done.received < len(body)) == (1, True)


def test_an_exception_of_on_event_stops_the_run(partner):
    partner.put_release()

    def refuse(event):
        raise Enough(event.key)

    with pytest.raises(Enough):
        s3pull.pull("acme:2026/", "data/", on_event=refuse)


def test_true_is_the_bar_that_tqdm_finds_right(partner, monkeypatch):
    import tqdm.auto

    made = []

    class Bar:
        def __init__(self, **facts):
            self.facts, self.n, self.total, self.closed = facts, 0, None, False
            made.append(self)

        def update(self, count):
            self.n += count

        def set_postfix_str(self, text, refresh):
            self.text = text

        def close(self):
            self.closed = True

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    partner.put_release()
    received = s3pull.pull("acme:2026/", "data/", progress=True).received
    (bar,) = made
    assert (bar.n, bar.total, bar.text, bar.closed, bar.facts["unit"]) == (received, received, "3 files", True, "B")


# --- where it runs ----------------------------------------------------------------------------------------


def test_it_works_in_a_thread_and_leaves_signals_alone(partner):
    partner.put_release()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    done = []
    thread = threading.Thread(target=lambda: done.append(s3pull.pull("acme:2026/", "data/")))
    thread.start()
    thread.join(60)
    assert done[0].downloaded == 3
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_threads_that_begin_at_once_share_one_session(partner):
    partner.put_release()
    threads = [threading.Thread(target=s3pull.pull, args=("acme:2026/", f"data{n}/")) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert partner.assumed == 1
    assert all(len(below(f"data{n}")) == 3 for n in range(5))


def test_sessions_that_may_not_be_kept_serve_the_whole_process(partner):
    partner.put_release()
    for _ in range(3):
        s3pull.pull("acme:2026/", "data/", cache="none")
    assert partner.assumed == 1


def test_nothing_is_left_running(partner):
    partner.put_release()
    before = set(threading.enumerate())
    s3pull.pull("acme:2026/", "data/")
    with s3pull.open("acme:2026/report.csv") as file:
        file.read(1)
    until = time.monotonic() + 30
    while (left := set(threading.enumerate()) - before) and time.monotonic() < until:
        time.sleep(0.05)
    # those of the fake, which keep their connections for a while
    assert [thread.name for thread in left if thread.name.startswith(("s3pull", "pull-", "pace"))] == []


def test_an_mfa_code_is_asked_of_the_callback_and_of_nobody_else(partner):
    partner.put_release()
    role = partner.aws.role(
        "111111111111",
        "strict",
        trust={"222222222222": "external-id-9f4c1d"},
        mfa_serial="arn:aws:iam::222222222222:mfa/ana",
        mfa_code="123456",
    )
    partner.share("strict", role_arn=role, mfa_serial="arn:aws:iam::222222222222:mfa/ana")
    with pytest.raises(errors.CredentialsError, match="MFA code"):
        s3pull.pull("strict:2026/", "data/")
    questions = []

    def ask(question):
        questions.append(question)
        return "123456"

    assert s3pull.pull("strict:2026/", "data/", ask_mfa=ask).downloaded == 3
    assert len(questions) == 1
    assert "mfa/ana" in questions[0]
