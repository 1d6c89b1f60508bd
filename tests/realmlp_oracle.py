"""RealMLP-TD-S as its authors' package trains it: weights after each epoch, and a file of them.

Batches are the whole training set, so that no order has a part in it. With pytabkit installed
``python tests/realmlp_oracle.py`` writes ``golden/realmlp.npz``.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "realmlp.npz"
TASKS = ("binary", "multiclass", "regression")

#: Small, for the file to be so. The last rows are the development set.
HIDDEN, EPOCHS, N, N_DEV = (7, 5, 6), 6, 120, 20

State = dict[str, np.ndarray[Any, Any]]


def data(task: str) -> tuple[Any, Any]:
    """Return rows, one column of which is mostly 0, and labels."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 4)) * [1, 10, 0.1, 1] + [0, 5, 0, 0]
    X[:, 3] = rng.random(N) < 0.1
    said = X[:, 0] + 0.3 * rng.normal(size=N)
    if task == "regression":
        return X.astype(np.float32), said.astype(np.float32)
    return X.astype(np.float32), np.digitize(said, [0.0] if task == "binary" else [-0.5, 0.5])


def by_pytabkit(task: str) -> list[State]:
    """Return the weights before the training and after each epoch, by xpnet's names."""
    import pytabkit
    import torch
    from pytabkit.models.training.lightning_modules import TabNNModule

    kept, begin, measure = [], TabNNModule.on_fit_start, TabNNModule.on_validation_start

    def on_fit_start(module: Any) -> None:
        begin(module)
        # Zeros would make the first gradients of all layers but the last rounding alone.
        for _, p in [*module.model.named_parameters()][-2:]:
            p.data += torch.linspace(0.2, 0.5, p.numel()).reshape(p.shape)
        kept.append(_renamed(module.model))

    def on_validation_start(module: Any) -> None:
        kept.append(_renamed(module.model))
        measure(module)

    kinds = pytabkit.RealMLP_TD_S_Classifier, pytabkit.RealMLP_TD_S_Regressor
    made = kinds[task == "regression"](
        n_epochs=EPOCHS,
        batch_size=N - N_DEV,
        hidden_sizes=[*HIDDEN],
        device="cpu",
        n_cv=1,
        n_refit=0,
        random_state=0,
        n_threads=1,
    )
    TabNNModule.on_fit_start, TabNNModule.on_validation_start = on_fit_start, on_validation_start
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.fit(*data(task), val_idxs=np.arange(N - N_DEV, N)[None])
    finally:
        logging.disable(logging.NOTSET)
        TabNNModule.on_fit_start, TabNNModule.on_validation_start = begin, measure
    return kept


def _renamed(model: Any) -> State:
    """Return a model's parameters as xpnet has them: W = θ/√m, (outputs, inputs)."""
    given = {n: p.detach().numpy().astype(np.float64) for n, p in model.named_parameters()}
    weights, biases = ([n for n in given if n.endswith(kind)] for kind in ("weight", "bias"))
    (scale,) = (a for n, a in given.items() if n.endswith("scale"))
    found = {"0.weight": scale.ravel()}
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        theta = given[weight][0]
        found[f"{1 + 2 * i}.weight"] = theta.T / np.sqrt(len(theta))
        found[f"{1 + 2 * i}.bias"] = given[bias].ravel()
    return found


def read(task: str) -> list[State]:
    """Return the same from the file."""
    with np.load(GOLDEN) as file:
        found: list[State] = [{} for _ in range(EPOCHS + 1)]
        for name, array in file.items():
            of, epoch, parameter = name.split("/")
            if of == task:
                found[int(epoch)][parameter] = array.astype(np.float64)
    return found


def main() -> None:
    """Write the file."""
    arrays = {
        f"{task}/{epoch}/{name}": array.astype(np.float32)
        for task in TASKS
        for epoch, state in enumerate(by_pytabkit(task))
        for name, array in state.items()
    }
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    main()
