"""Which proxy: held to `urllib.request` over random environments, and a table of proxy URLs."""

import base64
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3pull.errors import UsageError
from s3pull.remote.proxies import parse_proxy, proxy_for

HOST = "bucket.s3.eu-west-1.amazonaws.com"


@given(
    st.dictionaries(
        st.sampled_from(
            ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD"]
        ),
        st.sampled_from(
            ["", "http://one:1", "http://two:2", "*", "amazonaws.com", ".amazonaws.com, x", "azonaws.com", "x,y"]
        ),
        max_size=6,
    ),
    st.sampled_from(["http", "https"]),
    st.sampled_from([HOST, "localhost", "10.0.0.1", "X"]),
    st.sampled_from([443, 9000]),
)
def test_as_urllib_does(environ, scheme, host, port):
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "HTTPS_PROXY",
            "https_proxy",
            "HTTP_PROXY",
            "http_proxy",
            "NO_PROXY",
            "no_proxy",
            "ALL_PROXY",
            "all_proxy",
        ):
            patch.delenv(name, raising=False)
        patch.delenv("REQUEST_METHOD", raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        proxies = urllib.request.getproxies_environment()
        expected = proxies.get(scheme)
        if urllib.request.proxy_bypass_environment(f"{host}:{port}", proxies):
            expected = None
    if expected is not None and not expected.startswith("http://"):
        return  # no URL: only generated to try NO_PROXY
    found = proxy_for(scheme, host, port, environ)
    assert (None if found is None else f"http://{found.host}:{found.port}") == expected


@pytest.mark.parametrize(
    ("url", "tls", "host", "port", "pair"),
    [
        ("http://proxy:3128", False, "proxy", 3128, None),
        ("proxy:3128", False, "proxy", 3128, None),
        ("//proxy", False, "proxy", 80, None),
        ("https://proxy", True, "proxy", 443, None),
        ("http://ana:p%40ss%3A%20w@proxy:1/", False, "proxy", 1, b"ana:p@ss: w"),
        ("http://ana@proxy", False, "proxy", 80, b"ana:"),
        ("http://[::1]:8080", False, "::1", 8080, None),
    ],
)
def test_proxy_urls(url, tls, host, port, pair):
    proxy = parse_proxy(url)
    assert (proxy.tls, proxy.host, proxy.port) == (tls, host, port)
    assert proxy.authorization == (None if pair is None else b"Basic " + base64.b64encode(pair))
    assert proxy.authorization is None or proxy.authorization.decode() not in repr(proxy)


@pytest.mark.parametrize(
    "url", ["socks5://u:hunter2@p:1", "http://u:hunter2@", "http://u:hunter2@p:port", "http://u:hunter2@[::1"]
)
def test_a_bad_proxy_url_is_a_usage_error_that_shows_no_password(url):
    with pytest.raises(UsageError) as caught:
        parse_proxy(url)
    assert "hunter2" not in str(caught.value) and "hunter2" not in str(caught.value.hint)


def test_all_proxy_is_the_last_resort():
    assert proxy_for("https", HOST, 443, {"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:2"}).host == "b"
    assert proxy_for("https", HOST, 443, {"ALL_PROXY": "http://a:1"}).host == "a"
    assert proxy_for("https", HOST, 443, {"ALL_PROXY": "http://a:1", "NO_PROXY": "amazonaws.com"}) is None
