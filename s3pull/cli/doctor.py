"""`s3pull doctor`: which link of the chain to a source is broken, who must put it right, and with what."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from s3pull.cli.command import App, Argument, Option, command
from s3pull.cli.options import AccessChoice, ReportChoice
from s3pull.errors import UsageError

if TYPE_CHECKING:
    from s3pull.access.doctor.report import Report, Snippet, Step
    from s3pull.cli.render import Output

app = App()

BROKEN = 10
_MARKS = {True: "ok", False: "broken", None: "unknown"}


@command(app)
def doctor(
    source: Annotated[
        str | None,
        Argument(metavar="SOURCE", help="NAME, NAME:path or s3://bucket/path; this machine where none is given."),
    ] = None,
    key: Annotated[
        str | None,
        Option("--key", metavar="KEY", help="Look at this object, as after NAME:, and not at one of the listing."),
    ] = None,
    probe: Annotated[
        bool, Option("--probe", help="Try what should be denied, too: the owner's logs will show it.")
    ] = False,
    *,
    access: AccessChoice,
    output: ReportChoice,
) -> int:
    """Say which link of the cross-account chain is broken, who must put it right, and what to paste.

    It asks what a reader may ask and stops at the first broken link. Without SOURCE it looks at this machine: Python,
    CA bundle, proxy, keyring, your own credentials, STS, clock. Exit 0: sound; 10: broken.
    """
    from s3pull.cli.render import Output

    if source is None and (key is not None or probe):
        raise UsageError("--key and --probe go with a source", hint="s3pull doctor NAME")
    out = Output(output)
    report = _of_machine(access, out) if source is None else _of_source(source, key, access, out, probe=probe)
    if out.json:
        out.record(report.json())
    else:
        for line in text(report, source):
            out.line(line)
    return 0 if report.sound else BROKEN


def _of_source(source: str, key: str | None, choice: AccessChoice, out: Output, *, probe: bool) -> Report:
    from s3pull.access import profiles
    from s3pull.access.doctor import caller
    from s3pull.access.doctor.examine import examine
    from s3pull.access.doctor.report import Report
    from s3pull.pull.opening import find_access
    from s3pull.pull.source import Kind, parse_source

    spec = parse_source(source)
    try:
        access = find_access(choice, spec, os.environ)
    except UsageError as error:
        # the first link is what is configured here; the command line itself was understood
        return Report([caller.misconfigured(error)])
    named = key if key is not None else spec.key if spec.kind is Kind.OBJECT else None
    # of one object nothing below it is listed: what a share grants, or what lies beside it
    below = "" if spec.kind is Kind.OBJECT and spec.share is not None else spec.fixed
    return examine(
        access,
        source=spec.share or source,
        prefix=access.prefix + below,
        key=access.prefix + named if named is not None else None,
        probe=probe,
        environ=os.environ,
        profiles=profiles.load(os.environ),
        prompt=out.asker(),
    )


def _of_machine(choice: AccessChoice, out: Output) -> Report:
    from s3pull.access import profiles
    from s3pull.access.cache import open_cache
    from s3pull.access.doctor import caller, machine
    from s3pull.access.doctor.report import Report
    from s3pull.access.options import resolve
    from s3pull.remote.proxies import proxy_for

    version = tuple(sys.version_info[:3])
    try:
        found = profiles.load(os.environ)
        # there is no source here, so its name does not matter
        access = resolve(
            share=None, bucket="no-bucket", prefix="", options=choice.values, environ=os.environ, profiles=found
        )
    except UsageError as error:
        return Report([machine.python(version), caller.misconfigured(error)])
    name, problem = None, None
    try:
        host = f"sts.{profiles.sts_region(access, os.environ, found)}.amazonaws.com"
        proxy = proxy_for("https", host, 443, os.environ)
        name = proxy.name if proxy is not None else None
    except UsageError as error:
        problem = error
    return machine.examine_machine(
        access,
        environ=os.environ,
        profiles=found,
        version=version,
        proxy_name=name,
        proxy_problem=problem,
        where=lambda: open_cache(access.cache, os.environ, detail=out.note).where(),
        prompt=out.asker(),
    )


def text(report: Report, source: str | None) -> Iterator[str]:
    """The report for people: every step with what was asked and seen, the broken one with all there is to do."""
    from s3pull.cli.render import printable

    width = max((len(step.step) for step in report.steps), default=0)
    for step in report.steps:
        yield f"{_MARKS[step.ok]:<7}  {step.step:<{width}}  {printable(step.observed)}"
        for line in (f"asked: {step.asked}", *_ids(step), *step.notes):
            yield f"{'':<7}  {'':<{width}}  {printable(line)}"
        if step.ok is False or (step.ok is None and step.causes):
            yield from _remedy(step)
    for warned in report.warnings:
        yield ""
        yield f"warning ({warned.warning}): {printable(warned.why)}"
        for snippet in warned.snippets:
            yield from _paste(snippet)
    yield ""
    what = (source or "this machine").removesuffix(":")
    if report.broken is None:
        yield f"{printable(what)}: sound" + (f", with {len(report.warnings)} to mind" if report.warnings else "")
    else:
        yield f"{printable(what)}: broken at {report.broken.step}"


def _ids(step: Step) -> Iterator[str]:
    """What AWS's support asks for."""
    if step.request_id is not None:
        yield f"request ID: {step.request_id}"
    if step.host_id is not None and step.ok is not True:
        yield f"host ID: {step.host_id}"


def _remedy(step: Step) -> Iterator[str]:
    from s3pull.access.denials import MUST_ACT
    from s3pull.cli.render import printable

    yield ""
    if step.ok is False:
        yield f"{MUST_ACT[step.who]}{'; it may be, most likely first:' if len(step.causes) > 1 else ':'}"
    else:
        yield "it may be:"
    for number, one in enumerate(step.causes, 1):
        yield f"  {number}. {one.cause}: {printable(one.why)}"
    for snippet in step.snippets:
        yield from _paste(snippet)
    yield ""
    yield "more: docs/TROUBLESHOOTING.md, " + ", ".join(dict.fromkeys(str(one.cause) for one in step.causes))


def _paste(snippet: Snippet) -> Iterator[str]:
    """What to paste, unchanged on lines of its own."""
    from s3pull.cli.render import printable

    yield ""
    yield f"{_FOR[str(snippet.who)]} ({printable(snippet.place)}):"
    for line in snippet.text.splitlines():
        yield printable(line)


_FOR = {
    "you": "paste yourself",
    "owner": "send to the data owner",
    "platform": "send to the data owner's platform team",
    "network": "send to your network administrator",
    "unknown": "paste",
}
