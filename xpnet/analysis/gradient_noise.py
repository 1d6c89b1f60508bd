"""The critical batch size, by the noise of gradients along a training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import Array, ArrayLike, HostArray
from ..checks import Numbers, check_count, check_positive
from ..data.batches import USUAL, take_rows
from ..nn.network import Network, check_network
from ..optim.optimizers import Optimizer, check_optimizer
from ..randomness import GAMMA, Purpose, generator
from ..train.callback import Callback
from ..train.cost import Cost
from ..train.fit import FitOptions
from ..train.fit_data import FitData, prepare_data
from ..train.trainer import Trainer
from .noise_result import GradientNoise, conclude, estimate

#: How many updates the training has, and how many epochs at the most, unless it is said.
STEPS, EPOCHS = 400, 20

#: How often gradients are measured along the training, and how often at the least.
MOMENTS, FEWEST = 40, 4

#: Into how many parts the examples go for it: at most, and at least.
PARTS, LEAST_PARTS = 16, 4

#: So many examples a part has at least where they are normalised by what is in a batch.
NORMALISED = 32

#: A batch is at most this share of the examples, unless a size is given: an epoch has some updates.
SHARE = 8


def critical_batch_size(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    l2: Numbers = 0.0,
    clip_norm: Numbers | None = None,
    sample_weight: ArrayLike = None,
    steps: int | None = None,
    seconds: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.perf_counter,
) -> GradientNoise:
    """Find the batch size up to which a larger one saves steps, by the noise of gradients.

    With batch B a training takes 1 + B_crit/B times the fewest steps possible, and 1 + B/B_crit
    times the fewest examples: far below the critical batch, twice the batch saves nearly half of
    the steps, far above it hardly any; at a learning rate that suits the batch. B_crit is about the
    noise scale tr Σ / |G|², with G the mean gradient of the examples and Σ the covariance of those
    of single ones: McCandlish et al., "An empirical model of large-batch training", 2018
    (arXiv:1812.06162).

    A copy of the network, with its initial weights, is trained for some steps. Every few of them
    the gradients of up to 16 parts of the data, of a batch each, give unbiased estimates of both.
    The noise scale grows as the loss falls, so the result is the mean over the progress made; a
    training that goes on for longer has a larger one.

    Of Adam, NAdam, AdamW, RMSProp and Adagrad, which divide by √s, the noise scale is that of the
    gradient over s^¼, in whose coordinates their step is one of gradient descent; of others the
    plain one, the paper's B_simple.

    Parameters
    ----------
    network : Network
        What to train: it is left as it is. Members are trained together, each has its value.
    X, y : array-like
        The training set, as for `Trainer.fit`.
    batch_size : int or None
        What to train the copy with; None: 128, or an eighth of fewer than 1,024 examples.
    optimizer, l2, clip_norm
        As for `Trainer`. L2's gradient is part of G; that which clipping leaves is not looked at.
    sample_weight : array-like or None
        As for `Trainer.fit`; members share them.
    steps : int or None
        Updates of the copy; None: 400, or those of 20 epochs where these are fewer.
    seconds : float or None
        How long it may take, about; the result then depends on how fast the machine is, but four
        moments are measured in any case. None: as long as the steps take.
    stop : function
        Returns True to end it after the present step.
    clock : function
        Returns the time in seconds.

    Returns
    -------
    GradientNoise
        ``critical_batch``, its ``interval``, the ``batch_size`` to take, and how the noise scale
        grew; as a text it says what they mean.

    Raises
    ------
    TypeError, ValueError
        If data or options are not as they must be, or there are fewer than 4 examples (8 with batch
        norm); if the batch has more examples than there are; if it is stopped before gradients
        were measured four times.
    DivergedError
        If the training diverges: give a smaller learning rate.

    Notes
    -----
    How far it is right was measured, on two data sets by the steps that batches of 8 to 1,024 take
    to the same loss, each at its best rate (``bench/critical_batch.py``). With Adam 76 and 361 were
    foretold, 138 and 286 shown; the plain noise scale would have said 63 and 158. With SGD, whose
    rate and so whose steps the sharpest direction of the loss limits, 87 and 183 were foretold, 21
    and 65 shown: there it is too large.

    With batch norm each part is normalised by its own statistics, as a batch of the training is,
    whose noise is part of what is measured. Dropout's masks are too: each part has its own.

    Examples
    --------
    >>> import xpnet as xn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(2000, 10)); y = X.sum(axis=1) + rng.normal(size=2000)
    >>> net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=10, device="cpu")
    >>> found = critical_batch_size(net, X, y, optimizer=xn.SGD(0.01), steps=100)
    >>> low, high = found.interval
    >>> low < found.critical_batch < high, found.steps, found.preconditioned
    (True, 100, False)
    """
    check_network(network)
    seconds = seconds if seconds is None else check_positive(seconds, "seconds")
    trainer = Trainer(network.clone(), check_optimizer(optimizer), l2, clip_norm)
    with trainer.backend.active():
        data = prepare_data(trainer.network, X, y, sample_weight)
        if data.weights is not None and data.weights.ndim > 2:
            raise ValueError(
                f"sample_weight has shape {tuple(data.weights.shape[:2])}: give one for each "
                "example, which members share"
            )
        plan = _plan(network, data.x.shape[0], batch_size, steps)
        began = clock()

        def late() -> bool:
            return seconds is not None and clock() - began > seconds

        meter = _Meter(data, plan, l2, late, stop)
        epochs = -(-plan.steps // max(1, plan.n // plan.batch_size))
        options = FitOptions(plan.batch_size, epochs, [meter], monitor=0)
        trainer.fit_prepared(data.x, data.labels, data.weights, None, options)
        return meter.result(trainer)


@dataclass(frozen=True)
class _Plan:
    """Examples in all, in a batch, in a part; the parts; the steps, and those between moments."""

    n: int
    batch_size: int
    part: int
    count: int
    steps: int
    every: int


def _plan(network: Network, n: int, batch_size: int | None, steps: int | None) -> _Plan:
    """Return what is measured how often, or raise a ValueError if there are too few examples."""
    least = network.min_batch
    if n < LEAST_PARTS * least:
        noun = "example" if n == 1 else "examples"
        norm = " with batch norm" if least > 1 else ""
        raise ValueError(
            f"there are {n} {noun}: gradient noise needs at least {LEAST_PARTS * least}{norm}"
        )
    if batch_size is None:
        batch_size = max(least, min(USUAL, n // SHARE), 1)
    elif check_count(batch_size, "batch_size", least) > n:
        raise ValueError(f"batch_size is {batch_size} and there are {n} examples: give at most {n}")
    if steps is None:
        steps = min(STEPS, max(MOMENTS, EPOCHS * -(-n // batch_size)))
    check_count(steps, "steps", FEWEST)
    smallest = NORMALISED if least > 1 else 1
    count = max(LEAST_PARTS, min(PARTS, n // smallest))
    part = max(least, min(batch_size, n // count))
    return _Plan(n, batch_size, part, count, steps, max(1, steps // MOMENTS))


class _Meter(Callback):
    """Measures gradients of parts of the data between a fit's steps, and ends the fit.

    Parameters
    ----------
    data : FitData
        What the network is trained on.
    plan : _Plan
        What to measure how often.
    l2 : Numbers
        λ, whose term is a batch's, not a part's.
    late, stop : function
        Return whether the time is up, and whether to end it at once.
    """

    takes_members = True

    def __init__(
        self,
        data: FitData,
        plan: _Plan,
        l2: Numbers,
        late: Callable[[], bool],
        stop: Callable[[], bool],
    ) -> None:
        self._data, self._plan, self._ended = data, plan, "steps"
        self._late, self._stop = late, stop
        share = plan.part / plan.batch_size
        self._l2 = tuple(share * x for x in l2) if isinstance(l2, tuple | list) else share * l2
        self._at: list[int] = []
        self._squares: list[HostArray] = []

    def on_fit_begin(self, trainer: Trainer, batches: Any, epochs: int) -> None:
        """Make room."""
        net, xp = trainer.network, trainer.backend.xp
        self._scratch, self._root = xp.empty_like(net.parameters), xp.empty_like(net.parameters)
        self._total, self._statistics = xp.empty_like(net.parameters), xp.empty_like(net.statistics)
        self._cost = Cost(net, self._scratch)
        self._cost.l2 = self._l2

    def on_step_end(self, trainer: Trainer, n: int) -> None:
        """Measure, if it is time to; end the fit, if that is over."""
        if (trainer.steps - 1) % self._plan.every == 0:
            self._at.append(trainer.steps)
            self._squares.append(self._measure(trainer))
            if len(self._at) >= FEWEST and self._late():
                self._ended = "time"
        if self._stop():
            self._ended = "stopped"
        if trainer.steps >= self._plan.steps or self._ended != "steps":
            trainer.stop("gradient noise was measured")

    def _measure(self, trainer: Trainer) -> HostArray:
        """Return the mean square of the parts' gradients and that of their mean: (2, k).

        Weights, moments and statistics stay as they are; the next step draws its own masks.
        """
        net, plan, xp = trainer.network, self._plan, trainer.backend.xp
        root = self._root_of(trainer)
        xp.copyto(self._statistics, net.statistics)
        order = generator(0, Purpose.NOISE, trainer.steps).permutation(plan.n)
        self._total[...] = 0.0
        squares = xp.zeros((*net.leading_shape,), np.float64)
        for start in range(0, plan.part * plan.count, plan.part):
            self._cost.loss_and_gradient(*self._rows(order[start : start + plan.part]))
            xp.add(self._total, net.gradients, out=self._total)
            squares = squares + self._square(xp, net.gradients, root)
            xp.add(net.step_key, np.uint64(GAMMA // 2 | 1), out=net.step_key)
        xp.copyto(net.statistics, self._statistics)
        of_mean = self._square(xp, self._total, root) / plan.count**2
        found = xp.stack([squares / plan.count, of_mean])
        return np.reshape(trainer.backend.to_host(found), (2, -1)).astype(np.float64)

    def _rows(self, rows: HostArray) -> tuple[Array, Array, Array | None]:
        """Return features, labels and weights of some examples, on the device."""
        weights = self._data.weights
        if weights is not None:
            weights = take_rows(weights, rows)
        return take_rows(self._data.x, rows)[:], take_rows(self._data.labels, rows), weights

    def _square(self, xp: Any, gradient: Array, root: Array | None) -> Array:
        """Return |g|² of each member, of the gradient as it is or over s^¼."""
        if root is None:
            xp.multiply(gradient, gradient, out=self._scratch)
        else:
            xp.multiply(gradient, root, out=self._scratch)
            xp.multiply(self._scratch, self._scratch, out=self._scratch)
        square: Array = xp.sum(self._scratch, axis=-1, dtype=np.float64)
        return square

    def _root_of(self, trainer: Trainer) -> Array | None:
        """Return s^−¼, 0 where s is; None for an optimiser without such a moment."""
        if not is_preconditioned(trainer.optimizer):
            return None
        xp, rule, root = trainer.backend.xp, trainer.optimizer.rule, self._root
        moment = trainer.update_step.moments[rule.moments.index("s")] if rule else root
        xp.maximum(moment, float(np.finfo(root.dtype).tiny), out=root)
        xp.sqrt(root, out=root)
        xp.sqrt(root, out=root)
        xp.divide(1.0, root, out=root)
        xp.multiply(root, moment > 0.0, out=root)
        return root

    def result(self, trainer: Trainer) -> GradientNoise:
        """Return what follows from all that was measured."""
        plan = self._plan
        if len(self._at) < FEWEST:
            times = f"{len(self._at)} of {FEWEST} times"
            raise ValueError(
                f"gradients were measured {times} when it was stopped: give it more time"
            )
        squares = np.stack(self._squares)
        found = estimate(squares[:, 0], squares[:, 1], plan.part, plan.count, plan.n)
        about = {
            "preconditioned": is_preconditioned(trainer.optimizer),
            "steps": trainer.steps,
            "trained_with": plan.batch_size,
            "n_examples": plan.n,
            "ended": self._ended,
            "at": self._at,
        }
        net = trainer.network
        return conclude(*found, about, net.min_batch, net.members is not None)


def is_preconditioned(optimizer: Optimizer) -> bool:
    """Return whether an optimiser divides by the root of a mean of squared gradients, s."""
    return optimizer.rule is not None and "s" in optimizer.rule.moments
