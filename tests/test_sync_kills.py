"""A sync of many objects that is killed again and again: nothing is fetched twice but what was on its way.

What was on its way counts: each kill comes after about 40 objects, and what the service had sent of others by then, up
to the buffers of the sockets, is measured at the service. With 8 connections that is little; with more it is more.
"""

from __future__ import annotations

import random
import time

import pytest

from tests.fakes import Held
from tests.mirrors import LONG_AGO, Mirrored

COUNT, KILLS = 2_000, 30


def sent(aws) -> int:
    """Bytes of bodies that the service has handed out: at least what was received of them."""
    return sum(one.bytes_sent for one in aws.asked("GetObject"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("largest", [8_000, 100_000, 1_000_000], ids="up to {} bytes".format)
def test_two_thousand_objects_and_thirty_kills(fake_aws, tmp_path, monkeypatch, largest):
    chance = random.Random(largest)
    mirrored = Mirrored(fake_aws, tmp_path)
    bodies = {f"{n % 40:02}/{n:04}": chance.randbytes(chance.randrange(largest)) for n in range(COUNT)}
    for name, body in bodies.items():
        mirrored.put(name, Held(body), last_modified=LONG_AGO)
    mirrored.lead(monkeypatch)
    total = sum(map(len, bodies.values()))
    kills = 0
    for _ in range(KILLS):
        before = sent(fake_aws)
        until = before + chance.uniform(0.2, 1.4) * total / (1.3 * KILLS)
        running = mirrored.start("sync", mirrored.source, "m", "-q", "--jobs", "8")
        while sent(fake_aws) < until and running.process.poll() is None:
            time.sleep(0.001)
        if running.process.poll() is None:
            kills += 1
            running.kill()
        else:
            assert running.finish().code == 0
    done = mirrored.sync("--json")
    assert done.code == 0, done.stderr
    assert mirrored.files() == bodies
    assert set(mirrored.receipts()) == set(bodies)
    assert mirrored.nothing_stray()
    assert kills == KILLS
    assert sent(fake_aws) < 1.2 * total
