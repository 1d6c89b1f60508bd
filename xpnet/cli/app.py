"""The command line: ``xpnet train | tune | predict | evaluate | profile | info``."""

from __future__ import annotations

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer

from .._version import __version__
from . import console
from .info import info
from .profile import profile
from .streams import guarded
from .train import train
from .tune import tune
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
    console.tell("; ".join(told))
    sys.exit(console.CtrlC.exit_code)


for _command in (train, tune, predict, evaluate, profile, info):
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
    console.tell(f"note: {message}")


def main() -> None:
    """Run the command line: what is wrong with the input is told in one line, with exit code 2."""
    given = sys.argv[1:] or ["--help"]
    with guarded(GOES_ON.get(given[0])) as output:
        try:
            code = _run(given)
        except SystemExit as stop:
            code = stop.code
    sys.exit(code or output.exit_code)


def _run(given: list[str]) -> Any:
    """Run a command; return its exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _note  # type: ignore[assignment]
            code = app(args=given, standalone_mode=False)
        if code == console.CtrlC.exit_code:  # the commands' own end otherwise: it came before them
            raise KeyboardInterrupt
        return code
    except KeyboardInterrupt as stop:
        _stop_at_once(stop)
    except Exception as error:
        usage = hasattr(error, "format_message")  # a wrong use of the command's options
        if os.environ.get("XPNET_DEBUG") or not (usage or isinstance(error, EXPECTED)):
            for line in traceback.format_exc().rstrip().split("\n"):
                console.tell(line)
            return 1
        console.tell(f"error: {(_of_usage(error) if usage else _reason(error)).strip()}")
        return 2


def _reason(error: Exception) -> str:
    """Return what an error says, as "NAME: why" where the system refuses a file."""
    told = str(error) or type(error).__name__
    if isinstance(error, OSError):
        if error.strerror and error.filename:
            told = f"{error.filename}: {error.strerror}"
        try:
            os.getcwd()
        except FileNotFoundError:
            told += f"; {NO_DIRECTORY}"
    return told


def _of_usage(error: Any) -> str:
    """Return what Typer says of the options; of a value that it can't read, with the value."""
    message, given = str(error.format_message()), sys.argv[1:]
    for option in getattr(getattr(error, "param", None), "opts", ()):
        values = [b for a, b in pairwise(given) if a == option]
        values += [a.removeprefix(f"{option}=") for a in given if a.startswith(f"{option}=")]
        if len(values) == 1 and repr(values[0]) not in message:
            return f"{option} is {values[0]!r}: {str(error.message).partition(',')[0]}"
    return message


#: What may be the matter where a file is not found or can't be written.
NO_DIRECTORY = (
    "the current directory was deleted: change to another one, or give names that begin with /"
)

#: Commands that go on where nothing can be shown, for what they save; in which words.
GOES_ON = {"train": "the training goes on", "tune": "the search goes on"}

#: What wrong input raises.
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


if __name__ == "__main__":
    main()
