"""Which proxy stands between us and a host, by the environment that curl, urllib and botocore read.

HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY in either case, the lower-case name winning, with `urllib.request`'s
rules; HTTP_PROXY in capitals is ignored under CGI. User and password may be percent-encoded in the URL and are never
shown.

This module opens no connection.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes, urlsplit

from s3pull.errors import UsageError
from s3pull.records import Record


class Proxy(Record, hidden=("authorization",)):
    """`authorization` is the value of Proxy-Authorization, or None."""

    tls: bool
    host: str
    port: int
    authorization: bytes | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.host}:{self.port}"


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for requests to `scheme://host:port`, or None. Raises UsageError for a proxy URL that is none."""
    found = _from_environment(environ)
    url = found.get(scheme) or found.get("all")
    if not url or _bypassed(host, port, found.get("no", "")):
        return None
    return parse_proxy(url)


def parse_proxy(url: str) -> Proxy:
    """Read `[http[s]://][user:password@]host[:port]`. Raises UsageError, which does not show the URL's secrets."""
    if url.startswith("//"):
        url = "http:" + url
    elif "://" not in url:
        url = "http://" + url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("cannot read the proxy URL", hint=_FORM) from None
    if not host:
        raise UsageError("the proxy URL names no host", hint=_FORM)
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"a {parts.scheme} proxy is not supported", hint=_FORM)
    tls = parts.scheme == "https"
    authorization = None
    if parts.username is not None:
        pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        authorization = b"Basic " + b64encode(pair)
    return Proxy(tls, host, port or (443 if tls else 80), authorization)


_FORM = "HTTPS_PROXY is of the form http://[user:password@]host:port"


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`urllib.request.getproxies_environment`, over a given environment."""
    found: dict[str, str] = {}
    names = [name for name in environ if name.lower().endswith("_proxy")]
    for name in sorted(names, key=str.islower):  # lower case comes last and wins
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            continue  # httpoxy: under CGI a client's `Proxy:` header becomes this variable
        scheme = name.lower().removesuffix("_proxy")
        if environ[name]:
            found[scheme] = environ[name]
        elif name.islower():
            found.pop(scheme, None)
    return found


def _bypassed(host: str, port: int, no_proxy: str) -> bool:
    """`urllib.request.proxy_bypass_environment`: `*`, `host`, `.suffix`, `suffix`, each with or without a port."""
    if no_proxy.strip() == "*":
        return True
    host = host.lower()
    with_port = f"{host}:{port}"
    for entry in no_proxy.split(","):
        name = entry.strip().lstrip(".").lower()
        if name and (host == name or with_port == name or host.endswith("." + name) or with_port.endswith("." + name)):
            return True
    return False
