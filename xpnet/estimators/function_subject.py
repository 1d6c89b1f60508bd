"""What a search makes networks of: a function that returns a trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
from sklearn.utils.validation import check_consistent_length

from .._typing import HostArray
from ..backends.arrays import to_host
from ..checks import check_count
from ..nn.network import Network
from ..search.candidates import Candidate, Data
from ..search.trials import Setting
from ..train.trainer import Trainer
from .held_out import HeldOut, taken


class FunctionSubject:
    """A function that makes a trainer of a setting.

    Parameters
    ----------
    function : function of (setting)
        Returns a `Trainer` of one untrained network.
    X, y : array-like
        All examples, as for `Trainer.fit`.
    sample_weight : array or None
        How much each counts.
    held_out : function of (n, labels)
        Returns the `HeldOut`.
    batch_size, epochs : int
        As for `Trainer.fit`, where a setting does not say.
    settings : iterable of dict
        Some of the space, to ask the function what its networks minimise.

    Raises
    ------
    TypeError, ValueError
        If data are not as they must be.
    """

    prefix: ClassVar[str] = ""
    classes: ClassVar[None] = None
    epochs_name: ClassVar[str] = "epochs"

    def __init__(
        self,
        function: Callable[[Setting], Trainer],
        X: Any,
        y: Any,
        sample_weight: Any,
        held_out: Callable[[int, HostArray | None], HeldOut],
        batch_size: int,
        epochs: int,
        settings: Iterable[Setting],
    ) -> None:
        self.model, self.X, self.y, self.sample_weight = function, X, y, sample_weight
        self.batch_size, self.epochs = batch_size, epochs
        self._made: WeakSet[Network] = WeakSet()
        self.loss = self._first(settings).network.loss
        check_consistent_length(X, y)
        self.codes = labels = np.asarray(to_host(y))
        strata = labels if self.loss.of_classes and labels.ndim == 1 else None
        self.held_out = held_out(len(labels), strata)
        self.data = self._make_data()

    def _first(self, settings: Iterable[Setting]) -> Trainer:
        """Return the trainer of the first of some settings that the function can make one of."""
        refused: Exception = ValueError("no setting was given")
        for setting in settings:
            try:
                return self.trainer(setting)
            except ValueError as error:
                refused = error
        raise refused

    def _make_data(self) -> Data:
        X, y, weights, pairs = self.X, self.y, self.sample_weight, self.held_out.pairs
        if self.held_out.by_folds:
            return Data((X, y), (X, y), weights, pairs)
        examples, dev = pairs[0]
        own = None if weights is None else weights[examples]
        train, held_out = ((taken(X, rows), taken(y, rows)) for rows in (examples, dev))
        return Data(train, held_out, own)

    @property
    def n_folds(self) -> int:
        """How many networks a setting is judged by."""
        return len(self.held_out.pairs)

    def search_in(self, space: Mapping[str, Any]) -> None:
        """Do nothing: the function knows its hyper-parameters."""

    def default(self, names: Iterable[str]) -> Setting:
        """Return nothing: what a function makes of no setting, it alone knows."""
        return {}

    def description(self, names: Iterable[str]) -> dict[str, Any]:
        """Return what tells it from others."""
        return {"kind": self.model, "batch_size": self.batch_size, "epochs": self.epochs}

    def trainer(self, setting: Mapping[str, Any], repeat: int = 0) -> Trainer:
        """Return the function's trainer, with the seed of its network and so much more."""
        made = self.model(dict(setting))
        if not isinstance(made, Trainer):
            raise TypeError(f"the function has returned {made!r:.100}: return a Trainer")
        made.network.require_single("a search")
        if made.network in self._made:
            raise RuntimeError(
                "the function has returned a network that it had returned before, which may be "
                "trained: make a new one for each setting"
            )
        self._made.add(made.network)
        if made.steps:
            raise ValueError(
                f"the function has returned a trainer that has made {made.steps} updates: make a "
                "new network for each setting"
            )
        return made if repeat == 0 else reseeded(made, made.network.seeds[0] + repeat)

    def batch_size_and_epochs(self, setting: Mapping[str, Any]) -> tuple[int, int]:
        """Return both, as the setting says, or as it is for all."""
        size = setting.get("batch_size", self.batch_size)
        epochs = setting.get("epochs", self.epochs)
        return check_count(size, "batch_size"), check_count(epochs, "epochs")

    def candidate(self, setting: Setting, repeat: int = 0) -> Candidate:
        """Return what a setting comes to; see `Subject`."""
        trainer = self.trainer(setting, repeat)
        size, epochs = self.batch_size_and_epochs(setting)
        return Candidate(trainer, self.data, min(size, self.held_out.n_examples), epochs)


def reseeded(trainer: Trainer, seed: int) -> Trainer:
    """Return an untrained trainer that differs in the seed of its network.

    Weights that the network was given, as those of another training, stay.
    """
    net = trainer.network
    network, as_made = _like(net, seed), _like(net, net.seeds[0])
    given = zip(
        (net.parameters, net.statistics), (as_made.parameters, as_made.statistics), strict=True
    )
    if not all(np.array_equal(to_host(own), to_host(made)) for own, made in given):
        network.copy_arrays(net.parameters, net.statistics)
    factors = trainer.update_step.factors.options
    return Trainer(network, trainer.optimizer, trainer.l2, trainer.clip_norm, **factors)


def _like(net: Network, seed: int) -> Network:
    """Return a new network with the same layers."""
    return Network(
        net.layers,
        loss=net.loss,
        n_features=net.n_features,
        device=net.backend,
        dtype=net.dtype,
        random_state=seed,
    )
