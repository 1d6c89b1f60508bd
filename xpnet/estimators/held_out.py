"""What a search holds out of the examples it is given, to measure networks on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse import vstack as sparse_vstack
from sklearn.utils import _safe_indexing

from .._typing import HostArray
from ..backends.arrays import NUMPY, backend_of, from_dlpack, on_host
from ..checks import check_count, check_number
from ..data.batches import partition_indices, take_rows
from ..data.folds import check_folds, fold_of_each

#: The rows that are trained on, and those that are held out.
Pair = tuple[HostArray, HostArray]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How examples are held out.

    Attributes
    ----------
    pairs : list of (examples, held_out)
        Row numbers: one pair, or one for each fold.
    by_folds : bool
        Whether they are folds.
    """

    pairs: list[Pair]
    by_folds: bool = False

    @property
    def n_examples(self) -> int:
        """How many examples are trained on, at most."""
        return max(len(examples) for examples, _ in self.pairs)


def hold_out(
    n: int,
    labels: HostArray | None,
    *,
    given: int = 0,
    folds: Any = None,
    fraction: float = 0.2,
    seed: int = 0,
) -> HeldOut:
    """Return which of n examples are held out.

    Parameters
    ----------
    n : int
        How many there are.
    labels : array, shape (n,), or None
        Classes, of which each part gets its share.
    given : int
        How many of them, the last ones, are a development set of the user's own.
    folds : int, sequence of (examples, held_out), splitter of scikit-learn's, or None
        Folds, or into how many to cut; None: a part is held out.
    fraction : float
        The share of that part.
    seed : int
        What the draw depends on.

    Raises
    ------
    TypeError, ValueError
        If an option is none, or leaves a part empty; if there is a development set and folds.

    Examples
    --------
    >>> (examples, held_out), = hold_out(10, None, fraction=0.3).pairs
    >>> len(examples), len(held_out)
    (7, 3)
    """
    if given:
        if folds is not None:
            raise ValueError("X_val and folds are given: give one of them")
        return HeldOut([(np.arange(n - given), np.arange(n - given, n))])
    if folds is None:
        share = check_number(fraction, "validation_fraction")
        if not 0 < share < 1:
            raise ValueError(f"validation_fraction is {share}: give a number between 0 and 1")
        held_out, examples = partition_indices(n, (share, 1 - share), labels, seed)
        return HeldOut([(np.sort(examples), np.sort(held_out))])
    if isinstance(folds, int | np.integer) and not isinstance(folds, bool):
        check_folds(check_count(folds, "folds", 2), n, labels)
        fold = fold_of_each(n, int(folds), labels, seed)
        return HeldOut([_parted(fold == i) for i in range(int(folds))], by_folds=True)
    return HeldOut(_given_folds(folds, n, labels), by_folds=True)


def _parted(held_out: HostArray) -> Pair:
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _given_folds(folds: Any, n: int, labels: HostArray | None) -> list[Pair]:
    """Return the rows of folds that are given, checked."""
    wanted = "give how many, a list of (examples, held out) or a splitter of scikit-learn's"
    if hasattr(folds, "split") and not isinstance(folds, str):
        try:
            folds = [*folds.split(np.zeros((n, 1)), labels)]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"folds is {folds!r:.100}, which can't split the {n} examples: {error}; where it "
                "needs more than labels of classes, as groups, give list(folds.split(X, y, groups))"
            ) from error
    if isinstance(folds, str) or not hasattr(folds, "__iter__"):
        raise TypeError(f"folds is {folds!r}: {wanted}")
    pairs = [tuple(pair) for pair in folds]
    if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"folds has {len(pairs)} parts: {wanted}, 2 or more")
    return [(_rows(e, n, i), _rows(h, n, i)) for i, (e, h) in enumerate(pairs)]


def _rows(given: Any, n: int, fold: int) -> HostArray:
    rows = np.asarray(given)
    if rows.dtype == bool and rows.shape == (n,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"fold {fold} has rows {given!r:.100}: give row numbers, one or more")
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"fold {fold} has rows from {rows.min()} to {rows.max()}, and X has {n}")
    return rows.astype(np.int64)


def taken(X: Any, rows: HostArray) -> Any:
    """Return rows of arrays, sparse matrices, data frames and lists."""
    X = from_dlpack(X)
    if issparse(X):
        X = X.tocsr()  # not all formats know rows
    return _safe_indexing(X, rows) if on_host(X) else take_rows(X, rows)


def joined(parts: Sequence[Any]) -> Any:
    """Return arrays, sparse matrices, data frames or lists of one kind below one another."""
    first = from_dlpack(parts[0])
    if len(parts) == 1:
        return first
    if issparse(first):
        return sparse_vstack(parts, format="csr")
    if type(first).__module__.partition(".")[0] == "pandas":
        import pandas

        names = [[*getattr(part, "columns", ())] for part in parts]
        if any({*own} != {*names[0]} for own in names):
            raise ValueError(f"the tables have columns {names}: give the same of each")
        return pandas.concat(parts, ignore_index=True)
    if isinstance(first, list):
        return [row for part in parts for row in part]
    backend = backend_of(first, NUMPY)
    with backend.active():
        return backend.xp.concatenate([backend.asarray(from_dlpack(part)) for part in parts])
