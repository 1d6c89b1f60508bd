"""Which candidates can be trained as members of one network: those that differ in numbers alone."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields
from typing import Any

from ..nn.members import varies
from ..nn.schedule import kind_of
from ..nn.stacking import SHARED
from .candidates import Candidate, Subject
from .distributions import Distribution, Interval
from .space import Space, conditions, is_active, plain
from .trials import Setting

#: How many values of a hyper-parameter are tried, to see whether members may differ in it.
TRIED = 3


def key(candidate: Candidate) -> Hashable:
    """Return what candidates have in common that can be members of one network.

    It is their data, batch size and augmentation, and of layers, loss and optimiser all options but
    those of which each member may have its own; the factors of parameters; and how many moments
    there are, which follows from such an option where a momentum may be 0.
    """
    trainer, data = candidate.trainer, candidate.data
    net = trainer.network
    return (
        data,  # itself, by identity: it can't be let go while there is the key
        candidate.batch_size,
        id(candidate.augmentation),
        tuple(of(net) for _, of in SHARED),
        tuple(_shared(layer) for layer in net.layers),
        _shared(net.loss),
        _shared(trainer.optimizer),
        trainer.optimizer.n_moments,  # with a momentum of 0 there are none
        trainer.clip_norm is None,
        *(tuple(factors.items()) for factors in (trainer.rate_factors, trainer.decay_factors)),
    )


def _shared(description: Any) -> Hashable:
    """Return the type of a description, and of its options those that all members share.

    Of others it is their kind: members have numbers, or schedules of one kind.
    """
    cls, options = type(description), []
    for name in (f.name for f in fields(description) if f.init):
        value = getattr(description, name)
        options.append((name, kind_of(value) if varies(cls, name) else hashable(value)))
    return cls, tuple(options)


def hashable(value: Any) -> Hashable:
    """Return a value, or what shows of one that can't be a key.

    Examples
    --------
    >>> hashable((1, 2)), hashable([1, 2])
    ((1, 2), '[1, 2]')
    """
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value  # type: ignore[no-any-return]


def shared_names(subject: Subject, space: Space) -> frozenset[str]:
    """Return the hyper-parameters in which members of one network can't differ.

    They are found by trying: each is changed alone, to see whether the candidates still go
    together. A setting that no network can be made of tells nothing.
    """
    return frozenset(name for name in space if _is_shared(subject, space, name))


def _is_shared(subject: Subject, space: Space, name: str) -> bool:
    """Return whether candidates that differ in a hyper-parameter alone don't go together."""
    found: set[Hashable] = set()
    for value in _tried(space[name]):
        try:
            found.add(key(subject.candidate(_setting(space, name, value))))
        except (TypeError, ValueError, MemoryError):
            continue
        if len(found) > 1:
            return True
    return False


def _tried(distribution: Distribution) -> list[Any]:
    """Return some values of a distribution: of an interval none of its ends, else also these.

    An end is hardly ever drawn, and may make a network of its own, as dropout of 0 does.
    """
    if isinstance(plain(distribution), Interval):
        return distribution.grid(TRIED + 2)[1:-1]
    return distribution.grid(TRIED)


def _setting(space: Space, name: str, value: Any) -> Setting:
    """Return a setting in which a hyper-parameter has a value; all others are in the middle."""
    fixed, needed = {name: value}, [name]
    for other in needed:  # which grows
        for condition in conditions(space[other]):
            fixed[condition.name] = condition.values[0]
            needed.append(condition.name)
    setting: Setting = {}
    for other, distribution in space.items():
        if is_active(space, other, setting):
            setting[other] = fixed[other] if other in fixed else distribution.grid(1)[0]
    return setting
