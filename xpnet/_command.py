"""Ctrl-C while the command line is still being imported: a line, not a traceback.

A `KeyboardInterrupt` would not do: some imports make another error of it, or lose it. Nothing but
what Python has loaded by then is imported here.
"""

import os
import sys
from _signal import SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]


def is_running() -> bool:
    """Return whether this process is ``xpnet`` or ``python -m xpnet``."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # as long as Python looks for the package
        given = sys.orig_argv
        return "-m" in given[:-1] and given[given.index("-m") + 1] == "xpnet"
    return os.path.basename(program) in ("xpnet", "xpnet.exe")


def watch() -> None:
    """Have Ctrl-C end the process with a line: there is nothing to lose yet."""
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, end)


def end(*_: object) -> None:
    """Say so and end the process, with the exit code that a shell expects."""
    try:
        os.write(2, b"stopped at once by Ctrl-C\n")
    finally:
        os._exit(130)


if is_running():
    watch()
