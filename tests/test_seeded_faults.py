"""Thousands of transfers, each of which goes wrong in some way: right to the byte, or a clear error and no file.

Rounds of whole commands run in this process against a server that picks from all its faults by a seed. A failure tells
the seed and the round; FAULT_SEED and FAULT_ROUND run just that again, FAULT_TRANSFERS more or fewer of them.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from s3pull.pull import fanout, mate
from tests.fakes.seeded import everything
from tests.faulty import Bucket, check_run, hurry, watched

SEED = int(os.environ.get("FAULT_SEED", "20261126"))
ONLY = os.environ.get("FAULT_ROUND")
TRANSFERS = int(os.environ.get("FAULT_TRANSFERS", "5000"))


@pytest.fixture
def buckets(monkeypatch):
    """Over HTTP and over TLS."""
    hurry(monkeypatch)
    both = [Bucket(tls=False), Bucket(tls=True)]
    yield both
    for bucket in both:
        bucket.close()


def one_round(number: int, bucket: Bucket, dest: Path, capsys, monkeypatch) -> tuple[int, Counter[str], Counter[int]]:
    """Some commands into one destination; (faulty transfers, faults served, exits)."""
    dice = random.Random(f"{SEED}/{number}")
    aws = bucket.aws
    full = dice.choice([7, 1000])  # whether pages are long enough for several streams to list
    monkeypatch.setattr(fanout.pages, "__kwdefaults__", {"hands": 8, "stretch": 2, "full": full})
    monkeypatch.setattr(mate, "MANY", dice.choice([20, 2500, 2500, 2500]))  # whether a second process helps
    for name, value in bucket.env().items():
        monkeypatch.setenv(name, value)
    aws.requests.clear()
    rate = dice.choice([0.3, 0.6, 0.9])
    menu = everything(bucket.elsewhere.url)
    aws.seeded_faults(dice.randrange(1 << 32), rate, menu=menu, listings=dice.choice([0.0, 0.02, 0.1, rate]))
    exits: Counter[int] = Counter()
    faulty = 0
    command = dice.choice(["get", "sync"])
    more = dice.choice([["--jobs", "1"], ["--jobs", "4"], []])
    for attempt in range(3):
        told = f"FAULT_SEED={SEED} FAULT_ROUND={number} ({command} {more}, attempt {attempt}, rate {rate})"
        capsys.readouterr()
        code = watched([command, "s3://acme/d/", str(dest), "--json", "-v", *more])
        said = capsys.readouterr()
        faults = [
            (one.action, one.query.get("start-after"), one.query.get("continuation-token"), one.faults)
            for one in aws.requests
            if one.action == "ListObjectsV2"
        ]
        told += f"\n{faults}\nexit {code}\n{said.err[-3000:]}\n{said.out[-3000:]}"
        check_run(told, said.out, said.err, code, bucket.bodies, dest)
        exits[code] += 1
        faulty += len({one.key for one in aws.requests if one.faults and one.key})
        aws.requests.clear()
    key = dice.choice(sorted(bucket.bodies))
    capsys.readouterr()
    code = watched(["get", f"s3://acme/d/{key}", str(dest / "one"), "--json"])
    said = capsys.readouterr()
    assert code in (0, 3, 6, 11, 15), (SEED, number, key, said)
    assert "Traceback" not in said.err, (SEED, number, key, said)
    assert (dest / "one").exists() == (code == 0), (SEED, number, key, said)
    if code == 0:
        assert (dest / "one").read_bytes() == bucket.bodies[key], (SEED, number, key)
    exits[code] += 1
    faulty += bool([one for one in aws.requests if one.faults])
    served = Counter(aws.faults_served())
    aws.seeded_faults(0, 0)
    assert not bucket.elsewhere.requests, (SEED, number, bucket.elsewhere.requests)
    return faulty, served, exits


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_five_thousand_faulty_transfers(buckets, tmp_path, capsys, monkeypatch):
    faulty, served, exits = 0, Counter(), Counter()
    threads = threading.active_count()
    for number in [int(ONLY)] if ONLY else range(100_000):
        dest = tmp_path / str(number)
        count, faults, codes = one_round(number, buckets[number % 2], dest, capsys, monkeypatch)
        faulty, served, exits = faulty + count, served + faults, exits + codes
        if faulty >= TRANSFERS:
            break
    with capsys.disabled():
        print(f"\n{faulty} faulty transfers in {number + 1} rounds, seed {SEED}, exits {dict(sorted(exits.items()))}")
    if not ONLY and TRANSFERS >= 5000:
        menu = everything("http://127.0.0.1:1")
        assert {f"{action}: {name}" for action in menu for name in menu[action]} - set(served) == set()
        assert exits[0] and exits[3]
    assert threading.active_count() <= threads + 40  # the servers' own, of connections that may not have ended yet
