"""`s3pull.open`: one object as a seekable binary file."""

from __future__ import annotations

import io
import os
from typing import Self, Unpack

from s3pull.api.caller import AccessOptions, Caller
from s3pull.errors import UsageError
from s3pull.objects import RemoteObject
from s3pull.pull.opening import OpenSource, advising
from s3pull.pull.reader import Reader
from s3pull.pull.source import Kind, parse_source

#: bytes that a file reads at once, and keeps
BUFFER = 128 * 1024


def open(  # noqa: A001  (s3pull.open is what one would look for)
    source: str, *, version_id: str | None = None, buffering: int = BUFFER, **access: Unpack[AccessOptions]
) -> RemoteFile:
    """The object at `source` as a seekable binary file, read-only: for pandas, pyarrow, zipfile, shutil, PIL.

    >>> with s3pull.open("acme:2026/report.csv") as file:
    ...     file.readline()
    ...     file.seek(-3, 2)
    ...     file.read()
    b'day,price\\n'
    11
    b',7\\n'
    >>> with s3pull.open("acme:2026/prices.parquet") as file:
    ...     int(pandas.read_parquet(file)["price"].sum())
    60

    Nothing is downloaded but what is read, and some of what follows: the more is read in a row, the more is asked for
    ahead. The file is that one version of the object: if it is replaced meanwhile, reading on raises ObjectChanged.
    What was read from start to end is checked (`verified` says so), and CheckFailed raised with its last bytes where
    it is not what the service states. Broken connections are mended, sessions renewed.

    Threads may share it; reads take turns. After a fork the child opens connections and, if need be, a session of its
    own when it reads, and the parent's stay whole; position and version stay the same. `buffering` is bytes.

    Raises UsageError (a tree or a glob), NothingThere, AccessDenied, CredentialsError, ServiceError, Archived; reading
    raises them, too.
    """
    spec = parse_source(source)
    if spec.kind is not Kind.OBJECT:
        raise UsageError(f"{source} is not one object", hint="s3pull.open reads one key; s3pull.ls names the keys")
    if buffering < 1:
        raise UsageError(f"buffering={buffering} is no number of bytes", hint=f"leave it out: it is {BUFFER}")
    return RemoteFile(_Raw(Caller(access, "open"), source, version_id), buffering)


class RemoteFile(io.BufferedReader):
    """A file on an object of a bucket; made by `s3pull.open`."""

    raw: _Raw

    def __init__(self, raw: _Raw, buffering: int = BUFFER) -> None:
        super().__init__(raw, buffering)

    @property
    def name(self) -> str:
        """The source, as it was given."""
        return self.raw.source

    @property
    def mode(self) -> str:
        return "rb"

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.raw.pin.size

    @property
    def etag(self) -> str:
        """The ETag of the version that is read, without quotes."""
        return self.raw.pin.etag

    @property
    def version_id(self) -> str | None:
        return self.raw.pin.version_id

    @property
    def verified(self) -> bool | None:
        """True once all was read and proven to be what the service states; None before that, and where nothing can be
        proven. (What is proven wrong raises CheckFailed.)"""
        return self.raw.verified

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __repr__(self) -> str:
        return f"<s3pull file {self.name!r}{', closed' if self.closed else ''}>"


class _Raw(io.RawIOBase):
    """Unbuffered. What is open belongs to the process that opened it."""

    def __init__(self, caller: Caller, source: str, version_id: str | None) -> None:
        super().__init__()
        self.source = source
        self._caller = caller
        self._version_id = version_id
        self._at = 0
        self._opened: OpenSource | None = None
        self._reader: Reader | None = None
        self._pid = os.getpid()
        self._open(None)

    def _open(self, pin: RemoteObject | None) -> Reader:
        """A client of this process. `pin` None: whatever is there now."""
        self._pid = os.getpid()
        self._opened = opened = self._caller.open(self.source)
        try:
            with advising(opened.access, opened.spec, self._caller):
                if pin is None:
                    key = opened.prefix + opened.spec.key
                    pin = opened.store.head(key, version_id=self._version_id, checksum=True)
                self.pin = pin
                self._reader = Reader(opened.store, pin, self._version_id)
        except BaseException:
            self.close()
            raise
        return self._reader

    @property
    def verified(self) -> bool | None:
        return self._reader.verified if self._reader is not None else None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check()
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check()
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.pin.size}.get(whence)
        if start is None:
            raise ValueError(f"invalid whence: {whence}")
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._check()
        reader = self._reader
        if reader is None or self._pid != os.getpid():
            # forked: what is open is the parent's. It is let go of, not closed: that would cut the parent's connections
            reader = self._open(self.pin)
        assert self._opened is not None
        with advising(self._opened.access, self._opened.spec, self._caller):
            count = reader.read_at(self._at, memoryview(buffer).cast("B"))
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed and self._pid == os.getpid():
            if self._reader is not None:
                self._reader.close()
            if self._opened is not None:
                self._opened.close()
        super().close()

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
