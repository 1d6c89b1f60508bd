"""Numerical check that a gradient is the derivative of its function (notes, chapter 6.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from .._typing import Array, HostArray
from ..backends.arrays import backend_of
from ..backends.select import select
from ..checks import check_not_negative, check_number
from ..nn.network import Network


class GradientCheck(float):
    """The relative error of a gradient: a float that also knows where the gradient is worst.

    Attributes
    ----------
    worst : str
        The place with the largest difference, by layer and name or by index, and both values.
    """

    worst: str

    def __new__(cls, error: float, worst: str) -> GradientCheck:
        """Make one from the error and the place."""
        found = super().__new__(cls, error)
        found.worst = worst
        return found

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        return float(self), self.worst

    def __str__(self) -> str:
        return f"relative error {float(self):.3g}; the largest difference is at {self.worst}"


@overload
def check_gradients(
    function: Network, X: Any, y: Any, *, l2: float = 0.0, epsilon: float = 1e-6
) -> GradientCheck: ...


@overload
def check_gradients(
    function: Callable[[Array], Any],
    X: Any,
    y: Array | Callable[[Array], Array],
    *,
    epsilon: float = 1e-6,
) -> GradientCheck: ...


def check_gradients(
    function: Any, X: Any, y: Any, *, l2: float = 0.0, epsilon: float = 1e-6
) -> GradientCheck:
    """Compare a gradient with two-sided differences of its function (notes, chapter 6.1).

    The relative error is ‖F − ∇f‖ / (‖F‖ + ‖∇f‖), where F holds (f(x + ε eᵢ) − f(x − ε eᵢ)) / 2ε
    for each element of x. Of a network, f is its cost as a function of its parameters: the mean
    loss plus λ/2n ‖W‖². Dropout keeps one mask throughout. Where f is large beside its changes, F
    loses digits: of f = 10⁹ + x² none are left; take a constant away, or a larger ε.

    Parameters
    ----------
    function : Network, or function of an array
        What to check. A network must be in float64; its parameters and statistics are as before
        afterwards; of one with members each member is checked. A function takes an array like X
        and returns one number.
    X : array
        For a network a small batch of features; for a function where to check, in float64.
    y : array, or function of an array
        For a network the batch's labels; for a function its gradient at X, or what computes it.
    l2 : float
        λ, for a network.
    epsilon : float
        ε, the size of the step, above 0.

    Returns
    -------
    GradientCheck
        The relative error, a float: below 1e-7 for a right gradient; of members the largest. Its
        attribute `worst` says where the two differ most.

    Raises
    ------
    TypeError, ValueError
        If something is float32, whose rounding, some 1e-7, divided by ε drowns the difference; if
        shapes don't fit, or epsilon is not above 0.

    Examples
    --------
    A network:

    >>> import xpnet as xn
    >>> net = xn.Network([xn.Linear(4), xn.Tanh(), xn.Linear(2)], loss="mean_squared_error",
    ...                  n_features=3, dtype="float64", device="cpu")
    >>> rng = np.random.default_rng(0)
    >>> bool(check_gradients(net, rng.normal(size=(5, 3)), rng.normal(size=(5, 2))) < 1e-7)
    True

    The notes' example f(x) = x₁ x₂ … xₙ, whose gradient leaves one factor out at a time; and a
    mistake in it:

    >>> x = np.array([1.0, 2.0, 3.0])
    >>> leave_out = lambda x: np.array([np.prod(np.delete(x, i)) for i in range(len(x))])
    >>> bool(check_gradients(np.prod, x, leave_out) < 1e-7)
    True
    >>> wrong = check_gradients(np.prod, x, np.array([6.0, 3.0, 4.0]))
    >>> print(wrong)
    relative error 0.135; the largest difference is at x[2]: computed 4, numerical 2
    """
    if not check_number(epsilon, "epsilon") > 0:
        raise ValueError(f"epsilon is {epsilon}: give a step above 0, as 1e-6")
    if isinstance(function, Network):
        return _check_network(function, X, y, check_not_negative(l2, "l2"), epsilon)
    if not callable(function):
        raise TypeError(f"{function!r} can't be called: give a Network or a function of an array")
    if l2:
        raise ValueError(f"l2 is {l2}, and a function is checked: leave it out")
    return _check_function(function, X, y, epsilon)


def _check_function(function: Any, X: Any, y: Any, epsilon: float) -> GradientCheck:
    backend = backend_of(X, select("cpu"))
    with backend.active():
        x = backend.asarray(X)
        # A copy in one piece: its elements are changed through a view.
        x = x.copy() if x.dtype.kind == "f" else x.astype(np.float64)
        _require_double(x.dtype, "x")
        gradient = y(x.copy()) if callable(y) else y
        computed = np.ascontiguousarray(backend_of(gradient, backend).to_host(gradient))
        computed = computed if computed.dtype.kind == "f" else computed.astype(np.float64)
        if computed.shape != tuple(x.shape):
            raise ValueError(f"x has shape {tuple(x.shape)}, the gradient {computed.shape}")
        _require_double(computed.dtype, "the gradient")

        def value() -> float:
            result = function(x)
            shape = tuple(getattr(result, "shape", ()))
            if math.prod(shape) != 1:
                raise ValueError(f"the function returned shape {shape}: it must return one number")
            return float(result.reshape(()) if shape else result)

        numerical = _differences(value, x.reshape(-1), epsilon)

    def place(i: int) -> str:
        return f"x[{', '.join(str(k) for k in np.unravel_index(i, computed.shape))}]"

    return _compare(computed.ravel(), numerical, place)


def _check_network(net: Network, X: Any, y: Any, l2: float, epsilon: float) -> GradientCheck:
    _require_double(net.dtype, "the network")
    with net.claim, net.backend.active():
        x, labels = net.prepare(X, y)
        x = x[:]  # all at once, also of what is streamed
        n: int = x.shape[0]
        p = net.parameters
        weights, statistics = p[..., : net.n_weights], net.statistics.copy()
        to_host = net.backend.to_host

        def cost() -> HostArray:
            loss = to_host(net.passes.loss_and_gradient(x, labels))
            return loss + to_host((weights * weights).sum(axis=-1)) * l2 / (2 * n)

        cost()
        decayed, scratch = net.gradients[..., : net.n_weights], weights.copy()
        net.backend.kernels.add_decay(decayed, weights, l2 / n, scratch)
        computed = to_host(net.gradients).copy()
        numerical = _differences(cost, p, epsilon)
        net.statistics[...] = statistics
    name = net.buffers.name_parameter
    if net.members is None:
        return _compare(computed, numerical, name)
    each = [_compare(*pair, name) for pair in zip(computed, numerical, strict=True)]
    worst = max(range(net.members), key=lambda i: (np.isnan(each[i]), each[i]))
    return GradientCheck(each[worst], f"member {worst}, {each[worst].worst}")


def _require_double(dtype: Any, what: str) -> None:
    if dtype != np.float64:
        raise ValueError(
            f"{what} is in {dtype}: a gradient check needs dtype='float64', because float32 rounds "
            "the values by more than the difference that is measured"
        )


def _differences(f: Callable[[], Any], p: Array, epsilon: float) -> HostArray:
    """Return (f(p + ε eᵢ) − f(p − ε eᵢ)) / 2ε for each element of p, which f looks at.

    For p (k, P) f returns k values, of which each looks at one row.
    """
    differences = np.empty(p.shape)
    for i in range(p.shape[-1]):
        value = p[..., i].copy()
        p[..., i] = value + epsilon
        above = f()
        p[..., i] = value - epsilon
        below = f()
        p[..., i] = value
        differences[..., i] = (above - below) / (2 * epsilon)
    return differences


def _compare(
    computed: np.ndarray[Any, Any], numerical: np.ndarray[Any, Any], place: Callable[[int], str]
) -> GradientCheck:
    worst = int(np.argmax(np.abs(computed - numerical)))
    size = float(np.linalg.norm(computed) + np.linalg.norm(numerical))
    error = float(np.linalg.norm(computed - numerical)) / size if size else 0.0
    values = f"computed {computed[worst]:.6g}, numerical {numerical[worst]:.6g}"
    return GradientCheck(error, f"{place(worst)}: {values}")
