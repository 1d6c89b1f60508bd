"""What answers for a network that is asked again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._typing import Array, ArrayLike
from ..backends.protocol import Backend

if TYPE_CHECKING:
    from .prediction import Predictor


class PreparedPredictor:
    """Answers for a network that is asked again and again; ``network.predictor()`` returns it.

    It follows the network: its answers are of the parameters as they are when it is asked, whether
    they were trained since, loaded, or written by hand. Any number of threads may ask it at once.
    `Network.predict` has the same answers, hardly later: options alone are checked here once, not
    at each call.

    Parameters
    ----------
    predictor : Predictor
        What computes.
    backend : Backend
        Where.
    members : bool
        Each member's own answers, on a first axis; else those of the members' mean.

    Examples
    --------
    >>> import numpy as np, xpnet as xn
    >>> net = xn.Network([xn.Linear(8), xn.ReLU(), xn.Linear(3)],
    ...                  loss="softmax_cross_entropy", n_features=4, device="cpu")
    >>> ask, row = net.predictor(), np.ones((1, 4), np.float32)
    >>> before = ask.predict_proba(row)
    >>> net.parameters *= 2.0
    >>> bool((ask.predict_proba(row) == net.predict_proba(row)).all())
    True
    >>> bool((ask.predict_proba(row) == before).all())
    False
    """

    def __init__(self, predictor: Predictor, backend: Backend, members: bool) -> None:
        self._decide, self._probabilities = predictor.decide, predictor.probabilities
        self._active, self._members = backend.active, members

    def predict(self, X: ArrayLike) -> Array:
        """Return the predictions for examples, as `Network.predict` does.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list. Quickest is an array in the network's dtype, without gaps.

        Returns
        -------
        array, where X lives

        Raises
        ------
        TypeError, ValueError
            If X has another shape, holds no numbers, or values that are NaN or infinite.
        """
        with self._active():
            return self._decide(X, self._members)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probabilities of the classes, as `Network.predict_proba` does.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            NumPy, CuPy, or a list. Quickest is an array in the network's dtype, without gaps.

        Returns
        -------
        array, where X lives

        Raises
        ------
        TypeError, ValueError
            As for `predict`; also for a network trained on the mean squared error.
        """
        with self._active():
            return self._probabilities(X, self._members)
