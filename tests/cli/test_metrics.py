"""`sync --metrics FILE`: read as Prometheus reads it, after runs of every end."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from s3pull.cli.manual import EXITS
from s3pull.cli.metrics import page
from s3pull.events import Summary
from tests.fakes import at, faults
from tests.mirrors import Mirrored

LABELS = {"source": "acme:", "dest": "/data"}


def read(text):
    """Values by name, and by action where there is one."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            name = sample.name.removeprefix("s3pull_sync_")
            found[name + ("." + sample.labels["action"] if "action" in sample.labels else "")] = sample.value
    return found


@pytest.fixture
def metered(here, tmp_path):
    """`metered(...)`: a sync with metrics, and what the file then says."""
    here.put("a", b"one")
    here.put("b", b"two")
    path = tmp_path / "s3pull.prom"

    def run(*args):
        done = here.sync("--metrics", str(path), *args)
        return done.exit, read(path.read_text())

    run.path, run.here = path, here
    return run


def test_a_run_that_went_well(metered):
    began = time.time()
    exit, said = metered()
    assert exit == 0
    assert said["exit_code"] == 0
    assert began - 1 <= said["last_success_timestamp_seconds"] == said["last_run_timestamp_seconds"] <= time.time() + 1
    assert (said["objects.downloaded"], said["objects.skipped"], said["received_bytes"]) == (2, 0, 6)
    assert said["failures"] == 0
    assert said["duration_seconds"] > 0
    (sample,) = [
        sample
        for family in text_string_to_metric_families(metered.path.read_text())
        for sample in family.samples
        if sample.name == "s3pull_sync_exit_code"
    ]
    assert sample.labels == {"source": "s3://data/in/", "dest": str(metered.here.folder)}


def test_a_run_that_fails_keeps_the_last_success(metered):
    success = metered()[1]["last_success_timestamp_seconds"]
    metered.here.aws.fault(at("ListObjectsV2"), faults.status(403, "AccessDenied"), times=None)
    exit, said = metered()
    assert (exit, said["exit_code"]) == (10, 10)
    assert said["last_success_timestamp_seconds"] == success
    assert said["last_run_timestamp_seconds"] >= success
    exit, said = metered("--json")
    assert (exit, said["exit_code"], said["last_success_timestamp_seconds"]) == (10, 10, success)


def test_objects_that_fail_are_counted(metered):
    metered.here.put("../x", b"1")
    metered.here.put("cold", b"1", storage_class="GLACIER")
    exit, said = metered()
    assert exit == said["exit_code"] == 3
    assert (said["failures"], said["objects.refused"], said["objects.downloaded"]) == (2, 2, 2)
    assert "last_success_timestamp_seconds" not in said


@pytest.mark.parametrize("source", ["nobody:", "s3://data/nothing/"])
def test_a_source_that_is_not_there(metered, source):
    done = metered.here("sync", source, "m", "--metrics", str(metered.path))
    assert done.exit == 4
    assert read(metered.path.read_text())["exit_code"] == 4


def test_a_dry_run_writes_nothing(metered):
    assert metered.here.sync("--metrics", str(metered.path), "-n").exit == 0
    assert not metered.path.exists()


def test_no_folder_for_it_is_known_before_the_sync(metered, tmp_path):
    done = metered.here.sync("--metrics", "nowhere/x.prom")
    assert done.exit == 2
    assert "hint: make its folder first" in done.err
    assert not metered.here.folder.exists()


def test_a_file_that_cannot_be_written_is_told_and_nothing_half_is_left(metered, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("s3pull.cli.metrics.os", SimpleNamespace(replace=full))
    done = metered.here.sync("--metrics", str(metered.path))
    assert done.exit == 5
    assert f"s3pull: cannot write the metrics to {metered.path}: no space left on device\n" in done.err
    assert metered.here.files() == {"a": b"one", "b": b"two"}
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == []


def test_it_is_replaced_whole_and_others_may_read_it(metered):
    before = os.umask(0o022)
    try:
        metered()
        first = metered.path.stat()
        metered()
        assert metered.path.stat().st_ino != first.st_ino
        assert stat.S_IMODE(metered.path.stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_a_run_that_was_told_to_stop(fake_aws, tmp_path):
    made = Mirrored(fake_aws, tmp_path)
    made.put("a", b"x" * 1_000_000)
    fake_aws.fault(at("GetObject"), faults.stall_after(500_000), times=None)
    running = made.start("sync", made.source, "m", "--metrics", "s3pull.prom")
    until = time.monotonic() + 60
    while not any(one.action == "GetObject" for one in fake_aws.requests) and time.monotonic() < until:
        time.sleep(0.05)
    running.signal(signal.SIGTERM)
    assert running.finish().code == 143
    assert read((tmp_path / "s3pull.prom").read_text())["exit_code"] == 143


@given(st.text(max_size=30), st.text(max_size=30), st.floats(0, 1e10))
def test_any_names_are_read_back_and_the_last_success_found_again(source, dest, when):
    labels = {"source": source, "dest": dest}
    first = page(Summary(), 0, 1.0, labels, clock=lambda: when)
    again = page(Summary(exit=3), 3, 1.0, labels, before=first, clock=lambda: when + 60)
    assert read(again)["last_success_timestamp_seconds"] == read(first)["last_success_timestamp_seconds"]
    found = [sample.labels for family in text_string_to_metric_families(first) for sample in family.samples]
    surrogates = any(0xD800 <= ord(char) <= 0xDFFF for char in source + dest)
    assert surrogates or all(one.items() >= labels.items() for one in found)


def test_another_mirrors_success_is_not_ours():
    other = page(Summary(), 0, 1.0, {"source": "acme:", "dest": "/other"})
    assert "last_success_timestamp_seconds" not in read(page(Summary(), 3, 1.0, LABELS, before=other))


@pytest.mark.parametrize("before", ["", "nonsense", 's3pull_sync_last_success_timestamp_seconds{source="acme:"} x\n'])
def test_what_stood_there_may_be_anything(before):
    assert read(page(Summary(), 3, 1.0, LABELS, before=before))["exit_code"] == 3


def test_the_page_for_operators_knows_every_metric_and_every_exit_code():
    text = (Path(__file__).resolve().parents[2] / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^# TYPE (\w+) gauge", page(Summary(), 0, 1.0, LABELS), re.MULTILINE))
    assert written == set(re.findall(r"^\| `(s3pull_sync_\w+)", text, re.MULTILINE))
    codes = {code for row in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for code in row.split(", ")}
    assert codes == {code for row in EXITS for code in row.split(", ")} - {"130", "141"}
