"""How much the examples of each class count."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import HostArray
from ..checks import check_not_negative
from .labels import Classes

#: How many classes an error names.
SHOWN = 20


def is_balanced(given: Any) -> bool:
    """Return whether weights, or those of one column, are to come from how often classes occur."""
    return "balanced" in (given if isinstance(given, list) else [given])


def weigh(given: Any, labels: Classes, codes: HostArray) -> HostArray:
    """Return the weights of examples: those of their classes, of several columns the product.

    Parameters
    ----------
    given : dict, "balanced" or list of them
        Weights by class, 1 for those that are not named; for columns of 0 and 1 a list with a dict
        for each. "balanced": n / (k · nᵢ), for nᵢ of n examples in a class, and k classes that
        there are examples of.
    labels : Classes
        All classes that may come.
    codes : array of int, shape (n,) or (n, n_columns)
        The numbers of the examples' classes.

    Returns
    -------
    array, shape (n,)

    Raises
    ------
    TypeError, ValueError
        If a class is named that there is not, a weight is no number of 0 or more, or all are 0; if
        there are not as many dicts as columns.

    Examples
    --------
    >>> labels = Classes(np.array(["a", "b", "c"]), multilabel=False)
    >>> weigh({"b": 10}, labels, np.array([1, 2, 1]))
    array([10.,  1., 10.])
    """
    if not labels.multilabel:
        if isinstance(given, list):
            raise ValueError("class_weight is a list, and y is one column of classes: give a dict")
        weights = _of_classes(given, labels.labels, codes, "class_weight")[codes]
    else:
        n = codes.shape[1]
        several = given if isinstance(given, list) else [given] * n
        if isinstance(given, dict) or len(several) != n:
            what = "a dict" if isinstance(given, dict) else f"a list of {len(several)}"
            raise ValueError(
                f"class_weight is {what}, and y has {n} columns: give a list with a dict for each, "
                "or 'balanced'"
            )
        columns = zip(several, codes.T, strict=True)
        weights = np.prod(
            [
                _of_classes(each, np.arange(2), column, f"class_weight[{i}]")[column]
                for i, (each, column) in enumerate(columns)
            ],
            axis=0,
        )
    if not weights.any():
        raise ValueError(
            f"class_weight is {given!r}, which gives all of these {len(codes)} examples the weight "
            "zero: give one of their classes a weight above 0"
        )
    return weights


def _of_classes(given: Any, classes: HostArray, codes: HostArray, name: str) -> HostArray:
    """Return the weight of each class."""
    if given is None:
        return np.ones(len(classes))
    if isinstance(given, str) and given == "balanced":
        counts = np.bincount(codes, minlength=len(classes))
        # A class without examples, as one that is held out, weighs nothing that there is.
        return np.asarray(len(codes) / (np.count_nonzero(counts) * np.maximum(counts, 1.0)))
    if not isinstance(given, dict):
        raise TypeError(f"{name} is {given!r}: give a dict with weights by class, or 'balanced'")
    known = classes.tolist()
    if unknown := [key for key in given if key not in {*known}]:
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        raise ValueError(
            f"{name} names {', '.join(map(repr, unknown[:SHOWN]))}, and the classes are "
            f"{', '.join(map(repr, known[:SHOWN]))}{more}: name only those"
        )
    weights = (check_not_negative(given.get(c, 1.0), f"{name}[{c!r}]") for c in known)
    return np.fromiter(weights, np.float64, len(known))
