"""Time `s3pull get` against its peers: `python bench/run.py`. See README.md beside this file.

Every peer downloads the same objects from the same local nginx, in turn, several rounds, each into an empty folder
with nothing left to write back from the run before. One run of each comes first, is not timed, and is compared byte
by byte; every later run is compared too. The table shows medians.
"""

from __future__ import annotations

import argparse
import filecmp
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measure import Cost, measure
from objects import Bucket
from peers import PEERS, Job, Peer, environment, program, version
from server import Nginx, md5_etags

KIB, MIB = 1 << 10, 1 << 20
REFERENCE = "s5cmd"


class Target(NamedTuple):
    """What s3pull is held to: wall time as a multiple of the reference's, and peak memory in bytes."""

    ratio: float
    peak: int = 150_000_000


class Scenario(NamedTuple):
    """One row group of the table. `source` names what the bucket holds: a key, or a prefix that ends in `/`."""

    name: str
    source: str
    tls: bool
    target: Target | None = None


SCENARIOS = (
    Scenario("large-http", "large.bin", tls=False),
    Scenario("large-tls", "large.bin", tls=True, target=Target(ratio=1.2)),
    Scenario("small-http", "small/", tls=False),
    Scenario("small-tls", "small/", tls=True, target=Target(ratio=0.5)),
)


class Result(NamedTuple):
    """All timed runs of one peer in one scenario."""

    peer: Peer
    costs: list[Cost]
    verified: str

    @property
    def wall(self) -> float:
        return statistics.median(cost.wall for cost in self.costs)

    @property
    def cpu(self) -> float:
        return statistics.median(cost.cpu for cost in self.costs)

    @property
    def peak(self) -> int:
        return max(cost.peak for cost in self.costs)


def main() -> int:
    """Run what was asked for and print the table; 1 where a target was missed and --strict was given."""
    choice = arguments()
    peers = [peer for peer in PEERS if peer.name in choice.peers]
    missing = sorted({peer.program for peer in peers if program(peer.program) is None})
    if missing:
        print(f"bench: not installed: {', '.join(missing)}; see bench/README.md", file=sys.stderr)
        return 2
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in choice.scenarios]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="s3pull-bench-", dir=choice.scratch) as scratch:
        bucket = Bucket(Path(scratch), seed=choice.seed, md5_etags=md5_etags())
        if any(scenario.source == "large.bin" for scenario in scenarios):
            bucket.add_object("large.bin", choice.large * MIB)
        if any(scenario.source == "small/" for scenario in scenarios):
            bucket.add_tree("small/", choice.count, choice.small * KIB)
        with Nginx(Path(scratch), bucket) as site:
            print(conditions(choice, peers, load))
            held = [run(scenario, peers, bucket, site, choice.rounds) for scenario in scenarios]
    return 1 if choice.strict and not all(held) else 0


def run(scenario: Scenario, peers: Sequence[Peer], bucket: Bucket, site: Nginx, rounds: int) -> bool:
    """Time one scenario and print its table; False where a target was missed."""
    endpoint = site.tls_url if scenario.tls else site.http_url
    folders = (Job(scenario.source, site.folder / f"out-{number}", endpoint) for number in itertools.count())
    verified = {peer.name: download(peer, next(folders), bucket, site, report=True)[1] for peer in peers}
    costs: dict[str, list[Cost]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        turn = number % len(peers)
        for peer in [*peers[turn:], *peers[:turn]]:
            costs[peer.name].append(download(peer, next(folders), bucket, site)[0])
    for folder in site.folder.glob("out-*"):
        shutil.rmtree(folder)
    results = [Result(peer, costs[peer.name], verified[peer.name]) for peer in peers]
    chosen = [it for it in bucket.stored if it.key.startswith(scenario.source)]
    print(table(scenario, results, sum(it.size for it in chosen), len(chosen)))
    return judge(scenario, results)


def download(peer: Peer, job: Job, bucket: Bucket, site: Nginx, *, report: bool = False) -> tuple[Cost, str]:
    """One run into an empty folder, compared byte by byte with what nginx served. Exits when it is not the same."""
    job.target.mkdir()
    os.sync()
    touch_memory()
    command = [program(peer.program) or peer.program, *peer.arguments(job), *(peer.report if report else ())]
    cost, stdout, stderr = measure(command, environment(site))
    if cost.code != 0:
        sys.exit(f"bench: {peer.name} ended with {cost.code} on {job.source}\n{' '.join(command)}\n{stderr}")
    wrong = differences(bucket.files, job)
    if wrong:
        sys.exit(f"bench: {peer.name} did not download {job.source} rightly: {', '.join(wrong[:5])}")
    if not job.tree:
        # a large file's space is needed again; small files stay to the end of the scenario, because ext4 looks long
        # for inodes that were not deleted just now, and the next run would pay for that
        shutil.rmtree(job.target)
    return cost, proof(stdout) if report and peer.report else "not reported"


def touch_memory() -> None:
    """Use 2 GiB in a process that ends at once, so that no run pays for pages that a hypervisor took back."""
    fill = "import mmap\nm = mmap.mmap(-1, 2 << 30)\nfor at in range(0, len(m), mmap.PAGESIZE): m[at] = 1"
    subprocess.run([sys.executable, "-I", "-S", "-c", fill], check=True)


def differences(files: Path, job: Job) -> list[str]:
    """The paths below the target that are missing, differ, or should not be there."""
    top = files / job.source if job.tree else files
    wanted = {path.relative_to(top) for path in top.rglob("*") if path.is_file()} if job.tree else {Path(job.source)}
    found = {path.relative_to(job.target) for path in job.target.rglob("*") if path.is_file()}
    differ = {path for path in wanted & found if not filecmp.cmp(top / path, job.target / path, shallow=False)}
    return sorted(str(path) for path in (wanted ^ found) | differ)


def proof(stdout: str) -> str:
    """How many objects s3pull says it verified, and by what: `10000 by CRC64NVME`."""
    lines = [json.loads(line) for line in stdout.splitlines()]
    checksums = [line["checksum"] for line in lines if line["event"] == "object"]
    verified = [checksum["algorithm"] for checksum in checksums if checksum and checksum["verified"]]
    return ", ".join(f"{verified.count(name)} by {name}" for name in sorted(set(verified))) or "none"


def conditions(choice: argparse.Namespace, peers: Sequence[Peer], load: float) -> str:
    """What the figures below were measured with; `load` is what else the machine was doing."""
    versions = sorted({version(peer) for peer in peers})
    etags = "MD5" if md5_etags() else "nginx's own"
    return (
        f"{os.cpu_count()} cores shared with nginx, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}; ETags: {etags}; "
        f"load before the bench {load:.1f}; median of {choice.rounds} rounds"
    )


def table(scenario: Scenario, results: Sequence[Result], size: int, count: int) -> str:
    """The Markdown table of one scenario."""
    reference = next((result.wall for result in results if result.peer.name == REFERENCE), None)
    rate_name = "objects/s" if count > 1 else "MB/s"
    what = f"{count:,} x {size // count // KIB:,} KiB" if count > 1 else f"{size // MIB:,} MiB"
    lines = [
        f"\n### {scenario.name}: {what}, {'TLS' if scenario.tls else 'HTTP'}\n",
        f"| | wall s (least to most) | x {REFERENCE} | {rate_name} | CPU s | peak MB | verified |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        walls = [cost.wall for cost in result.costs]
        rate = count / result.wall if count > 1 else size / result.wall / 1e6
        ratio = f"{result.wall / reference:.2f}" if reference else ""
        lines.append(
            f"| {result.peer.name} | {result.wall:.2f} ({min(walls):.2f} to {max(walls):.2f}) | {ratio} | {rate:,.0f} "
            f"| {result.cpu:.2f} | {result.peak / 1e6:.0f} | {result.verified} |"
        )
    return "\n".join(lines)


def judge(scenario: Scenario, results: Sequence[Result]) -> bool:
    """Say whether s3pull, as users run it, meets the scenario's target; True where there is nothing to meet."""
    by_name = {result.peer.name: result for result in results}
    ours, reference = by_name.get("s3pull"), by_name.get(REFERENCE)
    if scenario.target is None or ours is None or reference is None:
        return True
    ratio = ours.wall / reference.wall
    held = ratio <= scenario.target.ratio and ours.peak <= scenario.target.peak
    print(
        f"\n{'held' if held else 'MISSED'}: {ratio:.2f} x {REFERENCE} (at most {scenario.target.ratio}), "
        f"{ours.peak / 1e6:.0f} MB (at most {scenario.target.peak / 1e6:.0f})"
    )
    return held


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="time s3pull get against its peers on a local nginx")
    every_peer, every_scenario = [peer.name for peer in PEERS], [scenario.name for scenario in SCENARIOS]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(every_scenario)}; all of them")
    parser.add_argument("--peer", dest="peers", action="append", choices=every_peer, help="only this one; repeat")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each peer (5)")
    parser.add_argument("--large", type=int, default=1024, metavar="MIB", help="size of the large object (1024)")
    parser.add_argument("--count", type=int, default=10_000, help="how many small objects (10000)")
    parser.add_argument("--small", type=int, default=4, metavar="KIB", help="size of a small object (4)")
    parser.add_argument("--seed", type=int, default=1, help="of the objects' bytes (1)")
    parser.add_argument("--scratch", type=Path, help="folder for data and downloads, on the disk to be measured")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a target is missed")
    choice = parser.parse_args()
    choice.peers = choice.peers or every_peer
    choice.scenarios = choice.scenarios or every_scenario
    unknown = sorted(set(choice.scenarios) - set(every_scenario))
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    return choice


if __name__ == "__main__":
    sys.exit(main())
