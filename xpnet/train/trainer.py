"""The trainer: a network with what updates it, for one step or for epochs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._typing import Array, ArrayLike
from ..checks import Numbers
from ..data.augmentation import Augmentation
from ..data.batches import USUAL
from ..data.subsets import Subsets
from ..nn.members import check_member
from ..nn.network import Network, check_network
from ..optim.optimizers import Optimizer, check_optimizer
from ..throughput.timing import BatchSize
from . import given_batch, replacing
from .batch_size import measure_batch_sizes
from .callback import Callback
from .checkpoints import Checkpoints
from .factors import ByPattern, Factors
from .fit import Fit, FitOptions
from .fit_data import prepare_data
from .history import History, Row
from .requests import Requests
from .settings import StepSettings
from .step import Step


class Trainer(StepSettings):
    """Trains a network: `step` for one update, `fit` for epochs.

    A network is trained by one thread at a time, whatever the number of its trainers: another one
    that tries is refused. Predictions that other threads make meanwhile are those of weights in the
    midst of an update.

    Parameters
    ----------
    network : Network
        What to train.
    optimizer : Optimizer
        How to update; `Adam` with its defaults if None.
    l2 : float, or sequence of float
        λ of the L2 term λ/2n ‖W‖² that is added to a batch's cost, n its examples: weights only,
        no biases, γ or β (notes, chapter 5).
    clip_norm : float, sequence of float, or None
        A batch's gradient g, of all parameters and with the L2 term, is shortened to
        g · min(1, c/‖g‖), against explosions: Pascanu et al., "On the difficulty of training
        recurrent neural networks", ICML 2013. None: it is not.
    rate_factors : dict of str to float, or None
        What to multiply the learning rate of single parameters by, 0 or more: by 0 they stay as
        they are. The keys are patterns of `fnmatch` for names as `Network.state` has them,
        "0.weight" or "*.bias"; the last that fits counts. What none fits has 1. Members share them.
    decay_factors : dict of str to float, or None
        Likewise what to multiply the weight decay of AdamW or Lion by: p is first multiplied by
        1 − α·λ·(its rate factor)·(its decay factor). What none fits has 1 if it is a weight, else
        0. L2 knows no factors.

    Attributes
    ----------
    steps, epochs : int
        Updates and epochs made so far.
    behind : list of int
        How many epochs fewer each member has made; negative if more, before it was put here.
    history : History
        Of the running or last fit.

    Raises
    ------
    ValueError
        If l2 is negative or not finite, or clip_norm not above 0; if a factor is negative or not
        finite, or its pattern fits no parameter.
    TypeError
        If the optimiser's own `update` takes no factors, and there are some, or a layer scales its
        parameters: see `Linear`'s parametrization.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> X = np.random.default_rng(0).standard_normal((200, 2)); y = (X[:, 0] * X[:, 1] > 0) * 1
    >>> net = xn.Network([xn.Linear(16), xn.Tanh(), xn.Linear(1)], loss="sigmoid_cross_entropy",
    ...                  n_features=2, device="cpu")
    >>> history = xn.Trainer(net, xn.Adam(0.03)).fit(X, y, batch_size=20, epochs=40)
    >>> bool(history["train_loss"][-1] < 0.15)
    True
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer | None = None,
        l2: Numbers = 0.0,
        clip_norm: Numbers | None = None,
        *,
        rate_factors: ByPattern | None = None,
        decay_factors: ByPattern | None = None,
    ) -> None:
        self.network = check_network(network)
        self.backend = network.backend
        self.epochs, self.behind = 0, [0] * len(network.seeds)
        self.history = History()
        self.requests = Requests()
        self._fit: Fit | None = None
        with self.backend.active():
            optimizer = check_optimizer(optimizer)
            factors = Factors(network, optimizer, rate_factors, decay_factors)
            self.update_step = Step(network, optimizer, l2, clip_norm, factors)

    @property
    def own_epochs(self) -> list[int]:
        """The epochs of each member: those that it was part of."""
        return [self.epochs - fewer for fewer in self.behind]

    @property
    def running_fit(self) -> Fit | None:
        """The fit that runs, if one does."""
        return self._fit

    def count_epoch(self) -> None:
        """Count an epoch that is through, of the members that were trained in it."""
        self.epochs += 1
        for i in {*range(len(self.behind))}.difference(self.history.trained(self.epochs)):
            self.behind[i] += 1

    # -- members ----

    def member(self, i: int) -> Trainer:
        """Return a copy of member i's training alone, which can go on as it would have gone on.

        Weights, statistics, moments, its own numbers, seed, steps, epochs and history are the
        member's; where averages stand in for the weights, as after `WeightAverage`, it has those.

        Parameters
        ----------
        i : int
            Which one, counted from 0; −1 is the last.

        Raises
        ------
        TypeError, ValueError, IndexError
            If the network has no members, or no such one.

        Examples
        --------
        >>> import numpy as np, xpnet as xn
        >>> X = np.random.default_rng(0).normal(size=(60, 2)); y = X.sum(axis=1)
        >>> def network(seed, members=None):
        ...     return xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2,
        ...                       device="cpu", random_state=seed, members=members)
        >>> trainer = xn.Trainer(network(5, members=3), xn.Adam((0.1, 0.2, 0.3)))
        >>> history = trainer.fit(X, y, batch_size=20, epochs=2)
        >>> alone = trainer.member(1)
        >>> alone.optimizer.learning_rate, alone.network.random_state, alone.steps, alone.epochs
        (0.2, 6, 6, 2)
        """
        return replacing.take_out(self, i)

    def replace(self, i: int, other: Trainer) -> None:
        """Put a copy of another training in the place of member i, which goes on as it does alone.

        Between fits, or within the running one, from a callback's `on_epoch_end`: the member is
        then trained for as many epochs as the fit was given, and more before do not count. Its
        training goes on from ``other``'s steps and epochs, which may be 0, in its own order of the
        examples, with its own dropout masks and schedules. One that was stopped, had all its
        epochs, or has diverged is trained again. What the fit says of the place stays: ``subsets``,
        weights of examples and ``order_seed``.

        Give what the networks differ in as one number for each from the start, as
        ``Dropout((0.1,) * k)``: then numbers are written where they are, and nothing is made anew.

        Parameters
        ----------
        i : int
            Which one, counted from 0; −1 is the last.
        other : Trainer
            Of one network, with the same layers, loss, precision, device and kind of optimiser. It
            stays as it is. What members may have of their own may differ.

        Raises
        ------
        TypeError, ValueError, IndexError
            If there is no such member, ``other`` differs in what members share or is not finite, or
            the running fit writes checkpoints. Nothing is changed then.
        RuntimeError
            If a fit runs that is not between two epochs, or another thread trains one of the
            networks.

        Examples
        --------
        >>> import numpy as np, xpnet as xn
        >>> X = np.random.default_rng(0).normal(size=(60, 2)); y = X.sum(axis=1)
        >>> def network(seed, members=None):
        ...     return xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=2,
        ...                       device="cpu", random_state=seed, members=members)
        >>> trainer = xn.Trainer(network(5, members=3), xn.Adam((0.1, 0.2, 0.3)))
        >>> def renew(trainer, row):
        ...     if row["epoch"] == 2:
        ...         trainer.replace(1, xn.Trainer(network(9), xn.Adam(0.05)))
        >>> history = trainer.fit(X, y, batch_size=20, epochs=4, callbacks=[renew])
        >>> len(history), len(history.member(0)), history.member(1)["epoch"]
        (6, 4, [1, 2, 3, 4])
        >>> alone = xn.Trainer(network(9), xn.Adam(0.05))
        >>> history = alone.fit(X, y, batch_size=20, epochs=4)
        >>> bool(np.allclose(trainer.network.parameters[1], alone.network.parameters))
        True
        """
        replacing.put_in(self, i, other)

    # -- the step ----

    def step(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike = None) -> Array:
        """Make one update on a batch.

        A callback may do so in the midst of a fit. Such a step counts in `steps` and in the mean
        loss of the running epoch, but is none of its batches: the schedule stands still in the
        epoch, and no callback is told.

        Parameters
        ----------
        x : array-like, shape (n, n_features), or (k, n, n_features) for k members
            Features; members share them, or each has its own.
        y : array-like, shape (n,) or (n, m), or (k, n) or (k, n, m)
            Labels, of each member where it has its own features. What lies on the network's device
            already, in the types that it computes with (its dtype; int32 labels for softmax), is
            taken as it is; all else is checked.
        sample_weight : array-like, shape (n,), or (k, n) for k members, or None
            How much each example counts, 0 or more.

        Returns
        -------
        array, shape (), or (k,) for k members
            The mean loss over the batch before the update, weighted, without the L2 term; on the
            device.

        Raises
        ------
        TypeError, ValueError
            If x or y is not as the network needs it.
        RuntimeError
            If another thread is training the network.
        OutOfMemoryError
            If the device's memory does not suffice; no parameter has been updated then.
        """
        claim = self.network.claim
        if not claim.lock.acquire(False):  # what `with claim` does, in half of its time
            claim.refuse()
        try:
            with self.backend.active():
                x, y, weights = given_batch.prepare(self.update_step, x, y, sample_weight)
                n, step = x.shape[-2], self.update_step
                if self._fit is not None:
                    step.scalars.plan = range(0)  # made for the fit's own steps
                batch = given_batch.shared if x.ndim == 2 else given_batch.own
                loss = step.make(n, batch, x, y, weights).copy()
                self.update_step.forget_changes()  # what came before it can't be made again
                if self._fit is not None:
                    self._fit.state.other_examples += n
                return loss
        finally:
            claim.lock.release()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a Trainer can't be copied or pickled: copy or pickle its network, or write "
            "checkpoints with fit(..., checkpoint=FOLDER)"
        )

    def stop(
        self, reason: str = "stop() was called", members: int | Sequence[int] | None = None
    ) -> None:
        """End the running fit after the present update, or the next fit after its first one.

        May be called from a signal handler.

        Parameters
        ----------
        reason : str
            Why; it is found in the attribute ``reason`` of the history.
        members : int, sequence of int, or None
            End the training of these members alone: parameters, statistics and moments then stay as
            they are, while the others are trained. With the last one the fit ends. In the history
            `ended` says why. The next fit trains all again.

        Raises
        ------
        TypeError, IndexError
            If there is no such member.
        """
        if members is None:
            self.requests.stop = reason
            return
        asked = members if hasattr(members, "__iter__") else [members]
        count = len(self.network.seeds)
        places = [check_member(i, count) for i in asked]
        if self.network.members is None and places:
            self.requests.stop = reason
        else:
            self.requests.members |= dict.fromkeys(places, reason)

    def interrupt(self, reason: str = "it was interrupted") -> None:
        """End the running fit as `stop` does, for a reason that is no part of the training.

        Where checkpoints are written, one is made of where it stands, and a fit that goes on from
        it knows nothing of the interruption. May be called from a signal handler.

        Parameters
        ----------
        reason : str
            Why; it is found in the attribute ``reason`` of the history.
        """
        self.requests.interrupt = reason

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        batch_size: int | str = USUAL,
        epochs: int | Sequence[int] = 20,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        callbacks: Sequence[Callback | Callable[[Trainer, Row], object]] = (),
        shuffle: bool = True,
        monitor: int = 10_000,
        augmentation: Augmentation | None = None,
        sample_weight: ArrayLike = None,
        micro_batches: int | str = 1,
        checkpoint: Checkpoints | str | os.PathLike[str] | None = None,
        resume: bool | str = False,
        order_seed: int | Sequence[int] | None = None,
        subsets: Sequence[ArrayLike] | None = None,
        validation_subsets: Sequence[ArrayLike] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> History:
        """Train for some epochs in mini-batches. A second fit goes on where the first one ended.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            Features.
        y : array-like, shape (n,) or (n, k)
            Labels: integers for softmax, 0/1 for sigmoid, numbers for regression.
        batch_size : int or "auto"
            Examples in a mini-batch; n is batch gradient descent, 1 stochastic (notes, chapter 7).
            "auto": what `choose_batch_size` says, logged, and kept in ``history.batch_size``. Then
            the run depends on how fast the machine is; give that number to get it again.
        epochs : int, or sequence of int
            How often to go through the data; for members one number each may have: one whose
            epochs are made is trained no longer, and the fit goes on with the others.
        validation_data : (X, y) or None
            The development set, evaluated after each epoch.
        callbacks : sequence of Callback or function
            See `Callback`.
        shuffle : bool
            Whether to shuffle in every epoch.
        monitor : int
            On how many training examples to measure the training error after each epoch, as in
            prediction; 0 leaves it out.
        augmentation : Augmentation or None
            Changes each mini-batch at random before it is trained on (notes, chapter 5.2); codes of
            categories as `Augmentation` says. Errors are measured on the data as they are.
        sample_weight : array-like, shape (n,) or (k, n), or None
            How much each example counts in the loss, 0 or more: a batch's cost is
            (Σ wᵢ Lᵢ + λ/2 ‖W‖²) / Σ wᵢ. Errors count examples, unweighted. For k members it may be
            (k, n): then each has its own.
        micro_batches : int or "auto"
            By how many micro-batches to accumulate a batch's gradient: the same update with less
            memory. "auto": one, and twice as many whenever memory does not suffice, with a
            warning. Dropout then draws other masks, and batch norm takes each one's statistics.
        checkpoint : path, Checkpoints or None
            A folder for checkpoints, from which the fit can go on after its process has ended,
            however that came; `Checkpoints` says how often. If one can't be written, a warning says
            so and the training goes on.
        resume : bool or "auto"
            True: go on from the newest whole checkpoint in that folder. The network, the
            optimiser, the data and all options must be those of its run; ``epochs`` alone may be
            larger. The end is that of a fit that was never cut off, to the last bit, on the same
            machine, libraries and number of threads. "auto": the same if there is one, else begin.
        order_seed : int, sequence of int, or None
            The seed of the order of the examples, and of augmentation. None: the network's; each
            member has its own then, and so its own batches. One for all members lets them share
            the batches, which is faster, and so does ``shuffle=False`` without augmentation;
            several: one for each.
        subsets : sequence of array, or None
            Which examples each of k members is trained on, as for cross-validation: k arrays of row
            numbers, or truth values (k, n). Its training error is measured on them too. Members
            that have fewer batches in an epoch wait for the others. None: all, for each.
        validation_subsets : sequence of array, or None
            On which examples of the development set each member is measured, likewise.
        metrics : dict of str to metric, or None
            What else to measure on the development set after each epoch: {"auc": m} gives the
            column "dev_auc". A metric is the name of one of scikit-learn's scorers, as "roc_auc",
            such a scorer, a function of (y, predictions), or a `Metric`, as of probabilities.

        Returns
        -------
        History
            A row for each epoch; also in the attribute `history` while the fit runs. Of members
            losses and errors are lists.

        Raises
        ------
        TypeError, ValueError
            If X, y or an option is not as it must be, or y has one class only; if the folder holds
            checkpoints and ``resume`` is False, or they are of another run.
        RuntimeError
            If another thread is training the network.
        OSError
            If the folder can't be written to, another training writes to it, or it has no
            checkpoint to go on from.
        ModelFileError
            If none of its checkpoints is whole.
        OutOfMemoryError
            If the device's memory does not suffice.
        DivergedError
            If the loss turns NaN or infinite. Weights, moments and `steps` are then back where they
            were at most 100 updates before, and training can go on at a smaller rate. Of members:
            if that of each has.

        Warns
        -----
        UserWarning
            If X holds different whole numbers that are the same in the network's dtype; which ones
            by column. If the loss of a member turns NaN or infinite: its weights and moments are
            back where they were, it is trained no longer, and the others go on.

        Notes
        -----
        Each member becomes what its network becomes alone: `History.member` gives its curve, and
        `replace` puts another network in its place in the midst of the fit. Early
        stopping, averages of the weights and what else watches count for each by itself, and so are
        updates and epochs counted: in a second fit the order of the examples, and schedules, go on
        where each member has ended.
        """
        options = FitOptions(
            batch_size,
            epochs,
            callbacks,
            shuffle,
            monitor,
            augmentation,
            micro_batches,
            checkpoint,
            resume,
            order_seed,
            metrics,
        )
        given = X, y, sample_weight, validation_data, subsets, validation_subsets
        with self.backend.active():
            data = prepare_data(self.network, *given)
            return self.fit_prepared(*data[:4], options, *data[4:])

    def fit_prepared(
        self,
        x: Array,
        labels: Array,
        weights: Array | None,
        dev: tuple[Array, Array] | None,
        options: FitOptions,
        subsets: Subsets | None = None,
        dev_subsets: Subsets | None = None,
    ) -> History:
        """Train on what `Network.prepare` and its like returned; see `fit`."""
        with self.network.claim, self.backend.active():
            outer, data = self._fit, (x, labels, weights, dev)
            self._fit = Fit(self, *data, options, subsets, dev_subsets)
            try:
                return self._fit.run()
            finally:
                self._fit = outer

    def choose_batch_size(self, X: ArrayLike, y: ArrayLike, *, epochs: int = 20) -> BatchSize:
        """Measure which batch size to train with, as ``fit(batch_size="auto")`` does.

        It is the smallest with at least 90 % of the best samples/s, among powers of two from 8 to
        1024. Larger ones than a twentieth of the examples are left out as well: an epoch would have
        few updates, and throughput is not accuracy. `xpnet.profile` looks at all sizes.

        Copies of the network are timed, for a twentieth of the fit's time, but between 0.1 and 1 s,
        without augmentation and weights. The choice depends on how fast and busy the machine is.

        Parameters
        ----------
        X, y : array-like
            Features and labels, as for `fit`.
        epochs : int
            How many epochs the fit will have.

        Returns
        -------
        BatchSize
            With ``batch_size``, ``reason`` in one line, and the ``timings``.

        Raises
        ------
        TypeError, ValueError
            If X or y is not as the network needs it.
        """
        with self.backend.active():
            return measure_batch_sizes(self, *self.network.prepare(X, y), epochs)
