"""``python -m xpnet`` is ``xpnet``."""

from . import _command


def main() -> None:
    """Run the command line; Ctrl-C before its own part begins, or after it, shows no traceback."""
    _command.watch()
    import signal

    from .cli.app import main as run

    try:
        if signal.getsignal(signal.SIGINT) is _command.end:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        _command.end()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: Python's own end is left


if __name__ == "__main__":
    main()
