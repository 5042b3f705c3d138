"""How much memory the C library keeps for itself."""

from __future__ import annotations

import sys

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_THRESHOLD = 128 * 1024


def give_back_large() -> None:
    """From now on buffers of 128 KiB and more go back to the system when they are freed, on Linux with glibc.

    Left alone, glibc raises that bound with each such buffer that is freed and keeps them, for each thread apart: of
    2,000 objects over TLS it held 70 MB of 110 (mallopt(3)).
    """
    if sys.platform != "linux":
        return
    import ctypes  # late: it takes a few ms to load

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl
        return
    mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
    mallopt(_M_ARENA_MAX, 1)
