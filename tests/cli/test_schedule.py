"""`s3pull schedule`: what it prints, as cron, sh and systemd read it, down to the arguments that s3pull gets."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pull.access.options import ACCESS_OPTIONS
from s3pull.cli import timetable
from s3pull.cli.itself import program
from s3pull.cli.plain import by_name
from s3pull.cli.schedule import _AMBIENT, _missing
from s3pull.cli.schedule import app as schedule_app
from s3pull.cli.sync import app as sync_app
from s3pull.cli.timetable import EVEN, cron_line, minutes, offset, service, timer
from s3pull.errors import UsageError

ROLE = "arn:aws:iam::111122223333:role/acme-readers"
HOSTILE = [
    "a b",
    "it's",
    'say "x"',
    "100%",
    "%h%%",
    "$HOME",
    "${HOME}$$",
    "back\\slash",
    "ünï ✓",
    "~",
    "*",
    ";",
    "#",
    "-x",
]


@pytest.fixture
def acme(run, config, monkeypatch, tmp_path):
    """A share, and a command called s3pull on PATH that says its arguments, each ended by a NUL."""
    assert run("share", "add", "acme", "s3://acme-exports/", "--role-arn", ROLE, "--external-id", "hush-hush").exit == 0
    monkeypatch.delenv("XDG_CONFIG_HOME")
    for name in filter(_AMBIENT.fullmatch, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("S3PULL_CONFIG", str(config))
    command = tmp_path / "bin" / "s3pull"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "argv", ["pytest"])
    return command


# --- transcripts ----------------------------------------------------------------------------------------


def test_a_line_for_cron(run, acme, config):
    ran = run("schedule", "acme:", "/data/acme")
    assert ran.exit == 0
    assert ran.out == f"{offset(60, 'acme:', '/data/acme')} * * * * {acme} --config {config} sync -q acme: /data/acme\n"
    assert ran.err == "s3pull: this line is for your crontab; nothing was installed\nhint: crontab -e opens it\n"


def test_units_for_systemd(run, acme, config):
    ran = run("schedule", "acme:2026/", "/data/acme", "--format", "systemd", "--every", "1d", "--delete")
    assert ran.exit == 0
    name = re.match(r"# (s3pull-acme-[0-9a-f]{6})\.service\n", ran.out)[1]
    hour, minute = divmod(offset(1440, "acme:2026/", "/data/acme"), 60)
    assert (
        ran.out
        == f"""\
# {name}.service
[Unit]
Description=s3pull sync of the share acme

[Service]
Type=oneshot
ExecStart={acme} --config {config} sync -q --delete acme:2026/ /data/acme
SuccessExitStatus=13 143

# {name}.timer
[Unit]
Description=s3pull sync of the share acme, every 1d

[Timer]
OnCalendar={hour:02}:{minute:02}:00
Persistent=true
RandomizedDelaySec=300s

[Install]
WantedBy=timers.target
"""
    )
    assert ran.err.startswith(f"s3pull: these are two files, {name}.service and {name}.timer; nothing was installed\n")
    assert f"systemctl --user enable --now {name}.timer" in ran.err
    assert f"&& systemctl enable --now {name}.timer" in ran.err


def test_what_is_for_sync_is_passed_on(run, acme):
    args = ["--delete", "--publish", "--keep", "3", "--deadline", "50m", "--wait", "1h30m"]
    ran = run("schedule", "acme:*.csv", "data", *args)
    assert f" sync -q {' '.join(args)} 'acme:*.csv' {Path.cwd()}/data\n" in ran.out


ALL_OF_SYNC = [
    "--delete", "--max-delete", "20%", "--publish", "--keep", "3", "--grace", "1h", "--deadline", "50m", "--wait",
    "1h30m", "--locked", "/data/july 1%.jsonl", "--metrics", "/var/lib/s3pull 1%.prom",
    "--jobs", "4", "--limit-rate", "1.5MiB", "--require-checksum",
    "--checksums", "SHA256SUMS", "--encode-names", "--fail-fast", "--no-durable", "--include", "*.csv",
    "--exclude", "100%/$HOME", "--include", "it's \"x\" ;",
]  # fmt: skip


@pytest.mark.parametrize("way", ["cron", "systemd"])
def test_all_that_sync_is_told_arrives_as_it_was_typed(run, acme, config, way):
    ran = run("schedule", "acme:", "/data", *ALL_OF_SYNC, "--format", way)
    assert ran.exit == 0
    if way == "cron":
        words = [shlex.split(cron_command(ran.out.rstrip("\n"), strips)) for strips in (True, False)]
    else:
        words = [exec_words(exec_line(ran.out))]
    for one in words:
        assert one == [str(acme), "--config", str(config), "sync", "-q", *ALL_OF_SYNC, "acme:", "/data"]


def test_a_manifest_is_named_from_the_root_on(run, acme, tmp_path):
    ran = run("schedule", "acme:", "/data", "--locked", "july.jsonl")
    assert f" --locked {Path.cwd()}/july.jsonl acme: /data\n" in ran.out


def test_no_option_of_sync_is_forgotten():
    """But what belongs into the share, what is for people who look on, and what -q is about."""
    ours, theirs = (
        {name for name in by_name(command.parameters) if name.startswith("--")}
        for command in (schedule_app.commands["schedule"], sync_app.commands["sync"])
    )
    access = {name for option in ACCESS_OPTIONS for name in (option.flag, option.off) if name}
    of_a_run = {"--dry-run", "--json", "--verbose", "--quiet", "--progress", "--no-progress", "--no-color"}
    assert theirs - ours == access | of_a_run


@pytest.mark.parametrize("given", [[], ["--config"]])
def test_the_configuration_is_named_unless_it_is_the_users_own(run, acme, config, isolated, monkeypatch, given):
    own = isolated / ".config" / "s3pull" / "config.toml"
    own.parent.mkdir(parents=True)
    config.rename(own)
    monkeypatch.delenv("S3PULL_CONFIG")
    args = [*given, str(own)] if given else []
    assert ("--config" in run(*args, "schedule", "acme", "/data").out) == bool(given)


AMBIENT = [
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_EC2_METADATA_DISABLED", "AWS_CA_BUNDLE", "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "S3PULL_CACHE_DIR", "S3PULL_EXTERNAL_ID",
]  # fmt: skip


@pytest.mark.parametrize("name", AMBIENT)
def test_each_variable_that_access_depends_on_is_named(name):
    assert f": {name}\n" in _missing({name: "hush", "HOME": "/root", "AWS_PAGER": "less", "PATH": "/bin"})
    assert _missing({"HOME": "/root", "AWS_PAGER": "less", "S3PULL_CONFIG": "/x", name: ""}) == ""


def test_every_variable_of_aws_that_the_source_reads_is_known_here():
    """All that stands between quotes as a whole; what botocore alone reads is in its documentation."""
    package = Path(timetable.__file__).resolve().parents[1]
    texts = [path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.name != "schedule.py"]
    read = {name for text in texts for name in re.findall(r'"(AWS_[A-Z0-9_]+)"', text)}
    assert {"AWS_PROFILE", "AWS_LOGIN_CACHE_DIRECTORY"} <= read
    assert [name for name in sorted(read) if name not in _missing({name: "x"})] == []


def test_what_will_not_be_set_there_is_named_without_its_value(run, acme):
    ran = run("schedule", "acme", "/data", env={"AWS_PROFILE": "private-name", "S3PULL_REGION": "eu-west-1"})
    assert "s3pull: set here, and not where it will run: AWS_PROFILE, S3PULL_REGION\n" in ran.err
    assert "private-name" not in ran.out + ran.err


@pytest.mark.parametrize("way", ["cron", "systemd"])
def test_no_role_and_no_external_id_is_printed(run, acme, way):
    ran = run("schedule", "acme", "/data", "--format", way)
    assert ran.exit == 0
    assert "hush" not in ran.out + ran.err
    assert "arn:" not in ran.out + ran.err


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "exit_code", "message", "hint"),
    [
        (["s3://acme-exports/", "/data"], 2, "only a share can be scheduled, not 's3://acme-exports/'",
         "s3pull share add NAME s3://acme-exports/ remembers it with its role; then schedule NAME:"),
        (["acne:", "/data"], 4, "no share 'acne' in {config}", "did you mean acme?"),
        (["acme:", "s3://other/"], 2, "s3pull only downloads",
         "DEST is a local folder (./name:x for a name with a colon)"),
        (["acme:", "-"], 2, "DEST must be a folder", "a sync mirrors SOURCE into a folder"),
        (["acme:", "/data", "--keep", "3"], 2, "--keep and --grace go with --publish", "give --publish, too"),
        (["acme:", "/data", "--grace", "1h"], 2, "--keep and --grace go with --publish", "give --publish, too"),
        (["acme:", "/data", "--max-delete", "3"], 2, "--max-delete says how much --delete may remove",
         "give --delete, too"),
        (["acme:", "/data", "--every", "45m"], 2,
         "cron cannot run something every 45m: it divides neither the hour nor the day",
         "the nearest that it can: 30m and 1h; or --format systemd, which can"),
        (["acme:", "/data", "--every", "5h"], 2,
         "cron cannot run something every 5h: it divides neither the hour nor the day",
         "the nearest that it can: 4h and 6h; or --format systemd, which can"),
        (["acme:", "/data", "--every", "30d"], 2,
         "cron cannot run something every 30d: it divides neither the hour nor the day",
         "the nearest that it can: 7d; or --format systemd, which can"),
        (["acme:", "/a\nb"], 2, "a schedule cannot hold '/a\\nb': it has a control character", "choose another name"),
        (["acme:a\x1bb", "/a"], 2, "a schedule cannot hold 'acme:a\\x1bb': it has a control character",
         "choose another name"),
        (["acme:", "/a\udcffb"], 2, "a schedule cannot hold '/a\\udcffb': it is not UTF-8", "choose another name"),
        (["acme:", "/a\\%b"], 2,
         "a crontab cannot hold '/a\\\\%b': some crons change a backslash before a backslash or %",
         "--format systemd can"),
        (["acme:", "/" + "x" * 1000], 2, "the command is longer than the 990 bytes that every cron takes",
         "--format systemd can"),
    ],
)  # fmt: skip
def test_refused(run, acme, config, args, exit_code, message, hint):
    ran = run("schedule", *args)
    assert (ran.exit, ran.out) == (exit_code, "")
    assert ran.err == f"s3pull: {message.format(config=config)}\nhint: {hint}\n"


@pytest.mark.parametrize("text", ["30s", "90s", "0", "367d", "1y", "", "-1h", "9" * 400])
def test_spans_that_are_none(run, acme, text):
    ran = run("schedule", "acme:", "/data", f"--every={text}")
    assert (ran.exit, ran.out) == (2, "")
    assert ran.err.startswith(f"s3pull: --every {text!r}: not ")


@pytest.mark.parametrize("option", ["--deadline", "--wait"])
def test_spans_for_sync_are_read_here_too(run, acme, option):
    assert run("schedule", "acme:", "/data", option, "soon").err.startswith(f"s3pull: {option} 'soon': not a duration")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--jobs", "0"), ("--limit-rate", "fast"), ("--grace", "soon"), ("--max-delete", "101%"), ("--keep", "1"),
     ("--include", "[a"), ("--locked", "")],
)  # fmt: skip
def test_values_for_sync_are_read_here_too(run, acme, option, value):
    ran = run("schedule", "acme:", "/data", "--delete", "--publish", option, value)
    assert (ran.exit, ran.out) == (2, "")


# --- as cron and sh read it -----------------------------------------------------------------------------


def cron_command(line: str, strips_backslashes: bool) -> str:
    """What cron gives to sh: of `do_command.c` in Vixie's cron, in both its versions."""
    text = line.split(" ", 5)[5]
    found, escaped = "", False
    for character in text:
        if escaped:
            if character == "%" or (strips_backslashes and character == "\\"):
                found = found[:-1]
            found += character
            escaped = False
            continue
        assert character != "%", "the rest would be its input"
        escaped = character == "\\"
        found += character
    return found


@pytest.mark.parametrize("strips_backslashes", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_arrives_whole_through_cron_and_sh(run, acme, tmp_path, name, strips_backslashes):
    ran = run("schedule", "acme:" + name, "./" + name)
    assert (ran.exit, ran.out.count("\n")) == (0, 1)
    done = subprocess.run(
        ["/bin/sh", "-c", cron_command(ran.out.rstrip("\n"), strips_backslashes)],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.stderr == ""
    assert done.stdout.split("\0")[2:] == ["sync", "-q", "acme:" + name, f"{tmp_path}/{name}", ""]


printable = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1)


@given(st.lists(printable, min_size=1, max_size=4))
@settings(deadline=None)
def test_all_that_can_be_printed_arrives_whole(words):
    assert exec_words(exec_line(service(["/bin/x", *words], "x"))) == ["/bin/x", *words]
    try:
        line = cron_line(words, 60, 0)
    except UsageError:
        assert any(re.search(r"\\[\\%]", word) for word in words) or len("".join(words).encode()) > 200
    else:
        assert shlex.split(cron_command(line, True)) == shlex.split(cron_command(line, False)) == words


def values(field: str, first: int, last: int) -> list[int]:
    """One field of a crontab line, strictly: `*`, `N` or `N-M/S`."""
    if field == "*":
        return list(range(first, last + 1))
    match = re.fullmatch(r"(\d+)(?:-(\d+)/(\d+))?", field)
    assert match, field
    begin = int(match[1])
    found = list(range(begin, int(match[2] or begin) + 1, int(match[3] or 1)))
    assert first <= found[0] and found[-1] <= last
    return found


@pytest.mark.parametrize("every", EVEN)
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_cron_runs_it_evenly(every, name):
    line = cron_line(["x"], every, offset(every, name))
    minute, hour, day, month, weekday, command = line.split(" ")
    assert (day, month, command) == ("*", "*", "x")
    week = [
        (d * 24 + h) * 60 + m for d in values(weekday, 0, 6) for h in values(hour, 0, 23) for m in values(minute, 0, 59)
    ]
    assert week == list(range(week[0], 7 * 1440, every))
    assert week[0] < every


@pytest.mark.parametrize(("every", "at"), [(15, 4), (60, 49), (1440, 1009)])
def test_an_offset_is_the_same_everywhere(every, at):
    """A schedule that is printed again, elsewhere or by a later version, replaces the one before."""
    assert offset(every, "acme:", "/data/acme") == at


def test_not_all_begin_together():
    assert len({offset(60, f"share{number}:", "/data") for number in range(60)}) > 25


@pytest.mark.parametrize(
    ("seconds", "every"), [(60, 1), (900, 15), (3600, 60), (86400, 1440), (604800, 10080), (2700, 45)]
)
def test_minutes(seconds, every):
    assert minutes(seconds) == every


# --- as systemd reads it --------------------------------------------------------------------------------

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(
    ANALYZE is None, reason="systemd-analyze is not here (Debian: apt-get install systemd)"
)


def exec_words(line: str) -> list[str]:
    """The words of an ExecStart as systemd.syntax(7) and systemd.service(5) take them apart, for what we write."""
    words = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"(?:\s|$)|([^\s"]+)(?:\s|$)', line):
        word = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        assert not re.search(r"(?<!%)(?:%%)*%(?!%)", word), "a specifier"
        word = word.replace("%%", "%")
        if words:
            assert not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", word), "a variable"
            word = word.replace("$$", "$")
        words.append(word)
    return words


def exec_line(text: str) -> str:
    return re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)[1]


def verify(folder: Path, units: str, *options: str) -> None:
    """Split what was printed at its comment lines, as the user would, and have systemd judge both files."""
    files = re.split(r"^# (s3pull-[a-z0-9_-]+\.(?:service|timer))\n", units, flags=re.MULTILINE)[1:]
    assert [name.rpartition(".")[2] for name in files[::2]] == ["service", "timer"]
    paths = []
    for name, text in zip(files[::2], files[1::2], strict=True):
        paths.append(folder / name)
        paths[-1].write_text(text, encoding="utf-8")
    done = subprocess.run([ANALYZE, *options, "verify", *paths], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "s3pull" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


@needs_systemd
@pytest.mark.parametrize("options", [[], ["--user"]])
@pytest.mark.parametrize("every", ["1m", "15m", "45m", "1h", "6h", "7h", "1d", "7d", "30d"])
def test_systemd_takes_the_units(run, acme, tmp_path, isolated, every, options):
    ran = run("schedule", "acme:", "/data/acme", "--format", "systemd", "--every", every)
    assert ran.exit == 0
    verify(tmp_path, ran.out, *options)


@needs_systemd
def test_systemd_would_not_take_anything(run, acme, tmp_path):
    units = run("schedule", "acme:", "/data/acme", "--format", "systemd").out
    for broken in (units.replace("OnCalendar=", "OnCalendar=x"), units.replace("ExecStart=", "ExecStart=/nowhere")):
        with pytest.raises(AssertionError, match="s3pull-acme"):
            verify(tmp_path, broken)


@pytest.mark.parametrize("name", [*HOSTILE, "a\\%b", "a\\\\"])
def test_a_hostile_name_arrives_whole_through_systemd(run, acme, config, tmp_path, name):
    ran = run("schedule", "acme:" + name, "./" + name, "--format", "systemd")
    assert ran.exit == 0
    assert exec_words(exec_line(ran.out)) == [
        str(acme), "--config", str(config), "sync", "-q", "acme:" + name, f"{tmp_path}/{name}",
    ]  # fmt: skip
    if ANALYZE is not None:
        verify(tmp_path, ran.out)


def test_a_program_whose_path_systemd_would_take_for_a_variable():
    line = exec_line(service(["/opt/$x/s3pull", "sync"], "x"))
    assert line == '/usr/bin/env "/opt/$$x/s3pull" sync'


def instants(calendar: str, count: int) -> list[datetime]:
    done = subprocess.run(
        [ANALYZE, "calendar", f"--iterations={count}", "--base-time=2024-03-04 00:00:00 UTC", calendar],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
    )  # fmt: skip
    return [datetime.fromisoformat(text) for text in re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", done.stdout)][
        -count:
    ]


@needs_systemd
@pytest.mark.parametrize("every", EVEN)
def test_systemd_runs_it_evenly(every):
    text = timer(every, offset(every, "acme"), "x")
    found = instants(re.search("^OnCalendar=(.*)$", text, re.MULTILINE)[1], 20)
    gaps = {(later - earlier).total_seconds() for earlier, later in itertools.pairwise(found)}
    assert gaps == {every * 60}


def test_what_is_missed_is_made_up_for():
    assert "Persistent=true" in timer(60, 7, "x")
    assert "OnBootSec=7min\nOnUnitActiveSec=45min\n" in timer(45, 7, "x")


# --- what is started ------------------------------------------------------------------------------------


def test_the_command_that_runs_is_scheduled_by_its_full_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3pull").write_text("")
    assert program("./s3pull", "/usr/bin/s3pull", "/usr/bin/python3") == [f"{tmp_path}/s3pull"]
    assert program("s3pull", "bin/s3pull", "/usr/bin/python3") == [f"{tmp_path}/s3pull"]
    (tmp_path / "s3pull").unlink()
    assert program("s3pull", "bin/s3pull", "/usr/bin/python3") == [f"{tmp_path}/bin/s3pull"]
    assert program("s3pull", None, "/usr/bin/python3") == ["/usr/bin/python3", "-m", "s3pull"]
    assert program("/x/s3pull/__main__.py", "/usr/bin/s3pull", "/v/python") == ["/v/python", "-m", "s3pull"]


def test_what_is_too_long_for_cron_is_counted_in_bytes():
    assert len(cron_line(["x" * 990], 60, 0)) > 990
    with pytest.raises(UsageError):
        cron_line(["x" * 988 + "é"], 60, 0)
    assert timetable.human(10080) == "7d"
