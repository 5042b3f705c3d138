"""Time s3pull against its peers: `python bench/run.py`. See README.md beside this file.

Every peer does the same work against the same local nginx, in turn, several rounds, with nothing left to write back
from the run before. One run of each comes first, is not timed, and is checked; every later run is checked too. The
tables show medians.
"""

from __future__ import annotations

import argparse
import datetime
import filecmp
import itertools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measure import Cost, measure
from objects import MODIFIED, Bucket
from peers import AWS, GET, LIST, PEERS, SYNC, Job, Peer, environment, program, version
from scenarios import SCENARIOS, Scenario
from scratch import empty, folder, rest
from server import Nginx, make_mirror, many_key, md5_etags

KIB, MIB = 1 << 10, 1 << 20
NOT_DURABLE = "s3pull --no-durable"
RESULTS = Path(__file__).with_name("RESULTS.md")


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
    def kernel(self) -> float:
        return statistics.median(cost.kernel for cost in self.costs)

    @property
    def cpu_in_all(self) -> float:
        return statistics.median(cost.cpu + cost.kernel for cost in self.costs)

    @property
    def peak(self) -> int:
        return max(cost.peak for cost in self.costs)


class Bench:
    """The bucket, its server for one scenario at a time, and the folders that peers work in."""

    def __init__(self, choice: argparse.Namespace, scratch: Path, scenarios: Sequence[Scenario]) -> None:
        self.choice = choice
        self.scratch = scratch
        self.bucket = Bucket(scratch, seed=choice.seed, md5_etags=md5_etags())
        sources = {scenario.source for scenario in scenarios}
        if "large.bin" in sources:
            self.bucket.add_object("large.bin", choice.large * MIB)
        if "one.bin" in sources:
            self.bucket.add_object("one.bin", 4 * KIB)
        if "several/" in sources:
            self.bucket.add_sizes("several/", [choice.large // 4 * MIB] * 8)
        if "small/" in sources:
            self.bucket.add_sizes("small/", [4 * KIB] * choice.count)
        if "mixed/" in sources:
            self.bucket.add_sizes("mixed/", self.bucket.log_normal(2_000, KIB, 64 * MIB, 2 * choice.large * MIB))
        self._folders = (scratch / f"out-{number}" for number in itertools.count())
        self._mirror = scratch / "mirror"

    def run(self, scenario: Scenario, peers: Sequence[Peer]) -> list[Result]:
        """Time one scenario."""
        many = self.choice.many if scenario.source == "many/" else 0
        with Nginx(self.scratch, self.bucket, many=many, page=scenario.page, first_byte=scenario.first_byte) as site:
            if scenario.work == SYNC and not self._mirror.exists():
                make_mirror(self._mirror, self.choice.many)
            able = [peer for peer in peers if peer.arguments(self._job(scenario, site)) is not None]
            verified = {peer.name: self._once(peer, scenario, site, report=True)[1] for peer in able}
            costs: dict[str, list[Cost]] = {peer.name: [] for peer in able}
            shuffle = random.Random(self.choice.seed)
            for _ in range(self.choice.rounds):
                for peer in shuffle.sample(able, len(able)):
                    costs[peer.name].append(self._once(peer, scenario, site)[0])
        return [Result(peer, costs[peer.name], verified[peer.name]) for peer in able]

    def _job(self, scenario: Scenario, site: Nginx) -> Job:
        endpoint = site.tls_url if scenario.tls else site.http_url
        target = self._mirror if scenario.work == SYNC else next(self._folders)
        return Job(scenario.work, scenario.source, target, endpoint)

    def _once(self, peer: Peer, scenario: Scenario, site: Nginx, *, report: bool = False) -> tuple[Cost, str]:
        """One run, checked. Exits where it is not right."""
        job = self._job(scenario, site)
        job.target.mkdir(exist_ok=True)
        os.sync()
        touch_memory()
        extra = peer.report if report and scenario.work == GET else ()
        command = [program(peer.program) or peer.program, *(peer.arguments(job) or ()), *extra]
        cost, stdout, stderr = measure(command, environment(site))
        if cost.code != 0:
            sys.exit(f"bench: {peer.name} ended with {cost.code} on {job.source}\n{' '.join(command)}\n{stderr}")
        wrong = self._differences(job, stdout)
        if wrong:
            sys.exit(f"bench: {peer.name} did not do {scenario.name} rightly: {', '.join(wrong[:5])}")
        if scenario.work == GET:
            empty(job.target)
        return cost, proof(stdout) if extra else "not reported"

    def _differences(self, job: Job, stdout: str) -> list[str]:
        """What is missing, differs, or should not be there."""
        if job.work == LIST:
            names = {line.split()[-1].removeprefix(job.uri).removeprefix(job.source) for line in stdout.splitlines()}
            wanted = {many_key(number).removeprefix("many/") for number in range(self.choice.many)}
            return sorted(wanted ^ names)
        if job.work == SYNC:
            first, last = many_key(0), many_key(self.choice.many - 1)
            paths = [job.target / key.removeprefix("many/") for key in (first, last)]
            return [str(path) for path in paths if path.stat().st_mtime != MODIFIED]
        files = self.bucket.files
        top = files / job.source if job.tree else files
        wanted = {it.relative_to(top) for it in top.rglob("*") if it.is_file()} if job.tree else {Path(job.source)}
        found = {it.relative_to(job.target) for it in job.target.rglob("*") if it.is_file()}
        differ = {it for it in wanted & found if not filecmp.cmp(top / it, job.target / it, shallow=False)}
        return sorted(str(path) for path in (wanted ^ found) | differ)


def main() -> int:
    """Run what was asked for and print the tables; 1 where a target was missed and --strict was given."""
    choice = arguments()
    peers = [peer for peer in PEERS if peer.name in choice.peers]
    peers = [peer._replace(program=choice.aws) if peer.program == AWS else peer for peer in peers]
    missing = sorted({peer.program for peer in peers if program(peer.program) is None})
    if missing:
        print(f"bench: not installed: {', '.join(missing)}; see bench/README.md", file=sys.stderr)
        return 2
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in choice.scenarios]
    load = os.getloadavg()[0]
    said = [conditions(choice, peers, load)]
    print(said[0], flush=True)
    held = True
    with tempfile.TemporaryDirectory(prefix="s3pull-bench-", dir=choice.scratch) as scratch:
        rest(Path(scratch))
        bench = Bench(choice, Path(scratch), scenarios)
        for scenario in scenarios:
            results = bench.run(scenario, peers)
            words, good = judge(scenario, results)
            said.append(f"{table(scenario, results, bench)}\n\n{words}")
            print(said[-1], flush=True)
            held = held and good
    if choice.keep:
        keep(said)
    return 1 if choice.strict and not held else 0


def keep(said: Sequence[str]) -> None:
    """Put this run on top of RESULTS.md."""
    head, _, rest = RESULTS.read_text().partition("\n## ")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    RESULTS.write_text(f"{head.rstrip()}\n\n## {today}\n" + "\n".join(said) + (f"\n\n## {rest}" if rest else "\n"))


def touch_memory() -> None:
    """Use 4 GiB in a process that ends at once, so that no run pays for pages that a hypervisor took back."""
    fill = "import mmap\nm = mmap.mmap(-1, 4 << 30)\nfor at in range(0, len(m), mmap.PAGESIZE): m[at] = 1"
    subprocess.run([sys.executable, "-I", "-S", "-c", fill], check=True)


def proof(stdout: str) -> str:
    """How many objects s3pull says it verified, and by what: `10000 by CRC64NVME`."""
    lines = [json.loads(line) for line in stdout.splitlines()]
    checksums = [line["checksum"] for line in lines if line["event"] == "object"]
    verified = [checksum["algorithm"] for checksum in checksums if checksum and checksum["verified"]]
    return ", ".join(f"{verified.count(name)} by {name}" for name in sorted(set(verified))) or "none"


def conditions(choice: argparse.Namespace, peers: Sequence[Peer], load: float) -> str:
    """What the figures below were measured with; `load` is what else the machine was doing."""
    versions = sorted({version(peer) for peer in peers if peer.program not in (sys.executable, "sh")})
    etags = "MD5" if md5_etags() else "nginx's own"
    return (
        f"{os.cpu_count()} cores shared with nginx, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}; ETags: {etags}; "
        f"load before the bench {load:.1f}; median of {choice.rounds} rounds"
    )


def table(scenario: Scenario, results: Sequence[Result], bench: Bench) -> str:
    """The Markdown table of one scenario."""
    if scenario.source == "many/":
        what = f"{bench.choice.many:,} objects at {scenario.page * 1000:.0f} ms a page"
    else:
        count, size = bench.bucket.count(scenario.source), bench.bucket.size(scenario.source)
        what = f"{count:,} objects, {size / MIB:,.1f} MiB in all" if count > 1 else f"{size / MIB:,.3g} MiB"
        if scenario.first_byte:
            what += f", {scenario.first_byte * 1000:.0f} ms to the first byte"
    lines = [
        f"\n### {scenario.name}: {what}, {'TLS' if scenario.tls else 'HTTP'}\n",
        "| | wall s (least to most) | CPU s | the kernel's | peak MB | verified |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        walls = [cost.wall for cost in result.costs]
        lines.append(
            f"| {result.peer.name} | {result.wall:.2f} ({min(walls):.2f} to {max(walls):.2f}) "
            f"| {result.cpu:.2f} | {result.kernel:.2f} | {result.peak / 1e6:.0f} | {result.verified} |"
        )
    return "\n".join(lines)


def judge(scenario: Scenario, results: Sequence[Result]) -> tuple[str, bool]:
    """Whether s3pull meets the scenario's target, in words: as users run it against peers that are followed by a sync,
    where there are such, and without its syncs against peers as they are.

    True where there is nothing to meet.
    """
    ours = {result.peer.name: result for result in results if result.peer.name in ("s3pull", NOT_DURABLE)}
    rivals = [result for result in results if not result.peer.ours and not result.peer.reference]
    target = scenario.target
    if target is not None and target.peer:
        rivals = [result for result in rivals if result.peer.name == target.peer]
    if target is None or "s3pull" not in ours or not rivals:
        return "", True
    said, good = [], True
    for name, result in ours.items():
        alike = [rival for rival in rivals if rival.peer.synced == result.peer.synced] or rivals
        fastest = min(alike, key=lambda rival: rival.wall)
        wall, cpu = result.wall / fastest.wall, result.cpu_in_all / fastest.cpu_in_all
        held = wall <= target.wall and result.peak <= target.peak and (target.cpu is None or cpu <= target.cpu)
        words = f"{name}: {'held' if held else 'MISSED'}: {wall:.2f} x {fastest.peer.name} (at most {target.wall}), "
        words += f"CPU {cpu:.2f} x" + (f" (at most {target.cpu})" if target.cpu is not None else "")
        words += f", {result.peak / 1e6:.0f} MB (at most {target.peak / 1e6:.0f})"
        least = min(rivals, key=lambda rival: rival.wall)
        if result.peer.synced and not least.peer.synced and least is not fastest:
            words += f"; wall {result.wall / least.wall:.2f} x {least.peer.name}, which syncs nothing"
        said.append(words)
        good = good and held
    return "\n\n".join(said), good


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="time s3pull against its peers on a local nginx")
    every_peer, every_scenario = [peer.name for peer in PEERS], [scenario.name for scenario in SCENARIOS]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(every_scenario)}; all of them")
    parser.add_argument("--peer", dest="peers", action="append", choices=every_peer, help="only this one; repeat")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each peer (5)")
    parser.add_argument("--large", type=int, default=1024, metavar="MIB", help="size of the large object (1024)")
    parser.add_argument("--count", type=int, default=10_000, help="how many small objects (10000)")
    parser.add_argument("--many", type=int, default=100_000, help="how many objects in the listing (100000)")
    parser.add_argument("--seed", type=int, default=1, help="of the objects' bytes (1)")
    parser.add_argument("--aws", default=AWS, metavar="PROGRAM", help=f"aws-cli ({AWS})")
    parser.add_argument("--scratch", type=folder, help="folder for data and downloads, on the disk to be measured")
    parser.add_argument("--keep", action="store_true", help="put the tables into RESULTS.md")
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
