"""A callback that ends a training when its time is up."""

from __future__ import annotations

import time
from typing import ClassVar

from ..checks import check_positive
from ..data.batches import Batches
from .callback import Callback
from .trainer import Trainer


class TimeLimit(Callback):
    """Ends a fit after some seconds.

    It looks at the clock after each step, and ends the fit after the first one that is over time:
    so a run may be another on another machine, or beside other work. Where checkpoints are
    written, a fit that goes on has all of the time again.

    Parameters
    ----------
    seconds : float
        How long a fit may take from the end of its first step on, above 0: what comes before that,
        as the compiling of kernels, does not count.

    Raises
    ------
    TypeError, ValueError
        If seconds is not a number above 0.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> X = np.random.default_rng(0).normal(size=(100, 2)); y = X.sum(axis=1)
    >>> net = xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2, device="cpu")
    >>> history = xn.Trainer(net).fit(X, y, epochs=10**6, callbacks=[xn.TimeLimit(0.05)])
    >>> history.stopped, history.reason
    (True, 'the time of 0.05 s is up')
    """

    takes_members: ClassVar[bool] = True

    def __init__(self, seconds: float) -> None:
        self.seconds = check_positive(seconds, "seconds")
        self._end: float | None = None

    def on_fit_begin(self, trainer: Trainer, batches: Batches, epochs: int) -> None:
        """Forget the fit before."""
        self._end = None

    def on_step_end(self, trainer: Trainer, n: int) -> None:
        """End the fit if the time is up."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self.seconds
        if now >= self._end:
            trainer.stop(f"the time of {self.seconds:g} s is up")
