"""Warnings, which name the line that called the library, however deep in it they are raised."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from pathlib import Path

#: Where code lies that a warning is not about: the library's, and what leaves a context for it.
OWN = (str(Path(__file__).parent) + os.sep, contextlib.__file__)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, as of the first line outside the library on the way up.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("there are gaps")
    >>> caught[0].filename == __file__
    False
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OWN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
