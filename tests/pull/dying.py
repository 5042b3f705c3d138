"""Runs that are killed: in a forked process, which ends at once when its n-th step of a kind begins."""

import os
import warnings


def die_at(step, count):
    """From now on, this process ends when the method `step` (class, name) is called for the `count`-th time."""
    kind, name = step
    real = getattr(kind, name)
    left = [count]

    def counted(self, *args, **kwargs):
        left[0] -= 1
        if left[0] <= 0:
            os._exit(9)
        return real(self, *args, **kwargs)

    setattr(kind, name, counted)


def in_a_fork(work):
    """Run `work` in a process of its own; its exit code (9: it was killed)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the parent has no thread that holds anything
        pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
