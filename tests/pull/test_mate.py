"""A second process takes part of a run (`pull.mate`): nothing is lost or told twice by that, whatever befalls it.

The bounds from which on it pays are lowered here, so that a few objects are a flood. Whoever cares for what pays reads
bench/RESULTS.md.
"""

import hashlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from s3pull.cli.app import main
from s3pull.events import Action, ObjectEvent
from s3pull.objects import RemoteObject
from s3pull.pull import large, mate, spare, transfer
from s3pull.pull.progress import Progress
from s3pull.pull.puller import Item
from s3pull.pull.spare import Spare
from s3pull.pull.transfer import MOST_CONNECTIONS
from tests.fakes import at
from tests.fakes.faults import drip, expire_tokens, flip_bit, reset_after, status
from tests.mirrors import Mirrored, lines, summary

COUNT = 400


@pytest.fixture
def mirrored(fake_aws, tmp_path, monkeypatch):
    made = Mirrored(fake_aws, tmp_path)
    made.lead(monkeypatch)
    monkeypatch.setattr(mate, "MANY", 60)
    monkeypatch.setattr(transfer, "cores", lambda: 2)
    return made


@pytest.fixture
def mates(monkeypatch):
    """Every second process that was started: the `Mate`s, in order."""
    found = []
    consider = mate.Mate.consider

    starting = threading.Lock()  # nobody does much alone before the other is ready

    def noted(self):
        with starting:
            before = self._process
            consider(self)
            if before is None and self._process is not None:
                found.append(self)
                until = time.monotonic() + 60
                while not self._ready and not self._gone and time.monotonic() < until:
                    time.sleep(0.01)

    monkeypatch.setattr(mate.Mate, "consider", noted)
    return found


def body(number):
    return f"{number} ".encode() * (number % 50)


def flood(mirrored, count=COUNT):
    for number in range(count):
        mirrored.put(f"{number % 7}/{number:04d}", body(number))


def whole(mirrored, count=COUNT):
    return {f"{number % 7}/{number:04d}": body(number) for number in range(count)}


def run(capfd, *args):
    """A command in this process: exit code, its JSON lines."""
    code = main([*args, "--json", "-v"])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return code, lines(out)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_both_take_their_part(mirrored, mates, capfd):
    flood(mirrored)
    code, told = run(capfd, "sync", mirrored.source, "m")
    assert code == 0
    assert mirrored.files() == whole(mirrored)
    (second,) = mates
    assert 20 < second._lent < COUNT
    assert second._puller.crew.limit == MOST_CONNECTIONS // 2
    assert Counter(line["event"] for line in told)["object"] == COUNT
    assert len({line["path"] for line in told if line["event"] == "object"}) == COUNT
    last = told[-1]
    assert last["downloaded"] == COUNT
    assert last["received"] == sum(len(body(number)) for number in range(COUNT))
    assert len(mirrored.receipts()) == COUNT
    assert mirrored.nothing_stray()
    assert second._process.returncode == 0
    gets = [one.key for one in mirrored.aws.requests if one.action == "GetObject"]
    assert len(gets) == len(set(gets)) == COUNT

    mirrored.aws.requests.clear()
    code, told = run(capfd, "sync", mirrored.source, "m")
    assert (code, told[-1]["skipped"]) == (0, COUNT)
    assert not [one for one in mirrored.aws.requests if one.action == "GetObject"]
    assert main(["verify", "m"]) == 0
    assert len(mates) == 1


@pytest.mark.parametrize("command", ["get", "sync"])
def test_one_that_was_started_ahead_is_taken_where_there_is_much(mirrored, mates, spares, capfd, monkeypatch, command):
    monkeypatch.setattr(mate, "MANY", COUNT + 1)
    monkeypatch.setattr(mate, "SOME", 60)
    flood(mirrored)
    code, told = run(capfd, command, mirrored.source, "m/")
    assert (code, told[-1]["downloaded"]) == (0, COUNT)
    assert mirrored.files() == whole(mirrored)
    (second,), (process,) = mates, spares
    assert second._process is process
    assert second._lent > 20
    assert second._puller.crew.limit == MOST_CONNECTIONS // 2  # the other half is there
    assert process.returncode == 0


def test_one_that_was_started_ahead_is_ended_where_there_is_little(mirrored, mates, spares, capfd):
    mirrored.put("a/b", b"few")
    code, _ = run(capfd, "sync", mirrored.source, "m/")
    (process,) = spares
    assert (code, mates, process.returncode) == (0, [], -signal.SIGKILL)
    assert process.stdin.closed
    assert process.stdout.closed


def test_one_that_was_started_ahead_is_ended_by_an_error(mirrored, spares, capfd):
    assert main(["get", mirrored.source + "nowhere/", "m/"]) == 4
    assert main(["get", mirrored.source, "m/", "--from-file", "missing"]) != 0
    assert "Traceback" not in capfd.readouterr().err
    assert [process.returncode for process in spares] == [-signal.SIGKILL] * 2


def test_none_is_started_ahead_where_little_is_to_be_expected(mirrored, spares, capfd):
    """A place where something is already, one object, a dry run, a rate, few connections."""
    flood(mirrored, 3)
    Path("full").mkdir()
    Path("full/a").write_bytes(b"a")
    one = f"{mirrored.source}0/0000"
    for words in (
        ["get", mirrored.source, "full/"],
        ["get", one, "one/"],
        ["get", one, "-"],
        ["get", mirrored.source, "dry/", "-n"],
        ["sync", mirrored.source, "dry/", "-n"],
        ["get", mirrored.source, "slow/", "--limit-rate", "1G"],
        ["sync", mirrored.source, "narrow/", "--jobs", "3"],
    ):
        assert main(words) == 0
    assert spares == []
    Path("empty").mkdir()
    assert main(["get", mirrored.source, "empty/"]) == 0
    assert len(spares) == 1


@pytest.fixture
def spares(monkeypatch):
    """Every process that was started ahead."""
    found = []
    launch = spare.launch

    def noted():
        process = launch()
        found.append(process)
        return process

    monkeypatch.setattr(spare, "launch", noted)
    monkeypatch.setattr(spare, "cores", lambda: 2)
    return found


def test_the_second_process_holds_its_part_to_the_list(mirrored, mates, capfd):
    flood(mirrored)
    wrong = {f"{number % 7}/{number:04d}" for number in range(5, COUNT, 10)}
    digests = {
        name: hashlib.sha256(data + (b"!" if name in wrong else b"")).hexdigest()
        for name, data in whole(mirrored).items()
    }
    text = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    mirrored.put("SHA256SUMS", text.encode())
    code, told = run(capfd, "sync", mirrored.source, "m", "--checksums", "SHA256SUMS")
    assert code == 6
    assert mates[0]._lent > 20
    files = mirrored.files()
    del files["SHA256SUMS"]
    assert files == {name: data for name, data in whole(mirrored).items() if name not in wrong}
    reasons = {line["key"].removeprefix("in/"): line["reason"] for line in told if line["event"] == "object"}
    assert {name for name, reason in reasons.items() if reason == "not-as-listed"} == wrong
    right = [line["checksum"] for line in told if line["event"] == "object" and line["action"] == "downloaded"]
    assert Counter(one["algorithm"] for one in right)["SHA256"] == COUNT - len(wrong)
    code, told = run(capfd, "sync", mirrored.source, "m", "--checksums", "SHA256SUMS")
    assert (code, told[-1]["failed"], told[-1]["skipped"]) == (6, len(wrong), COUNT - len(wrong) + 1)


def test_get_without_receipts_or_durability(mirrored, mates, capfd):
    flood(mirrored)
    code, told = run(capfd, "get", mirrored.source, "m/", "--no-durable")
    assert (code, told[-1]["downloaded"]) == (0, COUNT)
    assert mirrored.files() == whole(mirrored)
    assert mates[0]._lent > 20
    assert not (mirrored.folder / ".s3pull").exists()


def test_what_is_told_does_not_say_who_did_it(mirrored, mates, capfd, monkeypatch):
    flood(mirrored)
    told = {}
    for many, target in ((60, "two"), (10**9, "one")):
        monkeypatch.setattr(mate, "MANY", many)
        told[target] = [
            line for line in run(capfd, "get", mirrored.source, target + "/")[1] if line["event"] == "object"
        ]
        told[target].sort(key=lambda line: line["key"])
    assert len(mates) == 1
    assert told["two"] == told["one"]


def test_it_is_killed_in_the_middle(mirrored, mates, capfd):
    flood(mirrored)
    mirrored.aws.fault(at("GetObject", nth=100), drip(5000, 50), times=None)
    killer = threading.Thread(target=lambda: kill_when(mates, lambda second: second._begun > 30))
    killer.start()
    code, told = run(capfd, "sync", mirrored.source, "m")
    killer.join()
    assert mates[0]._process.returncode == -signal.SIGKILL
    assert mates[0]._puller.crew.limit == transfer.MOST_CONNECTIONS  # which were halved when it came
    assert code == 0
    assert whole(mirrored).items() <= mirrored.files().items()
    assert told[-1]["downloaded"] + told[-1]["resumed"] == COUNT
    assert len({line["path"] for line in told if line["event"] == "object"}) == COUNT
    assert run(capfd, "sync", mirrored.source, "m")[0] == 0  # takes away what the dead one had left
    assert mirrored.nothing_stray()


def kill_when(mates, condition):
    until = time.monotonic() + 60
    while time.monotonic() < until and not (mates and condition(mates[0])):
        time.sleep(0.001)
    mates[0]._process.kill()


def test_what_goes_wrong_there_is_told_here(mirrored, mates, capfd):
    """Denied, damaged twice, reset once: as if there were one process. No denial is asked for more than twice."""
    flood(mirrored)
    for number in range(0, COUNT, 40):
        key = f"in/{number % 7}/{number:04d}"
        mirrored.aws.fault(at("GetObject", key=key), status(403, "AccessDenied"), times=None)
        if number:
            mirrored.put(f"{(number + 1) % 7}/{number + 1:04d}", b"x" * 4000)
            mirrored.aws.fault(at("GetObject", key=f"in/{(number + 1) % 7}/{number + 1:04d}"), flip_bit(7), times=None)
            mirrored.aws.fault(at("GetObject", key=f"in/{(number + 2) % 7}/{number + 2:04d}"), reset_after(1), times=1)
    code, told = run(capfd, "sync", mirrored.source, "m")
    assert code == 3
    assert mates[0]._lent > 20
    failed = {line["path"]: line["reason"] for line in told if line["event"] == "object" and line["action"] == "failed"}
    denied = {f"{number % 7}/{number:04d}": "denied" for number in range(0, COUNT, 40)}
    damaged = {f"{(number + 1) % 7}/{number + 1:04d}": "corrupt" for number in range(40, COUNT, 40)}
    assert failed == denied | damaged
    assert {path for path in whole(mirrored) if path not in failed} == mirrored.files().keys()
    asked = Counter(one.key for one in mirrored.aws.requests if one.action == "GetObject" and one.status == 403)
    assert max(asked.values()) <= 2
    assert mirrored.nothing_stray()


def test_it_cannot_be_started(mirrored, mates, capfd, monkeypatch, tmp_path):
    flood(mirrored)
    (tmp_path / "python-that-ends").symlink_to("/bin/false")
    (tmp_path / "service").symlink_to("/bin/true")  # an interpreter that lives in another program
    for name in ("python-that-is-missing", "python-that-ends", "service"):
        monkeypatch.setattr(sys, "executable", str(tmp_path / name))
        code, told = run(capfd, "get", mirrored.source, f"from-{name}/")
        assert (code, told[-1]["downloaded"]) == (0, COUNT)
    assert [second._lent for second in mates] == [0]  # the others never came to be one


def test_nothing_of_the_working_directory_is_imported_and_no_secret_can_be_seen(mirrored, mates, capfd):
    """What was downloaded may be named like a module."""
    flood(mirrored)
    for name in ("s3pull", "pickle", "ssl", "socket", "typing"):
        (mirrored.cwd / f"{name}.py").write_text("import os; os.system('touch hijacked')")
    seen = []
    start = mate.Mate._start

    def looked(self):
        start(self)
        pid = self._process.pid
        seen.append(Path(f"/proc/{pid}/cmdline").read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mate.Mate, "_start", looked)
        assert run(capfd, "get", mirrored.source, "m/")[0] == 0
    assert mates[0]._lent > 20
    assert not list(mirrored.cwd.rglob("hijacked"))
    (line,) = seen
    for secret in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        assert mirrored.env[secret].encode() not in line


def test_it_borrows_the_session_and_its_renewal(fake_aws, tmp_path, monkeypatch, mates, capfd):
    """A session that ends in mid-run is renewed once, by the process that can, for both."""
    mirrored = Mirrored(fake_aws, tmp_path)
    role = fake_aws.role("111111111111", "reader", trust={"222222222222": None})
    mirrored.env = fake_aws.env(fake_aws.user("222222222222", "eve"))
    mirrored.lead(monkeypatch)
    monkeypatch.setattr(mate, "MANY", 60)
    monkeypatch.setattr(transfer, "cores", lambda: 2)
    flood(mirrored)
    fake_aws.fault(at("GetObject", where=lambda _: bool(mates) and mates[0]._begun > 20), expire_tokens())
    code, told = run(capfd, "get", "--role-arn", role, mirrored.source, "m/")
    assert (code, told[-1]["downloaded"]) == (0, COUNT)
    assert mirrored.files() == whole(mirrored)
    assert fake_aws.count("AssumeRole") == 2
    assert len({one.access_key for one in fake_aws.requests if one.action == "GetObject" and one.status == 200}) == 2


@pytest.mark.slow
def test_when_the_first_is_killed_the_second_ends(mirrored):
    """Whatever kills a run, no process of it goes on; and what is there then is taken up."""
    flood(mirrored, 3000)
    mirrored.aws.fault(at("GetObject"), drip(20_000, 50), times=None)
    running = mirrored.start("sync", mirrored.source, "m")
    until = time.monotonic() + 120
    while not (second := children(running.pid)) or mirrored.aws.count("GetObject") < 600:
        assert time.monotonic() < until
        time.sleep(0.01)
    running.kill()
    while any(map(alive, second)):
        assert time.monotonic() < until
        time.sleep(0.01)
    mirrored.aws.faults.clear()
    done = mirrored.sync("--json")
    assert done.code == 0
    assert mirrored.files() == whole(mirrored, 3000)
    assert summary(done.stdout)["resumed"] > 0
    assert mirrored.nothing_stray()


def children(pid):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and b"mate_process" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


@pytest.mark.parametrize(("count", "size"), [(12, 700_000), (6, 40_000_000)])
def test_large_objects_over_tls_are_shared(fake_aws_tls, tmp_path, monkeypatch, mates, capfd, count, size):
    aws = fake_aws_tls
    env = aws.env(aws.user("111111111111", "ana"))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mate.Mate, "_pays", lambda _: True)
    monkeypatch.setattr(transfer, "cores", lambda: 2)
    begun = []
    begin = large.LargeObject.begin

    def watched(self, worker):
        begun.append(len(self._puller.open_objects) - self._puller.crew.threads)
        begin(self, worker)

    monkeypatch.setattr(large.LargeObject, "begin", watched)
    aws.bucket("data", owner="111111111111")
    bodies = {f"{number}": os.urandom(size + number) for number in range(count)}
    for name, content in bodies.items():
        aws.put("data", f"in/{name}", content)
    code, told = run(capfd, "get", "s3://data/in/", "m/")
    assert (code, told[-1]["downloaded"]) == (0, count)
    assert {path.name: path.read_bytes() for path in Path("m").iterdir()} == bodies
    assert 0 < mates[0]._lent < count
    assert max(begun) <= 1  # what was begun goes on before more is begun
    assert told[-1]["received"] == sum(map(len, bodies.values()))


@pytest.mark.parametrize(
    ("files", "size", "busy", "scheme", "ahead", "pays"),
    [
        (mate.MANY, 0, False, "http", False, True),
        (mate.MANY - 1, 0, True, "https", False, False),
        (mate.SOME, 0, False, "http", True, True),
        (mate.SOME - 1, 0, True, "https", True, False),
        (2, mate.MUCH, True, "https", False, True),
        (2, mate.MUCH, False, "https", False, False),
        (2, mate.MUCH, False, "https", True, True),
        (1, mate.MUCH, True, "https", True, False),
        (2, mate.MUCH - 1, True, "https", True, False),
        (2, mate.MUCH, True, "http", True, False),
        (None, None, True, "https", True, False),
    ],
)
def test_when_it_pays(files, size, busy, scheme, ahead, pays):
    progress = Progress(
        total_files=None if files is None else files + 3, total_bytes=None if size is None else size + 5
    )
    meter = progress.meter()
    meter.done_files, meter.done_bytes = 3, 5
    puller = SimpleNamespace(progress=progress, crew=SimpleNamespace(busy=busy))
    twin = SimpleNamespace(endpoint=SimpleNamespace(scheme=scheme))
    second = mate.Mate(puller, twin, 8, lambda _: None, Ahead() if ahead else Spare(wanted=False))
    assert second._pays() is pays


@pytest.mark.parametrize(
    ("size", "scheme", "kept"),
    [(mate.MUCH, "https", True), (mate.MUCH - 1, "https", False), (mate.MUCH, "http", False)],
)
def test_when_all_is_listed_a_spare_is_kept_only_for_large_objects_over_tls(size, scheme, kept):
    puller = SimpleNamespace(progress=Progress(total_files=mate.SOME - 1, total_bytes=size))
    ahead = Ahead()
    mate.Mate(puller, SimpleNamespace(endpoint=SimpleNamespace(scheme=scheme)), 8, lambda _: None, ahead).listed()
    assert ahead.closed is not kept


class Ahead:
    """A spare process that nobody starts."""

    closed = False

    def close(self):
        self.closed = True


def test_it_gets_no_more_than_is_left_here():
    progress = Progress(total_files=20)
    crew = SimpleNamespace(halve=lambda: None)
    second = mate.Mate(SimpleNamespace(progress=progress, crew=crew), SimpleNamespace(), 8, lambda _: None)
    second._ready = True
    items = (Item(RemoteObject(str(number), 1, "e"), "", str(number)) for number in count())
    assert [second.lend(next(items), "new", large=False) for _ in range(12)] == [True] * 10 + [False] * 2
    meter = progress.meter()
    meter.done_files = 10
    assert not second.lend(next(items), "new", large=False)
    second._out.popitem()
    second._out.popitem()
    meter.done_files += 2
    assert not second.lend(next(items), "new", large=False)
    progress.total_files += 9
    assert second.lend(next(items), "new", large=False)


@pytest.mark.parametrize(
    ("mib", "total", "out"),
    [
        ([256] * 8, 2048, 4),
        ([256] * 16, 4096, 4),  # more are asked for when these are done
        ([1024] * 8, 8192, 2),  # one to do and one that waits
        ([256] * 2, 512, 1),  # the last one stays here, where somebody is free
        ([900, 100], 1000, 1),
        ([100, 900], 1000, 1),
        ([16] * 64, 1024, 32),
        ([16] * 8, 128, 4),
        ([256], 256, 1),
        ([256] * 16, None, 4),  # nobody knows how much there is
        ([1024] * 8, None, 2),
    ],
)
def test_large_ones_are_divided_by_bytes(mib, total, out):
    """What it has is never more than what this process has left, but for the first, which somebody offered."""
    second, offers = between_two(total)
    items = [large_one(str(n), size) for n, size in enumerate(mib)]
    lent = [item for item in items if second.lend(item, "new", large=True)]
    assert len(lent) == out
    assert len(offers) <= out  # nothing is looked for after what was refused
    first = lent[0].object.size
    second._advance(mate.Reached(1, first, first, [(7, lent[0].path, first, first)]))
    assert second._has_room(0)


def test_when_it_is_ready_or_has_done_a_large_one_it_is_offered_another():
    second, offers = between_two(8192)
    second._ready = False
    assert not second.lend(large_one("a"), "new", large=True)
    second._hear("ready")
    assert len(offers) == 1
    assert second.lend(large_one("a"), "new", large=True)
    assert len(offers) == 2
    assert second.lend(large_one("b"), "new", large=True)
    assert second.lend(Item(RemoteObject("c", 1, "e"), "", "c"), "new", large=False)
    assert len(offers) == 2
    second._hear([mate.Done(ObjectEvent(Action.DOWNLOADED, "c", "c"), None)])
    assert len(offers) == 2
    second._hear([mate.Done(ObjectEvent(Action.DOWNLOADED, "a", "a"), None)])
    assert len(offers) == 3
    second._hear(("b", 0))  # it comes back
    assert len(offers) == 4


def test_a_small_object_is_no_answer_but_nobody_looks_for_a_large_one_forever():
    second, offers = between_two(8192)
    second.look_on()
    assert offers == []  # nothing was asked for
    second.look_for_large()
    for _ in range(100):
        second.look_on()
    assert len(offers) == 16
    assert second.lend(large_one("a"), "new", large=True)
    second.look_on()
    assert len(offers) == 17


def test_no_more_are_begun_for_it_than_there_are_threads():
    second, offers = between_two(8192)
    second._puller.open_objects |= {1, 2, 3}
    second._hear("ready")
    assert offers == []
    second._puller.open_objects.pop()
    second._hear("ready")
    assert len(offers) == 1


def test_connections_are_halved_when_it_gets_the_first_large_one():
    second, _ = between_two(8192)
    second._hear("ready")
    assert second._puller.halved == []
    assert second.lend(large_one("a"), "new", large=True)
    assert second._puller.halved == [1]


def test_connections_are_halved_when_it_gets_a_small_one_first():
    second, _ = between_two(8192)
    assert second.lend(Item(RemoteObject("a", 1, "e"), "", "a"), "new", large=False)
    assert second._puller.halved == [1]
    assert second.lend(Item(RemoteObject("b", 1, "e"), "", "b"), "new", large=False)
    assert second.lend(large_one("c"), "new", large=True)
    assert second._puller.halved == [1]


def large_one(name, mib=1024):
    return Item(RemoteObject(name, mib << 20, "e"), "", name)


def between_two(mib):
    """The second process of a run of so much, as if it were there, and how often another was asked for."""
    offers, halved = [], []
    crew = SimpleNamespace(begin_another=lambda: offers.append(1), halve=lambda: halved.append(1), threads=2)
    puller = SimpleNamespace(
        progress=Progress(total_files=99, total_bytes=mib and mib << 20),
        crew=crew,
        open_objects=set(),
        halved=halved,
        report=lambda _: None,
        again=lambda *_: None,
    )
    second = mate.Mate(puller, SimpleNamespace(), 8, lambda _: None)
    second._ready = True
    second.flush = lambda: None
    return second, offers


@pytest.mark.skipif(sys.platform != "linux", reason="nobody else tells")
def test_idle_seconds_go_on_with_the_clock():
    before, began = mate.idle_seconds(), time.monotonic()
    time.sleep(0.3)
    passed = mate.idle_seconds() - before
    assert 0 <= passed <= (time.monotonic() - began + 0.1) * os.cpu_count()


def test_a_system_that_does_not_tell_what_is_idle(monkeypatch):
    monkeypatch.setattr(mate, "Path", lambda _: Path("/nowhere/stat"))
    assert mate.idle_seconds() is None


def test_one_core_or_a_rate_is_for_one_process(mirrored, mates, capfd, monkeypatch):
    flood(mirrored)
    assert run(capfd, "get", mirrored.source, "limited/", "--limit-rate", "1G")[0] == 0
    assert run(capfd, "get", mirrored.source, "few/", "--jobs", "3")[0] == 0
    monkeypatch.setattr(transfer, "cores", lambda: 1)
    assert run(capfd, "get", mirrored.source, "one/")[0] == 0
    assert mates == []


def test_a_list_of_checksums_is_held_to_by_both(mirrored, mates, capfd):
    flood(mirrored)
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in whole(mirrored).items()}
    wrong = [name for number, name in enumerate(sorted(listed)) if number % 10 == 0]
    text = "".join(f"{'0' * 64 if name in wrong else digest}  {name}\n" for name, digest in listed.items())
    mirrored.put("SHA256SUMS", text.encode())
    code, told = run(capfd, "get", mirrored.source, "m/", "--checksums", "SHA256SUMS")
    assert code == 6
    assert mates[0]._lent > 20
    assert {line["path"] for line in told if line.get("action") == "failed"} == set(wrong)
    assert mirrored.files().keys() - {"SHA256SUMS"} == listed.keys() - set(wrong)
