"""How seldom Python looks for garbage in a process of ours, which makes next to none."""

from __future__ import annotations

import gc

#: Containers that are made and not freed before Python looks at them: a run makes some thousand that last, for files
#: that wait for their batch. Left at 700 (2,000 since Python 3.13), of 10,000 small objects it looked 170 to 190 times
#: at what was still in use. What goes wrong leaves none: see `errors.let_go`.
_MADE = 10_000


def loading() -> None:
    """A program is being loaded: it stays, and to look for garbage in it, time and again, finds none."""
    gc.disable()


def loaded() -> None:
    """It is there: it is left alone from now on, and what is made later is looked at seldom."""
    gc.freeze()
    gc.set_threshold(_MADE, *gc.get_threshold()[1:])
    gc.enable()
