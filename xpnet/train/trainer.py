"""The trainer: a network with what updates it, for one step or for epochs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from .._typing import Array, ArrayLike, HostArray
from ..checks import Numbers
from ..data.arrays import prepare_weights
from ..data.augmentation import Augmentation
from ..data.batches import USUAL
from ..data.subsets import Subsets
from ..nn.members import check_member
from ..nn.network import Network, check_network
from ..nn.own_batches import are_own, prepare_own
from ..optim.optimizers import Optimizer, Rates, check_optimizer
from ..throughput.measuring import Feeding, choose
from ..throughput.timing import BatchSize
from .callback import Callback
from .checkpoints import Checkpoints
from .fit import Fit, FitOptions
from .fit_data import prepare_data
from .history import History, Row
from .step import Step

#: A rate that changes no weight, so that every step does the same work and no number is driven to
#: zero, through denormal ones, which a CPU is slow at.
TINY = 1e-12


@dataclass
class Requests:
    """Why the running fit shall end: the training's own reason, and one from outside.

    And why the training of single members shall.
    """

    stop: str = ""
    interrupt: str = ""
    members: dict[int, str] = field(default_factory=dict)

    def clear(self) -> None:
        """Take note that it has ended."""
        self.stop = self.interrupt = ""
        self.members = {}


class Trainer:
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

    Attributes
    ----------
    steps, epochs : int
        Updates and epochs made so far.
    history : History
        Of the running or last fit.

    Raises
    ------
    ValueError
        If l2 is negative or not finite, or clip_norm not above 0.

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
    ) -> None:
        self.network = check_network(network)
        self.backend = network.backend
        self.epochs = 0
        self.history = History()
        self.requests = Requests()
        self._fit: Fit | None = None
        with self.backend.active():
            self.update_step = Step(network, check_optimizer(optimizer), l2, clip_norm)

    @property
    def steps(self) -> int:
        """Updates made so far; set with moments and `epochs` by whoever goes on from them."""
        return self.update_step.count

    @steps.setter
    def steps(self, steps: int) -> None:
        self.update_step.count = steps

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
                x, y, weights = self._prepare(x, y, sample_weight)
                n, step = x.shape[-2], self.update_step
                if self._fit is not None:
                    step.scalars.plan = range(0)  # made for the fit's own steps
                loss = step.make(n, _as_it_is if x.ndim == 2 else _own, x, y, weights).copy()
                self.update_step.forget_changes()  # what came before it can't be made again
                if self._fit is not None:
                    self._fit.state.other_examples += n
                return loss
        finally:
            claim.lock.release()

    def _prepare(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike
    ) -> tuple[Array, Array, Array | None]:
        net, weights = self.network, None
        try:
            if not net.passes.holds(x, y):
                x, y = (prepare_own if are_own(net, x) else Network.prepare)(net, x, y)
                x = x[:]  # of what is streamed, all: it is one batch
            n = x.shape[-2]
            if n < net.min_batch:
                raise ValueError(f"the batch has {n} example: batch norm needs at least 2")
            if sample_weight is not None:
                weights = prepare_weights(sample_weight, n, self.backend, x.dtype, net.members)
        except MemoryError as error:
            self.update_step.explain(error, len(x))
            raise
        return x, y, weights

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "a Trainer can't be copied or pickled: copy or pickle its network, or write "
            "checkpoints with fit(..., checkpoint=FOLDER)"
        )

    @property
    def optimizer(self) -> Optimizer:
        """How to update; set to another one of its kind, it goes on with the moments."""
        return self.update_step.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        self.update_step.optimizer = optimizer

    @property
    def l2(self) -> Numbers:
        """λ of the L2 term."""
        return self.update_step.l2

    @l2.setter
    def l2(self, l2: Numbers) -> None:
        self.update_step.l2 = l2

    @property
    def clip_norm(self) -> Numbers | None:
        """The largest norm of a gradient, or None."""
        return self.update_step.clip_norm

    @clip_norm.setter
    def clip_norm(self, limit: Numbers | None) -> None:
        self.update_step.clip_norm = limit

    @property
    def moments(self) -> list[Array]:
        """The optimiser's moments, each as the network's parameters."""
        return self.update_step.moments

    @property
    def learning_rate(self) -> float:
        """The rate of the next update; set it to a number or a schedule to change it by hand.

        Where members have rates of their own, it is a list of them, and set to one for each.
        """
        scalars = self.update_step.scalars
        return scalars.rates(self.steps, scalars.alone)  # type: ignore[return-value]

    @learning_rate.setter
    def learning_rate(self, rate: Rates) -> None:
        self.optimizer = replace(self.optimizer, learning_rate=rate)

    @property
    def active(self) -> HostArray:
        """Which members are trained now: bool, shape (k,); of one network (1,)."""
        return self.update_step.freezing.active.copy()

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
            machine and libraries. "auto": the same if there is one, else begin.
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
        Each member becomes what its network becomes alone: `History.member` gives its curve. Early
        stopping, averages of the weights and what else watches count for each by itself. Updates
        are counted for each as well, epochs for all together: in a second fit the order of the
        examples, and schedules by epochs, go on from the epoch of the member that had the most.
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
        )
        with self.backend.active():
            data = prepare_data(
                self.network, X, y, sample_weight, validation_data, subsets, validation_subsets
            )
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
            data = x, labels, weights, dev
            outer, self._fit = self._fit, Fit(self, *data, options, subsets, dev_subsets)
            try:
                return self._fit.run()
            finally:
                self._fit = outer

    def choose_batch_size(self, X: ArrayLike, y: ArrayLike, *, epochs: int = 20) -> BatchSize:
        """Measure which batch size to train with, as ``fit(batch_size="auto")`` does.

        It is the smallest with at least 90 % of the best samples/s, among powers of two from 8 to
        1024. Larger ones than a twentieth of the examples are left out as well: an epoch would have
        few updates, and throughput is not accuracy. `xpnet.profile` looks at all sizes.

        Copies of the network are timed, for a twentieth of the time that the fit may take, but
        between 0.1 and 1 s; augmentation and sample weights are left out. The trainer and its
        network stay as they are. The choice depends on how fast the machine is, and how busy.

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
            return self.measure_batch_sizes(*self.network.prepare(X, y), epochs)

    def measure_batch_sizes(self, x: Array, labels: Array, epochs: int) -> BatchSize:
        """Do what `choose_batch_size` says, on a prepared data set."""

        def copy() -> tuple[Callable[[Array, Array], Array], Trainer]:
            gentle = replace(self.optimizer, learning_rate=TINY)
            other = Trainer(self.network.clone(), gentle, self.l2, self.clip_norm)
            return other.step, other

        bench, requests = Feeding(copy, x, labels, self.backend), self.requests
        return choose(
            bench, x.shape[0], epochs, stop=lambda: bool(requests.stop or requests.interrupt)
        )


def _as_it_is(
    start: Array, n: int, x: Array, y: Array, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Return a batch that is given."""
    return x, y, weights


def _own(
    start: Array, n: int, x: Array, y: Array, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Return a batch that is given, of members' own examples: its arrays have one more axis."""
    return x, y, weights
