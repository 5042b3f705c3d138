"""`sync --shard` as processes: several at once in one folder, and one of them killed in the middle."""

from __future__ import annotations

import pytest

from s3pull.pull.shards import shard_of
from tests.fakes import at, faults
from tests.mirrors import Mirrored, actions, summary, told
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

COUNT = 4
BODIES = {f"{n % 5}/{n:03}.csv": f"row {n}\n".encode() * (n % 50 + 1) for n in range(200)}
BIG = {f"big/{n}": bytes([n]) * 3_000_000 for n in range(4)}


@pytest.fixture
def mirrored(fake_aws, tmp_path):
    return Mirrored(fake_aws, tmp_path)


def start(mirrored, index, *more):
    return mirrored.start("sync", mirrored.source, "m", "--json", "--shard", f"{index}/{COUNT}", *more)


def test_four_at_once_and_then_a_sync_only_lists(mirrored):
    for name, body in BODIES.items():
        mirrored.put(name, body)
    done = [run.finish() for run in [start(mirrored, index) for index in range(COUNT)]]
    assert [one.code for one in done] == [0] * COUNT, [one.stderr for one in done]
    assert mirrored.files() == BODIES
    took = [set(told(one.stdout)) for one in done]
    assert sum(map(len, took)) == len(set().union(*took)) == len(BODIES)
    assert mirrored.aws.count("GetObject") == len(BODIES)
    mirrored.aws.requests.clear()
    after = mirrored.sync("--json")
    assert (after.code, summary(after.stdout)["skipped"]) == (0, len(BODIES))
    assert set(actions(mirrored.aws.requests)) == {"ListObjectsV2"}
    assert set(mirrored.receipts()) == set(BODIES)
    assert mirrored.nothing_stray()


def test_a_shard_that_is_killed_loses_nothing(mirrored):
    """A large object stops in its middle; its shard is killed there and run again. The others come to their end."""
    for name, body in (BODIES | BIG).items():
        mirrored.put(name, body)
    mirrored.aws.fault(at("GetObject", key="in/big/0"), faults.stall_after(2_000_000))
    runs = [start(mirrored, index) for index in range(COUNT)]
    victim = shard_of("big/0", COUNT)
    wait_until(lambda: mirrored.noted("big/0", BIG["big/0"]) >= 4, seconds=120)
    runs[victim].kill()
    assert [run.finish().code for run in runs if run is not runs[victim]] == [0] * (COUNT - 1)
    mirrored.aws.requests.clear()
    again = start(mirrored, victim).finish()
    assert again.code == 0, again.stderr
    assert mirrored.files() == BODIES | BIG
    assert told(again.stdout)["big/0"] == ("resumed", "new")
    assert sum(one.bytes_sent for one in mirrored.aws.asked("GetObject", key="in/big/0")) < len(BIG["big/0"])
    mirrored.aws.requests.clear()
    after = mirrored.sync("--json")
    assert (after.code, summary(after.stdout)["skipped"]) == (0, len(BODIES | BIG))
    assert mirrored.aws.asked("GetObject") == []
    assert mirrored.nothing_stray()
