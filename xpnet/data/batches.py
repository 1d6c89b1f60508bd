"""Data sets: parting them, and feeding them in mini-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import islice, pairwise
from typing import Any, TypeAlias, cast

import numpy as np

from .._typing import Array, HostArray
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
    """What `Kernels.gather` works with, for up to n examples; kernels that need none make none.

    Of k members with an order each there is room for n examples of each.
    """

    def __init__(self, backend: Backend, n: int, members: int = 1) -> None:
        self._backend, self._n, self._members = backend, n, members

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
        return self._backend.xp.empty(self._n * self._members, np.int64)


#: The examples of a batch: how many, or where members have different numbers, those of each.
Size: TypeAlias = int | tuple[int, ...]


class Batches:
    """A data set on the device, cut anew into shuffled mini-batches in every epoch.

    The notes' chapter 7. Which examples an epoch's batches hold depends on the seed and the epoch's
    number alone. Each batch is gathered into the same two arrays; of what is `Streamed`, from the
    host.

    Members of a network share them, or have batches of their own: each has those that it has when
    it is trained alone.

    Parameters
    ----------
    X, y : array
        The data set, on the backend's device.
    batch_size : int
        Examples in a batch; the last batch of an epoch has what is left over.
    backend : Backend
        Where X and y live.
    seed : int, or sequence of int
        The seed of order and augmentation; several: one for the own batches of each member.
    shuffle : bool
        Whether to shuffle in every epoch.
    min_batch : int
        The fewest examples in a batch: a smaller last one is merged into the one before.
    augmentation : Augmentation or None
        What changes the features of each batch.
    weights : array, shape (n, 1) or (k, n, 1), or None
        The examples' weights, on the device; each member may have its own.
    code_columns : sequence of int
        The columns of X that hold codes of categories, which are not augmented like the others.
    subsets : sequence of array, or None
        Which examples each member has; None: all.

    Attributes
    ----------
    n : int
        The number of examples; of members' own the largest one.
    sizes : list of int or tuple of int
        The examples of each of an epoch's batches; of each member where they differ, 0 where one
        has no batch any more.
    per_epoch : int or tuple of int
        How many batches there are in an epoch; of each member where they differ.
    largest : int
        The examples in the largest batch.

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
        seed: int | Sequence[int],
        shuffle: bool = True,
        min_batch: int = 1,
        augmentation: Augmentation | None = None,
        weights: Array | None = None,
        code_columns: Sequence[int] = (),
        subsets: Sequence[HostArray] | None = None,
    ) -> None:
        if augmentation is not None:
            augmentation.check(X.shape[1], code_columns)
        batch_size = check_count(batch_size, "batch_size")
        self._lead = () if isinstance(seed, int) else (len(seed),)
        self._seeds = (seed,) if isinstance(seed, int) else tuple(seed)
        self.X, self.y, self.backend, self.shuffle = X, y, backend, shuffle
        self._augmentation, self._subsets, self.weights = augmentation, subsets, weights
        self._codes = mark_columns(X.shape[1], code_columns if augmentation else (), backend)
        self.batch_size = batch_size
        counts = [X.shape[0]] * len(self._seeds) if subsets is None else [len(s) for s in subsets]
        _check_batch_size(batch_size, counts, min_batch)
        self._edges = [_cut(n, batch_size, min_batch) for n in counts]
        self.n, numbers = max(counts), [len(edges) - 1 for edges in self._edges]
        self.per_epoch: Size = numbers[0] if len({*numbers}) == 1 else tuple(numbers)
        self.sizes = [self._size(batch) for batch in range(max(numbers))]
        self.largest = max(b - a for edges in self._edges for a, b in pairwise(edges))
        self._streamed = isinstance(X, Streamed)
        self._order: Array = backend.asarray(self._laid_out(self._orders(None)))
        self._work = GatherWorkspace(backend, self.largest, len(self._seeds))
        self._make_room()

    def _make_room(self) -> None:
        """Make the arrays that batches are gathered into, for all members one after the other."""
        n, empty = len(self._seeds) * self.largest, self.backend.xp.empty
        given = {"labels": self.y, "weights": self.weights, "rows": self.X}
        if self._streamed:
            del given["rows"]
            self._stage = self.backend.stage((n, *self.X.shape[1:]), self.X.dtype)
        self._room: dict[str, tuple[Array, Array]] = {}
        for name, array in given.items():
            if array is not None:
                # Weights may have a members' axis themselves.
                width = (1,) if name == "weights" else array.shape[1:]
                self._room[name] = array, empty((n, *width), array.dtype)
        self._pairs: dict[int, dict[str, tuple[Array, Array]]] = {}

    def _pairs_of(self, n: int) -> dict[str, tuple[Array, Array]]:
        """Return what a batch of n examples is gathered from, and where to."""
        if n not in self._pairs:
            many = n * len(self._seeds)
            self._pairs[n] = {
                name: (array, room[:many].reshape(*self._lead, n, *room.shape[1:]))
                for name, (array, room) in self._room.items()
            }
        return self._pairs[n]

    @property
    def augmentation(self) -> Augmentation | None:
        """What changes the features of each batch."""
        return self._augmentation

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.sizes)

    def _size(self, batch: int) -> Size:
        sizes = [
            edges[batch + 1] - edges[batch] if batch + 1 < len(edges) else 0
            for edges in self._edges
        ]
        return sizes[0] if len({*sizes}) == 1 else tuple(sizes)

    def seen(self, batch: int) -> int | list[int]:
        """Return how many examples are in the first batches of an epoch; a list of members' own."""
        seen = [edges[min(batch, len(edges) - 1)] for edges in self._edges]
        return seen if self._lead else seen[0]

    def are_through(self, batch: int) -> bool | list[bool]:
        """Return whether these are all of an epoch's batches; a list of members' own."""
        through = [batch >= len(edges) - 1 for edges in self._edges]
        return through if self._lead else through[0]

    # -- an epoch ----

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of order and augmentation: of each member, or one of all."""
        return self._seeds

    @seeds.setter
    def seeds(self, seeds: Sequence[int]) -> None:
        self._seeds = (*seeds,)

    @property
    def are_own(self) -> bool:
        """Whether each member has batches of its own."""
        return bool(self._lead)

    def epoch(
        self, epoch: int | Sequence[int], first: int = 0
    ) -> Iterator[tuple[Size, Array | None, Array | None]]:
        """Yield what `gather` makes each of an epoch's batches from, beside its size.

        Parameters
        ----------
        epoch : int, or sequence of int
            Which epoch, counted from 0; members with own batches may each be in another one.
        first : int
            How many of its batches were made already, and are left out.
        """
        epochs = [epoch] * len(self._seeds) if isinstance(epoch, int) else epoch
        orders = self._orders(epochs if self.shuffle else None)
        if self.shuffle:
            found = self.backend.asarray(self._laid_out(orders))
            self.backend.xp.copyto(self._order, found)
        keys = None
        if self._augmentation is not None:
            keys = self.backend.asarray(self._keys(epochs))
        for batch, size in islice(enumerate(self.sizes), first, None):
            key = None if keys is None else keys[batch]
            rows = self._stream(orders, batch) if self._streamed else None
            yield size, key, rows

    def _orders(self, epochs: Sequence[int] | None) -> list[HostArray]:
        """Return which example comes when, of all or of each member; None: as they are given."""
        orders = []
        for i, seed in enumerate(self._seeds):
            n = self._edges[i][-1]
            order = np.arange(n, dtype=np.int64)
            if epochs is not None:
                order = generator(seed, Purpose.BATCHES, epochs[i]).permutation(n)
            orders.append(order if self._subsets is None else self._subsets[i][order])
        return orders

    def _laid_out(self, orders: list[HostArray]) -> HostArray:
        """Return orders as an array (n,) or (k, n), of which short ones fill the beginning."""
        whole = np.zeros((len(orders), self.n), np.int64)
        for row, order in zip(whole, orders, strict=True):
            row[: len(order)] = order
        return whole.reshape(*self._lead, self.n)

    def _keys(self, epochs: Sequence[int]) -> HostArray:
        """Return what each batch is augmented from: uint64, (batches, 1) or (batches, k, 1)."""
        pairs = zip(self._seeds, epochs, strict=True)
        keys = [augmentation_keys(seed, epoch, len(self)) for seed, epoch in pairs]
        return np.stack(keys, axis=1) if self._lead else keys[0]

    def _stream(self, orders: list[HostArray], batch: int) -> Array:
        """Bring rows that are on the host to the device, those of one member after the other."""
        parts = [
            order[edges[batch] : edges[batch + 1]]
            for order, edges in zip(orders, self._edges, strict=True)
            if batch + 1 < len(edges)
        ]
        indices = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return self._stage.send(len(indices), partial(cast(Streamed, self.X).write, indices))

    def gather(
        self, start: Array, size: Size, key: Array | None, rows: Array | None
    ) -> tuple[Any, Any, Any]:
        """Return a batch: rows, labels and weights, in arrays that the next one writes over.

        It is work of the device alone, the same for each batch of a size, so it can be repeated.

        Parameters
        ----------
        start : array, int64, shape (1,)
            How many of the epoch's examples came before.
        size : int or tuple of int
            How many examples it has. If members have different numbers, a list of what each has is
            returned in place of each array.
        key : array, uint64, shape (1,) or (k, 1), or None
            Where the augmentation's numbers come from.
        rows : array, shape (b, n_features), or None
            The features, where they come from the host; of members one after the other.
        """
        pairs = self._pairs_of(size if isinstance(size, int) else max(size))
        self.backend.kernels.gather(self._order, start, self._work, [*pairs.values()])
        labels = pairs["labels"][1]
        weights = pairs["weights"][1] if "weights" in pairs else None
        x = pairs["rows"][1] if rows is None else rows
        if not isinstance(size, int):
            return self._apart(size, x, labels, weights, key)
        if rows is not None and self._lead:
            x = rows.reshape(*self._lead, size, -1)
        if self._augmentation is not None:
            x = self._change(x, cast(Array, key))
        return x, labels, weights

    def _change(self, x: Array, key: Array) -> Array:
        """Return the features of a batch, augmented; those of members one by one."""
        change = cast(Augmentation, self._augmentation).change
        if not self._lead:
            return change(x, key, self.backend, self._codes)
        for i in range(len(self._seeds)):
            self.backend.xp.copyto(x[i], change(x[i], key[i], self.backend, self._codes))
        return x

    def _apart(
        self, sizes: tuple[int, ...], x: Array, labels: Array, weights: Array | None, key: Any
    ) -> tuple[list[Array], list[Array], list[Array | None]]:
        """Return what each member has of a batch of different numbers of examples."""
        ends = np.cumsum(sizes)
        own = [
            x[end - n : end] if x.ndim == 2 else x[i, :n]
            for i, (n, end) in enumerate(zip(sizes, ends.tolist(), strict=True))
        ]
        if self._augmentation is not None:
            change = self._augmentation.change
            own = [
                change(rows, key[i], self.backend, self._codes) if n else rows
                for i, (n, rows) in enumerate(zip(sizes, own, strict=True))
            ]
        return (
            own,
            [labels[i, :n] for i, n in enumerate(sizes)],
            [None if weights is None else weights[i, :n] for i, n in enumerate(sizes)],
        )


def _cut(n: int, batch_size: int, min_batch: int) -> list[int]:
    """Return where an epoch's batches begin and end; none is too small."""
    edges = [*range(0, n, batch_size), n]
    if len(edges) > 2 and edges[-1] - edges[-2] < min_batch:
        del edges[-2]
    return edges


def _check_batch_size(batch_size: int, counts: Sequence[int], min_batch: int) -> None:
    """Raise a ValueError if batches are too small; warn if one is more than any network has."""
    fewest, most = min(counts), max(counts)
    whose = f"member {counts.index(fewest)} has" if len({*counts}) > 1 else "there is"
    if min(batch_size, fewest) < min_batch:
        what = (
            f"batch_size is {batch_size}"
            if fewest >= min_batch
            else f"{whose} {fewest} example, 1 sample alone"
        )
        raise ValueError(f"{what}: batch norm needs at least {min_batch} examples in a batch")
    if batch_size > most and batch_size != USUAL:
        there = "there are" if fewest == most else "no member has more than"
        warn(f"batch_size is {batch_size} and {there} {most} examples: training on one batch")
