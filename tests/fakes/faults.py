"""Scripted misbehaviour: which answers go wrong (`at`), and how (the actions).

    aws.fault(at("GetObject", key="big", nth=2), reset_after(1_000_000))

An action may act on the request before it is answered, on the answer, or on its bytes as they leave (a wire). Offsets
count body bytes of that one answer. What only listings can get wrong is in page_faults.py, chance in seeded.py. Nothing
here decides whether a client coped.
"""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from tests.fakes.http import PIECE, Chunks, Hangup, Request, Response, Wire
from tests.fakes.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.aws import FakeAws, Recorded


@dataclass(frozen=True)
class Match:
    """Which requests: those that fit everything that is given. `key` is a glob; see `at`."""

    action: str | None = None
    key: str | None = None
    method: str | None = None
    range: bool | str | int | None = None
    nth: int = 1
    where: Callable[[Recorded], bool] | None = None

    def fits(self, record: Recorded) -> bool:
        return (
            self.action in (None, record.action)
            and self.method in (None, record.method)
            and (self.key is None or (record.key is not None and fnmatch.fnmatchcase(record.key, self.key)))
            and self._range_fits(record.headers.get("range"))
            and (self.where is None or self.where(record))
        )

    def _range_fits(self, sent: str | None) -> bool:
        if self.range is None or isinstance(self.range, bool):
            return self.range is None or self.range == (sent is not None)
        if sent is None or isinstance(self.range, str):
            return sent == self.range
        first, _, last = sent.removeprefix("bytes=").partition("-")
        return bool(first) and int(first) <= self.range and (not last or self.range <= int(last))


def at(
    action: str | None = None,
    *,
    key: str | None = None,
    method: str | None = None,
    range: bool | str | int | None = None,
    nth: int = 1,
    where: Callable[[Recorded], bool] | None = None,
) -> Match:
    """Requests of an operation ('GetObject', 'AssumeRole'), key glob, method; from the `nth` that fits on.

    `range`: True or False for with or without a Range header, a string for exactly that header, a number for the
    ranges that include this byte.
    """
    return Match(action, key, method, range, nth, where)


@dataclass(frozen=True)
class Action:
    """One way to go wrong; what is None is left alone. Made by the functions below."""

    name: str
    before: Callable[[FakeAws, Recorded, Request], Response | None] | None = None
    after: Callable[[FakeAws, Recorded, Response], None] | None = None
    wire: Callable[[FakeAws, Recorded, Response], Wire] | None = None


@dataclass
class Fault:
    """An action bound to what it waits for; `times` None means every time. `fired` counts."""

    match: Match
    action: Action
    times: int | None = 1
    fired: int = 0
    _seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, record: Recorded) -> Action | None:
        if not self.match.fits(record):
            return None
        with self._lock:
            self._seen += 1
            if self._seen < self.match.nth or (self.times is not None and self.fired >= self.times):
                return None
            self.fired += 1
            return self.action


# --- what happens to the bytes --------------------------------------------------------------------------


def _until(flow: Chunks, stop: int) -> Chunks:
    """The first `stop` bytes, or all there are."""
    sent = 0
    for piece in flow:
        if sent + len(piece) >= stop:
            yield piece[: stop - sent]
            return
        sent += len(piece)
        yield piece


def reset_after(n: int) -> Action:
    """`n` body bytes, then RST."""
    return _cut("reset_after", n, reset=True)


def truncate_at(n: int) -> Action:
    """`n` body bytes of those announced, then an orderly close."""
    return _cut("truncate_at", n, reset=False)


def _cut(name: str, n: int, reset: bool) -> Action:
    def wire(flow: Chunks) -> Chunks:
        if n:
            yield from _until(flow, n)
        raise Hangup(reset)

    return Action(f"{name}({n})", wire=lambda aws, record, response: wire)


def drop(reset: bool = False) -> Action:
    """Not a byte of an answer: the connection ends as an idle one does."""

    def after(aws: FakeAws, record: Recorded, response: Response) -> None:
        response.raw = b""

    return _cut_before_head() if reset else Action("drop", after=after)


def _cut_before_head() -> Action:
    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        raise Hangup(True)

    return Action("drop(reset)", before=before)


def stall_after(n: int, seconds: float = 3600) -> Action:
    """`n` body bytes, then silence, then the rest. The end of the fake ends the silence."""

    def bind(aws: FakeAws, record: Recorded, response: Response) -> Wire:
        def wire(flow: Chunks) -> Chunks:
            sent = 0
            stalled = False
            for piece in flow:
                if not stalled and sent + len(piece) > n:
                    yield piece[: n - sent]
                    stalled = True
                    if aws.server.stopping.wait(seconds):
                        raise Hangup(True)
                    yield piece[n - sent :]
                else:
                    yield piece
                sent += len(piece)

        return wire

    return Action(f"stall_after({n})", wire=bind)


def slow_head(seconds: float) -> Action:
    """Silence before the first byte of the answer."""

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        if aws.server.stopping.wait(seconds):
            raise Hangup(True)
        return None

    return Action(f"slow_head({seconds})", before=before)


def drip(rate: float, piece: int = 4096) -> Action:
    """The body at `rate` bytes/s."""

    def bind(aws: FakeAws, record: Recorded, response: Response) -> Wire:
        return paced(aws, rate, piece)

    return Action(f"drip({rate})", wire=bind)


def paced(aws: FakeAws, rate: float, most: int = PIECE) -> Wire:
    """A wire that keeps to `rate` bytes/s on this connection."""

    def wire(flow: Chunks) -> Chunks:
        start, sent = time.monotonic(), 0
        for chunk in flow:
            for offset in range(0, len(chunk), most):
                piece = chunk[offset : offset + most]
                sent += len(piece)
                yield piece
                if aws.server.stopping.wait(max(0.0, start + sent / rate - time.monotonic())):
                    raise Hangup(True)

    return wire


def flip_bit(at: int = 0) -> Action:
    """Bit 0 of the body byte `at` arrives inverted."""

    def wire(flow: Chunks) -> Chunks:
        sent = 0
        for piece in flow:
            if sent <= at < sent + len(piece):
                changed = bytearray(piece)
                changed[at - sent] ^= 1
                yield bytes(changed)
            else:
                yield piece
            sent += len(piece)

    return Action(f"flip_bit({at})", wire=lambda aws, record, response: wire)


def overlong(n: int = 1) -> Action:
    """`n` bytes more than were announced, on a connection that stays open."""

    def bind(aws: FakeAws, record: Recorded, response: Response) -> Wire:
        response.length = response.size

        def wire(flow: Chunks) -> Chunks:
            yield from flow
            yield b"\xee" * n

        return wire

    return Action(f"overlong({n})", wire=bind)


def replace_object(body: Any, at: int = 0, **put: Any) -> Action:
    """When `at` bytes are out the object becomes `body`; this answer goes on with the old one, as S3's do."""

    def bind(aws: FakeAws, record: Recorded, response: Response) -> Wire:
        def wire(flow: Chunks) -> Chunks:
            sent, done = 0, False
            for piece in flow:
                if not done and sent + len(piece) > at:
                    yield piece[: at - sent]
                    aws.put(record.bucket, record.key, body, **put)
                    done = True
                    yield piece[at - sent :]
                else:
                    yield piece
                sent += len(piece)

        return wire

    return Action(f"replace_object(at={at})", wire=bind)


def then(callback: Callable[[], object], at: int = 0) -> Action:
    """Call back when `at` body bytes have been handed over (kill a process, expire a session …)."""

    def wire(flow: Chunks) -> Chunks:
        sent, done = 0, False
        for piece in flow:
            if not done and sent + len(piece) > at:
                yield piece[: at - sent]
                callback()
                done = True
                yield piece[at - sent :]
            else:
                yield piece
            sent += len(piece)

    return Action(f"then(at={at})", wire=lambda aws, record, response: wire)


def no_content_length() -> Action:
    """No Content-Length: the close of the connection is the end of the body."""
    return _answer("no_content_length", lambda response: setattr(response, "framing", "close"))


def chunked() -> Action:
    """Transfer-Encoding: chunked."""
    return _answer("chunked", lambda response: setattr(response, "framing", "chunked"))


# --- what the answer says -------------------------------------------------------------------------------


def _answer(name: str, change: Callable[[Response], object]) -> Action:
    def after(aws: FakeAws, record: Recorded, response: Response) -> None:
        change(response)

    return Action(name, after=after)


def status(status: int, code: str | None = None, message: str = "", retry_after: float | None = None) -> Action:
    """An error answer in place of the real one."""
    code = code or {429: "TooManyRequests", 500: "InternalError", 503: "SlowDown"}.get(status, "Error")
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        raise Refusal(status, code, message or _TEXTS.get(code, ""), headers=headers)

    return Action(f"status({status} {code})", before=before)


_TEXTS = {
    "InternalError": "We encountered an internal error. Please try again.",
    "SlowDown": "Please reduce your request rate.",
    "ServiceUnavailable": "Service is unable to handle request.",
}


def header(name: str, value: str | None) -> Action:
    """One header of the answer set, or with None left out."""

    return _answer(f"header({name})", lambda response: _set(response, name, value))


def _set(response: Response, name: str, value: str | None) -> None:
    for known in [known for known in response.headers if known.lower() == name.lower()]:
        del response.headers[known]
    if value is not None:
        response.headers[name] = value


def wrong_etag(etag: str = '"00000000000000000000000000000bad"') -> Action:
    return header("ETag", etag)


def etag_form(form: str) -> Action:
    """The ETag as some vendor or proxy writes it: weak, unquoted, huge-parts, missing."""

    def change(response: Response) -> None:
        etag = response.headers.get("ETag", "").strip('"')
        forms = {"weak": f'W/"{etag}"', "unquoted": etag, "huge-parts": f'"{etag[:32]}-{"9" * 5000}"', "missing": None}
        _set(response, "ETag", forms[form])

    return _answer(f"etag_form({form})", change)


def wrong_content_range(shift: int = 1) -> Action:
    """The bytes asked for, under a Content-Range that is `shift` off."""

    def change(response: Response) -> None:
        told = response.headers.get("Content-Range")
        if told:
            span, _, total = told.removeprefix("bytes ").partition("/")
            first, last = (int(end) + shift for end in span.split("-"))
            response.headers["Content-Range"] = f"bytes {first}-{last}/{total}"

    return _answer(f"wrong_content_range({shift})", change)


def ignore_range() -> Action:
    """200 and the whole object, whatever Range asked for."""
    return _forget("range")


def ignore_if_match() -> Action:
    """If-Match is not looked at, as some vendors do not."""
    return _forget("if-match")


def _forget(name: str) -> Action:
    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        request.overlook.add(name)
        return None

    return Action(f"ignore({name})", before=before)


def ok_with_error_body(code: str = "InternalError") -> Action:
    """200, and an error document where the object should be."""

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        answer = Refusal(200, code, _TEXTS.get(code, "")).as_s3(record.request_id, record.host_id)
        return Response(200, answer.headers, answer.body)

    return Action(f"ok_with_error_body({code})", before=before)


def redirect(host: str, status: int = 307) -> Action:
    """A redirect to `host` ('name:port' or a URL's origin), same path."""

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        origin = host if "://" in host else f"http://{host}"
        raise Refusal(
            status,
            "TemporaryRedirect" if status == 307 else "PermanentRedirect",
            "Please re-send this request to the specified temporary endpoint.",
            extra={"Endpoint": host},
            headers={"Location": origin + request.raw_path},
        )

    return Action(f"redirect({host})", before=before)


def expire_tokens() -> Action:
    """Every session so far ends before this request is looked at."""

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        aws.expire_sessions()
        return None

    return Action("expire_tokens", before=before)


def revoke_tokens() -> Action:
    """The owner revokes every session so far, as the IAM console does: their roles deny whatever is older than now.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
    """

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        aws.revoke_sessions()
        return None

    return Action("revoke_tokens", before=before)


def clock_off(seconds: float) -> Action:
    """What a client hears whose clock is `seconds` off: no request of its is near enough in time."""

    def before(aws: FakeAws, record: Recorded, request: Request) -> Response | None:
        text = "The difference between the request time and the current time is too large."
        moment = formatdate(aws.clock.now() + seconds, usegmt=True)
        raise Refusal(403, "RequestTimeTooSkewed", text, extra={"ServerTime": moment}, headers={"Date": moment})

    return Action(f"clock_off({seconds:g})", before=before)


def informational(status: int = 103) -> Action:
    """A 1xx answer ahead of the real one."""
    line = f"HTTP/1.1 {status} Early Hints\r\nLink: </x>\r\n\r\n".encode()
    return _answer(f"informational({status})", lambda response: setattr(response, "preface", line))


def raw(data: bytes) -> Action:
    """These bytes in place of the answer, head and all, then a close."""
    return _answer("raw", lambda response: setattr(response, "raw", data))
