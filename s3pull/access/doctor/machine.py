"""Doctor without a source: what is here. Python, CA bundle, proxy, keyring, own credentials, STS and the clock.

Nothing of a data owner's is asked. What a source is like is `examine`'s.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from s3pull.access import own, sts
from s3pull.access.denials import Cause, Who
from s3pull.access.doctor import asking, caller, snippets, verdicts
from s3pull.access.doctor.asking import Answer, Aws, Limits, cause_of
from s3pull.access.doctor.patience import Prompt, within
from s3pull.access.doctor.report import Report, Step, Warned, broken, you
from s3pull.access.doctor.scene import Scene
from s3pull.access.profiles import Profiles
from s3pull.errors import S3pullError, UsageError
from s3pull.objects import Access

#: the oldest Python that the package runs on
OLDEST = (3, 11)


def python(version: tuple[int, ...]) -> Step:
    """Whether this Python can run s3pull."""
    shown = f"Python {'.'.join(map(str, version[:3]))}, {ssl.OPENSSL_VERSION}"
    if tuple(version[:2]) >= OLDEST:
        return Step("python", True, "which Python this is", shown)
    cause = you(Cause.PYTHON, f"s3pull needs Python {'.'.join(map(str, OLDEST))} or newer")
    return broken("python", "which Python this is", shown, cause)


def ca(path: str | None) -> Step:
    """Whether the CA bundle that is named can be used."""
    asked = "AWS_CA_BUNDLE and the profile's ca_bundle"
    if path is None:
        return Step("ca", True, asked, "none is named: certificates are checked against botocore's own list")
    try:
        sts.check_bundle(path)
        if not Path(path).is_dir():
            ssl.create_default_context(cafile=path)
    except (UsageError, OSError) as error:
        said = error.message if isinstance(error, UsageError) else f"the CA bundle {path} holds no certificates"
        cause = you(Cause.TLS, "the CA bundle cannot be used: every connection would fail")
        line = snippets.command(f"export AWS_CA_BUNDLE={path}", "your shell, with the bundle's right place", Who.YOU)
        return broken("ca", asked, said, cause, snippets=(line,))
    return Step("ca", True, asked, path)


def proxy(name: str | None, problem: S3pullError | None) -> Step:
    """Which proxy stands before STS: `name` is its host and port."""
    asked = "HTTPS_PROXY and NO_PROXY"
    if problem is not None:
        cause = you(Cause.PROXY, problem.hint or "the proxy's URL cannot be read")
        line = snippets.command("export HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT", "your shell", Who.YOU)
        return broken("proxy", asked, problem.message, cause, snippets=(line,))
    return Step("proxy", True, asked, f"by way of {name}" if name else "none: straight out")


def keyring(mode: str, where: str, why: str | None) -> Step:
    """Where sessions are kept. A machine without a keyring is nothing wrong, unless one is demanded."""
    asked = "the operating system's keyring"
    places = {"keyring": "it keeps the key of the session cache", "file": "sessions lie in files of mode 0600"}
    said = places.get(where, "sessions are kept in memory only") + (f": {why}" if why else "")
    if mode == "keyring" and where != "keyring":
        cause = you(Cause.KEYRING, "the keyring is demanded (--cache keyring), and there is none")
        return broken("keyring", asked, said, cause, snippets=(snippets.option("--cache file"),))
    return Step("keyring", True if where == "keyring" else None, asked, said)


def clock(answer: Answer) -> tuple[Step | None, list[Warned]]:
    """This machine's clock against the service's; None where it did not say the time."""
    asked = "the time, by STS"
    if answer.ahead is None:
        return None, []
    if abs(answer.ahead) >= verdicts.CLOCK_LIMIT:
        said = f"{abs(answer.ahead):.0f} s off"
        cause = you(Cause.CLOCK, "this machine's clock is more than 15 minutes off")
        return broken("clock", asked, said, cause, snippets=(snippets.clock(),)), []
    return Step("clock", True, asked, f"{abs(answer.ahead):.0f} s off"), caller.clock(answer)


def examine_machine(
    access: Access,
    *,
    environ: Mapping[str, str],
    profiles: Profiles,
    version: tuple[int, ...],
    proxy_name: str | None,
    proxy_problem: S3pullError | None,
    where: Callable[[], tuple[str, str | None]],
    prompt: Prompt | None = None,
    limits: Limits | None = None,
    clock_now: Callable[[], float] = time.time,
) -> Report:
    """Look at everything here, also past what is broken: these links do not hang on each other.

    `access` holds what options, environment and profile say of your own credentials; its bucket is not looked at.
    `where` asks the keyring (see `Cache.where`).
    """
    limits = limits or asking.LIMITS
    report = Report()
    scene = Scene(access, "")
    aws = Aws(access, environ, profiles, limits, clock_now)
    aws.prepare()
    now = ["keyring"]

    def work(ask: Prompt | None) -> None:
        report.steps += [python(version), ca(access.ca_bundle), proxy(proxy_name, proxy_problem)]
        report.steps.append(keyring(access.cache, *where()))
        now[0] = "caller"
        try:
            keys = own.find(access, environ, profiles, ask).current()
        except S3pullError as error:
            answer = Answer(False, trouble=error, cause=cause_of(error, error))
            report.steps.append(verdicts.unanswered("caller", "your own credentials", answer, scene, "sts"))
            return
        answer = aws.caller(keys)
        step, _ = caller.caller(answer, scene, caller.expected_account(access, environ, profiles))
        report.steps.append(step)
        timed, warnings = clock(answer)
        report.steps += [timed] if timed is not None else []
        report.warnings += warnings

    if not within(limits.total, work, prompt):
        causes = verdicts.silences("sts", aws.proxy())
        said = f"no answer: given up after {limits.total:g} s"
        asked = "your own credentials, and STS"
        late = Step(now[0], False, asked, said, causes[0].who, causes, verdicts.pasted(causes, scene))
        return Report([*report.steps, late], list(report.warnings))
    return report
