"""The command line: ``xpnet train | predict | evaluate | profile | info``."""

from __future__ import annotations

import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from . import __version__, console
from .cli_info import info
from .cli_profile import profile
from .cli_train import train
from .cli_use import evaluate, predict

app = typer.Typer(
    name="xpnet",
    help="Train neural networks where your arrays live: NumPy on the CPU, CuPy on CUDA GPUs.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for _command in (train, predict, evaluate, profile, info):
    app.command()(_command)


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
    console.make_console(stderr=True).print(f"note: {message}")


def main() -> None:
    """Run the command line: what is wrong with the input is told in one line, with exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # where there is no λ, there is a ?
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _note  # type: ignore[assignment]
            sys.exit(app(args=sys.argv[1:] or ["--help"], standalone_mode=False))
    except KeyboardInterrupt:
        print("stopped at once by Ctrl-C: what was not saved is lost", file=sys.stderr)
        sys.exit(console.CtrlC.EXIT_CODE)
    except Exception as error:
        told = getattr(error, "format_message", None)  # a wrong use of the command's options
        if told is None and not isinstance(error, EXPECTED):
            raise
        if os.environ.get("XPNET_DEBUG"):
            raise
        line = " ".join(str(told() if told else error).split()) or type(error).__name__
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


#: What wrong input raises.
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)


if __name__ == "__main__":
    main()
