"""The command line: ``xpnet train | predict | evaluate | profile | info``."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from io import TextIOWrapper
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer

from .._version import __version__
from . import console
from .info import info
from .profile import profile
from .train import train
from .use import evaluate, predict

app = typer.Typer(
    name="xpnet",
    help="Train neural networks where your arrays live: NumPy on the CPU, CuPy on CUDA GPUs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _heard(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that tells of Ctrl-C itself: Typer would end without a word."""

    @functools.wraps(command)
    def told(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt as stop:
            _stop_at_once(stop)

    return told


def _stop_at_once(stop: KeyboardInterrupt) -> NoReturn:
    """Say that what was going on was broken off, and how to go on, if the error says so."""
    told = ("stopped at once by Ctrl-C: what was not saved is lost", *map(str, stop.args))
    print("; ".join(told), file=sys.stderr)
    sys.exit(console.CtrlC.exit_code)


for _command in (train, predict, evaluate, profile, info):
    app.command()(_heard(_command))


def _version(show: bool) -> None:
    if show:
        print(f"xpnet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train neural networks where your arrays live."""


def _note(message: Warning | str, category: type[Warning], *_: Any) -> None:
    console.make_console(stderr=True).print(f"note: {console.printable(str(message))}")


def main() -> None:
    """Run the command line: what is wrong with the input is told in one line, with exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # where there is no λ, there is a ?
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _note  # type: ignore[assignment]
            code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
        if code == console.CtrlC.exit_code:  # the commands' own end otherwise: it came before them
            raise KeyboardInterrupt
        sys.exit(code)
    except KeyboardInterrupt as stop:
        _stop_at_once(stop)
    except Exception as error:
        told = getattr(error, "format_message", None)  # a wrong use of the command's options
        if told is None and not isinstance(error, EXPECTED):
            raise
        if os.environ.get("XPNET_DEBUG"):
            raise
        line = " ".join((_of_usage(error) if told else _reason(error)).split())
        print(f"error: {console.printable(line)}", file=sys.stderr)
        sys.exit(2)


def _reason(error: Exception) -> str:
    """Return what an error says, as "NAME: why" where the system refuses a file."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _of_usage(error: Any) -> str:
    """Return what Typer says of the options; of a value that it can't read, with the value."""
    message, given = str(error.format_message()), sys.argv[1:]
    for option in getattr(getattr(error, "param", None), "opts", ()):
        values = [b for a, b in pairwise(given) if a == option]
        values += [a.removeprefix(f"{option}=") for a in given if a.startswith(f"{option}=")]
        if len(values) == 1 and repr(values[0]) not in message:
            return f"{option} is {values[0]!r}: {str(error.message).partition(',')[0]}"
    return message


#: What wrong input raises.
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


if __name__ == "__main__":
    main()
