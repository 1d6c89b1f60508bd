"""What an experiment is made of, by its settings: target, network, and what trains it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ..backends.protocol import Backend
from ..data.scaling import share_a_unit
from ..nn.network import Network
from ..recipes.embeddings import Inputs
from ..recipes.facts import Facts
from ..recipes.held_out import Folds
from ..recipes.settings import EPOCHS, Settings
from ..recipes.training import make_trainer
from .dataset import Dataset
from .features.base import Features
from .leaks import require_apart, require_different
from .model import Model
from .parts import Part, check_rows, names_of_parts, train_and_dev
from .target import Target


def learn_target(dataset: Dataset, settings: Settings) -> Target:
    """Learn the task and the classes, of data that have labels and rows as they must be."""
    if dataset.target is None:
        raise ValueError(f"{dataset.name}: there are no labels to train on")
    dataset.require_alike(dataset.name)
    check_rows(dataset)
    target = Target.learn(dataset.labels(), settings.task, dataset.target_column)
    require_different(dataset)
    require_apart(dataset)
    return target


def facts_of(dataset: Dataset, target: Target, test: bool) -> Facts:
    """Return what a recipe goes by."""
    rows, kept = dataset.rows, dataset.kept()
    n = len(rows) if "test" in kept or not test else train_and_dev(len(rows))
    pixels = isinstance(rows, np.ndarray) and share_a_unit(rows)
    return Facts(target.task, n, rows.shape[1], pixels, own_dev="dev" in kept)


def inputs_of(features: Features | None, train: Part, target: Target) -> Inputs:
    """Return what embeddings are made for."""
    numbers = () if features is None else features.numbers
    return Inputs(train.features, numbers, train.labels, target.classes is not None)


def make_network(
    features: Features | None,
    inputs: Inputs,
    target: Target,
    settings: Settings,
    device: str | Backend,
) -> Network:
    """Return the untrained network that settings describe, for features of the data."""
    loss = settings.make_loss(target.loss, target.losses)
    coded = [] if features is None else features.layers()
    return Network(
        [
            *settings.make_embedding(inputs),
            *coded,
            *settings.make_layers(target.units(loss)),
        ],
        loss=loss,
        n_features=inputs.features.shape[1],
        device=device,
        dtype=settings.dtype,
        random_state=settings.seed,
        members=_members(settings),
    )


def _members(settings: Settings) -> int | None:
    """Return how many networks are trained at once; None: one, on a training set of its own."""
    members = settings.folds if settings.members is None else settings.members
    return None if members == 1 and settings.folds is None else members


def draw_folds(model: Model, train: Part, settings: Settings) -> Folds | None:
    """Return the folds that members hold out, if they do."""
    if settings.folds is None:
        return None
    members = len(model.network.seeds)
    of_classes = model.target.classes is not None
    return Folds.draw(settings.folds, members, train.labels, of_classes, settings.seed)


def about(dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """Return what a model is to remember of its training."""
    return {
        "data": dataset.name,
        "target": dataset.target_name,
        "fingerprint": dataset.fingerprint(),
        "settings": asdict(settings),
    }


def about_parts(dataset: Dataset, dev: bool, test: bool) -> dict[str, Any]:
    """Return what a model is to remember of its parts, where they are not the usual three."""
    told: dict[str, Any] = {} if dev else {"trained_on": ["train", "dev"]}
    if dataset.apart or not test:
        told |= {"parts": names_of_parts(dataset, test), "sets": dataset.sets()}
    return told


def choose_batch_size(network: Network, train: Part, settings: Settings) -> tuple[Settings, str]:
    """Return the settings with a batch size that was measured, and why it, if that is asked for."""
    if settings.batch_size != "auto":
        return settings, ""
    # How many batches an epoch has is not known yet, and what is timed does not depend on the rate.
    optimizer = settings.make_constant_optimizer()
    trainer = make_trainer(network, settings, optimizer)
    chosen = trainer.choose_batch_size(*train.data, epochs=settings.epochs or EPOCHS)
    return replace(settings, batch_size=chosen.batch_size), chosen.reason
