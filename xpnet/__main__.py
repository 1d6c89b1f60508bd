"""``python -m xpnet`` is ``xpnet``."""

import sys

from .interrupts import defer_sigint


def main() -> None:
    """Run the command line; Ctrl-C while that is imported is told in a line, not in a traceback."""
    try:
        with defer_sigint():
            from .cli.app import main as run
    except KeyboardInterrupt:
        print("stopped at once by Ctrl-C", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
