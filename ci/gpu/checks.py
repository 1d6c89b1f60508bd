"""The claims that are no matter of time: what a GPU computes, keeps, tells and survives.

A function for each part of quick.py; each yields its claims, of a name and what settles it.
"""

import json
import logging
import math
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from claim import CannotTellError, Claim, Outcome, told
from device import Gpu, uncaptured, unchecked
from quick import ROOT

import xpnet as xn
from xpnet.backends.capture import CAPTURED
from xpnet.backends.select import select
from xpnet.nn.categories import code_columns

DTYPES = ("float32", "float64")
CROSS_ENTROPY = "softmax_cross_entropy"


def relative(found: Any, expected: Any) -> float:
    """Return ‖found − expected‖ over ‖expected‖, at least the smallest number; NaN if one is."""
    found, expected = (np.asarray(a, np.float64) for a in (found, expected))
    norm = max(float(np.linalg.norm(expected)), np.finfo(np.float64).tiny)
    return float(np.linalg.norm(found - expected)) / norm


# -- the machine ----


def machine(device: Gpu) -> Iterator[Claim]:
    """Find the device, compile and run a kernel, multiply in each precision."""
    yield "the device is found", lambda: (True, device.facts()["device"], device.facts())
    for dtype in DTYPES:
        yield f"a kernel is compiled and runs, {dtype}", partial(_compiles, device, dtype)
    yield "cuBLAS and cuBLASLt are found", partial(_products, device)
    for precision, limit in (("full", 2e-6), ("tf32", 2e-3), ("bfloat16", 2e-2)):
        yield f"products in precision {precision}", partial(_precision, device, precision, limit)


def _compiles(device: Gpu, dtype: str) -> Outcome:
    backend = device.backend()
    seconds = []
    with backend.active():
        x = backend.xp.ones((64, 32), dtype)
        out = backend.xp.zeros((1, 32), dtype)
        for _ in range(2):
            began = time.perf_counter()
            backend.kernels.sum_examples(x, out)
            backend.synchronize()
            seconds.append(time.perf_counter() - began)
    right = bool((backend.to_host(out) == 64).all())
    return right, f"{seconds[0]:.2f} s the first time, {1e6 * seconds[1]:.0f} µs the second"


def _products(device: Gpu) -> Outcome:
    with told() as lines:
        kind = type(device.repeating(lambda replay: replay).kernels).__name__
    return not lines, "; ".join([kind, *lines])


def _precision(device: Gpu, precision: str, limit: float) -> Outcome:
    backend = device.backend(precision=precision)
    draw, n = np.random.default_rng(0), device.size(1024, 48)
    a, b = (draw.standard_normal((n, n)).astype(np.float32) for _ in range(2))
    with backend.active():
        out = backend.xp.empty((n, n), np.float32)
        backend.kernels.product(backend.asarray(a), backend.asarray(b), out)
    apart = relative(backend.to_host(out), a.astype(np.float64) @ b)
    return apart < limit, f"relative error {apart:.1e}, at most {limit:.0e}"


# -- kernels ----


def kernels(device: Gpu) -> Iterator[Claim]:
    """Compare each kernel that the device has of its own, in both precisions."""
    import parity

    for name in parity.replaced(device.backend()):
        together = [parity.members(*pair) for pair in parity.TOGETHER.get(name, ())]
        together += parity.OF_MEMBERS.get(name, [])
        for dtype in DTYPES:
            yield f"{name}, {dtype}", partial(_kernel, device, name, parity.CASES[name], dtype)
            of_members = partial(_kernel, device, name, together, dtype)
            if together:
                yield f"{name} of members, {dtype}", of_members


def _kernel(device: Gpu, name: str, cases: Any, dtype: str) -> Outcome:
    """Compare in each way there is to call it, on one shape."""
    import parity

    shape = (40, 300, 130) if not device.dry else (5, 3, 9)
    furthest = max(parity.compare(device.backend(), name, case, shape, dtype) for case in cases)
    figure = f"{len(cases)} cases, {furthest:.1f} units of precision apart, at most {parity.ULPS}"
    return True, figure, {"units": furthest}


# -- steps ----


def _hidden(activation: Any) -> list[Any]:
    return [xn.Linear(16), activation, xn.Linear(4)]


#: What is trained captured and eager: layers, loss, optimiser, and options of fit.
STEPS: dict[str, tuple[list[Any], str | xn.Loss, Any, dict[str, Any]]] = {
    "sigmoid, SGD": (_hidden(xn.Sigmoid()), CROSS_ENTROPY, xn.SGD(0.1), {}),
    "tanh, Nesterov": (_hidden(xn.Tanh()), CROSS_ENTROPY, xn.SGD(0.1, 0.9, nesterov=True), {}),
    "ReLU, Momentum": (_hidden(xn.ReLU()), CROSS_ENTROPY, xn.Momentum(0.1), {}),
    "leaky ReLU, RMSProp": (_hidden(xn.LeakyReLU(0.1)), CROSS_ENTROPY, xn.RMSProp(1e-3), {}),
    "softmax within, Adam": (_hidden(xn.Softmax()), CROSS_ENTROPY, xn.Adam(1e-2), {}),
    "batch norm and dropout": (
        [xn.Dropout(0.1), xn.Linear(16), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2), xn.Linear(4)],
        CROSS_ENTROPY,
        xn.Adam(xn.Cosine(1e-2, total=3)),
        {},
    ),
    "dropout and decay on schedules": (
        [
            *(xn.Dropout(xn.Cosine(0.3, total=3)), xn.Linear(16), xn.ReLU()),
            *(xn.Dropout(xn.Exponential(0.5, 0.9, per="step")), xn.Linear(4)),
        ],
        CROSS_ENTROPY,
        xn.AdamW(1e-2, weight_decay=xn.LogCosine(0.1, total=3)),
        {},
    ),
    "weighted examples": (_hidden(xn.ReLU()), CROSS_ENTROPY, xn.Adam(1e-2), {"sample_weight": 1}),
    "in two micro-batches": (
        _hidden(xn.ReLU()),
        CROSS_ENTROPY,
        xn.Adam(1e-2),
        {"micro_batches": 2},
    ),
    "augmented": (
        _hidden(xn.ReLU()),
        CROSS_ENTROPY,
        xn.Adam(1e-2),
        {"augmentation": xn.Augmentation([xn.GaussianNoise(0.1), xn.Mixup(0.2)])},
    ),
    "GELU and SiLU, AdamW": (
        [xn.Linear(16), xn.GELU(), xn.Linear(8), xn.SiLU(), xn.Linear(4)],
        xn.SoftmaxCrossEntropy(label_smoothing=0.1),
        xn.AdamW(1e-2),
        {},
    ),
    "Mish behind batch norm, Lion": (
        [xn.Linear(16), xn.BatchNorm(), xn.Mish(), xn.Linear(4)],
        CROSS_ENTROPY,
        xn.Lion(1e-3, weight_decay=0.1),
        {},
    ),
    "codes of categories": (
        [xn.OneHot({1: 9}), xn.Embedding({3: 40, 0: 5}, 8), *_hidden(xn.ReLU())],
        CROSS_ENTROPY,
        xn.Adam(1e-2),
        {"augmentation": xn.Augmentation([xn.GaussianNoise(0.1), xn.Mixup(0.2)])},
    ),
    "waves of numbers": (
        [
            *(xn.SmoothClip(), xn.Scale(), xn.PeriodicEmbedding((1, 3, 0), 6, 16, 0.3)),
            *(xn.Linear(12), xn.PeriodicEmbedding((5, 2), 4, 8, 0.1, phase=True, dense=True)),
            *_hidden(xn.Mish()),
        ],
        CROSS_ENTROPY,
        xn.Adam(1e-2),
        {},
    ),
    "places among bins": (
        [
            xn.PiecewiseLinearEmbedding({2: (-1.0, 0.0, 1.0)}),
            xn.PiecewiseLinearEmbedding({0: (-0.5, 0.5), 1: (-1.0, 0.2, 1.0)}, 8, relu=True),
            *_hidden(xn.ReLU()),
        ],
        CROSS_ENTROPY,
        xn.Adam(1e-2),
        {},
    ),
    "ELU, NAdam": (_hidden(xn.ELU()), CROSS_ENTROPY, xn.NAdam(1e-2), {}),
    "softplus, Adagrad": (_hidden(xn.Softplus()), CROSS_ENTROPY, xn.Adagrad(1e-1), {}),
    "sigmoid cross-entropy": (_hidden(xn.ReLU()), "sigmoid_cross_entropy", xn.Adam(1e-2), {}),
    "Huber": (_hidden(xn.ReLU()), xn.Huber(0.5), xn.Adam(1e-2), {}),
    "quantile": (_hidden(xn.ReLU()), xn.Quantile(0.9), xn.Adam(1e-2), {}),
    "squared error": (_hidden(xn.ReLU()), "mean_squared_error", xn.Adam(1e-2), {}),
    "Poisson deviance": (_hidden(xn.ReLU()), "poisson_deviance", xn.Adam(1e-3), {}),
}

N = 203


def _examples(loss: str | xn.Loss) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    X = draw.standard_normal((N, 12)).astype(np.float32)
    classes = (X[:, 0] * X[:, 1] > 0) + 2 * (X[:, 2] > 0)
    if loss == CROSS_ENTROPY or isinstance(loss, xn.SoftmaxCrossEntropy):
        return X, classes
    columns = np.stack([classes, classes % 2, classes > 1, classes < 1], axis=1)
    return X, columns % 2 if loss == "sigmoid_cross_entropy" else columns.astype(np.float32)


def step(device: Gpu) -> Iterator[Claim]:
    """Train captured and eager: the same bits, for all layers, losses and optimisers."""
    for name in STEPS:
        for dtype in DTYPES:
            yield f"{name}, {dtype}", partial(_step, device, name, dtype)


def _train(backend: Any, name: str, dtype: str) -> tuple[list[Any], list[float]]:
    """Return parameters, statistics and moments on the host after three epochs; and the losses."""
    layers, loss, optimizer, options = STEPS[name]
    X, y = _examples(loss)
    if "sample_weight" in options:
        options = options | {"sample_weight": np.linspace(0.5, 1.5, N)}
    net = xn.Network(layers, loss=loss, n_features=12, device=backend, dtype=dtype)
    for column, size in code_columns(net.layers, 12).items():
        X[:, column] = np.random.default_rng(column).integers(-1, size + 1, N)
    trainer = xn.Trainer(net, optimizer, l2=0.1, clip_norm=5.0)
    history = trainer.fit(X, y, batch_size=20, epochs=3, **options)
    arrays = [net.parameters, net.statistics, *trainer.moments]
    return [np.array(backend.to_host(a)) for a in arrays], history["train_loss"]


def _step(device: Gpu, name: str, dtype: str) -> Outcome:
    with told(logging.DEBUG) as lines:
        state, losses = _train(device.repeating(lambda replay: replay), name, dtype)
    eager, expected = _train(device.repeating(uncaptured), name, dtype)
    same = losses == expected and all(map(np.array_equal, state, eager))
    graphs = lines.count(CAPTURED)
    refused = [line for line in lines if "can't be captured" in line]
    if same and graphs and not refused:
        return True, f"the same bits, {graphs} graphs"
    believed, _ = _train(device.repeating(unchecked), name, dtype)
    apart = max(map(relative, believed, eager))
    figure = f"captured and believed it is {apart:.1e} apart; {graphs} graphs"
    return False, "; ".join([figure, *refused])


# -- loss curves ----


def curves(device: Gpu) -> Iterator[Claim]:
    """Train on the CPU and on the GPU: the same seed and data give the same loss curve."""
    for what in ("classes", "numbers", "classes, streamed", "classes, 3 networks"):
        for dtype in DTYPES:
            yield f"{what}, {dtype}", partial(_curve, device, what, dtype)


def _curve(device: Gpu, what: str, dtype: str) -> Outcome:
    from scipy.sparse import csr_array
    from sklearn.datasets import load_diabetes, load_digits

    X, y = load_digits(return_X_y=True) if "classes" in what else load_diabetes(return_X_y=True)
    n = device.size(len(X), 150)
    X, y = X[:n] / X[:n].max(), y[:n] if "classes" in what else y[:n] / 100
    width, loss = (10, CROSS_ENTROPY) if "classes" in what else (1, "mean_squared_error")
    layers = [xn.Linear(64), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2), xn.Linear(width)]
    found = []
    for backend in (select("cpu"), device.backend()):
        more = {"members": 3} if "networks" in what else {}
        options = {"loss": loss, "n_features": X.shape[1], "dtype": dtype, **more}
        net = xn.Network(layers, device=backend, **options)
        trainer = xn.Trainer(net, xn.Adam(3e-3), l2=0.01)
        if more:
            found.append(_own_curves(trainer, X, y))
            continue
        data = csr_array(X) if "streamed" in what else X
        history = trainer.fit(data, y, batch_size=50, epochs=3, validation_data=(X, y))
        found.append([*history["train_loss"], *history["dev_loss"]])
    apart = float(np.max(np.abs(np.subtract(*found) / found[0])))
    limit = 1e-3 if dtype == "float32" else 1e-9
    figure = f"losses from {found[0][0]:.3f} on are {apart:.1e} apart, at most {limit:.0e}"
    return apart < limit, figure, {"cpu": found[0], "gpu": found[1]}


def _own_curves(trainer: Any, X: Any, y: Any) -> list[float]:
    """Return the losses of several networks in one, step by step."""
    host = trainer.backend.to_host
    batches = [slice(i, i + 50) for i in range(0, 100, 50)] * 5
    losses = [np.array(host(trainer.step(X[b], y[b]))) for b in batches]
    return [float(loss) for step in losses for loss in step.ravel()]


# -- memory ----


def replays(device: Gpu) -> Iterator[Claim]:
    """Watch the memory: a step that is replayed takes none, and a fit leaves none behind."""
    yield "1,000 replays take no memory", partial(_replays, device)
    yield "fits leave no memory behind", partial(_fits, device)


def _made(backend: Any, width: int, **options: Any) -> Any:
    layers = [xn.Linear(width), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.1), xn.Linear(4)]
    options = {"loss": CROSS_ENTROPY, "n_features": 12, **options}
    return xn.Trainer(xn.Network(layers, device=backend, **options))


def _replays(device: Gpu) -> Outcome:
    backend, count = device.backend(), device.size(1000, 100)
    trainer = _made(backend, 32)
    X, y = _examples(CROSS_ENTROPY)
    with told(logging.DEBUG) as lines, backend.active():
        x, labels = trainer.network.prepare(X[:32], y[:32])
        for _ in range(device.size(3000, 40)):  # until as many numbers are computed ahead as ever
            loss = trainer.step(x, labels)
        float(loss)
        before = device.used(), device.free()
        for _ in range(count):
            loss = trainer.step(x, labels)
        last = float(loss)
        after = device.used(), device.free()
    pool, lost = after[0] - before[0], before[1] - after[1]
    figure = f"{count} steps: arrays grew by {pool} bytes, the device lost {lost}"
    return CAPTURED in lines and pool <= 0 and lost <= 0 and math.isfinite(last), figure


def _fits(device: Gpu) -> Outcome:
    backend = device.backend()
    trainer, (X, y) = _made(backend, 32), _examples(CROSS_ENTROPY)
    taken = []
    for _ in range(4):
        trainer.fit(X, y, batch_size=20, epochs=3)
        taken.append(device.used())
    return taken[-1] <= taken[1], f"bytes held after each of four fits: {taken}"


def memory(device: Gpu) -> Iterator[Claim]:
    """Ask for more than the device has: it is told, and nothing is lost by it."""
    yield "the device's own refusal is known", partial(_refusal, device)
    yield "a batch that does not fit is told, and a smaller one trains", partial(_full, device)
    yield "micro_batches='auto' trains on it", partial(_in_micro_batches, device)
    yield "predictions come in smaller pieces", partial(_predictions, device)


def _refusal(device: Gpu) -> Outcome:
    # A GPU is asked itself; the stand-in has to be given an end.
    with device.room(device.size(0, 2**20)) as backend, backend.active():
        try:
            backend.xp.zeros(2**24 if device.dry else 2**42, np.float64)
        except Exception as error:
            figure = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            return backend.is_out_of_memory(error), figure
    return False, "no error was raised"


def _large(device: Gpu) -> tuple[Any, Any, int, int]:
    """Return data, the width of a layer, and how many bytes are too few for all of it at once."""
    n, width = device.size(200_000, 2000), device.size(512, 32)
    draw = np.random.default_rng(0)
    X = draw.standard_normal((n, 12)).astype(np.float32)
    return X, (X[:, 0] > 0) * 1 + (X[:, 1] > 0), width, int(n * width * 4 * 1.5)


def _full(device: Gpu) -> Outcome:
    X, y, width, nbytes = _large(device)
    trainer = _made(device.backend(), width)
    with device.room(nbytes):
        try:
            trainer.fit(X, y, batch_size=len(X), epochs=1, monitor=0)
        except xn.OutOfMemoryError as error:
            said = str(error)
        else:
            return False, "no error was raised: was there room for it?"
        history = trainer.fit(X, y, batch_size=len(X) // 50, epochs=1, monitor=0)
    return "batch_size" in said and np.isfinite(history["train_loss"]).all(), said


def _in_micro_batches(device: Gpu) -> Outcome:
    X, y, width, nbytes = _large(device)
    trainer = _made(device.backend(), width)
    with device.room(nbytes), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = trainer.fit(X, y, batch_size=len(X), epochs=1, monitor=0, micro_batches="auto")
    said = [str(w.message) for w in caught if "micro-batches" in str(w.message)]
    return bool(said) and np.isfinite(history["train_loss"]).all(), "; ".join(said) or "not told"


def _predictions(device: Gpu) -> Outcome:
    X, _, width, nbytes = _large(device)
    net = _made(device.backend(), width).network
    expected = net.predict_proba(X)
    device.backend().release_memory()
    with device.room(nbytes):
        found = net.predict_proba(X)
    apart = relative(found, expected)
    return apart < 1e-5, f"{len(X):,} rows, {apart:.1e} apart"


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
