"""The claims about what people use: estimators, tables, predictions and commands."""

import json
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from checks import relative
from claim import CannotTellError, Claim, Outcome
from device import Gpu
from quick import ROOT

import xpnet as xn
from xpnet.backends.select import select

# -- estimators ----


def estimators(device: Gpu) -> Iterator[Claim]:
    """Fit what scikit-learn's users fit, to arrays that lie on the device."""
    for kind in (xn.MLPClassifier, xn.MLPRegressor):
        for make in (device.backend().asarray, device.tensor):
            whose = "PyTorch" if make == device.tensor else "CuPy"
            yield f"{kind.__name__}, {whose}", partial(_estimator, device, kind, whose, make)


def _estimator(device: Gpu, kind: Any, whose: str, make: Callable[[Any], Any]) -> Outcome:
    from sklearn.datasets import load_diabetes, load_digits

    classifies = kind is xn.MLPClassifier
    X, y = load_digits(return_X_y=True) if classifies else load_diabetes(return_X_y=True)
    n = device.size(len(X), 150)
    X, y = (X[:n] / X[:n].max()).astype(np.float32), y[:n] if classifies else y[:n] / 100
    backend = device.backend()
    options = {"max_iter": device.size(20, 2), "random_state": 0, "early_stopping": False}
    try:
        x, labels = make(X), make(np.ascontiguousarray(y))
    except ImportError as error:
        raise CannotTellError(str(error)) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        there = kind(hidden_layer_sizes=(32,), device="cuda", **options).fit(x, labels)
        here = kind(hidden_layer_sizes=(32,), device="cpu", **options).fit(X, y)
    found = there.predict_proba(x) if classifies else there.predict(x)
    expected = here.predict_proba(X) if classifies else here.predict(X)
    stays = backend.owns(found) or device.dry
    apart = relative(backend.to_host(found), expected)
    score = float(there.score(X, y))
    figure = f"score {score:.3f}; predictions are {type(found).__module__}'s, {apart:.1e} apart"
    return stays and apart < 0.02, figure


# -- tables ----


def tables(device: Gpu) -> Iterator[Claim]:
    """Find what is made of tables on the device, and on the CPU likewise."""
    for target in (False, True):
        name = f"bins of the device's arrays, {'by trees' if target else 'quantiles'}"
        yield name, partial(_bins, device, target)
    yield "calibrate finds the same temperature", partial(_temperature, device)
    for recipe in ("realmlp", "tabm", "auto"):
        yield f"TabularClassifier by {recipe}", partial(_table, device, recipe, True)
        yield f"TabularRegressor by {recipe}", partial(_table, device, recipe, False)


def _bins(device: Gpu, target: bool) -> Outcome:
    draw = np.random.default_rng(0)
    X = draw.standard_normal((device.size(20_000, 200), 5)).astype(np.float32)
    y = (X[:, 0] > 0.3) * 1 + (X[:, 1] > 0) if target else None
    here, backend = xn.piecewise_bins(X, y=y), device.backend()
    with backend.active():
        x, labels = backend.asarray(X), None if y is None else backend.asarray(y)
        there = xn.piecewise_bins(x, y=labels)
    return there == here, f"{sum(map(len, there.values()))} edges of {len(there)} columns"


def _temperature(device: Gpu) -> Outcome:
    """Train a network too long on few examples, then fit T to others in both places."""
    draw = np.random.default_rng(0)
    X = draw.standard_normal((400, 6))
    y = (X[:, 0] + draw.standard_normal(400) > 0) * 1
    layers = [xn.Linear(32), xn.ReLU(), xn.Linear(2)]
    options = {"loss": "softmax_cross_entropy", "n_features": 6, "dtype": "float64"}
    trained = xn.Network(layers, device="cpu", **options)
    xn.Trainer(trained, xn.Adam(0.01)).fit(X[:60], y[:60], batch_size=20, epochs=30)
    nets = [trained.clone(backend) for backend in (select("cpu"), device.backend())]
    here, there = (xn.calibrate(net, X[60:], y[60:]) for net in nets)
    probabilities = [net.predict_proba(X) for net in nets]
    apart = max(relative(there, here), relative(*probabilities))
    return apart < 1e-6, f"T is {there:.4f} and {here:.4f}; probabilities are {apart:.1e} apart"


def _table(device: Gpu, recipe: str, classes: bool) -> Outcome:
    """Train in both places from the same seed."""
    n, draw = device.size(3000, 120), np.random.default_rng(0)
    X = draw.standard_normal((n, 5))
    said = X[:, 0] + (X[:, 1] > 0.3) + 0.3 * draw.standard_normal(n)
    y = np.where(said > 0, "yes", "no") if classes else said
    kind = xn.TabularClassifier if classes else xn.TabularRegressor
    options = {"recipe": recipe, "random_state": 0, "epochs": device.size(3, 1)}
    found = []
    for where in ("cuda", "cpu"):
        model = kind(device=where, **options).fit(X, y)
        found.append(model.predict_proba(X) if classes else model.predict(X))
    apart = relative(*found)
    score = float(model.score(X, y))
    return apart < 0.02, f"score {score:.3f}; predictions are {apart:.1e} apart, at most 2e-02"


# -- commands ----


def commands(device: Gpu) -> Iterator[Claim]:
    """Type what a user types; each command needs what those before it wrote."""
    folder = Path(tempfile.gettempdir())  # the run's own, also for the process that goes on
    small = ["--hidden", "8", "--epochs", "2"] if device.dry else []
    where = ["--device", "cuda"]
    run = partial(_command, device, folder)
    yield "info names the GPU", lambda: _has(run("info"), ["cuda:0"])
    plain = ["--recipe", "plain", *small, *where]
    yield "train digits", lambda: _trained(run("train", "digits", "--json", *plain), device)
    yield (
        "evaluate",
        lambda: _has(run("evaluate", "digits.safetensors", "digits", *where), ["error"]),
    )
    yield (
        "predict",
        lambda: _predicted(
            run("predict", "digits.safetensors", "digits", "-o", "out.csv", *where), folder
        ),
    )
    # No more than that: other parts are at work beside this one.
    options = ["--max-batch", str(device.size(8192, 64)), "--seconds", str(device.size(4, 1))]
    profile = ["profile", "digits.safetensors", *where, *options]
    yield "profile", lambda: _has(run(*profile), ["cuda:0", "use batches of"])
    few = ["--epochs", "5", *small, *where, "-o", "auto.safetensors"]
    yield (
        "train digits by the default recipe",
        lambda: _trained(run("train", "digits", "--json", *few), device),
    )
    yield (
        "evaluate the networks of its folds",
        lambda: _has(run("evaluate", "auto.safetensors", "digits", *where), ["error of each of"]),
    )
    again = ["--batch-size", "64", "--epochs", "3", "--checkpoint", "run", *plain[:2], *where]
    again += small[:2]
    yield "train with checkpoints", lambda: _has(run("train", "iris", *again), ["saved"])
    yield "resume", lambda: _has(run("train", "--resume", "run", "--epochs", "5"), ["going on"])


def _command(device: Gpu, folder: Path, *arguments: str) -> str:
    """Run a command; return its output."""
    done = subprocess.run(
        [*device.command(), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"$ xpnet {' '.join(arguments)}\n{done.stdout}{done.stderr}", flush=True)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


def _has(output: str, words: list[str]) -> Outcome:
    lines = [line for line in output.splitlines() if any(word in line for word in words)]
    missing = [word for word in words if word not in output]
    return not missing, f"no {missing[0]!r} in the output" if missing else lines[0].strip()


def _trained(output: str, device: Gpu) -> Outcome:
    found = json.loads(output)
    error = found["results"]["test"]["error"]
    return device.dry or error < 0.05, f"test error {100 * error:.2f} %"


def _predicted(output: str, folder: Path) -> Outcome:
    rows = (folder / "out.csv").read_text().splitlines()
    return len(rows) == 1798, f"{len(rows) - 1:,} rows of 1,797; {output.strip()}"
