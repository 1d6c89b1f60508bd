"""When an estimator's fit has converged, as scikit-learn counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from sklearn.exceptions import ConvergenceWarning

from .._typing import Array
from ..nn.network import Network
from ..nn.snapshots import restore, snapshot, weights_of
from ..train.callback import Callback
from ..train.trainer import Trainer
from ..warning import warn
from .members import gather
from .parameters import Estimator

#: The rates below which an "adaptive" learning rate ends a fit, as in scikit-learn.
SLOWEST = 1e-6

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed"
)

#: A row of the history, of one network.
Row = dict[str, float]


class Convergence(Callback):
    """Ends a fit when the loss, or the score on the validation set, no longer improves.

    Members end it each for itself.

    Parameters
    ----------
    estimator : object
        Whose ``loss_curve_`` and so on are written.
    each : sequence of object
        The estimator of each member, or that same one.
    score : function of (row, …), or None
        Returns the score on the validation set of each of `each`, by their rows of the history;
        larger is better. None: there is none.
    by_score : bool
        Whether the score decides, and the best weights come back.
    n_penalized : sequence of float
        What the L2 term of each is over, for the reported loss; one for all, or one for each.
    n_examples : int
        How many examples an epoch goes through.

    Attributes
    ----------
    runs : list of Run
        How each comes along.
    """

    takes_members: ClassVar[bool] = True

    def __init__(
        self,
        estimator: Estimator,
        each: Sequence[Estimator],
        score: Callable[..., Sequence[float]] | None,
        by_score: bool,
        n_penalized: Sequence[float],
        n_examples: int,
    ) -> None:
        self._e, self._each, self._score = estimator, each, score
        several = each[0] is not estimator
        over = n_penalized if len(n_penalized) == len(each) else [*n_penalized] * len(each)
        self.runs = [
            Run(e, by_score, over[i], n_examples, i if several else None)
            for i, e in enumerate(each)
        ]

    def on_fit_begin(self, trainer: Trainer, batches: Any, epochs: int) -> None:
        """Take the weights for the best so far: those of an earlier fit may stay so."""
        for run in self.runs:
            run.begin(trainer.network)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Write the epoch's figures and judge them."""
        rows, history = rows_of(row, len(self.runs)), trainer.history
        scores = [None] * len(rows) if self._score is None else self._score(*rows)
        trained = history.trained(row["epoch"])
        for i, run in enumerate(self.runs):
            if i in trained:
                run.take(trainer, rows[i], scores[i])
            elif i in history.diverged and history.ended[i].epoch == row["epoch"]:
                run.diverge(
                    f"the loss of member {i} turned NaN or infinite in epoch {row['epoch']}"
                )
        gather(self._e, self._each)

    def restore_best(self, network: Network) -> None:
        """Bring the weights with the best scores back, if the fit has begun."""
        for run in self.runs:
            run.restore_best(network)


def has_best(e: Estimator) -> bool:
    """Return whether an epoch had a score, so that its weights may be the best."""
    return e.best_validation_score_ is not None and math.isfinite(e.best_validation_score_)


def rows_of(row: dict[str, Any], k: int) -> list[Row]:
    """Return a row of the history as one for each member, of one network the row itself."""
    return [
        {key: value[i] if isinstance(value, list) else value for key, value in row.items()}
        for i in range(k)
    ]


class Run:
    """The fit of one network: its figures, and whether it goes on.

    It counts as scikit-learn does: an epoch that is not better than the best one by `tol` is one
    without improvement; one more of them in a row than `n_iter_no_change` ends the fit, or, with
    ``adaptive``, divides the learning rate by 5.

    Parameters
    ----------
    estimator : object
        Whose ``loss_curve_`` and so on are written.
    by_score : bool
        Whether the score decides, and the best weights come back.
    n_penalized : float
        What the L2 term is over, for the reported loss.
    n_examples : int
        How many examples an epoch goes through.
    member : int or None
        Which of several it is.

    Attributes
    ----------
    without : int
        Epochs without improvement.
    converged : bool
        Whether it has ended by that.
    """

    def __init__(
        self,
        estimator: Estimator,
        by_score: bool,
        n_penalized: float,
        n_examples: int,
        member: int | None,
    ) -> None:
        self._e, self._by_score, self.member = estimator, by_score, member
        self._n_penalized, self._n = n_penalized, n_examples
        self._place: Any = ... if member is None else member
        self._name = "" if member is None else f"Member {member}: "
        self.without, self.converged = getattr(estimator, "_no_improvement_count", 0), False
        self.diverged = False
        self._best: list[Array] = []

    def begin(self, network: Network) -> None:
        """Take the weights for the best so far."""
        if self._by_score:
            self._keep(network)

    def take(self, trainer: Trainer, row: Row, score: float | None) -> None:
        """Write an epoch's figures and judge them."""
        e = self._e
        e.n_iter_ += 1
        e.t_ += self._n
        e.loss_ = row["train_loss"] + self._penalty(trainer.network)
        e.loss_curve_.append(e.loss_)
        if e.verbose:
            print(f"{self._name}Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if score is not None:
            e.validation_loss_curve_.append(row["dev_loss"])
            e.validation_scores_.append(score)
            if e.verbose:
                print(f"{self._name}Validation score: {score:f}")
        self._count(trainer)
        if e.solver == "sgd" and e.learning_rate == "invscaling":
            self._change_rate(trainer, e.learning_rate_init / (e.t_ + 1) ** e.power_t)
        if self.without > e.n_iter_no_change:
            self._no_more(trainer)
        e._no_improvement_count = self.without

    def _penalty(self, network: Network) -> float:
        """Return λ/2n ‖W‖²."""
        l2, n = float(self._e.alpha), self._n_penalized
        if l2 == 0 or not math.isfinite(n):
            return 0.0
        with network.backend.active():
            weights = network.parameters[self._place][: network.n_weights]
            return l2 / (2 * n) * float((weights * weights).sum())

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
        rate = self._rate(trainer)
        if e.solver == "sgd" and e.learning_rate == "adaptive" and rate > SLOWEST:
            self.without = 0
            self._change_rate(trainer, rate / 5)
            if e.verbose:
                print(f"{self._name}{reason} Setting learning rate to {rate / 5:f}")
            return
        self.converged = True
        if e.verbose:
            print(f"{self._name}{reason} Stopping.")
        trainer.stop(reason, self.member)

    def diverge(self, what: str, error: Exception | None = None) -> None:
        """Take note that the loss is not finite: the best weights come back.

        Raises
        ------
        ValueError
            If there are none.
        """
        e, self.diverged = self._e, True
        if not (self._by_score and e.n_iter_ and has_best(e)):
            raise ValueError(f"{NOT_FINITE}: {what}") from error
        for curve in (e.loss_curve_, e.validation_scores_, e.validation_loss_curve_):
            if curve is not None:
                curve.append(math.nan)
        kept = "With early stopping the weights of the best epoch are kept"
        warn(f"{what}. {kept}", ConvergenceWarning)

    def _rate(self, trainer: Trainer) -> float:
        rate: Any = trainer.learning_rate
        return float(rate[self._place]) if isinstance(rate, list) else float(rate)

    def _change_rate(self, trainer: Trainer, rate: float) -> None:
        """Set SGD's rate; the velocity keeps the step that it stands for.

        scikit-learn's velocity has the rate in it, v ← μ v − α g, and `SGD`'s has not.
        """
        before = self._rate(trainer)
        for velocity in trainer.moments:
            velocity[self._place] *= before / rate
        if self.member is None:
            trainer.learning_rate = rate
            return
        rates: Any = trainer.learning_rate
        rates = rates if isinstance(rates, list) else [rates] * len(trainer.network.seeds)
        rates[self.member] = rate
        trainer.learning_rate = tuple(rates)

    def _weights(self, network: Network) -> list[Array]:
        return [array[self._place] for array in weights_of(network)]

    def _keep(self, network: Network) -> None:
        self._best = snapshot(self._weights(network))

    def restore_best(self, network: Network) -> None:
        """Bring the weights with the best score back, if the fit has begun."""
        restore(self._weights(network), self._best)
