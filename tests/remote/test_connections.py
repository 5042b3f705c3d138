"""Getting there: addresses, TLS, proxies, timeouts, and what the pool keeps."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest

from s3pull.errors import Cancelled, ServiceError, Transient, UsageError
from s3pull.objects import Access, Credentials, Endpoint
from s3pull.remote import openssl, tls
from s3pull.remote.addresses import Addresses
from s3pull.remote.connection import Connection, DiedIdle
from s3pull.remote.dial import Dialer
from s3pull.remote.engine import SocketStore, open_store
from s3pull.remote.pool import Pool
from s3pull.remote.retry import Patience
from s3pull.remote.routes import Request
from s3pull.remote.tlssessions import Session
from tests.fakes import FakeProxy
from tests.fakes.tls import authority, server_context
from tests.fakes.wire import tried
from tests.waiting import wait_until

OWNER = "111111111111"

wait_for = partial(wait_until, seconds=10)


class Keys:
    def __init__(self, keys):
        self._credentials = Credentials(keys.access_key, keys.secret_key, keys.token)

    def current(self):
        return self._credentials

    def renew(self, refused):
        raise AssertionError


def opened(aws, environ=None, *, url=None, slept=None, **options):
    keys = aws.user(OWNER, f"u{time.monotonic_ns()}")
    if "acme" not in aws.store.buckets:
        aws.bucket("acme", owner=OWNER)
        aws.put("acme", "k", b"0123456789" * 10_000)
    scheme, _, port = (url or aws.url).rpartition(":")
    scheme, _, host = scheme.partition("://")
    endpoint = Endpoint(scheme, host, int(port), "/acme", "us-east-1")
    patience = Patience(fraction=lambda: 0.0, sleep=(slept if slept is not None else []).append)
    environ = aws.env(keys) if environ is None else environ
    access = Access("acme", allow_http=True)
    return SocketStore(access, Keys(keys), endpoint, lambda _: None, environ, patience=patience, **options)


def whole(store, key="k"):
    found = bytearray()
    buffer = memoryview(bytearray(30_000))
    with store.get(key) as body:
        while count := body.readinto(buffer):
            found += buffer[:count]
    return bytes(found)


@pytest.mark.parametrize(
    ("call", "counts"),
    [
        (lambda store: store.head("k"), True),
        (whole, True),
        (lambda store: list(store.list()), False),
        (lambda store: store.ask("k").body().close(), False),
    ],
    ids=["head", "get", "list", "ask"],
)
def test_what_threads_wait_for_is_counted(fake_aws, call, counts):
    store = opened(fake_aws)
    fake_aws.latency = 0.05
    call(store)
    assert store.waited >= 0.05 if counts else store.waited == 0.0
    store.close()


# --- addresses --------------------------------------------------------------------------------------------


def info(address, port=80, family=socket.AF_INET):
    return (family, socket.SOCK_STREAM, 6, "", (address, port))


def nothing():
    pass


def test_a_lookup_is_shared_for_a_second_and_then_made_anew():
    asked = []
    now = [0.0]

    def lookup(host, port, **options):
        asked.append(host)
        return [info("127.0.0.1")]

    addresses = Addresses("example.test", 80, lookup=lookup, clock=lambda: now[0])
    for moment in (0.0, 0.5, 0.9, 1.5, 1.6):
        now[0] = moment
        addresses.find(5, nothing)
    assert asked == ["example.test"] * 2


def test_connections_spread_over_all_addresses_and_families_alternate():
    found = [info(f"10.0.0.{n}") for n in range(4)] + [info(f"fe80::{n}", family=socket.AF_INET6) for n in range(2)]
    addresses = Addresses("example.test", 80, lookup=lambda *_, **__: found)
    orders = [addresses.find(5, nothing) for _ in range(200)]
    assert all(sorted(order, key=str) == sorted(found, key=str) for order in orders)
    assert {order[0] for order in orders} == set(found[:4])
    assert all([entry[0] for entry in order[:4]] == [socket.AF_INET, socket.AF_INET6] * 2 for order in orders)


@pytest.mark.parametrize(
    "failure", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long"), OSError("x")]
)
def test_a_failed_lookup_is_transient_and_not_remembered(failure):
    outcomes = [failure, [info("127.0.0.1")]]

    def lookup(*_, **__):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    addresses = Addresses("example.test", 80, lookup=lookup)
    with pytest.raises(Transient, match=r"cannot find the address of example\.test"):
        addresses.find(5, nothing)
    assert addresses.find(5, nothing)


def test_a_lookup_that_hangs_is_given_up():
    release = threading.Event()
    addresses = Addresses("example.test", 80, lookup=lambda *_, **__: release.wait(30) and [])
    with pytest.raises(Transient, match="no answer from DNS"):
        addresses.find(0.1, nothing)
    release.set()


def connect(dialer):
    connection = Connection("peer")
    try:
        dialer.open(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def dialer_to(found, **options):
    addresses = Addresses("example.test", 80, lookup=lambda *_, **__: found)
    return Dialer("example.test", 80, None, None, ssl.create_default_context, addresses=addresses, **options)


def test_a_dead_address_is_passed_over(fake_aws):
    port = fake_aws.server.port
    for _ in range(10):
        connect(dialer_to([info("127.0.0.2", port), info("127.0.0.1", port)])).close()
    with pytest.raises(Transient, match="refused"):
        connect(dialer_to([info("127.0.0.2", port)]))


@contextlib.contextmanager
def deaf_listener():
    """A port that answers no further connection attempt: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        time.sleep(0.05)
        yield address


def test_connecting_is_given_up():
    with deaf_listener() as (host, port), pytest.raises(Transient, match="timed out"):
        connect(dialer_to([info(host, port)], seconds=0.5))


def test_a_lookup_that_takes_all_the_time_is_a_time_out():
    clock = iter([0.0, 0.0, 99.0])
    with pytest.raises(Transient, match="timed out"):
        connect(dialer_to([info("127.0.0.1", 1)], seconds=10.0, clock=lambda: next(clock)))


@contextlib.contextmanager
def silent_server():
    """Accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


def test_a_handshake_is_given_up():
    with silent_server() as (host, port):
        addresses = Addresses(host, port)
        context = ssl.create_default_context()
        with pytest.raises(Transient, match="no TLS handshake"):
            connect(Dialer(host, port, context, None, lambda: context, addresses=addresses, seconds=0.4))


@pytest.mark.parametrize("stage", ["lookup", "connect", "handshake"])
def test_an_interrupt_reaches_a_connection_that_is_being_opened(stage):
    release = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(release.set)
        context = None
        if stage == "lookup":
            dialer = dialer_to([])
            dialer._addresses = Addresses("example.test", 80, lookup=lambda *_, **__: release.wait(30) and [])
        else:
            host, port = stack.enter_context(deaf_listener() if stage == "connect" else silent_server())
            context = ssl.create_default_context() if stage == "handshake" else None
            dialer = Dialer(host, port, context, None, ssl.create_default_context)
        pool = Pool("peer", dialer, silence=30)
        outcome = []

        def work():
            try:
                pool.take()
            except BaseException as error:
                outcome.append(type(error))

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.2)
        assert outcome == []
        started = time.monotonic()
        pool.interrupt()
        thread.join(5)
        assert outcome == [Cancelled] and time.monotonic() - started < 1


# --- TLS --------------------------------------------------------------------------------------------------


def test_tls_sessions_are_resumed(fake_aws_tls):
    store = opened(fake_aws_tls)
    with store.get("k"):
        whole(store)  # a second connection, while the first is busy: no session yet
    reused = []
    first, second = store._route.pool.take(), store._route.pool.take()
    reused.append(second._channel.session_reused)
    store._route.pool.drop(first)
    store._route.pool.drop(second)
    assert reused == [True]
    store.close()


def answered(store, connection):
    """An exchange over `connection`, which then goes back to the pool."""
    connection.ask(store._route.wire(Request(b"HEAD", "k", b"/k"), store.credentials.current()))
    store._route.pool.give(connection)


def test_a_tls_session_that_is_taken_up_serves_for_a_minute(fake_aws_tls):
    store = opened(fake_aws_tls)
    store.head("k")
    pool = store._route.pool
    dialer, now = pool._dialer, [time.monotonic()]
    dialer._clock = lambda: now[0]

    def kept_after_another_connection():
        before, connection = dialer._session, pool.take(fresh=True)
        assert connection.tls_resumed
        answered(store, connection)
        return dialer._session is before

    assert dialer._session is not None
    assert kept_after_another_connection()
    now[0] += 61
    assert not kept_after_another_connection()
    assert kept_after_another_connection()
    store.close()


def test_a_tls_session_that_is_not_taken_up_is_replaced(fake_aws_tls):
    store = opened(fake_aws_tls)
    store.head("k")
    pool = store._route.pool
    dialer, before = pool._dialer, pool._dialer._session
    dialer._session = None
    connection = pool.take(fresh=True)
    dialer._session = before
    assert not connection.tls_resumed
    answered(store, connection)
    assert dialer._session is not before
    store.close()


@tried
def test_pythons_tls_session_serves_until_openssls_can_be_had(fake_aws_tls, monkeypatch):
    monkeypatch.setattr(openssl, "at_hand", lambda: False)
    store = opened(fake_aws_tls)
    store.head("k")
    pool = store._route.pool
    for at_hand, kind in ((False, ssl.SSLSession), (True, Session), (True, Session)):
        monkeypatch.setattr(openssl, "at_hand", lambda at_hand=at_hand: at_hand)
        connection = pool.take(fresh=True)
        assert connection.tls_resumed
        answered(store, connection)
        assert isinstance(pool._dialer._session, kind)
    store.close()


def test_a_certificate_that_nobody_trusts_is_final_at_once(fake_aws_tls):
    slept = []
    store = opened(fake_aws_tls, environ={}, slept=slept)
    with pytest.raises(ServiceError, match="cannot trust the certificate") as caught:
        store.head("k")
    assert not isinstance(caught.value, Transient)
    assert "AWS_CA_BUNDLE" in caught.value.hint and slept == []
    assert fake_aws_tls.requests == []
    store.close()


def test_a_certificate_for_another_host_is_final(fake_aws_tls):
    environ = {"AWS_CA_BUNDLE": fake_aws_tls.ca_file}
    store = opened(fake_aws_tls, environ=environ, url=f"https://127.0.0.2:{fake_aws_tls.server.port}")
    store._route.pool._dialer._addresses = Addresses("127.0.0.1", fake_aws_tls.server.port)
    with pytest.raises(ServiceError, match=r"cannot trust the certificate of 127\.0\.0\.2"):
        store.head("k")
    store.close()


def test_https_to_a_port_that_speaks_http(fake_aws):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        store = opened(fake_aws, environ={}, url=f"https://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(ServiceError, match="does not speak TLS"):
            store.head("k")
        thread.join()
        store.close()


def test_the_profiles_bundle_serves_where_the_environment_names_none(fake_aws_tls, tmp_path):
    bundle = fake_aws_tls.ca_file
    assert tls.make_context(bundle, {}).get_ca_certs()
    folder = tmp_path / "empty"
    folder.mkdir()
    assert tls.make_context(bundle, {"AWS_CA_BUNDLE": str(folder)}).get_ca_certs() == []  # the environment wins


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_bundle_that_cannot_be_read_is_a_usage_error(tmp_path, content):
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(UsageError, match="cannot read the CA bundle"):
        tls.make_context(None, {"AWS_CA_BUNDLE": str(bundle)})


def test_without_a_system_store_botocores_bundle_is_used(monkeypatch, tmp_path):
    missing = str(tmp_path / "missing")
    monkeypatch.setenv("SSL_CERT_FILE", missing)
    monkeypatch.setenv("SSL_CERT_DIR", missing)
    assert len(tls.make_context(None, {}).get_ca_certs()) > 50


# --- proxies ----------------------------------------------------------------------------------------------


def test_a_tunnel(fake_aws_tls):
    with FakeProxy(auth=("ana", "p@ss: w")) as proxy:
        environ = {
            "AWS_CA_BUNDLE": fake_aws_tls.ca_file,
            "HTTPS_PROXY": f"http://ana:p%40ss%3A%20w@127.0.0.1:{proxy.port}",
        }
        store = opened(fake_aws_tls, environ=environ)
        assert whole(store) == b"0123456789" * 10_000
        store.head("k")
        assert [(one.method, one.target) for one in proxy.requests] == [
            ("CONNECT", f"127.0.0.1:{fake_aws_tls.server.port}")
        ]
        assert "authorization" not in proxy.requests[0].headers
        assert all("proxy-authorization" not in record.headers for record in fake_aws_tls.requests)
        store.close()


def test_a_proxy_that_wants_other_credentials_is_final(fake_aws_tls):
    with FakeProxy(auth=("ana", "right")) as proxy:
        slept = []
        environ = {"AWS_CA_BUNDLE": fake_aws_tls.ca_file, "HTTPS_PROXY": f"http://ana:hunter2@127.0.0.1:{proxy.port}"}
        store = opened(fake_aws_tls, environ=environ, slept=slept)
        with pytest.raises(ServiceError, match="407") as caught:
            store.head("k")
        assert slept == [] and "hunter2" not in str(vars(caught.value))
        store.close()


def test_plain_http_goes_through_a_proxy_in_absolute_form(fake_aws):
    with FakeProxy(auth=("ana", "x")) as proxy:
        store = opened(fake_aws, environ={"http_proxy": f"http://ana:x@127.0.0.1:{proxy.port}"})
        assert whole(store) == b"0123456789" * 10_000
        assert {one.target for one in proxy.requests} == {f"{fake_aws.url}/acme/k"}
        store.close()


def test_no_proxy_is_respected(fake_aws_tls):
    with FakeProxy() as proxy:
        environ = {"AWS_CA_BUNDLE": fake_aws_tls.ca_file, "HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
        store = opened(fake_aws_tls, environ=environ)
        store.head("k")
        assert proxy.requests == []
        store.close()


@contextlib.contextmanager
def tls_front(port):
    """A TLS port before a plain one: what makes an http:// proxy an https:// one."""
    stopping = threading.Event()
    context = server_context()
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def pour(source, sink):
            with contextlib.suppress(OSError, ValueError):
                while data := source.recv(65536):
                    sink.sendall(data)
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sink, socket.SHUT_RDWR)

        def serve(raw):
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(raw, server_side=True) as outer,
                socket.create_connection(("127.0.0.1", port)) as inner,
            ):
                back = threading.Thread(target=pour, args=(inner, outer))
                back.start()
                pour(outer, inner)
                back.join()

        def accept():
            while not stopping.is_set():
                try:
                    raw, _ = listener.accept()
                except OSError:
                    continue
                raw.settimeout(None)
                threads.append(threading.Thread(target=serve, args=(raw,)))
                threads[-1].start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield listener.getsockname()[1]
        stopping.set()
        acceptor.join()
        for thread in threads:
            thread.join(5)


def test_tls_through_a_tls_proxy(fake_aws_tls):
    with FakeProxy(auth=("ana", "x")) as proxy, tls_front(proxy.port) as port:
        environ = {"AWS_CA_BUNDLE": fake_aws_tls.ca_file, "HTTPS_PROXY": f"https://ana:x@localhost:{port}"}
        store = opened(fake_aws_tls, environ=environ)
        assert whole(store) == b"0123456789" * 10_000
        store.head("k")
        assert [one.method for one in proxy.requests] == ["CONNECT"]
        store.close()


# --- the pool ---------------------------------------------------------------------------------------------


class Time:
    now = 0.0

    def __call__(self):
        return self.now


class FakeDialer:
    """Opens nothing: connections to one end of a socket pair."""

    def __init__(self):
        self.peers = []

    def open(self, connection):
        ours, theirs = socket.socketpair()
        self.peers.append(theirs)
        connection.adopt(ours)
        connection.opened(ours)

    def remember_session(self, connection):
        pass

    def close(self):
        for peer in self.peers:
            peer.close()


@pytest.fixture
def pooled():
    clock, dialer = Time(), FakeDialer()
    pool = Pool("peer", dialer, silence=30, idle=20, clock=clock)
    yield pool, dialer, clock
    pool.interrupt()
    dialer.close()


def test_the_youngest_idle_connection_is_taken_first(pooled):
    pool, _, clock = pooled
    first, second = pool.take(), pool.take()
    pool.give(first)
    clock.now = 5.0
    pool.give(second)
    assert pool.take() is second
    assert pool.take() is first
    pool.give(first)
    fresh = pool.take(fresh=True)
    assert fresh is not first
    pool.drop(fresh)
    pool.drop(second)


class FarDialer(FakeDialer):
    """Opening takes a while; `most` is how many were being opened at once."""

    def __init__(self, seconds=0.05):
        super().__init__()
        self.seconds, self.now, self.most, self.opened = seconds, 0, 0, 0
        self.fails = False
        self.counting = threading.Lock()

    def open(self, connection):
        with self.counting:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.counting:
            self.now -= 1
            self.opened += 1
        if self.fails:
            raise Transient("no way there")
        super().open(connection)


@pytest.fixture
def far():
    dialer = FarDialer()
    pool = Pool("peer", dialer, silence=30)
    yield pool, dialer
    pool.interrupt()
    wait_for(lambda: not pool._dialing)
    for connection in list(pool._all):
        pool.drop(connection)
    dialer.close()


def test_over_a_long_way_connections_are_opened_side_by_side(far):
    pool, dialer = far
    assert pool.widen(50) == 50  # nobody knows yet how long it takes
    first = pool.take()
    assert dialer.opened == 1
    assert pool.widen(50) == 1  # it returns at once
    wait_for(lambda: pool.widen(50) == 50)
    assert (dialer.opened, dialer.most) == (50, 32)
    taken = [pool.take() for _ in range(49)]
    assert dialer.opened == 50 and len({*taken, first}) == 50
    assert pool.widen(40) == 50  # fewer are wanted: none is closed for that
    wait_for(lambda: not pool._dialing)
    assert dialer.opened == 50


def test_where_opening_takes_no_time_nothing_is_opened_ahead(pooled):
    pool, dialer, _ = pooled
    first = pool.take()
    assert pool.widen(50) == 50
    assert len(dialer.peers) == 1
    pool.drop(first)


def test_where_no_connection_can_be_opened_it_is_not_tried_again_and_again(far):
    pool, dialer = far
    pool.take()
    dialer.fails = True
    assert pool.widen(40) == 1
    wait_for(lambda: not pool._dialing)
    tried = dialer.opened
    assert tried <= 1 + 32
    assert [pool.widen(40) for _ in range(20)] == [1] * 20
    assert dialer.opened == tried
    pool._not_before = 0.0  # a second later
    dialer.fails = False
    wait_for(lambda: pool.widen(40) == 40)


@pytest.mark.parametrize("end", [Pool.interrupt, Pool.retire])
def test_connections_that_are_being_opened_when_the_pool_ends_are_closed(far, end):
    pool, dialer = far
    first = pool.take()
    pool.widen(10)
    end(pool)
    wait_for(lambda: not pool._dialing)
    assert pool._all <= {first} and dialer.opened == 10


def test_one_that_was_closed_before_its_first_request_died_idle(far):
    pool, dialer = far
    first = pool.take()
    pool.widen(2)
    wait_for(lambda: pool.widen(2) == 2)
    second = pool.take()
    dialer.peers[-1].close()
    with pytest.raises(DiedIdle):
        second.ask(b"GET / HTTP/1.1\r\n\r\n")
    dialer.peers[0].close()
    with pytest.raises(Transient) as caught:
        first.ask(b"GET / HTTP/1.1\r\n\r\n")
    assert not isinstance(caught.value, DiedIdle)


def test_a_connection_that_was_idle_for_long_is_not_taken(pooled):
    pool, _, clock = pooled
    old = pool.take()
    pool.give(old)
    clock.now = 20.0
    new = pool.take()
    assert new is not old
    pool.drop(new)


def test_the_watchdog_closes_what_is_idle_for_long_and_spares_the_rest(pooled):
    pool, dialer, clock = pooled
    old, young = pool.take(), pool.take()
    pool.give(old)
    clock.now = 15.0
    pool.give(young)
    clock.now = 25.0
    pool.look()
    assert dialer.peers[0].recv(1) == b""  # closed
    assert pool.take() is young
    pool.drop(young)


@pytest.mark.parametrize(
    ("beats", "aborted"),
    [
        ([1, 1, 1], True),  # the same read for 30 s
        ([1, 3, 5], False),  # other reads
        ([2, 2, 2], False),  # nobody reads: the caller takes its time
        ([2, 1, 1], False),  # 15 s only
    ],
)
def test_what_the_watchdog_calls_silent(pooled, beats, aborted):
    pool, _, clock = pooled
    connection = pool.take()
    for beat in beats:
        connection.beat = beat
        pool.look()
        clock.now += 15
    if aborted:
        with pytest.raises(Transient, match="no data for 30 s from peer"):
            connection.check()
    else:
        connection.check()
    pool.drop(connection)


@pytest.mark.parametrize(("came", "aborted"), [((5, 5, 5, 5), True), ((5, 6, 7, 8), False)])
def test_what_comes_while_many_records_are_waited_for_is_no_silence(pooled, came, aborted):
    pool, _, clock = pooled
    connection = pool.take()
    channel = tls.Tls.__new__(tls.Tls)
    connection._channel, connection.beat = channel, 7
    for count in came:
        channel._many = SimpleNamespace(came=count)
        pool.look()
        clock.now += 15
    assert (connection.verdict is not None) == aborted
    pool.drop(connection)


def test_a_connection_aborted_at_its_last_byte_is_not_kept(pooled):
    pool, _, _ = pooled
    connection = pool.take()
    connection.abort(Transient("too late"))
    pool.give(connection)
    other = pool.take()
    assert other is not connection
    pool.drop(other)


def test_a_retired_pool_keeps_nothing(pooled):
    pool, dialer, _ = pooled
    idle, busy = pool.take(), pool.take()
    pool.give(idle)
    pool.retire()
    pool.give(busy)
    assert [peer.recv(1) for peer in dialer.peers] == [b"", b""]


# --- the store as a whole ---------------------------------------------------------------------------------


def test_plain_http_is_for_this_machine_only():
    class Nobody:
        def current(self):
            return None

        def renew(self, refused):
            raise AssertionError

    far = Endpoint("http", "s3.example.com", 80, "/b", "us-east-1")
    with pytest.raises(UsageError, match="not encrypted") as caught:
        open_store(Access("b"), Nobody(), endpoint=far, remember=lambda _: None, environ={})
    assert "--allow-http" in caught.value.hint
    open_store(Access("b", allow_http=True), Nobody(), endpoint=far, remember=lambda _: None, environ={}).close()
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"):
        near = far._replace(host=host)
        open_store(Access("b"), Nobody(), endpoint=near, remember=lambda _: None, environ={}).close()


def test_a_warm_store_imports_no_sdk(fake_aws):
    keys = fake_aws.user(OWNER, "u")
    fake_aws.bucket("acme", owner=OWNER)
    fake_aws.put("acme", "k", b"x")
    script = """
import os, sys
from s3pull.objects import Access, Credentials, Endpoint
from s3pull.remote.engine import open_store
class Keys:
    def current(self): return Credentials(os.environ["KEY"], os.environ["SECRET"])
endpoint = Endpoint("http", "127.0.0.1", int(os.environ["PORT"]), "/acme", "us-east-1")
store = open_store(Access("acme"), Keys(), endpoint=endpoint, remember=print, environ=os.environ)
with store.get("k") as body:
    assert body.readinto(memoryview(bytearray(9))) == 1
assert [obj.key for page in store.list() for obj in page] == ["k"]
store.close()
heavy = {"boto3", "botocore", "awscrt", "http.client", "urllib.request", "email", "asyncio", "cryptography"}
print(sorted(heavy & set(sys.modules)))
"""
    environ = {"PORT": str(fake_aws.server.port), "KEY": keys.access_key, "SECRET": keys.secret_key}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_no_secret_in_any_repr(fake_aws):
    store = opened(fake_aws)
    store.head("k")
    keys = store.credentials.current()
    for thing in (store, store._route, store._route._plans, keys):
        assert keys.secret_key not in repr(thing)
    store.close()


def test_the_certificate_authority_of_the_tests_is_not_the_systems():
    """The tests above would prove nothing if the machine trusted the fake's CA anyway."""
    der = {entry["serialNumber"] for entry in ssl.create_default_context().get_ca_certs()}
    ours = ssl.create_default_context(cafile=str(authority()[0])).get_ca_certs()[0]["serialNumber"]
    assert ours not in der
