r"""Text that others have written, as names and labels are, made fit to be shown."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    r"""Return a text in one line, in which nothing can steer a terminal.

    Whatever is no printable character, control characters, line breaks, marks that turn the
    direction of writing, halves of surrogate pairs, becomes its escape sequence, as `repr` has it.

    Examples
    --------
    >>> print(printable("λ = 1\x1b[2J\n\u202eabc"))
    λ = 1\x1b[2J\n\u202eabc
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_password(text: str) -> str:
    """Return an address that may be shown. What may be a password, or part of one, is left out.

    Examples
    --------
    >>> without_password("postgresql://me:secret@host/search")
    'postgresql://me:***@host/search'
    >>> without_password("postgresql://me@group:a/b?c@host:5432/search")
    'postgresql://me@group:***@host:5432/search'
    """
    return re.sub(r"(://[^:/]*):(?:[^?]*|[^@]*)@", r"\1:***@", text)
