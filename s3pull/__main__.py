"""Start-up, and the end."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from s3pull import garbage


def main() -> None:
    """The `s3pull` command."""
    _leave(command())


def command() -> int:
    """Do what `sys.argv` asks for; the exit code."""
    if os.environ.get("S3PULL_DEBUG") != "1":
        _leave_no_core()
    if sys.argv[1:2] == ["__complete"]:  # a shell waits for it at every TAB: without the parser of command lines
        from s3pull.cli.candidates import answer

        answer(sys.argv[2:])
        return 0
    garbage.loading()
    try:
        from s3pull.cli.app import main as run

        garbage.loaded()
        return run()
    except KeyboardInterrupt:
        return 130


def _leave(code: int) -> None:
    """End the process at once: to take everything apart before costs Python as much time as a tenth of its start.

    What others want to be called for at the end is called. Who measures or traces, a thread that is to be waited for,
    and output that nobody takes get the long way.
    """
    if not _waited_for() and not _watched():
        with suppress(OSError, ValueError):  # ValueError: it is closed
            atexit._run_exitfuncs()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(code)
    sys.exit(code)


def _waited_for() -> bool:
    """Whether there is a thread that Python would wait for."""
    threading = sys.modules.get("threading")  # where nobody needed it there are no threads
    if threading is None:
        return False
    return any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


def _watched() -> bool:
    """Whether a profiler, a debugger or the like is at work, which may have something to say at the end."""
    monitoring = getattr(sys, "monitoring", None)  # from 3.12 on; it has room for six
    tools = () if monitoring is None else map(monitoring.get_tool, range(6))
    return any(each is not None for each in (sys.getprofile(), sys.gettrace(), *tools))


def _leave_no_core() -> None:
    """A core file would hold session keys, lie in a folder that others read, and be of no use without our symbols."""
    if sys.platform != "win32":
        import resource

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


if __name__ == "__main__":
    main()
