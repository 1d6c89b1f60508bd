"""What is learnt of raw rows before a network: features of arrays, or of tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.scaling import USUAL, Scaling
from ..columns.schema import Schema
from ..dataset import arrow_for
from .array_features import ArrayFeatures
from .base import Features


def learn(rows: Any, schema: Schema | None = None, scaling: Scaling = USUAL) -> Features:
    """Learn from training rows: an array, or a table.

    Parameters
    ----------
    rows : array or table
        The rows.
    schema : Schema or None
        How a table is read; None: it is learnt from it as well.
    scaling : Scaling
        How numbers are brought to a common scale.

    Raises
    ------
    TypeError
        If an array holds no numbers, or a table's column nothing that features are made of.
    ValueError
        If values are NaN (in an array) or infinite, or too large to standardise.
    ImportError
        If pyarrow is needed and not installed.
    """
    if isinstance(rows, np.ndarray):
        return ArrayFeatures.learn(rows, scaling)
    arrow_for("the data")
    from .table_features import TableFeatures

    return TableFeatures.learn_table(rows, schema, scaling)


def from_config(config: dict[str, Any]) -> Features:
    """Return the features that `config` was called of, from a file that anybody may have written.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it does not fit together.
    """
    if config["names"] is None:
        return ArrayFeatures.from_config(config)
    arrow_for("the model")
    from .table_features import TableFeatures

    return TableFeatures.from_config(config)
