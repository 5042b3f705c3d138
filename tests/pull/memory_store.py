"""A store in memory that keeps the law of `remote.store` and misbehaves on demand: the tests' model of a bucket."""

from __future__ import annotations

import hashlib
import threading

from s3pull.errors import AccessDenied, Cancelled, NothingThere, ObjectChanged, Transient
from s3pull.objects import ObjectVersion, RemoteObject
from s3pull.remote.retry import Patience


class MemoryStore:
    """`put` fills it. `faults` is a list of callables (key, start, end) -> fault or None, asked at each GET:

    ("break", n)     the body breaks off after n bytes
    ("flip", at)     one bit of the byte at offset `at` of the object is flipped
    ("replace", new) the object is replaced by `new` before this GET is answered
    ("error", e)     the GET raises e
    """

    def __init__(self, *, page=1000):
        self.objects = {}
        self.versions = {}
        self.faults = []
        self.gets = []
        self.heads = []
        self.lists = []
        self.page = page
        self.deny_list = False
        self.latency = 0.0
        self.waited = 0.0
        self.patience = Patience(sleep=lambda seconds: None)
        self._interrupted = threading.Event()
        self._lock = threading.Lock()

    def put(
        self, key, body, *, etag=None, checksum=None, modified=1_700_000_000.0, encryption="AES256", parts=None, **facts
    ):
        etag = etag or hashlib.md5(body).hexdigest()
        stated = RemoteObject(key, len(body), etag, modified, checksum=checksum, encryption=encryption, **facts)
        self.objects[key] = (bytes(body), stated, parts)
        held = self.versions.setdefault(key, [])
        held.append(ObjectVersion(stated._replace(version_id=f"v{len(held) + 1}", checksum=None), False))
        return stated

    def delete(self, key, *, modified=1_700_000_050.0):
        del self.objects[key]
        held = self.versions[key]
        marker = RemoteObject(key, 0, "", modified, f"v{len(held) + 1}")
        held.append(ObjectVersion(marker, True))

    def twin(self):
        return None

    # --- Store --------------------------------------------------------------------------------------------

    def head(self, key, *, version_id=None, part=None, checksum=False):
        self._check()
        self.heads.append((key, part))
        _, stated, parts = self._object(key)
        if part is not None:
            if parts is None:
                return stated._replace(parts=None)
            return stated._replace(size=parts[part - 1], parts=len(parts))
        return stated if checksum else stated._replace(checksum=None)

    def get(self, key, *, start=0, end=None, pin=None, version_id=None, checksum=False):
        self._check()
        with self._lock:
            self.gets.append((key, start, end))
            fault = next((found for ask in self.faults if (found := ask(key, start, end))), None)
            if fault and fault[0] == "replace":
                self.put(key, fault[1], modified=1_700_000_100.0)
        if fault and fault[0] == "error":
            raise fault[1]
        body, stated, _ = self._object(key)
        if pin is not None and (stated.etag != pin.etag or stated.size != pin.size):
            raise ObjectChanged(f"{key} was replaced", now=stated.etag, key=key)
        if fault and fault[0] == "flip":
            damaged = bytearray(body)
            damaged[fault[1]] ^= 1
            body = bytes(damaged)
        piece = body[start:end]
        whole = start == 0 and end is None
        limit = fault[1] if fault and fault[0] == "break" else len(piece)
        return MemoryBody(self, stated if checksum and whole else stated._replace(checksum=None), piece, limit)

    def widen(self, count):
        return count

    def ask(self, key, *, pin=None, version_id=None):
        return MemoryAsked(lambda: self.get(key, pin=pin, version_id=version_id, checksum=True))

    def list(self, prefix="", *, start_after=""):
        self._check()
        self.lists.append((prefix, start_after))
        if self.deny_list:
            raise AccessDenied("no listing here", code="AccessDenied", status=403)
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > start_after)
        for at in range(0, len(keys), self.page):
            yield [self.objects[key][1]._replace(checksum=None, encryption=None) for key in keys[at : at + self.page]]

    def list_versions(self, prefix=""):
        self._check()
        keys = sorted(key for key in self.versions if key.startswith(prefix))
        yield [version for key in keys for version in reversed(self.versions[key])]

    def interrupt(self):
        self._interrupted.set()
        self.patience.interrupt()

    def close(self):
        pass

    def _check(self):
        if self._interrupted.is_set():
            raise Cancelled("interrupted")

    def _object(self, key):
        try:
            return self.objects[key]
        except KeyError:
            raise NothingThere(f"no such key {key}", code="NoSuchKey", status=404, key=key) from None


class MemoryAsked:
    def __init__(self, get):
        self.body = get

    def drop(self):
        pass


class MemoryBody:
    def __init__(self, store, stated, piece, limit):
        self.object = stated
        self.length = len(piece)
        self._store = store
        self._piece = piece
        self._limit = limit
        self._at = 0

    def readinto(self, buffer):
        self._store._check()
        if self._at >= self.length:
            return 0
        if self._at >= self._limit:
            raise Transient("connection reset by peer")
        count = min(len(buffer), self.length - self._at, self._limit - self._at, 16384)
        buffer[:count] = self._piece[self._at : self._at + count]
        self._at += count
        return count

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
