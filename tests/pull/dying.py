"""Runs that are killed, in a forked process that ends when its n-th step of a kind begins; and what they leave."""

import os
import subprocess
import sys
import warnings

from s3pull.local import owner

_LEAVE = """
import sys
from pathlib import Path
from s3pull.local import owner
from s3pull.local.settle import write_whole
from s3pull.local.tree import Tree
from s3pull.remote.checksums import crc_function
data = sys.stdin.buffer.read()
with Tree(Path(sys.argv[1]), create=True) as tree:
    seal = owner.seal(crc_function("CRC64NVME")(data, 0), True)
    write_whole(tree.directory(""), data, 1e9, owner.part_name(sys.argv[2], seal))
"""


def leave_whole(folder, pin, name, data):
    """Let a process that is dead by then leave `data` in `folder`: all of the object, proven, and not named yet."""
    ident = owner.part_ident(pin.key, pin.etag, pin.size, name)
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", _LEAVE, folder, ident], check=True, timeout=60, input=data, env=environ)


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
