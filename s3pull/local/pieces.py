"""How many bytes to write at once: what costs the processor least, found by trying.

Linux takes memory for its cache in blocks as large as the write (ext4 from 6.16 on, XFS before), and few large blocks
cost less than many small ones. But where a virtual machine gives free memory back to its host
(https://docs.kernel.org/mm/free_page_reporting.html), large blocks are what was given back, and each of their pages has
to be fetched from the host again. Which of the two is cheaper changes from minute to minute: bench/RESULTS.md.
"""

from __future__ import annotations

#: 32 KiB is the largest block that Linux keeps at hand for each core
SIZES = (256 * 1024, 32 * 1024)
#: bytes by which a size is judged, and bytes for which the judgement counts
_TRIED = 4 * 1024 * 1024
_TRUSTED = 64 * 1024 * 1024


class Pieces:
    """One for all files and threads of a process; what is written at the same time may be counted a little wrong.

    `size` is what to write at once now; tell `took` what it cost.
    """

    def __init__(self) -> None:
        self.size = SIZES[0]
        #: nanoseconds a MiB, as last seen
        self._costs = dict.fromkeys(SIZES, 0)
        self._trying = True
        self._bytes = self._spent = 0

    def took(self, count: int, nanoseconds: int) -> None:
        """`count` bytes were written in pieces of `size`, for so much time of a processor."""
        self._bytes += count
        self._spent += nanoseconds
        if self._bytes < (_TRIED if self._trying else _TRUSTED):
            return
        self._costs[self.size] = self._spent * 1024 * 1024 // self._bytes
        if not self._trying:
            self.size, self._trying = SIZES[0], True
        elif self.size == SIZES[0]:
            self.size = SIZES[1]
        else:
            self.size, self._trying = min(SIZES, key=self._costs.__getitem__), False
        self._bytes = self._spent = 0
