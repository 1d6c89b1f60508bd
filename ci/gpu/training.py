"""The claims about training: captured as eager, and on the GPU as on the CPU."""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from checks import CROSS_ENTROPY, DTYPES, relative
from claim import Claim, Outcome, told
from device import Gpu, uncaptured, unchecked

import xpnet as xn
from xpnet.backends.capture import CAPTURED
from xpnet.backends.select import select
from xpnet.nn.categories import code_columns

# -- steps ----


def _hidden(activation: Any) -> list[Any]:
    return [xn.Linear(16), activation, xn.Linear(4)]


#: Options that are the trainer's.
OF_TRAINER = ("rate_factors", "decay_factors")

#: What is trained captured and eager: layers, loss, optimiser, and options of trainer and fit.
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
            xn.RepeatedColumns((2, 5)),
            xn.PiecewiseLinearEmbedding({2: (-1.0, 0.0, 1.0), 13: (0.0, 1.0)}),
            xn.PiecewiseLinearEmbedding({0: (-0.5, 0.5), 1: (-1.0, 0.2, 1.0)}, 8, relu=True),
            *_hidden(xn.ReLU()),
        ],
        CROSS_ENTROPY,
        xn.Adam(1e-2),
        {},
    ),
    "standardised, NTK with factors": (
        [
            *(xn.Standardize((0.1,) * 12, (2.0,) * 11 + (0.0,)), xn.SmoothClip(), xn.Scale()),
            *(xn.Linear(16, parametrization="ntk", bias_std=0.1), xn.SELU()),
            xn.Linear(4, parametrization="ntk"),
        ],
        xn.SoftmaxCrossEntropy(label_smoothing=0.1),
        xn.AdamW(xn.LogCosine(0.04, total=30, per="step"), beta_2=0.95),
        {"rate_factors": {"*.bias": 0.1, "2.*": 6.0}, "decay_factors": {"*.bias": 0.0}},
    ),
    "networks that share weights": (
        [
            *(xn.EnsembleLinear(16, members=4), xn.ReLU(), xn.Dropout(0.1)),
            xn.EnsembleLinear(4, members=4, shared=False),
        ],
        CROSS_ENTROPY,
        xn.AdamW(xn.OneCycle(1e-2, total=3)),
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


def examples(loss: str | xn.Loss) -> tuple[Any, Any]:
    """Return features and what a loss takes as targets."""
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
    X, y = examples(loss)
    if "sample_weight" in options:
        options = options | {"sample_weight": np.linspace(0.5, 1.5, N)}
    net = xn.Network(layers, loss=loss, n_features=12, device=backend, dtype=dtype)
    for column, size in code_columns(net.layers, 12).items():
        X[:, column] = np.random.default_rng(column).integers(-1, size + 1, N)
    own = {name: options[name] for name in OF_TRAINER if name in options}
    trainer = xn.Trainer(net, optimizer, l2=0.1, clip_norm=5.0, **own)
    options = {name: option for name, option in options.items() if name not in own}
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
