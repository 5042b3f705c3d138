"""`s3pull verify`: is what was fetched still what it was?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from s3pull.cli.command import App, Argument, Choice, Option, command
from s3pull.cli.options import AccessChoice, OutputChoice, span

if TYPE_CHECKING:
    from s3pull.cli.render import Output
    from s3pull.pull.opening import OpenSource
    from s3pull.pull.verify import Verify, VerifyOrder

app = App()


class VerifyChoice(Choice):
    """What `verify` is asked."""

    remote: Annotated[bool, Option("--remote", help="Hold the receipts against the source, too: is a sync due?")] = (
        False
    )
    repair: Annotated[bool, Option("--repair", help="Fetch again what is broken, and nothing else.")] = False
    wait: Annotated[
        float,
        Option("--wait", metavar="SPAN", help="Wait so long for another run that holds DEST; else exit 12."),
        span,
    ] = 0.0


@command(app)
def verify(
    dest: Annotated[str, Argument(metavar="DEST", help="A folder that sync mirrors into.")],
    *,
    verify: VerifyChoice,
    access: AccessChoice,
    output: OutputChoice,
) -> int:
    """Check that files are what they were when they were fetched.

    Every file that sync fetched into DEST is read and compared with its receipt. That needs no network; only --remote
    and --repair ask the source, which DEST remembers. Exit 6 if anything is wrong, and what it is.

    \b
      s3pull verify mirror/            missing, changed or damaged files
      s3pull verify mirror/ --repair   fetch those again
      s3pull verify mirror/ --remote   and what is new, changed or gone at the source
    """
    from s3pull.cli.render import Output
    from s3pull.pull.verify import VerifyOrder, mirror_of

    out = Output(output)
    folder = Path(dest)
    order = VerifyOrder(folder, remote=verify.remote, repair=verify.repair, wait=verify.wait)
    if not (verify.remote or verify.repair):
        return _run(order, None, out)
    from s3pull.cli.running import accounted
    from s3pull.pull.opening import open_source

    source = mirror_of(folder).source
    with accounted(access, source, out), open_source(access, source, out) as opened:
        return _run(order, opened, out)


def _run(order: VerifyOrder, opened: OpenSource | None, out: Output) -> int:
    from s3pull.cli.running import finish
    from s3pull.pull.verify import Opened, Verify

    source = Opened(opened.store, opened.spec, opened.prefix) if opened is not None else None
    run = Verify(order, out.event, out.say, source, every=bool(out.verbose))
    error = finish(run, out, resumes=False)
    summary = run.summary(error)
    if opened is not None:
        summary = opened.signed(summary)
    if error is not None:
        out.error(error)
    wrong = summary.failed + summary.refused - run.unfetchable
    done = _told(run, summary.downloaded + summary.resumed, wrong, summary.seconds)
    out.summary(summary, text=done if error is None else None)
    return summary.exit


def _told(run: Verify, repaired: int, wrong: int, seconds: float) -> str:
    """`2,000 files, 1.2 GiB read in 3.1 s: all right`, `…: 2 wrong`, `…: 1 repaired`"""
    from s3pull.cli.render import counted, human_size, human_span

    line = f"{counted(run.count, 'file')}, {human_size(run.bytes)} read in {human_span(seconds)}: "
    words = [f"{count:,} {word}" for count, word in ((repaired, "repaired"), (wrong, "wrong")) if count]
    line += ", ".join(words) or "all right"
    return line + (f"; {counted(run.unfetchable, 'object')} cannot be fetched" if run.unfetchable else "")
