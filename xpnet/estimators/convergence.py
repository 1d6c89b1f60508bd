"""When an estimator's fit has converged, as scikit-learn counts."""

from __future__ import annotations

import math
from typing import Any

from .._typing import Array
from ..nn.network import Network
from ..nn.snapshots import restore, snapshot, weights_of
from ..train.callback import Callback
from ..train.trainer import Trainer
from .parameters import Estimator

#: The rates below which an "adaptive" learning rate ends a fit, as in scikit-learn.
SLOWEST = 1e-6


class Convergence(Callback):
    """Ends a fit when the loss, or the score on the validation set, no longer improves.

    It counts as scikit-learn does: an epoch that is not better than the best one by `tol` is one
    without improvement; one more of them in a row than `patience` ends the fit, or, with
    ``adaptive``, divides the learning rate by 5.

    Parameters
    ----------
    estimator : object
        Whose ``loss_curve_`` and so on are written.
    score : function of () or None
        Returns the score on the validation set; larger is better. None: there is none.
    by_score : bool
        Whether the score decides, and the best weights come back.
    penalty : function of ()
        Returns the L2 term, for the reported loss.
    n_examples : int
        How many examples an epoch goes through.
    """

    def __init__(
        self, estimator: Estimator, score: Any, by_score: bool, penalty: Any, n_examples: int
    ) -> None:
        self._e, self._score, self._by_score, self._penalty = estimator, score, by_score, penalty
        self._n = n_examples
        self.without, self.converged = getattr(estimator, "_no_improvement_count", 0), False
        self._best: list[Array] = []

    def on_fit_begin(self, trainer: Trainer, batches: Any, epochs: int) -> None:
        """Take the weights for the best so far: those of an earlier fit may stay so."""
        if self._by_score:
            self._keep(trainer.network)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Write the epoch's figures and judge them."""
        e = self._e
        e.n_iter_ += 1
        e.t_ += self._n
        e.loss_ = row["train_loss"] + self._penalty()
        e.loss_curve_.append(e.loss_)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if self._score is not None:
            e.validation_loss_curve_.append(row["dev_loss"])
            e.validation_scores_.append(self._score(row))
            if e.verbose:
                print(f"Validation score: {e.validation_scores_[-1]:f}")
        self._count(trainer)
        if e.solver == "sgd" and e.learning_rate == "invscaling":
            _change_rate(trainer, e.learning_rate_init / (e.t_ + 1) ** e.power_t)
        if self.without > e.n_iter_no_change:
            self._no_more(trainer)

    def _count(self, trainer: Trainer) -> None:
        e = self._e
        if not self._by_score:
            # None: early stopping was on before.
            best = math.inf if e.best_loss_ is None else e.best_loss_
            better = e.loss_ <= best - e.tol
            e.best_loss_ = min(best, e.loss_)
        else:
            score = e.validation_scores_[-1]
            best = -math.inf if e.best_validation_score_ is None else e.best_validation_score_
            better = math.isfinite(score) and score >= best + e.tol
            if score > best:
                e.best_validation_score_ = score
                self._keep(trainer.network)
        self.without = 0 if better else self.without + 1

    def _no_more(self, trainer: Trainer) -> None:
        e = self._e
        what = "Validation score" if self._by_score else "Training loss"
        reason = (
            f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
            "consecutive epochs."
        )
        rate = trainer.learning_rate
        if e.solver == "sgd" and e.learning_rate == "adaptive" and rate > SLOWEST:
            self.without = 0
            _change_rate(trainer, rate / 5)
            if e.verbose:
                print(f"{reason} Setting learning rate to {rate / 5:f}")
            return
        self.converged = True
        if e.verbose:
            print(f"{reason} Stopping.")
        trainer.stop(reason)

    def _keep(self, network: Network) -> None:
        self._best = snapshot(weights_of(network))

    def restore_best(self, network: Network) -> None:
        """Bring the weights with the best score back, if the fit has begun."""
        restore(weights_of(network), self._best)


def _change_rate(trainer: Trainer, rate: float) -> None:
    """Set SGD's rate; the velocity keeps the step that it stands for.

    scikit-learn's velocity has the rate in it, v ← μ v − α g, and `SGD`'s has not.
    """
    for velocity in trainer.moments:
        velocity *= trainer.learning_rate / rate
    trainer.learning_rate = rate


def penalty(network: Network, l2: float, n: float) -> float:
    """Return λ/2n ‖W‖²."""
    if l2 == 0 or not math.isfinite(n):
        return 0.0
    with network.backend.active():
        weights = network.parameters[: network.n_weights]
        return l2 / (2 * n) * float((weights * weights).sum())
