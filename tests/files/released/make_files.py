"""Writes the model files of a release, and what they predict, into a folder beside this file.

Run it once for each release, with that release of xpnet, and never again for an old one:

    python tests/files/released/make_files.py 0.1.0

`tests/test_old_files.py` reads every folder for ever. `predictions.npz` holds the inputs and what
the release itself predicted from them. 0.1.0-format-1 and 0.1.0-format-2 are from before the first
release, when files had no checksum yet, and then no schema of tables.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment


def frame(n: int) -> Any:
    """Return rows of a table: numbers with gaps, text with gaps, whole numbers."""
    import pandas as pd

    rng = np.random.default_rng(7)
    rows = pd.DataFrame({"age": rng.normal(40, 10, n).round(1), "fare": rng.integers(5, 90, n)})
    rows["port"] = rng.choice(["Cherbourg", "Queenstown", "Southampton"], n)
    rows.loc[::7, "age"] = np.nan
    rows.loc[3::11, "port"] = None
    return rows


def network() -> xn.Network:
    """Return a network with every kind of layer, trained a little."""
    layers = [xn.Dropout(0.1), xn.Linear(6), xn.BatchNorm(momentum=0.2), xn.ReLU()]
    layers += [xn.Linear(5, init=xn.Normal(0.3)), xn.LeakyReLU(0.1), xn.Linear(4), xn.Tanh()]
    layers += [xn.Linear(4), xn.Sigmoid(), xn.Linear(3), xn.Softmax(), xn.Linear(3)]
    net = xn.Network(layers, loss="softmax_cross_entropy", n_features=4, device="cpu")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    xn.Trainer(net, xn.Adam(0.01)).fit(X, rng.integers(3, size=60), batch_size=20, epochs=3)
    return net


def model() -> xn.Model:
    """Return what ``xpnet train`` writes: a network with the preprocessing of a table."""
    rows = frame(80)
    target = np.where(rows["fare"] > 50, "yes", "no")
    settings = Settings(hidden=(5,), batch_norm=True, epochs=3, batch_size=16)
    experiment = Experiment.prepare(
        Dataset("table", rows, target, target_name="y"), settings, "cpu"
    )
    experiment.trainer.fit(
        experiment.parts["train"].features,
        experiment.parts["train"].labels,
        batch_size=16,
        epochs=3,
    )
    return experiment.model


def main(folder: Path) -> None:
    """Write the files."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    X = rng.standard_normal((9, 4)).round(3)
    held = {"X": X}
    net = network()
    net.save(folder / "network.safetensors")
    held["network"] = net.predict_proba(X)
    whole = model()
    whole.save(folder / "model.safetensors")
    held["model"] = whole.predict_proba(frame(12))
    held["model_labels"] = whole.predict(frame(12))
    labels = np.array(["no", "yes"])[rng.integers(2, size=50)]
    inputs = rng.standard_normal((50, 4))
    classifier = xn.MLPClassifier((5,), max_iter=5, tol=0.0, batch_norm=True, dtype="float32")
    classifier.fit(inputs, labels).save(folder / "classifier.safetensors")
    held["classifier"] = classifier.predict_proba(X)
    regressor = xn.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, tol=0.0, random_state=0)
    regressor.fit(inputs, inputs[:, :2]).save(folder / "regressor.safetensors")
    held["regressor"] = regressor.predict(X)
    np.savez_compressed(folder / "predictions.npz", **held)


if __name__ == "__main__":
    main(Path(__file__).parent / sys.argv[1])
