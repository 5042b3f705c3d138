"""Start-up."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress


def main() -> None:
    """The `s3pull` command."""
    if os.environ.get("S3PULL_DEBUG") != "1":
        _leave_no_core()
    if sys.argv[1:2] == ["__complete"]:  # a shell waits for it at every TAB: without the parser of command lines
        from s3pull.cli.candidates import answer

        answer(sys.argv[2:])
        return
    gc.disable()  # what is loaded now stays: looking for garbage in it, now and time and again later, finds none
    try:
        from s3pull.cli.app import main as run

        gc.freeze()
        gc.enable()
        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _leave_no_core() -> None:
    """A core file would hold session keys, lie in a folder that others read, and be of no use without our symbols."""
    if sys.platform != "win32":
        import resource

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()
