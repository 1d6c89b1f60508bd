"""One part of ci/gpu/quick.py: settles its claims one after the other, in a process of its own."""

import argparse
import importlib
import json
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from claim import CannotTellError, Claim, Outcome
from quick import PARTS, ROOT, SICK


def _plain(value: Any) -> Any:
    """Return what strict JSON and a line of a table can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return " ".join(str(value).split())


class Writer:
    """Writes what a part has to say, a line for each claim that begins and each that is settled."""

    def __init__(self, part: str, path: Path) -> None:
        self.part, self.path = part, path

    def write(self, **record: Any) -> None:
        """Write a line in one go: other parts write to the same file."""
        line = json.dumps(_plain({"part": self.part, **record})) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def settle(self, name: str, claim: Callable[[], Outcome]) -> bool:
        """Try a claim; return whether it was computed without an error."""
        self.write(claim=name, time=time.time())
        began, values, sound = time.perf_counter(), {}, True
        held: bool | None
        try:
            found, figure, *more = claim()
            held = None if found is None else bool(found)  # it may be NumPy's
            values = more[0] if more else {}
        except CannotTellError as error:
            held, figure = None, str(error)
        except Exception as error:
            held, sound = False, False
            figure = f"{type(error).__name__}: {str(error)[:300]}"
            print(f"\n== {self.part}: {name}\n{traceback.format_exc()}", file=sys.stderr)
        seconds = round(time.perf_counter() - began, 3)
        self.write(claim=name, held=held, figure=figure, seconds=seconds, values=values)
        return sound


def claims_of(part: str, device: Any) -> list[Claim]:
    """Return a part's claims, which are a function of its name."""
    module = importlib.import_module(PARTS[part].module)
    return list(getattr(module, part)(device))


def _device(dry: bool) -> Any:
    if dry:
        from stand_in import StandIn

        return StandIn()
    from device import Gpu

    return Gpu()


def main() -> int:
    """Settle the claims behind those that are settled already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("records", type=Path)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT / name) for name in (".", "tests", "bench")]
    logging.basicConfig(format=f"{options.part}: %(name)s: %(message)s", level=logging.INFO)
    writer = Writer(options.part, options.records)
    try:
        device = _device(options.dry_run)
        claims = claims_of(options.part, device)
    except Exception as error:
        reason = error
        print(traceback.format_exc(), file=sys.stderr)
        writer.write(claims=["the part begins"])
        writer.settle("the part begins", lambda: (False, f"{type(reason).__name__}: {reason}"))
        return 0
    writer.write(claims=[name for name, _ in claims])
    for name, claim in claims[options.skip :]:
        if not writer.settle(name, claim) and not device.is_sound():
            return SICK  # an error such as a wrong address leaves CUDA unusable to the process
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # what is left to tear down on a device is of no interest, and may hang
