"""L-BFGS: SciPy leads, on the host, and a network gives cost and gradient of all examples."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._typing import Array
from ..data.streaming import Streamed
from ..nn.network import Network
from .parameters import Estimator, has_schedule

#: What `fit_lbfgs` says after Ctrl-C.
INTERRUPTED = "interrupted"

#: Rows of a sparse matrix that are made dense at once.
CHUNK = 1000


def check_lbfgs(e: Estimator, validation: tuple[Any, Any]) -> None:
    """Raise a ValueError if an estimator's parameters are none for L-BFGS."""
    drops = np.any(e.dropout) or np.any(e.input_dropout)
    if drops or e.batch_norm:
        raise ValueError(
            "solver='lbfgs' wants one cost for the same weights each time, and dropout and "
            "batch norm give another one for each batch: take solver='adam'"
        )
    given = {"callbacks": e.callbacks, "X_val": validation[0] is not None}
    given["a schedule as learning_rate"] = has_schedule(e)
    for name, value in given.items():
        if value:
            raise ValueError(
                f"solver='lbfgs' makes no epochs, so {name} would do nothing: leave it out, or "
                "take solver='adam'"
            )


def fit_lbfgs(
    network: Network,
    x: Array,
    labels: Array,
    weights: Array | None,
    *,
    l2: float,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: bool = False,
    begin: Callable[[], None] = lambda: None,
) -> tuple[int, float, bool, str]:
    """Minimise the cost of all examples by L-BFGS-B; SciPy, on the host, leads.

    ``begin`` is called first, and may raise KeyboardInterrupt as the iterations may.

    Returns
    -------
    n_iter, loss, converged, message
        As SciPy told; after Ctrl-C those of the last whole iteration, with INTERRUPTED.
    """
    from scipy.optimize import OptimizeResult, minimize

    backend, n = network.backend, x.shape[0]
    host = np.full((n, 1), 1.0) if weights is None else backend.to_host(weights).astype(float)
    total = float(host.sum())
    share = backend.asarray(host / total, network.dtype)
    decayed = slice(0, network.n_weights)
    gradient = np.zeros(network.n_parameters)

    def cost(p: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        network.parameters[...] = backend.asarray(p, network.dtype)
        gradient[...] = 0.0
        value = l2 / 2 / total * float(p[decayed] @ p[decayed])
        for part in _stretches(x):
            value += float(network.passes.loss_and_gradient(x[part], labels[part], share[part]))
            gradient[...] += backend.to_host(network.gradients)
        gradient[decayed] += l2 / total * p[decayed]
        return value, gradient

    with network.claim, backend.active():
        start = backend.to_host(network.parameters).astype(float)
        options = {"maxiter": max_iter, "maxfun": max_fun, "gtol": tol}
        found = OptimizeResult(x=start.copy(), fun=math.nan, nit=0, status=1, message=INTERRUPTED)

        def note(intermediate_result: Any) -> None:
            found.x, found.fun = intermediate_result.x.copy(), intermediate_result.fun
            found.nit += 1

        with contextlib.suppress(KeyboardInterrupt):
            begin()
            found = minimize(
                cost, start, method="L-BFGS-B", jac=True, options=options, callback=note
            )
        network.parameters[...] = backend.asarray(found.x, network.dtype)
    if verbose:
        print(f"L-BFGS: {found.nit} iterations, loss = {found.fun:.8f}, {found.message}")
    return int(found.nit), float(found.fun), found.status == 0, str(found.message)


def _stretches(x: Array) -> Iterator[slice]:
    """Yield all examples at once, or, of a sparse matrix, one stretch after another."""
    n = x.shape[0]
    step = CHUNK if isinstance(x, Streamed) else n
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
