"""awscrt's CRCs without awscrt's start.

Who imports awscrt starts all of it: it gathers entropy and reads trust stores for a TLS and an MQTT of its own, which
takes 45 to 80 ms, as long as the CRC of three gibibytes. Its functions for CRCs need nothing of that, and are there in
4 ms: they are called like those of any module, with a tuple of arguments, and the library names them
(https://github.com/awslabs/aws-crt-python/blob/main/source/crc.c).

That is no promise of awscrt's. So it is done where it was tried: on Linux, with these versions. What they answer is
compared with what is known first, and for all others there is the import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from typing import Any

Function = Callable[[Any, int], int]
Combine = Callable[[int, int, int], int]

#: the first and the last version that it was tried with (`tests/remote/test_crt.py`)
TRIED = ((0, 26), (0, 38))
#: of `123456789`, which is what such functions are compared by
_KNOWN = {"CRC64NVME": 0xAE8B14860A799888, "CRC32C": 0xE3069283, "CRC32": 0xCBF43926}


@cache
def crc_function(algorithm: str) -> Function | None:
    """`f(data, crc so far)` of an algorithm by S3's name, 0 to begin with; None where it takes an import to have it."""
    return _tried(algorithm, "", lambda function: function(b"6789", function(b"12345", 0)))


@cache
def combine_function(algorithm: str) -> Combine | None:
    """`f(crc of A, crc of B, bytes of B)`, the CRC of A+B; None where it cannot be had so. awscrt has it since 0.31."""
    crc = crc_function(algorithm)
    if crc is None:
        return None
    first, second = crc(b"12345", 0), crc(b"6789", 0)
    return _tried(algorithm, "_combine", lambda function: function(first, second, 4))


def _tried(algorithm: str, suffix: str, known: Callable[[Callable[..., int]], int]) -> Callable[..., int] | None:
    """The function of that name, if `known`, what it says of what is known, is right."""
    if sys.implementation.name != "cpython" or sys.platform != "linux":
        return None
    try:
        function = _named(f"aws_py_checksums_{algorithm.lower()}{suffix}")
        right = known(function) == _KNOWN[algorithm]
    except (ImportError, AttributeError, KeyError, OSError, TypeError, ValueError):
        return None
    return function if right else None


def _named(name: str) -> Callable[..., int]:
    import awscrt

    if not TRIED[0] <= _version(awscrt.__version__) <= TRIED[1]:
        raise ImportError(f"awscrt {awscrt.__version__} was never tried")
    found = PathFinder.find_spec("_awscrt")
    if found is None or not found.origin:
        raise ImportError("awscrt has no library")
    import ctypes

    called = ctypes.PyDLL(found.origin)[name]  # which lets other threads work by itself
    called.argtypes, called.restype = (ctypes.py_object, ctypes.py_object), ctypes.py_object

    def function(*arguments: Any) -> int:
        return called(None, arguments)  # type: ignore[no-any-return]

    return function


def _version(text: str) -> tuple[int, ...]:
    """Of `0.38.1` (0, 38)."""
    return tuple(int(part) for part in text.split(".")[:2])
