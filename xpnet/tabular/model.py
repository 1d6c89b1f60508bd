"""A model: a network with what is learnt before it and undone after it, from raw rows to labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .._typing import HostArray
from ..backends.arrays import to_host
from ..backends.protocol import Backend
from ..files import safetensors_files
from ..files.safetensors_files import ModelFileError
from ..nn.description import shapes_of
from ..nn.loading import from_description
from ..nn.network import Network
from .dataset import KEPT
from .features import preprocessing
from .features.base import Features
from .parts import PARTS
from .target import Target


class Answer(NamedTuple):
    """Predictions, the probabilities of classes, or None, and the members' spread, or None."""

    predictions: HostArray
    probabilities: HostArray | None
    spread: HostArray | None


#: What rows may have been cut into.
PARTINGS = [[name for name in PARTS if name not in left] for left in ((), *KEPT, KEPT)]

#: What comes of a description that does not fit together.
MISMADE = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


class Model:
    """A network that takes raw rows and gives labels: what ``xpnet train`` writes.

    Parameters
    ----------
    network : Network
        The network.
    features : Features or None
        How raw rows become features; None: they are features already.
    target : Target
        How labels become what the loss takes, and back.
    training : dict
        What to remember of the training: the data's name and fingerprint, seed, settings; what the
        rows were cut into, and names and fingerprints of sets of one's own, if there were any.
    """

    def __init__(
        self,
        network: Network,
        features: Features | None,
        target: Target,
        training: dict[str, Any] | None = None,
    ) -> None:
        self.network, self.features, self.target = network, features, target
        self.training = training or {}

    def prepare(self, rows: Any) -> np.ndarray[Any, Any]:
        """Return the features of raw rows."""
        if self.features is None:
            return np.asarray(rows)
        return self.features.transform(rows, self.network.dtype)

    def predict(self, rows: Any) -> np.ndarray[Any, Any]:
        """Return the predicted labels of raw rows, (n,) or (n, k).

        Raises
        ------
        TypeError, ValueError
            If the rows are not of the kind that the model was trained on.
        """
        return self._decide(self.prepare(rows))

    def answers(self, parts: Iterable[Any], spread: bool = False) -> Iterator[Answer]:
        """Go through what the model says of raw rows that come some at a time.

        Categories that training did not have are told of once, after the last of them. ``spread``
        asks for that of the members as well.

        Raises
        ------
        TypeError, ValueError
            As for `predict`.
        """
        network = self.network
        for features in self.prepare_all(parts):
            apart = self.spread(features) if spread else None
            if self.target.classes is None:
                yield Answer(self._decide(features), None, apart)
                continue
            with network.backend.active():
                decided, p = network.predictor.both(features)
            yield Answer(self.target.decode(to_host(decided)), _of_each(p), apart)

    def spread(self, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return how far the members' answers lie apart, of features as `prepare` returns them.

        Returns
        -------
        array, shape (n,) or (n, k)
            The standard deviation between the members: of the predicted class's probability, or of
            the values, in their units.

        Raises
        ------
        TypeError, ValueError
            As for `predict`, and if the network has no members.
        """
        spread: HostArray = to_host(self.network.predict_std(features))
        if self.target.classes is None:
            scale: HostArray = self.target.scales.scale.reshape(spread.shape[1:])
            return spread * scale
        if spread.ndim == 1:  # of two classes, whose probabilities add up to 1
            return spread
        predicted = to_host(self.network.predict(features))
        found: HostArray = np.take_along_axis(spread, predicted[:, None], axis=1)[:, 0]
        return found

    def prepare_all(self, parts: Iterable[Any]) -> Iterator[np.ndarray[Any, Any]]:
        """Go through the features of raw rows that come some at a time."""
        if self.features is None:
            yield from map(self.prepare, parts)
            return
        with self.features.telling_unknown() as unknown:
            for rows in parts:
                yield self.features.transform_part(rows, self.network.dtype, unknown)

    def _decide(self, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return self.target.decode(to_host(self.network.predict(features)))

    def predict_proba(self, rows: Any) -> np.ndarray[Any, Any]:
        """Return the probability of each class, (n, classes), in the order of ``target.classes``.

        Raises
        ------
        TypeError, ValueError
            As for `predict`; also for a regression.
        """
        return _of_each(self.network.predict_proba(self.prepare(rows)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a safetensors file, which `load_model` and `xpnet.load` read."""
        arrays = self.network.state()
        safetensors_files.require_finite(arrays, str(path))
        safetensors_files.write(path, arrays, self._description())

    def require_writable(self) -> None:
        """Raise a ValueError if `save` would refuse the model, or `load_model` what it wrote.

        Call it before a training, when nothing is lost yet.
        """
        network = self.network
        names = shapes_of([replace(layer) for layer in network.layers], network.n_features)
        try:
            safetensors_files.document(names, description := self._description())
            _parts_of(description, network)  # as JSON gives it back, which was tried
        except MISMADE as error:
            raise ValueError(
                f"the model could not be saved: {safetensors_files.short(error)}; it has "
                f"{network.n_features:,} features and {network.n_outputs:,} outputs: if these are "
                "too many leave some out"
            ) from error

    def _description(self) -> dict[str, Any]:
        """Return what stands in a file beside the network's arrays, JSON-ready."""
        description = {
            "network": self.network.config(),
            "target": self.target.config(),
            "training": self.training,
        }
        if self.features is not None:
            description["features"] = self.features.config()
        return description


def _of_each(p: Any) -> np.ndarray[Any, Any]:
    """Return the probability of each class, from that of each, or of the second one."""
    p = np.asarray(p)
    return np.stack([1.0 - p, p], axis=1) if p.ndim == 1 else p


def load_model(path: str | os.PathLike[str], device: str | Backend = "auto") -> Model:
    """Read a model that ``xpnet train``, `Model.save` or `Network.save` wrote.

    Parameters
    ----------
    path : path
        The file.
    device : {"auto", "cpu", "cuda", "cuda:N"} or Backend
        Where its network is to live.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a whole model file, or its parts don't fit together.
    """
    arrays, description = safetensors_files.look(path)
    network = from_description(arrays, description, device, str(path))
    try:
        return Model(network, *_parts_of(description, network))
    except MISMADE as error:
        why = safetensors_files.short(error)
        raise ModelFileError(f"{path}: no model can be built from it ({why})") from error


def _parts_of(
    told: dict[str, Any], network: Network
) -> tuple[Features | None, Target, dict[str, Any]]:
    """Return what is round a network, as a file tells of it: the features, target and training."""
    features = preprocessing.from_config(told["features"]) if "features" in told else None
    target = Target.from_config(told["target"]) if "target" in told else _plain(network)
    _require_fit(network, features, target)
    return features, target, _checked(told.get("training", {}))


def _require_fit(network: Network, features: Features | None, target: Target) -> None:
    """Raise a ValueError if a network's inputs and outputs are not those of what is round it."""
    if features is not None and features.n_features != network.n_features:
        raise ValueError(
            f"its preprocessing gives {features.n_features} features and its network takes "
            f"{network.n_features}"
        )
    fits = network.loss.of_classes == (target.classes is not None)
    if not fits or target.units(network.loss) != network.n_outputs:
        raise ValueError(
            f"its target is {target.task} of {target.n_outputs} outputs, and its network has "
            f"{network.n_outputs} for {network.loss.name}"
        )


def _checked(training: dict[str, Any]) -> dict[str, Any]:
    """Return what a file tells of the training, once it is found to be as `evaluate` needs it."""
    settings = training.get("settings", {})
    seed = settings.get("seed", 0)
    if type(seed) is not int or seed < 0:
        raise ValueError(f"its seed is {seed!r}")
    if "fingerprint" in training and "seed" not in settings:
        raise ValueError("the data have a fingerprint and no seed")
    for name in ("data", "target", "fingerprint"):
        if not isinstance(training.get(name), str | None):
            raise TypeError(f"its {name} is {training[name]!r}")
    if not isinstance(parts := training.get("trained_on", []), list):
        raise TypeError(f"what it was trained on is {parts!r}")
    if (own := training.get("parts")) is not None and own not in PARTINGS:
        raise ValueError(f"its parts are {own!r:.100}")
    _check_sets(training.get("sets", {}))
    return training


def _check_sets(sets: Any) -> None:
    """Raise a TypeError if sets of one's own are not told of as `Dataset.sets` does."""
    named = type(sets) is dict and sets.keys() <= {*KEPT}
    if not named or any(type(told) is not dict for told in sets.values()):
        raise TypeError(f"its sets are {sets!r:.100}")
    for told in sets.values():
        if told.keys() != {"data", "fingerprint"} or {*map(type, told.values())} != {str}:
            raise TypeError(f"a set of it is {told!r:.100}")


def _plain(network: Network) -> Target:
    """Return a target for a network that was saved without one: its labels stay as they are."""
    m = network.n_outputs
    if not network.loss.of_classes:
        return Target("regression", n_outputs=m)
    tasks = {loss: task for task, loss in Target.LOSSES.items()}
    task = tasks.get(network.loss.name)
    if task is None:
        raise ValueError(f"its loss is {network.loss.name}: use xpnet.load in Python")
    if task == "binary" and network.n_outputs > 1:
        raise ValueError(f"it has {network.n_outputs} sigmoid outputs: use xpnet.load in Python")
    return Target(task, list(range(max(network.n_outputs, 2))))
