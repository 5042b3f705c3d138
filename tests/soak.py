"""A long life: one process that syncs again and again, while objects change and answers go wrong. What does it keep?

    python -m tests.soak --minutes 30

The services run here; the syncs in a process of their own, which says after each what it holds: memory, descriptors,
threads. Objects change at `rate` a second. At the end the faults stop, and the mirror has to be the bucket.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.fakes import FakeAws

OWNER = "111111111111"
OBJECTS = 4_000
#: what random faults may lead to: all went well, some objects failed, the service failed
ENDS = {0, 3, 15}

ROUNDS = """
import json, os, sys, threading, time
from s3pull import garbage
garbage.loading()
from s3pull.cli.app import main
garbage.loaded()

until, source, dest = time.monotonic() + float(sys.argv[1]), sys.argv[2], sys.argv[3]
while True:
    last = time.monotonic() >= until
    if last:
        print(json.dumps({"last": True}), flush=True)
        sys.stdin.readline()
    code = main(["sync", source, dest, "--delete", "-q"])
    print(json.dumps({
        "code": code,
        "rss": int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")),
    }), flush=True)
    if last:
        break
"""


class Round(NamedTuple):
    """What the process held after one sync, `at` seconds after the beginning. `rss` is bytes."""

    at: float
    code: int
    rss: int
    descriptors: int
    threads: int
    tasks: int
    fetched: int


class Soaked(NamedTuple):
    rounds: list[Round]
    #: files of the mirror that are not what the bucket has, after the last sync
    wrong: list[str]
    #: part files of objects that failed: they wait for a week to be gone on with
    parts: list[str]
    stderr: str
    #: answers with an object, and those that a fault spoilt
    fetched: int
    faults: int

    def minute(self, number: int) -> Round | None:
        """The last round that had ended by then."""
        return next((one for one in reversed(self.rounds) if one.at <= 60 * number), None)

    def growth(self) -> tuple[float, float]:
        """Median memory of the second fifth of the rounds, and of the last, in bytes."""
        fifth = max(1, len(self.rounds) // 5)
        early, late = self.rounds[fifth : 2 * fifth], self.rounds[-fifth:]
        return median(one.rss for one in early), median(one.rss for one in late)


def body(chance: random.Random) -> bytes:
    """Mostly small; one in two hundred is large enough for a part file with a log."""
    return chance.randbytes(chance.randrange(300_000, 400_000) if chance.random() < 0.005 else chance.randrange(6_000))


def soak(seconds: float, *, rate: int = 200, faults: float = 0.02, seed: int = 1) -> Soaked:
    """Run it. The seed makes the changes and the faults; when they come is up to the machine."""
    chance = random.Random(seed)
    with FakeAws() as aws, tempfile.TemporaryDirectory() as place:
        home = Path(place)
        aws.bucket("data", owner=OWNER)
        bodies = {f"{n % 50:02}/{n:05}": body(chance) for n in range(OBJECTS)}
        for key, data in bodies.items():
            aws.put("data", f"in/{key}", data)
        env = {**os.environ, **aws.env(aws.user(OWNER, "ana")), "HOME": str(home), "XDG_CACHE_HOME": str(home)}
        env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
        with (home / "stderr").open("w+") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", ROUNDS, str(seconds), "s3://data/in/", str(home / "mirror")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=env,
            )
            aws.seeded_faults(seed, faults)
            stop = threading.Event()
            changes = threading.Thread(target=_change, args=(aws, bodies, chance, rate, stop))
            changes.start()
            try:
                rounds, fetched, spoilt = _follow(process, aws, stop, changes)
                process.wait(600)
            finally:
                stop.set()
                changes.join()
                process.kill()
                process.wait()
                assert process.stdin is not None and process.stdout is not None
                process.stdin.close()
                process.stdout.close()
            stderr.seek(0)
            said = stderr.read()
        found = dict(_files(home / "mirror"))
        parts = [name for name in found if name.rpartition("/")[2].startswith(".s3pull-")]
        for name in parts:
            del found[name]
        wrong = sorted({key for key in found | bodies if found.get(key) != bodies.get(key)})
        return Soaked(rounds, wrong, parts, said, fetched, spoilt)


def _change(aws: FakeAws, bodies: dict[str, bytes], chance: random.Random, rate: int, stop: threading.Event) -> None:
    """Put, replace and now and then delete objects, `rate` a second."""
    began, done = time.monotonic(), 0
    while not stop.wait(0.05):
        while done < (time.monotonic() - began) * rate:
            done += 1
            number = chance.randrange(OBJECTS)
            key = f"{number % 50:02}/{number:05}"
            if chance.random() < 0.02 and key in bodies:
                del bodies[key]
                aws.delete("data", f"in/{key}")
            else:
                bodies[key] = body(chance)
                aws.put("data", f"in/{key}", bodies[key])


def _follow(
    process: subprocess.Popen[str], aws: FakeAws, stop: threading.Event, changes: threading.Thread
) -> tuple[list[Round], int, int]:
    assert process.stdin is not None and process.stdout is not None
    began = time.monotonic()
    rounds: list[Round] = []
    total = spoilt = 0
    for line in process.stdout:
        said = json.loads(line)
        if said.pop("last", False):
            stop.set()
            changes.join()
            aws.seeded_faults(0, 0.0)
            process.stdin.write("\n")
            process.stdin.flush()
            continue
        seen = list(aws.requests)
        del aws.requests[: len(seen)]
        fetched = sum(one.action == "GetObject" and one.status == 200 for one in seen)
        spoilt += sum(bool(one.faults) for one in seen)
        total += fetched
        rounds.append(Round(at=time.monotonic() - began, fetched=fetched, **said))
    return rounds, total, spoilt


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] != ".s3pull":
            yield relative.as_posix(), path.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=200, help="objects that change in a second")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    done = soak(chosen.minutes * 60, rate=chosen.rate, seed=chosen.seed)
    seconds = done.rounds[-1].at
    print(f"{len(done.rounds)} syncs in {seconds:.0f} s, {done.fetched:,} objects ({done.fetched / seconds:.0f}/s), ")
    print(f"{done.faults:,} answers spoilt; exits {dict(Counter(one.code for one in done.rounds))}; wrong {done.wrong}")
    print(f"parts of failed objects: {len(done.parts)}")
    for number in sorted({1, 2, 5, 10, 15, 20, 25, 30, int(chosen.minutes)}):
        one = done.minute(number)
        if one is not None and number <= chosen.minutes:
            print(f"minute {number:3}: {one.rss / 1e6:6.1f} MB, {one.descriptors} descriptors, {one.tasks} threads")
    early, late = done.growth()
    print(f"memory: {early / 1e6:.1f} MB in the second fifth of the syncs, {late / 1e6:.1f} MB in the last")


if __name__ == "__main__":
    main()
