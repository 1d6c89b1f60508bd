"""How a network is trained as settings say, and what is made of it when it is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from .._typing import Array
from ..checks import check_count, check_name
from ..nn.calibration import divide_logits
from ..nn.extraction import with_loss
from ..nn.losses import SoftmaxCrossEntropy
from ..nn.network import Network
from ..optim.optimizers import Optimizer
from ..train.callbacks import EarlyStopping
from ..train.trainer import Trainer
from .held_out import Folds, careful_temperature
from .settings import BATCH_SIZE, EPOCHS, Settings

#: With fewer updates than this a network with the usual rates has hardly begun to learn.
ENOUGH = 500

#: More epochs than a training has: whose best epoch is kept without patience never stops early.
ENDLESS = 2**31 - 1


class Length(NamedTuple):
    """How long a training is: examples in a mini-batch, mini-batches in an epoch, epochs."""

    batch_size: int
    batches: int
    epochs: int


def length_of(settings: Settings, n: int) -> Length:
    """Return how long settings, whose batch size is no more "auto", train on n examples."""
    size: Any = settings.batch_size
    batch_size = check_count(min(BATCH_SIZE, n) if size is None else size, "batch_size")
    batches = math.ceil(n / batch_size)
    epochs = settings.epochs
    epochs = max(EPOCHS, math.ceil(ENOUGH / batches)) if epochs is None else epochs
    return Length(batch_size, batches, check_count(epochs, "epochs"))


def most_rows(folds: Folds | None, n: int) -> int:
    """Return how many of n examples the network is trained on that has the most."""
    return n if folds is None else n - min(int((folds.of_each == i).sum()) for i in {*folds.held})


def make_trainer(network: Network, settings: Settings, optimizer: Optimizer) -> Trainer:
    """Return what trains a network."""
    factors = settings.rate_factors(network.layers)
    numbers = settings.l2, settings.clip_norm
    return Trainer(network, optimizer, *numbers, rate_factors=factors or None)


def make_stopping(settings: Settings, measured: bool) -> EarlyStopping | None:
    """Return what keeps the weights of the best epoch, and ends a training that has patience.

    Where nothing is held out to be measured on, none is the best.
    """
    if settings.patience is None and not (settings.keep_best and measured):
        return None
    monitor = check_name(settings.monitor, {"loss": "dev_loss", "error": "dev_error"}, "monitor")
    ties = "loss" if settings.monitor == "error" else "first"
    # The same however many epochs there are: a run that goes on may have more.
    patience = ENDLESS if settings.patience is None else settings.patience
    return EarlyStopping(patience, monitor, ties=ties)


def for_labels_as_they_are(network: Network) -> Network:
    """Return a trained network with a loss that smooths no labels: that is for training alone."""
    loss = network.loss
    if not (isinstance(loss, SoftmaxCrossEntropy) and loss.label_smoothing):
        return network
    return with_loss(network, replace(loss, label_smoothing=0.0))


def calibrate_on(network: Network, logits: Array, labels: Array) -> float | None:
    """Divide a network's logits by the temperature that examples held out fit; return it.

    Where all of these are of one class nothing is done, and None returned.

    Parameters
    ----------
    network : Network
        Of classes; its backend must be active.
    logits, labels : array
        What networks say of examples that they were not trained on, and the classes of these; as
        `careful_temperature` has them.
    """
    found, classes = map(network.backend.to_host, (logits, labels))
    if (classes == classes[0]).all():  # nothing tells classes apart there
        return None
    temperature = careful_temperature(found, classes)
    divide_logits(network, temperature)
    return temperature
