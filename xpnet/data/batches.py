"""Data sets: parting them, and feeding them in mini-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import islice, pairwise
from typing import Any, cast

import numpy as np

from .._typing import Array
from ..backends.arrays import backend_of
from ..backends.protocol import Backend
from ..backends.select import select
from ..checks import check_count, check_flag, check_number, check_several
from ..randomness import Purpose, augmentation_keys, generator
from ..warning import warn
from .arrays import as_host_array, check_lengths, is_arrow
from .augmentation import Augmentation, mark_columns
from .labels import is_numeric, is_whole
from .streaming import Rows as Rows
from .streaming import Streamed, is_sparse

#: Up to so many examples the notes part a data set 60/20/20, above it 98/1/1.
SMALL = 10_000

#: The batch size of a fit that names none.
USUAL = 128


def partition_sizes(n: int, ratios: str | Sequence[float] = "auto") -> list[int]:
    """Return how many of n examples go to each part.

    Parameters
    ----------
    n : int
        Number of examples.
    ratios : "auto" or sequence of float
        "auto": 60/20/20 up to 10⁴ examples, 98/1/1 above (notes, chapter 4). Else the parts'
        shares, each above 0, which add up to 1.

    Raises
    ------
    ValueError
        If the ratios don't add up to 1, or leave a part empty.

    Examples
    --------
    >>> partition_sizes(150)
    [90, 30, 30]
    >>> partition_sizes(60_000)
    [58800, 600, 600]
    """
    if isinstance(ratios, str):
        if ratios != "auto":
            raise ValueError(
                f"ratios is {ratios!r}: give 'auto' or numbers such as (0.6, 0.2, 0.2)"
            )
        ratios = (0.6, 0.2, 0.2) if n <= SMALL else (0.98, 0.01, 0.01)
    several = check_several(ratios, "ratios", "(0.6, 0.2, 0.2)")
    shares = [check_number(ratio, "a ratio") for ratio in several]
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise ValueError(f"ratios are {tuple(shares)}: give numbers above 0 that add up to 1")
    edges = np.round(np.cumsum([0.0, *shares]) * n).astype(int)
    sizes = [int(size) for size in np.diff(edges)]
    if min(sizes) < 1:
        raise ValueError(f"{n} examples in ratios {tuple(shares)} leave a part empty: {sizes}")
    return sizes


def partition(
    X: Any,
    y: Any,
    ratios: str | Sequence[float] = "auto",
    stratify: bool = False,
    random_state: int = 0,
) -> list[tuple[Array, Array]]:
    """Part a data set at random, for training, development and test (notes, chapter 4).

    Parameters
    ----------
    X, y : array-like, n examples each
        NumPy or CuPy arrays, memory-mapped ones (``np.load(file, mmap_mode="r")``), or lists.
    ratios : "auto" or sequence of float
        "auto": 60/20/20 up to 10⁴ examples, 98/1/1 above. Else the parts' shares.
    stratify : bool
        Whether each part gets its share of each label in y.
    random_state : int
        The seed.

    Returns
    -------
    list of (X, y)
        The parts: every example is in one of them, once. Copies, where X and y live; of a
        memory-mapped array `Rows`, which are read from the file when they are used.

    Raises
    ------
    ValueError
        If X and y differ in length, the ratios don't add up to 1 or leave a part empty.

    Examples
    --------
    >>> train, dev, test = partition(np.arange(20).reshape(10, 2), np.arange(10))
    >>> [len(y) for X, y in (train, dev, test)]
    [6, 2, 2]
    """
    cpu = select("cpu")
    # A pandas Series would look its labels up instead of counting rows: arrays alone are indexed.
    X = X if backend_of(X, cpu).owns(X) else as_host_array(X, "X")
    y = y if backend_of(y, cpu).owns(y) else as_host_array(y, "y")
    check_lengths(X, y)
    labels = np.asarray(backend_of(y, cpu).to_host(y)) if check_flag(stratify, "stratify") else None
    if labels is not None and labels.size != len(labels):
        raise ValueError(f"y has shape {labels.shape}: to stratify give one label for each example")
    if labels is not None and is_numeric(labels) and not is_whole(labels):
        raise ValueError("y holds fractions: to stratify give labels of classes, or stratify=False")
    parts = partition_indices(len(X), ratios, labels, random_state)
    return [(take_rows(X, part), take_rows(y, part)) for part in parts]


def take_rows(array: Any, indices: np.ndarray[Any, Any]) -> Any:
    """Return the rows with given indices: a copy where they live, or `Rows` of a file."""
    if is_arrow(array):
        return array.take(indices)
    if isinstance(array, np.memmap | Rows):
        return Rows(array, indices)
    if isinstance(array, Streamed):
        return array.take(indices)
    if is_sparse(array):
        return array.tocsr()[indices]
    backend = backend_of(array, select("cpu"))
    with backend.active():
        return array[backend.asarray(indices)]


def partition_indices(
    n: int,
    ratios: str | Sequence[float],
    labels: np.ndarray[Any, Any] | None,
    random_state: int,
) -> list[np.ndarray[Any, Any]]:
    """Return the indices of each part; ``labels`` (n,) are given to stratify by them."""
    sizes = partition_sizes(n, ratios)
    draw = generator(check_count(random_state, "random_state", 0), Purpose.PARTITION)
    order = proportional_order(n, None if labels is None else labels.reshape(n), draw)
    return np.split(order, np.cumsum(sizes)[:-1])


def proportional_order(
    n: int, labels: np.ndarray[Any, Any] | None, draw: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Return a random order; with labels one of which every stretch has its share of each label."""
    order = draw.permutation(n)
    if labels is None:
        return order
    # Spread each label evenly over [0, 1) from a random start: a cut takes its share of each.
    _, codes = np.unique(labels[order], return_inverse=True)
    place = np.empty(n)
    for code in range(codes.max() + 1):
        members = np.flatnonzero(codes == code)
        place[members] = (np.arange(len(members)) + draw.random()) / len(members)
    return order[np.argsort(place, kind="stable")]


class GatherWorkspace:
    """What `Kernels.gather` works with, for up to n examples; kernels that need none make none."""

    def __init__(self, backend: Backend, n: int) -> None:
        self._backend, self._n = backend, n

    @cached_property
    def counting(self) -> Array:
        """The numbers from 0 on."""
        return self._backend.asarray(np.arange(self._n, dtype=np.int64))

    @cached_property
    def places(self) -> Array:
        """Room for places in an order."""
        return self._backend.xp.empty(self._n, np.int64)

    @cached_property
    def chosen(self) -> Array:
        """Room for what stands there."""
        return self._backend.xp.empty(self._n, np.int64)


class Batches:
    """A data set on the device, cut anew into shuffled mini-batches in every epoch.

    The notes' chapter 7. Which examples an epoch's batches hold depends on the seed and the epoch's
    number alone. Each batch is gathered into the same two arrays; of what is `Streamed`, from the
    host.

    Parameters
    ----------
    X, y : array
        The data set, on the backend's device.
    batch_size : int
        Examples in a batch; the last batch of an epoch has what is left over.
    backend : Backend
        Where X and y live.
    seed : int
        The run's seed.
    shuffle : bool
        Whether to shuffle in every epoch.
    min_batch : int
        The fewest examples in a batch: a smaller last one is merged into the one before.
    augmentation : Augmentation or None
        What changes the features of each batch.
    weights : array, shape (n, 1), or None
        The examples' weights, on the device.
    code_columns : sequence of int
        The columns of X that hold codes of categories, which are not augmented like the others.

    Raises
    ------
    ValueError
        If batch_size is less than 1 or than min_batch, or there are fewer examples than min_batch.

    Warns
    -----
    UserWarning
        If batch_size is above the number of examples: then there is one batch of all. Not at
        `USUAL`, which nobody may have asked for.
    """

    def __init__(
        self,
        X: Array,
        y: Array,
        batch_size: int,
        *,
        backend: Backend,
        seed: int,
        shuffle: bool = True,
        min_batch: int = 1,
        augmentation: Augmentation | None = None,
        weights: Array | None = None,
        code_columns: Sequence[int] = (),
    ) -> None:
        n = X.shape[0]
        if augmentation is not None:
            augmentation.check(X.shape[1], code_columns)
        batch_size = check_count(batch_size, "batch_size")
        if min(batch_size, n) < min_batch:
            what = (
                f"batch_size is {batch_size}"
                if n >= min_batch
                else f"there is {n} example, 1 sample alone"
            )
            raise ValueError(f"{what}: batch norm needs at least {min_batch} examples in a batch")
        if batch_size > n and batch_size != USUAL:
            message = (
                f"batch_size is {batch_size} and there are {n} examples: training on one batch"
            )
            warn(message)
        self.X, self.y, self.backend, self.seed, self.shuffle = X, y, backend, seed, shuffle
        self.n, self._augmentation = n, augmentation
        self._codes = mark_columns(X.shape[1], code_columns if augmentation else (), backend)
        self.batch_size = batch_size
        edges = [*range(0, n, batch_size), n]
        if len(edges) > 2 and edges[-1] - edges[-2] < min_batch:
            del edges[-2]
        self.edges = edges
        self.largest = max(b - a for a, b in pairwise(edges))
        self._order: Array = backend.asarray(np.arange(n, dtype=np.int64))
        self._streamed = isinstance(X, Streamed)
        self._work = GatherWorkspace(backend, self.largest)
        shape = self.largest, *X.shape[1:]
        if self._streamed:
            self._stage = backend.stage(shape, X.dtype)
        else:
            self._rows = backend.xp.empty(shape, X.dtype)
        self._labels = backend.xp.empty((self.largest, *y.shape[1:]), y.dtype)
        self.weights = weights
        if weights is not None:
            self._weights = backend.xp.empty((self.largest, 1), weights.dtype)

    @property
    def augmentation(self) -> Augmentation | None:
        """What changes the features of each batch."""
        return self._augmentation

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.edges) - 1

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[int, Array | None, Array | None]]:
        """Yield what `gather` makes each of an epoch's batches from, beside where it starts.

        ``first`` is how many of them were made already, and are left out.
        """
        order = np.arange(self.n)
        if self.shuffle:
            order = generator(self.seed, Purpose.BATCHES, epoch).permutation(self.n)
            self.backend.xp.copyto(self._order, self.backend.asarray(order))
        keys = None
        if self._augmentation is not None:
            keys = self.backend.asarray(augmentation_keys(self.seed, epoch, len(self)))
        for batch, (start, stop) in islice(enumerate(pairwise(self.edges)), first, None):
            key = None if keys is None else keys[batch]
            rows = self._stream(order[start:stop]) if self._streamed else None
            yield stop - start, key, rows

    def _stream(self, indices: np.ndarray[Any, Any]) -> Array:
        """Bring rows that are on the host to the device."""
        return self._stage.send(len(indices), partial(cast(Streamed, self.X).write, indices))

    def gather(
        self, start: Array, size: int, key: Array | None, rows: Array | None
    ) -> tuple[Array, Array, Array | None]:
        """Return a batch: rows, labels and weights, in arrays that the next one writes over.

        It is work of the device alone, the same for each batch of a size, so it can be repeated.

        Parameters
        ----------
        start : array, int64, shape (1,)
            How many of the epoch's examples came before.
        size : int
            How many examples it has.
        key : array, uint64, shape (1,), or None
            Where the augmentation's numbers come from.
        rows : array, shape (b, n_features), or None
            The features, where they come from the host.
        """
        labels, weights = self._labels[:size], None
        pairs = [(self.y, labels)]
        if rows is None:
            rows = self._rows[:size]
            pairs.append((self.X, rows))
        if self.weights is not None:
            weights = self._weights[:size]
            pairs.append((self.weights, weights))
        self.backend.kernels.gather(self._order, start, self._work, pairs)
        if self._augmentation is not None:
            rows = self._augmentation.change(rows, cast(Array, key), self.backend, self._codes)
        return rows, labels, weights
