"""`s3pull login`, `logout`, `status`, `credentials`: the sessions that AWS gave, and who one is.

Only `credentials` prints secrets: that is what it is for.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from s3pull.cli.command import App, Argument, Option, command
from s3pull.cli.options import AccessChoice, ReportChoice, ShareName, one_of
from s3pull.errors import CredentialsError, S3pullError, UsageError

if TYPE_CHECKING:
    from s3pull.access.cache import Cache
    from s3pull.access.session import Session
    from s3pull.access.status import CachedSession, Identity
    from s3pull.cli.render import Output
    from s3pull.objects import Access, Credentials

app = App()


# --- login ------------------------------------------------------------------------------------------------


@command(app)
def login(
    names: Annotated[tuple[str, ...], Argument(metavar="NAME", help="Shares (or s3:// sources).")],
    *,
    access: AccessChoice,
    output: ReportChoice,
) -> int:
    """Assume the roles of shares now, so that later runs ask for nothing.

    Asks for an MFA code where the role wants one. The session is kept until AWS ends it.
    """
    from s3pull.cli.render import Output

    out = Output(output)
    code = 0
    for name in names:
        try:
            _login(name, access, out)
        except S3pullError as error:
            out.error(error)
            code = code or error.exit_code
    return code


def _login(name: str, choice: AccessChoice, out: Output) -> None:
    from contextlib import closing

    from s3pull.access import profiles, session
    from s3pull.access.cache import open_cache
    from s3pull.pull.opening import advising, find_access
    from s3pull.pull.source import parse_source

    spec = parse_source(name)
    access = find_access(choice, spec, os.environ)
    if access.role_arn is None:
        out.say(f"{name} assumes no role: there is nothing to log in to")
        return
    cache = open_cache(access.cache, os.environ, detail=out.note)
    with (
        advising(access, spec, out),
        closing(
            session.login(
                access,
                environ=os.environ,
                profiles=profiles.load(os.environ),
                cache=cache,
                prompt=out.asker(),
                note=out.say,
            )
        ) as opened,
    ):
        _report_login(name, opened, cache, out)


def _report_login(name: str, opened: Session, cache: Cache, out: Output) -> None:
    where, why = cache.where()
    if out.json:
        out.record(
            _line(
                share=opened.access.share,
                role_arn=opened.role_arn,
                session_name=opened.session_name,
                expires=utc(opened.expires),
                kept=where,
            )
        )
        return
    out.say(f"{name}: session {opened.session_name} {lasting(opened.expires)}, kept in {_place(where, why)}")


# --- logout -----------------------------------------------------------------------------------------------


@command(app)
def logout(
    name: Annotated[str | None, Argument(metavar="NAME", help="A share, or s3://bucket.")] = None,
    everything: Annotated[bool, Option("--all", help="All sessions.")] = False,
    *,
    output: ReportChoice,
) -> None:
    """Forget cached sessions, and say until when AWS still honours them."""
    from s3pull.access import status as sessions
    from s3pull.access.cache import open_cache
    from s3pull.cli.render import Output

    if (name is None) != everything:
        raise UsageError("logout needs a NAME or --all", hint="s3pull status lists the sessions")
    out = Output(output)
    cache = open_cache("auto", os.environ, detail=out.note)
    cache.remove_unfinished()
    if name is None:
        gone = sessions.forget(cache, everything=True)
    else:
        wanted = [one.name for one in sessions.cached_sessions(cache) if _is_of(one, name)]
        gone = [forgotten for entry in wanted for forgotten in sessions.forget(cache, name=entry)]
    for one in gone:
        if out.json:
            out.record(_session_record(one))
        else:
            out.say(f"forgot {_title(one)}: AWS honours it {lasting(one.expires)}")
    if not gone and not out.json:
        out.say("no session was cached" if name is None else f"no session of {name} was cached")


def _is_of(one: CachedSession, name: str) -> bool:
    from s3pull.pull.source import parse_source

    spec = parse_source(name)
    return one.share == spec.share if spec.share is not None else one.share is None and one.bucket == spec.bucket


# --- status -----------------------------------------------------------------------------------------------


@command(app)
def status(*, access: AccessChoice, output: ReportChoice) -> int:
    """Say who you are and which sessions are cached, where, until when.

    Works before there is any share: it prints what the data owner needs from you.
    """
    from s3pull.access import status as sessions
    from s3pull.access.cache import open_cache
    from s3pull.cli.render import Output

    out = Output(output)
    own = _own_access(access)
    who: Identity | None = None
    problem: S3pullError | None = None
    try:
        who = _whoami(own, out)
    except S3pullError as error:
        problem = error
    cache = open_cache(own.cache, os.environ, detail=out.note)
    found = sessions.cached_sessions(cache)
    if out.json:
        out.record(_status_record(who, problem, cache, found))
    else:
        for line in _status_lines(who, cache, found):
            out.line(line)
        if problem is not None:
            out.complain(problem)
    return problem.exit_code if problem is not None else 0


def _own_access(choice: AccessChoice) -> Access:
    """What the options say about one's own credentials; there is no source here, so its name does not matter."""
    from s3pull.access import profiles
    from s3pull.access.options import resolve

    return resolve(
        share=None,
        bucket="no-bucket",
        prefix="",
        options=choice.values,
        environ=os.environ,
        profiles=profiles.load(os.environ),
    )


def _whoami(own: Access, out: Output) -> Identity:
    from s3pull.access import profiles
    from s3pull.access.status import whoami

    return whoami(own, environ=os.environ, profiles=profiles.load(os.environ), prompt=out.asker())


def _status_lines(who: Identity | None, cache: Cache, found: list[CachedSession]) -> Iterator[str]:
    from s3pull.cli.render import counted, printable

    if who is not None:
        yield f"you are: {printable(who.arn)}"
        yield f"give the data owner: {printable(who.iam_arn)}"
        if who.caveat:
            yield f"  ({who.caveat})"
    where, why = cache.where()
    yield f"sessions are kept in: {printable(_place(where, why))}"
    if cache.directory is not None:
        yield f"  {printable(str(cache.directory))}"
    yield counted(len(found), "cached session")
    for one in found:
        what = one.problem or f"{lasting(one.expires)}, as {one.session_name} ({one.role_arn})"
        yield f"  {printable(_title(one))}: {printable(what)}"


def _status_record(
    who: Identity | None, problem: S3pullError | None, cache: Cache, found: list[CachedSession]
) -> dict[str, Any]:
    from s3pull.events import error_json

    where, why = cache.where()
    caller = who and {"arn": who.arn, "account": who.account, "give_the_data_owner": who.iam_arn, "caveat": who.caveat}
    return _line(
        caller=caller,
        error=error_json(problem) if problem is not None else None,
        cache={"where": where, "why": why, "directory": str(cache.directory) if cache.directory else None},
        sessions=[_session_record(one) for one in found],
    )


# --- credentials ------------------------------------------------------------------------------------------


@command(app)
def credentials(
    name: ShareName,
    form: Annotated[
        str,
        Option("--format", metavar="process|env", help="For credential_process in ~/.aws/config, or for a shell."),
        one_of("process", "env"),
    ] = "process",
    *,
    access: AccessChoice,
) -> None:
    """Print a share's session for other tools. These are secrets: they read what the share reads.

    \b
      credential_process = s3pull credentials acme      in a profile of ~/.aws/config
      eval "$(s3pull credentials acme --format env)"    in a shell
    """
    from contextlib import closing

    from s3pull.cli.render import Output
    from s3pull.pull.opening import find_access, find_session
    from s3pull.pull.source import parse_source

    out = Output(ReportChoice())
    _forget_our_profile()
    found = find_access(access, parse_source(name), os.environ)
    with closing(find_session(found, out, os.environ)) as opened:
        keys = opened.credentials.current()
    if keys is None:
        raise CredentialsError(f"{name} is read anonymously: there are no credentials")
    sys.stdout.write(as_process(keys) if form == "process" else as_environment(keys))


def _forget_our_profile() -> None:
    """Who uses a profile that leads here may have set AWS_PROFILE to it: then it does not say what our own keys are."""
    from s3pull.access import profiles

    if profiles.load(os.environ).from_us(profiles.chosen(os.environ)):
        for variable in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            os.environ.pop(variable, None)


def as_process(keys: Credentials) -> str:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html"""
    import json

    record: dict[str, Any] = {"Version": 1, "AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key}
    if keys.token is not None:
        record["SessionToken"] = keys.token
    if keys.expires is not None:
        record["Expiration"] = utc(keys.expires)
    return json.dumps(record) + "\n"


def as_environment(keys: Credentials) -> str:
    """Lines for `eval`; a token of somebody else's that is set in the shell would break them."""
    lines = [
        f"export AWS_ACCESS_KEY_ID={shlex.quote(keys.access_key)}",
        f"export AWS_SECRET_ACCESS_KEY={shlex.quote(keys.secret_key)}",
    ]
    if keys.token is None:
        lines.append("unset AWS_SESSION_TOKEN")
    else:
        lines.append(f"export AWS_SESSION_TOKEN={shlex.quote(keys.token)}")
    return "\n".join(lines) + "\n"


# --- words ------------------------------------------------------------------------------------------------


def utc(seconds: float | None) -> str | None:
    """`2026-11-24T00:12:05Z`"""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def lasting(expires: float | None) -> str:
    """`until 2026-11-24T00:12:05Z (43 min 10 s)`"""
    from s3pull.cli.render import human_span

    if expires is None:
        return "without end"
    return f"until {utc(expires)} ({human_span(max(0.0, expires - time.time()))})"


def _place(where: str, why: str | None) -> str:
    named = {"keyring": "files sealed with a key in the keyring", "file": "files of mode 0600", "memory": "memory only"}
    return named[where] + (f" ({why})" if why else "")


def _title(one: CachedSession) -> str:
    if one.share is not None:
        return one.share
    return f"s3://{one.bucket}/{one.prefix or ''}" if one.bucket else f"entry {one.name[:12]}"


def _session_record(one: CachedSession) -> dict[str, Any]:
    return _line(
        share=one.share,
        bucket=one.bucket,
        prefix=one.prefix,
        role_arn=one.role_arn,
        session_name=one.session_name,
        session_arn=one.session_arn,
        expires=utc(one.expires),
        sealed=one.sealed,
        problem=one.problem,
    )


def _line(**facts: Any) -> dict[str, Any]:
    from s3pull.events import SCHEMA

    return {"schema": SCHEMA, **facts}
