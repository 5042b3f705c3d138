"""Start-up."""

from __future__ import annotations

import sys


def main() -> None:
    """The `s3pull` command."""
    try:
        from s3pull.cli.app import main as run

        code = run()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
