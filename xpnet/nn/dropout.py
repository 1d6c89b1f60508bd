"""Dropout."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .._typing import NO_ARRAY, Array, HostArray, Tree
from ..backends.activations import ChangingMask, Mask
from ..backends.dense_stack import DenseStep
from ..backends.reference import Kernels, dropout_work
from ..backends.work import DropoutWork
from ..checks import check_fields, check_number, each
from ..randomness import GAMMA, Purpose, word
from .layer import Allocator, Held, Layer, LayerBuffers
from .members import schedules_of
from .schedule import Rates, Schedule, check_rates, is_scheduled, value_at


def _no_work() -> DropoutWork:
    return DropoutWork(*(NO_ARRAY for _ in range(6)))


@dataclass
class DropoutBuffers(LayerBuffers):
    """Dropout's buffers: what the mask is computed in; prediction needs none."""

    work: DropoutWork = field(default_factory=_no_work)


@dataclass(eq=False)
class Dropout(Layer[DropoutBuffers]):
    """Inverted dropout: zero each element with probability p, scale the others by 1/(1 − p).

    The notes' chapter 5.1, and Srivastava et al., "Dropout", JMLR 2014. Each step has a fresh mask,
    computed from the run's seed, the layer and the step; prediction drops nothing. As the first
    layer of a network it is dropout on the input.

    Parameters
    ----------
    p : float or callable, or a sequence of them
        The probability of dropping, in [0, 1), as in PyTorch and Keras; the notes' keep
        probability is 1 − p. It is rounded to a multiple of 2⁻¹⁶. A schedule, or any function of
        (step, epoch), gives that of each step of a training; before the first one it is that of
        step 0. Several: one for each member.

    Raises
    ------
    ValueError
        If p is not in [0, 1), or what a schedule gives is not.

    Examples
    --------
    Much dropout first, and none at the end of 30 epochs:

    >>> from xpnet import Cosine
    >>> Dropout(Cosine(0.4, total=30)).p(step=0, epoch=15.0)
    0.2
    """

    p: Rates = 0.5

    def __post_init__(self) -> None:
        check_fields(self)
        self.p = check_rates(self.p, "p", _check_probability)

    def config(self) -> Tree:
        """Return the layer as JSON-ready data.

        Raises
        ------
        TypeError
            If p is a function of which no options are known.
        """
        for p in schedules_of(self):
            if not isinstance(p, Schedule):
                raise TypeError(
                    f"a file can't hold p of Dropout, {p!r}: give a schedule such as Cosine, or "
                    "one of your own, a subclass of Schedule"
                )
        return super().config()

    def connect(self, seed: int | tuple[int, ...], key: Array) -> None:
        """Learn the run's seed and the array that holds the step's key."""
        seeds = seed if isinstance(seed, tuple) else (seed,)
        self._salts = [word(seed, Purpose.DROPOUT, self.index) for seed in seeds]
        self._key, self._one = key, not isinstance(seed, tuple)

    @property
    def is_scheduled(self) -> bool:
        """Whether p changes from step to step."""
        return is_scheduled(self.p)

    def connect_number(self, number: Array) -> None:
        """Learn the array that holds the step's threshold."""
        self._changing = number

    def scheduled_number(self, i: int, step: int, epoch: float) -> int:
        """Return the threshold of a step."""
        several = each(self.p)
        p = several[i if len(several) > 1 else 0]
        return _threshold(value_at(p, step, epoch, "probability of dropping", below=1.0))

    def bind(self, kernels: Kernels) -> None:
        """Bring to the device what members have of their own."""
        super().bind(kernels)
        one = self._salts[0] if self._one else None
        self._salt: Any = _column(self._salts, kernels, np.uint64) if one is None else one
        self._threshold: Any = self._changing if self.is_scheduled else self._constant(kernels)
        kind = ChangingMask if self.is_scheduled else Mask
        self._mask = kind(self._key, self._salt, self._threshold)

    def _constant(self, kernels: Kernels) -> int | Array:
        """Return the threshold, or on the device that of each member, which no step changes."""
        given: Any = self.p
        several = [_threshold(p) for p in each(given)]
        return _column(several, kernels) if isinstance(self.p, tuple) else several[0]

    def take_member(self, i: int, seed: int, changed: Collection[str], held: Held) -> bool:
        """Write the salt and the threshold of member i where those of the one before are."""
        if type(self) is not Dropout or ("p" in changed and isinstance(self._threshold, int)):
            return False
        salt = word(seed, Purpose.DROPOUT, self.index)
        more = np.uint64((salt - self._salts[i]) % 2**64)
        for counters in held("counters"):
            self.kernels.xp.add(counters[i], more, out=counters[i])
        self._salts[i] = salt
        self._salt[i] = np.uint64(salt)
        if "p" in changed and not self.is_scheduled:
            given: Any = self.p
            self._threshold[i] = _threshold(each(given)[i])
        return True

    @property
    def mask(self) -> Mask | None:
        """The step's mask; several networks at once have one each."""
        return self._mask

    def dense_steps(self) -> Sequence[DenseStep] | None:
        """Return none: prediction passes the input on."""
        return ()

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> DropoutBuffers:
        """Return y and what the mask is computed in; see ``Kernels.dropout``."""
        m = self.n_inputs
        counters = new.rows("counters", -(-m // 4), np.uint64, fill=self._count)
        work = dropout_work(m, counters, new.rows)
        return DropoutBuffers(y=self.output(new, x, overwrite), work=work)

    def _count(self, shape: tuple[int, ...]) -> HostArray:
        """Return the counters: a Weyl sequence, from a salt of each network trained at once."""
        *leading_shape, n, words = shape
        steps = np.arange(n * words, dtype=np.uint64) * np.uint64(GAMMA)
        counters = np.empty(shape, np.uint64)
        for place, salt in zip(np.ndindex(*leading_shape), self._salts, strict=True):
            counters[place] = (steps + np.uint64(salt)).reshape(n, words)
        return counters

    def inference_buffers(self, new: Allocator, x: Array | None, overwrite: bool) -> DropoutBuffers:
        """Return nothing: prediction passes the input on."""
        return DropoutBuffers(y=NO_ARRAY if x is None else x)

    def forward(self, x: Array, b: DropoutBuffers) -> Array:
        """Drop and scale."""
        self.kernels.dropout(x, self._key, self._threshold, b.work, b.y)
        return b.y

    def infer(self, x: Array, b: DropoutBuffers) -> Array:
        """Pass the input on."""
        return x

    def backward(self, dy: Array, b: DropoutBuffers) -> Array | None:
        """Drop and scale the gradient alike."""
        self.kernels.dropout_backward(dy, b.work)
        return dy


def _check_probability(p: float, name: str) -> float:
    number = check_number(p, name)
    if not 0 <= number < 1:
        raise ValueError(f"dropout's p is {p}: give the probability of dropping, in [0, 1)")
    return number


def _threshold(p: float) -> int:
    """Return p as a multiple of 2⁻¹⁶."""
    return min(round(p * 65536), 65535)


def _column(values: Sequence[int], kernels: Kernels, dtype: DTypeLike = np.int32) -> Array:
    """Return whole numbers of members as an array (k, 1, 1) on the device."""
    return kernels.xp.asarray(np.array(values, dtype)[:, None, None])
