"""Temperature scaling: probabilities that are as sure as they are right.

After Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import math

import numpy as np

from .._typing import Array, ArrayLike, HostArray
from ..backends.arrays import to_host
from ..checks import check_flag
from ..data.arrays import ELEMENTS, as_array, prepare_weights
from .network import Network, check_network

#: T is at most this, and at least one over it: of examples that are all right, or no better than
#: chance, it would be 0 or infinite.
LARGEST = 20.0

#: At how many temperatures the search begins where there may be several minima.
STARTS = 13


def calibrate(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike = None,
    *,
    each: bool = False,
) -> float | list[float]:
    """Divide a network's logits by the temperature T at which its probabilities fit examples best.

    T minimises the mean of −log p_y over the examples, of p = softmax(z/T), or σ(z/T) likewise. W
    and b of the last layer are divided by it, so files and exports hold what predicts, and training
    could go on. Of one network the predicted classes stay the same. Give examples that it was not
    trained on, as the development set: on those that it was it is too sure of itself.

    Of members p is the mean of their probabilities, as the network predicts it, and T is one for
    all. Label smoothing plays no part.

    Parameters
    ----------
    network : Network
        For classes, whose last layer is a `Linear` or `EnsembleLinear`. It is changed.
    X : array-like, shape (n, n_features)
        Features.
    y : array-like
        Labels, as for `Network.evaluate`, of two classes at least.
    sample_weight : array-like, shape (n,), or None
        How much each example counts, 0 or more.
    each : bool
        Whether each member gets a T of its own, at which its own probabilities fit best: for
        members that will be used alone.

    Returns
    -------
    float, or list of float
        T, from 1/20 to 20; above 1 the network was too sure. 1 if no other fits the examples
        better. With ``each`` that of each member.

    Raises
    ------
    TypeError, ValueError
        If X, y or weights are not as the network needs them, all labels are of one class, the
        network knows no probabilities of classes, its last layer can't be divided, or there are no
        members for ``each``.
    RuntimeError
        If another thread is training the network.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)); y = (X[:, 0] + rng.normal(size=300) > 0) * 1
    >>> net = xn.Network([xn.Linear(32), xn.ReLU(), xn.Linear(2)], n_features=2, device="cpu",
    ...                  loss="softmax_cross_entropy")
    >>> history = xn.Trainer(net, xn.Adam(0.03)).fit(X[:40], y[:40], batch_size=10, epochs=60)
    >>> before, predicted = net.evaluate(X[40:], y[40:])["loss"], net.predict(X)
    >>> T = xn.calibrate(net, X[40:], y[40:])
    >>> T > 1, net.evaluate(X[40:], y[40:])["loss"] < before
    (True, True)
    >>> bool((net.predict(X) == predicted).all())
    True
    """
    of = check_network(network)
    if check_flag(each, "each") and of.members is None:
        raise ValueError("each is True, and these are no members: build it with members=k")
    parameters = _require_scalable(of)
    with of.claim, of.backend.active():
        x, labels = of.prepare(X, y)
        weights = None
        if sample_weight is not None:
            made = prepare_weights(sample_weight, x.shape[0], of.backend, np.dtype(np.float64))
            weights = of.backend.to_host(made)[:, 0]
        logits, targets = of.backend.to_host(of.predictor.logits(x)), of.backend.to_host(labels)
        shape = (-1, *logits.shape[-2:])
        if not each:
            found = temperature_of(logits.reshape(shape), targets, weights, members=True)
            divide_logits(of, found)
            return found
        several = [temperature_of(z.reshape(shape), targets, weights, members=True) for z in logits]
        for array in parameters:
            for i, temperature in enumerate(several):
                array[i] /= temperature
        return several


def divide_logits(network: Network, temperature: float) -> None:
    """Divide a network's logits by a temperature, as `calibrate` does by that which it finds.

    The backend must be active.

    Raises
    ------
    ValueError
        If it knows no probabilities of classes, or its last layer can't be divided.
    """
    for array in _require_scalable(network):
        array /= temperature


def temperature_of(
    logits: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike = None, members: bool = False
) -> float:
    """Return the temperature T at which probabilities of logits divided by it fit labels best.

    Parameters
    ----------
    logits : array-like, shape (n, m), or (n,) or (n, q)
        What a network says before softmax; or before σ. With ``members`` there is an axis more, the
        first, and the mean of the members' probabilities counts.
    labels : array-like, shape (n,), or (n, q)
        Whole numbers from 0 to m − 1; or 0 and 1, in the shape of the logits.
    sample_weight : array-like, shape (n,), or None
        How much each example counts, 0 or more.
    members : bool
        Whether the logits have an axis of members.

    Returns
    -------
    float
        From 1/20 to 20: what minimises −Σ w log p_y; 1 if nothing is better. Without members that
        is convex in 1/T, so it is the minimum; with members the least of those that were found.

    Raises
    ------
    ValueError
        If shapes don't fit together, a logit is not finite, a label is none, or all are the same.

    Notes
    -----
    It takes out-of-fold logits as well: those of each example from the network that was not trained
    on it.

    Examples
    --------
    Nine of ten are right, of which the logits ±8 are far too sure: σ(8/T) = 0.9 has T = 8/log 9.

    >>> labels = np.arange(20) % 2
    >>> logits = np.where(labels == 1, 8.0, -8.0); logits[:2] *= -1
    >>> T = temperature_of(logits, labels)
    >>> bool(np.isclose(T, 8 / np.log(9)))
    True
    """
    from scipy.optimize import minimize_scalar

    gaps, weights = _gaps(logits, labels, sample_weight, members)

    def loss(log_t: float) -> float:
        return _loss(gaps, weights, math.exp(-log_t))

    bound = math.log(LARGEST)
    starts = [-bound, bound] if len(gaps) == 1 else np.linspace(-bound, bound, STARTS).tolist()
    tried = {start: loss(start) for start in (0.0, *starts)}  # of equal ones T = 1, the first
    best = starts.index(min(starts, key=tried.__getitem__))
    low, high = starts[max(best - 1, 0)], starts[min(best + 1, len(starts) - 1)]
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
    tried[float(found.x)] = float(found.fun)
    return math.exp(min(tried, key=tried.__getitem__))


def _gaps(
    logits: ArrayLike, labels: ArrayLike, sample_weight: ArrayLike, members: bool
) -> tuple[HostArray, HostArray]:
    """Return by how much each logit lies above the label's, (k, rows, m), and the rows' weights.

    A σ is the softmax of z and 0, so each output is a row of two.
    """
    z = np.asarray(to_host(as_array(logits, "logits")), np.float64)
    y = np.asarray(to_host(as_array(labels, "labels")))
    z = z if check_flag(members, "members") else z[None]
    told = f"logits have shape {z.shape[1 - members :]} and labels {y.shape}"
    if z.ndim not in (2, 3) or y.ndim not in (1, 2) or z.shape[1] != len(y) or not len(y):
        raise ValueError(f"{told}: give one label for each example")
    if not np.isfinite(z).all():
        raise ValueError("logits are NaN or infinite: calibrate a network that has not diverged")
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    of_softmax = z.ndim == 3 and z.shape[2] > 1 and y.ndim == 1
    highest = z.shape[2] - 1 if of_softmax else 1
    if not np.isin(y, np.arange(highest + 1)).all():
        raise ValueError(f"labels are not whole numbers from 0 to {highest}")
    weights = _weights(sample_weight, len(y))
    counts = weights > 0
    if (y[counts] == y[counts].flat[0]).all():
        raise ValueError(
            f"all labels are {y[counts].flat[0]}: a temperature needs examples of two classes"
        )
    y, z, weights = y[counts].astype(np.int64), z[:, counts], weights[counts]
    if of_softmax:
        return z - np.take_along_axis(z, y[None, :, None], axis=2), weights
    y, z = y.reshape(len(y), -1), z.reshape(*z.shape[:2], -1)
    if z.shape[2] != y.shape[1]:
        raise ValueError(f"{told}: give as many labels as outputs")
    other = np.where(y == 1, -z, z).reshape(len(z), -1, 1)
    return np.concatenate([other, np.zeros_like(other)], axis=2), np.repeat(weights, y.shape[1])


def _weights(sample_weight: ArrayLike, n: int) -> HostArray:
    """Return the weights of examples, or raise a ValueError."""
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(to_host(as_array(sample_weight, "sample_weight")), np.float64)
    if weights.shape != (n,) or not (weights >= 0).all() or not 0 < weights.sum() < math.inf:
        raise ValueError(
            f"sample_weight has shape {weights.shape}: give a number for each of {n} examples, 0 "
            "or more, and some above 0"
        )
    return weights


def _loss(gaps: HostArray, weights: HostArray, factor: float) -> float:
    """Return −Σ w log p̄ / Σ w, where p̄ is the mean over members of 1 / Σ exp(factor · gap)."""
    k, n, m = gaps.shape
    step = max(1, ELEMENTS // (k * m))
    return sum(
        float(weights[part] @ _terms(gaps[:, part] * factor))
        for part in (slice(start, start + step) for start in range(0, n, step))
    ) / float(weights.sum())


def _terms(gaps: HostArray) -> HostArray:
    """Return −log p̄ of each row."""
    most: HostArray = gaps.max(axis=2)  # 0 or more: the label's own is 0
    log_p = -most - np.log(np.exp(gaps - most[:, :, None]).sum(axis=2))
    best: HostArray = log_p.max(axis=0)
    terms: HostArray = -best - np.log(np.exp(log_p - best).mean(axis=0))
    return terms


def _require_scalable(network: Network) -> list[Array]:
    """Return the parameters that the logits are proportional to, or raise a ValueError."""
    loss, last = network.loss, network.layers[-1]
    if not (loss.has_probabilities and loss.output_activation in ("Softmax", "Sigmoid")):
        raise ValueError(
            f"the network's loss is {loss.name}: a temperature is for probabilities of classes, by "
            "softmax or sigmoid"
        )
    if not last.proportional_to:
        raise ValueError(
            f"the network's last layer is {last!r}: a temperature is folded into a last Linear"
        )
    return [last.parameters[name] for name in last.proportional_to if name in last.parameters]
