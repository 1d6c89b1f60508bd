# ruff: noqa: E741 - l is what the notes call a layer
"""The notes' own way to train: chapter 3's dictionaries of layers, chapter 7's Adam.

Examples lie in columns, x is (features, examples), and every operation makes a new array, as on the
page. Its slips are mended, else it would train another way: the output is a softmax, the raw
averages recur and their corrected copies are used, updates are counted one by one. What is only
slow stays: an activation comes with its derivative, asked for or not, and each update begins with a
copy of all parameters.
"""

import copy
from typing import Any

import numpy as np


class Notes:
    """A ReLU net with a softmax output and Adam, layers counted from 1 as in the notes.

    Parameters
    ----------
    weights, biases : list of array
        Of each layer, shapes (m_l, m_{l−1}) and (m_l,).
    rate : float
        The learning rate.
    """

    def __init__(self, weights: list[Any], biases: list[Any], rate: float) -> None:
        self.L, self.rate, self.t = len(weights), rate, 0
        self.w = {l + 1: w.copy() for l, w in enumerate(weights)}
        self.b = {l + 1: b.reshape(-1, 1).copy() for l, b in enumerate(biases)}
        self.vw = {l: np.zeros_like(w) for l, w in self.w.items()}
        self.vb = {l: np.zeros_like(b) for l, b in self.b.items()}
        self.sw = {l: np.zeros_like(w) for l, w in self.w.items()}
        self.sb = {l: np.zeros_like(b) for l, b in self.b.items()}

    def step(self, x: Any, y: Any) -> float:
        """Make one update on x (m, n) and one-hot y (k, n); return the cost before it."""
        z, a = self.forward_propagation(x)
        cost = float(-np.sum(y * np.log(a[self.L])) / x.shape[1])
        dw, db = self.backward_propagation(y, z, a)
        self.update_parameters(dw, db)
        return cost

    def forward_propagation(self, x: Any) -> tuple[dict[int, Any], dict[int, Any]]:
        """Return z and a of each layer."""
        z, a = {}, {0: x}
        for l in range(1, self.L + 1):
            z[l] = self.w[l] @ a[l - 1] + self.b[l]
            a[l] = relu(z[l])[0] if l < self.L else softmax(z[l])
        return z, a

    def backward_propagation(
        self, y: Any, z: dict[int, Any], a: dict[int, Any]
    ) -> tuple[dict[int, Any], dict[int, Any]]:
        """Return the gradients of w and b of each layer."""
        n = y.shape[1]
        delta = {self.L: a[self.L] - y}
        for l in reversed(range(1, self.L)):
            _, dg = relu(z[l])
            delta[l] = (self.w[l + 1].T @ delta[l + 1]) * dg
        dw = {l: (1 / n) * delta[l] @ a[l - 1].T for l in delta}
        db = {l: (1 / n) * np.sum(delta[l], axis=1, keepdims=True) for l in delta}
        return dw, db

    def update_parameters(self, dw: dict[int, Any], db: dict[int, Any]) -> None:
        """Make Adam's update."""
        self.t += 1
        self.w, self.b = copy.deepcopy(self.w), copy.deepcopy(self.b)
        for l in range(1, self.L + 1):
            self.vw[l], self.sw[l], dw[l] = self.adam(self.vw[l], self.sw[l], dw[l])
            self.vb[l], self.sb[l], db[l] = self.adam(self.vb[l], self.sb[l], db[l])
            self.w[l] = self.w[l] - self.rate * dw[l]
            self.b[l] = self.b[l] - self.rate * db[l]

    def adam(
        self, v: Any, s: Any, d: Any, beta_1: float = 0.9, beta_2: float = 0.999, eps: float = 1e-8
    ) -> tuple[Any, Any, Any]:
        """Return both averages, and the direction of the update."""
        v = beta_1 * v + (1 - beta_1) * d
        s = beta_2 * s + (1 - beta_2) * (d * d)
        v_corrected = v / (1 - beta_1**self.t)
        s_corrected = s / (1 - beta_2**self.t)
        return v, s, v_corrected / (np.sqrt(s_corrected) + eps)


def relu(z: Any) -> tuple[Any, Any]:
    """Return max(0, z) and its derivative."""
    return np.maximum(z, 0), (z > 0).astype(z.dtype)


def softmax(z: Any) -> Any:
    """Return exp(z) / Σ exp(z) of each column."""
    e = np.exp(z - np.max(z, axis=0, keepdims=True))
    return e / np.sum(e, axis=0, keepdims=True)
