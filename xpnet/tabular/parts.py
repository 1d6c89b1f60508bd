"""The parts of a data set, and what is learnt before the network from the first of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data.arrays import is_arrow
from ..data.batches import SMALL, partition_indices, take_rows
from ..data.labels import unite
from ..data.scaling import USUAL, Scaling
from ..nn.loss import Loss
from ..nn.losses import PoissonDeviance
from ..recipes.settings import Settings
from . import memory
from .dataset import Dataset, naming, united
from .features import preprocessing
from .features.array_features import require_numbers
from .features.base import Features
from .target import Target

PARTS = ("train", "dev", "test")

Array = np.ndarray[Any, Any]


@dataclass
class Part:
    """One part of the data, raw and prepared.

    Attributes
    ----------
    source : array, table or None
        The rows that it is a part of; None once they were given up.
    indices : array of int or None
        Which of them; None: all.
    target : array
        Their labels.
    features, labels : array
        What the network is trained on, once they are prepared.
    """

    source: Any
    indices: Array | None
    target: Array
    features: Array = field(init=False)
    labels: Array = field(init=False)

    @property
    def rows(self) -> Any:
        """The raw rows."""
        return self.source if self.indices is None else take_rows(self.source, self.indices)

    @property
    def places(self) -> Array:
        """Which of the source's rows it has, all of them by number."""
        return np.arange(len(self.source)) if self.indices is None else self.indices

    @property
    def data(self) -> tuple[Any, Any]:
        """Features and labels."""
        return self.features, self.labels


def part_dataset(dataset: Dataset, target: Target, seed: int, test: bool = True) -> dict[str, Part]:
    """Part a data set by the notes' ratios, by label where labels are classes.

    A test set or development set that is kept apart stays that set, and nothing is held out of the
    rows for it; with both of them all rows are the training set.

    Parameters
    ----------
    dataset : Dataset
        The data.
    target : Target
        What is predicted.
    seed : int
        Of the parting.
    test : bool
        Whether there is a test set where none is kept apart.

    Returns
    -------
    dict of str to Part
        "train", "dev" and "test", in this order.
    """
    kept = {name: Part(rows, None, np.asarray(y)) for name, (rows, y) in dataset.kept().items()}
    names = names_of_parts(dataset, test)
    found = cut(dataset, target, seed, names) | kept
    return {name: found[name] for name in PARTS if name in found}


def part_without_dev(
    dataset: Dataset, target: Target, seed: int, test: bool = True
) -> dict[str, Part]:
    """Part a data set as `part_dataset`, but for the training set's having the development set too.

    A development set that is kept apart is among it as well.

    Returns
    -------
    dict of str to Part
        "train", all rows that are not in the test set, and "test", if there is one.
    """
    return _unite_dev(part_dataset(dataset, target, seed, test))


def names_of_parts(dataset: Dataset, test: bool = True) -> list[str]:
    """Return the names of the parts that a data set's own rows are cut into."""
    kept = dataset.kept()
    return [name for name in PARTS if name not in kept and (test or name != "test")]


def train_and_dev(n: int) -> int:
    """Return how many of n rows are left for training and development set by a test set."""
    return round(n * (0.8 if n <= SMALL else 0.99))


def cut(
    dataset: Dataset, target: Target, seed: int, names: Sequence[str] = PARTS
) -> dict[str, Part]:
    """Cut rows, but for sets that are kept apart, into parts: "train", and what else is wanted.

    Of three parts the shares are 60/20/20 up to 10⁴ examples and 98/1/1 above, of two 80/20 and
    99/1.
    """
    rows, y = dataset.rows, np.asarray(dataset.target)
    if len(names) == 1:
        return {names[0]: Part(rows, None, y)}
    shares = (0.8, 0.2) if len(rows) <= SMALL else (0.99, 0.01)
    labels = None if target.classes is None else target.encode(y)
    indices = partition_indices(len(rows), shares if len(names) == 2 else "auto", labels, seed)
    return {name: Part(rows, own, y[own]) for name, own in zip(names, indices, strict=True)}


def _unite_dev(parts: dict[str, Part]) -> dict[str, Part]:
    """Return parts of which the training set has the examples of the development set as well."""
    train, dev = parts["train"], parts["dev"]
    target = unite([train.target, dev.target], "the target")
    if train.source is dev.source and train.indices is not None and dev.indices is not None:
        one = Part(train.source, np.concatenate([train.indices, dev.indices]), target)
    else:
        n = len(train.source)
        every = [part.places + start for part, start in ((train, 0), (dev, n))]
        one = Part(united([train.source, dev.source]), np.concatenate(every), target)
    return {"train": one} | {name: parts[name] for name in parts if name not in ("train", "dev")}


def prepare_parts(
    dataset: Dataset,
    parts: dict[str, Part],
    target: Target,
    loss: Loss,
    settings: Settings,
    scaling: Scaling = USUAL,
    clamp: bool = False,
) -> Features:
    """Learn the preprocessing from the training part, and prepare all parts by it.

    Numbers are brought to a common scale as ``scaling`` says, a regression's target always by mean
    and deviation; ``clamp`` clamps its predictions to the range of the training labels. Features
    that don't fit into memory lie in a temporary file, from which batches are read.
    """
    features = _learn(dataset, parts["train"], scaling)
    if target.classes is None:
        _require_variation(dataset, parts)
        if not isinstance(loss, PoissonDeviance):  # of counts, which stay 0 or more
            target.standardise(parts["train"].target)
        if clamp:
            target.clamp_to(parts["train"].target)
    for name, piece in parts.items():
        with naming(dataset.apart.get(name)):
            piece.labels = target.encode(piece.target)
        piece.features = _empty((len(piece.labels), features.n_features), settings.dtype)
    if is_arrow(dataset.rows):
        _fill(features, parts)
    else:
        for name, piece in parts.items():
            with naming(dataset.apart.get(name)):
                piece.features[...] = features.transform(piece.rows, settings.dtype)
    return features


def check_rows(dataset: Dataset) -> None:
    """Raise a TypeError or ValueError if rows hold what can't be learnt from, in any part."""
    kept = {name: rows for name, (rows, _) in dataset.kept().items()}
    for name, rows in ({"train": dataset.rows} | kept).items():
        with naming(dataset.apart.get(name)):
            if is_arrow(rows) and dataset.schema is not None:
                from .features.table_features import require_finite

                require_finite(rows, dataset.schema)
            else:
                require_numbers(rows)


def _learn(dataset: Dataset, train: Part, scaling: Scaling) -> Features:
    schema = dataset.schema
    if not is_arrow(dataset.rows) or schema is None:
        return preprocessing.learn(train.rows, schema, scaling)
    from .features.table_features import TableFeatures

    chosen = np.zeros(len(train.source), np.bool_)
    chosen[train.places] = True

    def training_rows() -> Iterator[Any]:
        for start, chunk in _numbered(train.source):
            # What lay in a file has its categories as text.
            yield schema.read(chunk.filter(chosen[start : start + len(chunk)]))

    return TableFeatures.learn_parts(training_rows, schema, scaling)


def _numbered(rows: Any) -> Iterator[tuple[int, Any]]:
    """Go through a table, some rows at a time, with the number of the first of them."""
    from .columns.tables import chunks

    start = 0
    for chunk in chunks(rows):
        yield start, chunk
        start += len(chunk)


def _fill(features: Any, parts: dict[str, Part]) -> None:
    """Write the features of tables' rows to where their parts have them."""
    # A part that is all of a source is one of its own.
    groups: dict[tuple[int, bool], list[Part]] = {}
    for part in parts.values():
        groups.setdefault((id(part.source), part.indices is None), []).append(part)
    for own in groups.values():
        source = own[0].source
        # A row that no part of this source has is nobody's.
        owner, place = np.full(len(source), -1, np.int8), np.arange(len(source))
        for i, part in enumerate(own):
            owner[part.places], place[part.places] = i, np.arange(len(part.places))
        with features.telling_unknown() as unknown:
            for start, chunk in _numbered(source):
                here = slice(start, start + len(chunk))
                made = features.transform_part(chunk, own[0].features.dtype, unknown)
                for i, part in enumerate(own):
                    chosen = owner[here] == i
                    part.features[place[here][chosen]] = made[chosen]


def _empty(shape: tuple[int, int], dtype: Any) -> Array:
    """Return an array, which lies in a file where it is large."""
    if memory.fits(shape[0] * shape[1] * np.dtype(dtype).itemsize):
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _require_variation(dataset: Dataset, parts: dict[str, Part]) -> None:
    """Raise a ValueError if a regression's target is the same in all rows of a part."""
    for name, piece in parts.items():
        if not (piece.target == piece.target[0]).all():
            continue
        same = f"the target is {np.ravel(piece.target)[0]} in every row"
        if name in dataset.apart:
            same, way = f"{dataset.apart[name]}: {same}", "give more rows"
        else:
            same, way = f"{same} of the {name} set", "give more data, or another seed"
        raise ValueError(f"{same}: 1 - R² is not defined there; {way}")
