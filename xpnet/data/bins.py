"""Bins of columns of numbers, for their piecewise-linear encodings: by quantiles, or by a tree."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..backends.arrays import NUMPY, to_host
from ..checks import check_count, check_flag
from ..randomness import Purpose, generator
from .arrays import as_array, check_features, check_lengths
from .batches import take_rows
from .labels import as_labels
from .streaming import is_sparse

Array = np.ndarray[Any, Any]

#: A leaf of a tree holds so many examples, or a quarter of what bins of equal size would have.
MOST_IN_LEAF = 64

#: Labels that are more different whole numbers than this may be classes, or may be not.
MANY_CLASSES = 100


def piecewise_bins(
    X: Any,
    n_bins: int = 16,
    y: Any = None,
    *,
    classification: bool | None = None,
    min_samples_leaf: int | None = None,
    max_rows: int = 100_000,
    random_state: int = 0,
) -> dict[int, tuple[float, ...]]:
    """Return edges of bins for each column, as `PiecewiseLinearEmbedding` takes them.

    Without y the edges are the quantiles 0, 1/T, 2/T, …, 1 of the column's values; where values are
    so frequent that quantiles are equal there are fewer bins. With y they are where a decision tree
    of that column alone, with at most T leaves, parts the examples, and the column's least and
    largest value: where y does not depend on the column there is one bin. Gorishniy, Rubachev &
    Babenko, "On embeddings for numerical features in tabular deep learning", NeurIPS 2022, sections
    3.2.1 and 3.2.2.

    A column with two different values has one bin, between them: so it is passed on as a scaled
    number. So is one of a single value v, whose bin goes from there towards 0, by 1 or v/2,
    whichever is more.

    Edges are different in float32, in which a network may compare them with its input. Give X as
    the network is to get it, scaled and of training examples alone.

    Parameters
    ----------
    X : array-like, shape (n, m)
        Numbers.
    n_bins : int
        The most bins of a column, T: 2 or more.
    y : array-like, shape (n,) or (n, k), or None
        What is to be predicted: values or classes.
    classification : bool or None
        Whether y holds classes. None: yes, if it holds no floating-point numbers.
    min_samples_leaf : int or None
        How many examples there are in each bin of a tree, at least. None: 64, but no more than a
        quarter of n/T.
    max_rows : int
        Of more examples so many are taken, drawn without replacement.
    random_state : int
        The seed of that draw.

    Returns
    -------
    dict of int to tuple of float
        The rising edges of each column, two or more.

    Raises
    ------
    TypeError
        If X holds no numbers or is sparse, or an option is none.
    ValueError
        If X has not two axes, or values that are NaN, infinite or too large for float32; X and y
        differ in length; y has gaps, or more than 100 different whole numbers and classification is
        None; or an option is out of range.

    Examples
    --------
    >>> import xpnet as xn
    >>> X = np.array([[0, 5, 1], [1, 5, 1], [2, 5, 1], [3, 5, 1], [8, 6, 1]])
    >>> xn.piecewise_bins(X, n_bins=2)
    {0: (0.0, 2.0, 8.0), 1: (5.0, 6.0), 2: (0.0, 1.0)}
    >>> xn.piecewise_bins(X, n_bins=2, y=["a", "b", "b", "b", "b"], min_samples_leaf=1)
    {0: (0.0, 0.5, 8.0), 1: (5.0, 6.0), 2: (0.0, 1.0)}
    """
    n_bins = check_count(n_bins, "n_bins", 2)
    max_rows, seed = check_count(max_rows, "max_rows"), check_count(random_state, "random_state", 0)
    X = _table(X)
    labels = None if y is None else _labels(y, X, classification)
    if len(X) > max_rows:
        draw = generator(seed, Purpose.BINS)
        rows = np.sort(draw.choice(len(X), max_rows, replace=False))
        X, labels = take_rows(X, rows), None if labels is None else labels[rows]
    values = np.asarray(check_features(np.asarray(to_host(X)), NUMPY, X.shape[1], np.float32))
    least = _least_in_leaf(min_samples_leaf, len(values), n_bins)
    found = [_edges(column, n_bins, labels, least) for column in values.T]
    return {j: tuple(_apart(edges).tolist()) for j, edges in enumerate(found)}


def fits(edges: Array) -> Array:
    """Return whether each bin has a width and a slope in float32: finite, and above 0.

    Examples
    --------
    >>> fits(np.array([0.0, 1.0, 1.0 + 1e-9, 2.0]))
    array([ True, False,  True])
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        widths = np.diff(edges.astype(np.float32))
        return (widths > 0) & np.isfinite(widths) & np.isfinite(1 / widths)


# -- what is given ----


def _table(X: Any) -> Any:
    """Return X as an array, wherever it lies, or raise an error."""
    X = as_array(X, "X")
    if is_sparse(X):
        raise TypeError("X is sparse, and most of its values are 0: give X.toarray()")
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X has shape {tuple(X.shape)}: give (examples, columns), one at least")
    return X


def _labels(y: Any, X: Any, classification: bool | None) -> Array:
    """Return values as they are and classes as whole numbers, or raise an error."""
    labels = as_labels(to_host(y), "y")
    check_lengths(X, labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim > 2:
        raise ValueError(f"y has shape {labels.shape}: give one label for each example, or some")
    numbers = labels.dtype.kind in "iuf"
    if classification is None:
        different = len(np.unique(labels)) if labels.dtype.kind in "iu" else 0
        if different > MANY_CLASSES:
            raise ValueError(
                f"y has {different:,} different whole numbers: give classification=True if they "
                "are classes, or False if they are values"
            )
        classification = labels.dtype.kind != "f"
    elif not check_flag(classification, "classification") and not numbers:
        raise ValueError(f"y has dtype {labels.dtype}: give numbers, or classification=True")
    if not classification:
        return labels.astype(np.float64)
    codes = np.unique(labels, return_inverse=True)[1]
    return codes.reshape(labels.shape)


def _least_in_leaf(given: int | None, n: int, n_bins: int) -> int:
    if given is not None:
        return check_count(given, "min_samples_leaf", other=", or None")
    return max(min(MOST_IN_LEAF, n // (4 * n_bins)), 1)


# -- edges ----


def _edges(column: Array, n_bins: int, labels: Array | None, least: int) -> Array:
    """Return a column's edges, some of which may be equal; of two values these."""
    values, ranks = np.unique(column.astype(np.float64), return_inverse=True)
    if len(values) < 3:
        return values
    if labels is None:
        return np.quantile(values[ranks], np.linspace(0, 1, n_bins + 1))
    parts = _parts(ranks, labels, n_bins, least)
    return np.sort(np.concatenate([values[[0, -1]], values[parts] / 2 + values[parts + 1] / 2]))


def _parts(ranks: Array, labels: Array, n_bins: int, least: int) -> Array:
    """Return the ranks behind which a tree parts a column."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if labels.dtype.kind == "f" else DecisionTreeClassifier
    # Of ranks, for values that lie nearer than a tree cares to look.
    tree = kind(max_leaf_nodes=n_bins, min_samples_leaf=least, random_state=0)
    with warnings.catch_warnings():
        # Of many classes, for each column anew: whoever reads the labels tells it once.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        fitted = tree.fit(ranks.reshape(-1, 1).astype(np.float32), labels).tree_
    splits = fitted.children_left != fitted.children_right
    return np.asarray(fitted.threshold[splits], int)


def _apart(edges: Array) -> Array:
    """Return edges that float32 tells apart, two or more."""
    found = edges[:1].astype(np.float32)
    for edge in edges[1:].astype(np.float32):
        if fits(np.append(found[-1:], edge)).all():
            found = np.append(found, edge)
    if len(found) == 1:
        v = found[0]
        found = np.sort(np.append(v, v - np.copysign(np.maximum(abs(v) / 2, 1), v)))
    return found
