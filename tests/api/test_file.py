"""`s3pull.open`: a file like others, of one version, whatever happens to its connection, session or process."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import textwrap
import threading
import zipfile

import pytest

import s3pull
from s3pull import errors
from tests.apart import apart
from tests.fakes import at, faults
from tests.partner import BUCKET, PREFIX, REPORT, prices

BODY = random.Random(3).randbytes(3_000_000)


def test_it_is_a_file_like_others(partner):
    partner.put("report.csv", REPORT)
    with s3pull.open("acme:report.csv") as file:
        assert isinstance(file, io.BufferedReader)
        assert (file.readable(), file.seekable(), file.writable(), file.mode) == (True, True, False, "rb")
        assert (file.name, file.size, file.closed) == ("acme:report.csv", len(REPORT), False)
        assert list(file) == [b"day,price\n", b"1,7\n"]
        assert (file.tell(), file.read(), file.verified) == (14, b"", True)
        assert (file.seek(-4, io.SEEK_END), file.peek(1)[:1], file.read1(2)) == (10, b"1", b"1,")
        assert (file.seek(0), file.seek(3, io.SEEK_CUR), file.read(3)) == (0, 3, b",pr")
        assert (file.seek(1000), file.read(5)) == (1000, b"")
        for wrong in (lambda: file.seek(-1), lambda: file.seek(0, 9), lambda: file.raw.seek(-1)):
            with pytest.raises(ValueError):
                wrong()
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
        assert "acme:report.csv" in repr(file)
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()
    file.close()


def test_text_and_archives_are_read_through_it(partner):
    partner.put("report.csv", REPORT)
    assert io.TextIOWrapper(s3pull.open("acme:report.csv"), encoding="utf-8").readlines()[1] == "1,7\n"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("inner.txt", "hello")
        archive.writestr("big.bin", BODY)
    partner.put("all.zip", target.getvalue())
    partner.aws.requests.clear()
    with zipfile.ZipFile(s3pull.open("acme:all.zip")) as archive:
        assert archive.read("inner.txt") == b"hello"
    assert sum(one.bytes_sent for one in partner.aws.requests) < 1_500_000


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_parquet(partner, library):
    partner.put("prices.parquet", prices())
    read = f"""
import {library}, s3pull
with s3pull.open("acme:prices.parquet") as file:
    print(list({library}.read_parquet(file)["price"]))
"""
    assert apart(read) == "[10, 20, 30]\n"


def test_of_a_large_table_only_what_is_wanted_is_read(partner, tmp_path):
    write = """
import polars, random, sys
columns = {name: random.Random(name).sample(range(10**9), 200_000) for name in ("a", "b", "c", "d")}
polars.DataFrame(columns).write_parquet(sys.argv[1], compression="uncompressed", row_group_size=50_000)
"""
    read = """
import pyarrow.parquet, s3pull
with s3pull.open("acme:large.parquet") as file:
    print(pyarrow.parquet.ParquetFile(file).read_row_group(2, columns=["c"])["c"].to_pylist())
"""
    apart(write, str(tmp_path / "large.parquet"))
    content = (tmp_path / "large.parquet").read_bytes()
    partner.put("large.parquet", content)
    partner.aws.requests.clear()
    column = random.Random("c").sample(range(10**9), 200_000)
    assert json.loads(apart(read)) == column[100_000:150_000]
    assert sum(one.bytes_sent for one in partner.aws.requests) < len(content) / 2


def test_shares_and_buckets_whatever_the_key(partner):
    partner.put("odd [1] *.txt", b"odd")
    (entry,) = s3pull.ls("acme:")
    with s3pull.open(entry.source) as file:
        assert file.read() == b"odd"
    with s3pull.open(
        f"s3://{BUCKET}/{PREFIX}odd \\[1\\] \\*.txt", role_arn=partner.role, external_id="external-id-9f4c1d"
    ) as file:
        assert file.read() == b"odd"


@pytest.mark.parametrize("source", ["acme:", "acme:2026/", "acme:*.csv"])
def test_it_takes_one_object(partner, source):
    with pytest.raises(errors.UsageError, match="not one object"):
        s3pull.open(source)


def test_no_such_thing_and_no_permission(partner):
    with pytest.raises(errors.NothingThere):
        s3pull.open("acme:nowhere")
    with pytest.raises(errors.UsageError):
        s3pull.open("acme:x", buffering=0)
    with pytest.raises(errors.AccessDenied) as denied:
        s3pull.open("acme:x", external_id="wrong-external-id", cache="none")
    assert denied.value.hint == "s3pull doctor acme"


def test_one_version_of_an_object(partner):
    partner.aws.bucket("old", owner="111111111111", versioning=True)
    partner.aws.put("old", "k", b"first")
    first = next(one for one in partner.aws.store.buckets["old"].versions["k"])
    partner.aws.put("old", "k", b"second")
    options = {"role_arn": partner.role, "external_id": "external-id-9f4c1d"}
    with s3pull.open("s3://old/k", version_id=first.version_id, **options) as file:
        assert (file.read(), file.version_id) == (b"first", first.version_id)


def test_an_object_that_is_replaced_meanwhile_is_not_mixed_with_the_new_one(partner):
    partner.put("big", BODY)
    with s3pull.open("acme:big") as file:
        assert file.read(10) == BODY[:10]
        partner.put("big", bytes(len(BODY)))
        with pytest.raises(errors.ObjectChanged, match="while it was being read"):
            file.seek(2_000_000)
            file.read(10)
    with s3pull.open("acme:big") as file:
        assert file.read() == bytes(len(BODY))


def test_a_server_that_knows_no_if_match_is_found_out(partner):
    partner.put("big", BODY)
    partner.aws.fault(at("GetObject", range=2_000_000), faults.ignore_if_match())
    with s3pull.open("acme:big") as file:
        file.read(10)
        partner.put("big", bytes(len(BODY)))
        file.seek(2_000_000)
        with pytest.raises(errors.ObjectChanged):
            file.read(10)


def test_broken_connections_are_mended(partner):
    partner.put("big", BODY)
    for nth in (1, 2, 3):
        partner.aws.fault(at("GetObject", key="*big", nth=nth), faults.reset_after(200_000))
    with s3pull.open("acme:big") as file:
        assert file.read() == BODY
        assert file.verified


def test_flipped_bits_are_an_error(partner):
    partner.put("big", BODY)
    partner.aws.fault(at("GetObject", key="*big"), faults.flip_bit(1_000))
    with s3pull.open("acme:big") as file, pytest.raises(errors.CheckFailed):
        file.read()


def test_a_session_that_ends_meanwhile_is_renewed(partner):
    partner.put("big", BODY)
    with s3pull.open("acme:big") as file:
        assert file.read(10) == BODY[:10]
        partner.aws.expire_sessions()
        file.seek(2_000_000)
        assert file.read() == BODY[2_000_000:]
    assert partner.assumed == 2


def test_threads_share_it(partner):
    partner.put("big", BODY)
    pieces = {}
    with s3pull.open("acme:big") as file:

        def take():
            while piece := file.read(10_000):
                pieces[piece] = True

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sum(map(len, pieces)) == len(BODY)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_after_a_fork_the_child_has_a_client_of_its_own_and_the_parent_keeps_his(partner, tmp_path):
    partner.put("big", BODY)
    program = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import s3pull

        body = open("body", "rb").read()
        file = s3pull.open("acme:big")
        assert file.read(1_000) == body[:1_000]
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        assert file.read() == body[1_000:]
        file.seek(0)
        assert file.read() == body
        assert file.verified
        if child == 0:
            file.close()
            sys.exit(0)
    """
    (tmp_path / "body").write_bytes(BODY)
    partner.aws.requests.clear()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert partner.assumed == 1
    ports = [one.client_port for one in partner.aws.requests if one.action == "GetObject"]
    assert len(set(ports)) == 2
    assert ports[0] == ports[-1], "the parent's connection was cut"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_child_that_never_reads_harms_nothing(partner, tmp_path):
    partner.put("big", BODY)
    program = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import s3pull

        file = s3pull.open("acme:big")
        file.read(10)
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        while file.read(100_000):
            pass
        assert file.verified is True
    """
    partner.aws.requests.clear()
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    ports = {one.client_port for one in partner.aws.requests if one.action == "GetObject"}
    assert len(ports) == 1, "the parent's connection was cut"


def test_other_servers_too(rclone_server, monkeypatch):
    (rclone_server.bucket("plain") / "data.bin").write_bytes(BODY)
    for name, value in rclone_server.env().items():
        monkeypatch.setenv(name, value)
    with s3pull.open("s3://plain/data.bin") as file:
        assert (file.seek(1_000_000), file.read(5)) == (1_000_000, BODY[1_000_000:1_000_005])
        file.seek(0)
        assert file.read() == BODY
