"""What a part of quick.py is made of: claims, each with what settles it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: What is found of a claim: whether it holds (None: it can't be told here), the figure it rests on
#: in words, and, where there are any, the numbers.
Outcome = tuple[bool | None, str] | tuple[bool | None, str, dict[str, Any]]
Claim = tuple[str, Callable[[], Outcome]]


class CannotTellError(Exception):
    """Something that a claim needs is not here."""


@contextmanager
def told(level: int = logging.WARNING) -> Iterator[list[str]]:
    """Collect what the library's log says meanwhile."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, log = Collect(level), logging.getLogger("xpnet")
    before = log.level
    log.addHandler(handler)
    log.setLevel(level)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
