"""What is no number, flag, layer or label is refused: what was given, what is wanted."""

import inspect
import re
from functools import partial

import numpy as np
import pytest
from scipy import sparse

import xpnet as xn
from xpnet.checks import check_count, check_flag, check_number

#: What a class needs beside the argument that is tried.
NEEDED = {
    xn.Linear: {"n_outputs": 3},
    xn.SimpleMovingAverage: {"window": 3},
    **{
        kind: {"initial": 0.1}
        for kind in (xn.Constant, xn.InverseTime, xn.Exponential, xn.InverseSquareRoot)
    },
    xn.Piecewise: {"initial": 0.1},
    **{
        kind: {"initial": 0.1, "total": 5}
        for kind in (xn.Cosine, xn.LogCosine, xn.OneCycle, xn.FlatCosine)
    },
    xn.Checkpoints: {"path": "folder"},
}

KINDS = [
    *NEEDED,
    *(xn.SGD, xn.Momentum, xn.RMSProp, xn.Adam, xn.AdamW, xn.Lion),
    *(xn.BatchNorm, xn.Dropout, xn.LeakyReLU),
    *(xn.Normal, xn.He),
    *(xn.HorizontalFlip, xn.Shift, xn.Rotation, xn.Zoom, xn.Cutout, xn.GaussianNoise, xn.Mixup),
    *(xn.EarlyStopping, xn.ExponentialMovingAverage),
]

#: What is no number, and what is no flag either.
WRONG = {
    "float": ["a", None, True, [1], float("nan"), np.ones(2)],
    "Numbers": ["a", None, True, [], ["a"], [[1]], float("nan"), [float("nan")], np.ones((2, 1))],
    "Rates": ["a", None, True, [], ["a"], [[1]], float("nan"), [float("nan")], np.ones((2, 1))],
    "int": ["a", None, True, [1], 0.5, -1, np.ones(2)],
    "bool": ["a", None, 1, [True], np.ones(2)],
    "Sequence[int]": [None, 3, "12"],
    "Sequence[float]": [None, 0.5, "12"],
    "str | Initializer": [None, 3, ["he"]],
}


def arguments():
    for kind in KINDS:
        for parameter in inspect.signature(kind).parameters.values():
            for value in WRONG.get(str(parameter.annotation).strip("'"), []):
                yield pytest.param(
                    kind, parameter.name, value, id=f"{kind.__name__}-{parameter.name}-{value!r}"
                )


@pytest.mark.parametrize(("kind", "name", "value"), list(arguments()))
def test_an_argument_that_is_none_is_refused_by_name(kind, name, value):
    with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b.* (is|are) .*: .*give "):
        kind(**{**NEEDED.get(kind, {}), name: value})


#: What is called with one wrong argument, and what else that needs.
PART = np.random.default_rng(0).standard_normal((30, 3)), np.arange(30) % 2
NET = xn.Network([xn.Linear(2)], loss="softmax_cross_entropy", n_features=3, device="cpu")
SPACE = {"a": xn.uniform(0, 1)}
LAYERS = {"layers": [xn.Linear(2)], "loss": "mean_squared_error", "n_features": 3}
OF_PARTS = {"network": NET, "train": PART, "dev": PART, "epochs": 1}
DEVICE = {"devices": ["cpu"], "batch_sizes": [8], "seconds": 0.01}
CALLS = {
    xn.Network: LAYERS | {"device": "cpu"},
    xn.Trainer: {"network": NET},
    xn.Trainer.fit: {"self": xn.Trainer(NET), "X": PART[0], "y": PART[1], "epochs": 1},
    xn.WeightAverage: {},
    xn.activation_scales: {"network": NET, "X": PART[0]},
    xn.gradient_scales: {"network": NET, "X": PART[0], "y": PART[1]},
    xn.check_gradients: {"function": NET.clone(), "X": PART[0], "y": PART[1]},
    xn.choose_l2: OF_PARTS | {"l2": (0,)},
    xn.learning_curve: OF_PARTS,
    xn.diagnose: {"train_error": 0.1, "dev_error": 0.1},
    xn.grid: {"space": SPACE, "n": 2},
    xn.int_uniform: {"low": 0, "high": 2},
    xn.log_uniform: {"low": 0.1, "high": 2},
    xn.one_minus_log_uniform: {"low": 0.1, "high": 0.2},
    xn.partition: {"X": PART[0], "y": PART[1]},
    xn.profile: {"network": NET} | DEVICE,
    xn.random_draws: {"space": SPACE, "n": 2},
    xn.uniform: {"low": 0, "high": 2},
}


def wrong_calls():
    for call, needed in CALLS.items():
        for parameter in inspect.signature(call).parameters.values():
            words = {*re.findall(r"\w+", str(parameter.annotation))}
            kinds = "float int bool Numbers Network Optimizer Data Backend"
            known = words & {*kinds.split()}
            if not known or "Callable" in words:
                continue
            for value in ("a", None, True, float("nan"), [1]):
                taken = (value is None and "None" in words) or (value is True and "bool" in words)
                if not (taken or (value == [1] and words & {"Sequence", "Numbers"})):
                    yield pytest.param(
                        partial(call, **needed | {parameter.name: value}),
                        parameter.name,
                        id=f"{call.__name__}-{parameter.name}-{value!r}",
                    )


@pytest.mark.parametrize(("call", "name"), list(wrong_calls()))
def test_a_call_s_argument_that_is_none_is_refused_by_name(call, name):
    with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b.* (is|are) .*: .*give "):
        call()


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, marks=pytest.mark.slow if call is xn.profile else ())
        for call in CALLS
        if call is not xn.check_gradients
    ],
    ids=lambda call: call.__name__,
)
def test_the_calls_are_right_otherwise(call):
    call(**CALLS[call])


def test_numpy_s_numbers_are_numbers():
    assert check_number(np.float32(0.5), "x") == 0.5
    assert check_number(np.int64(3), "x") == 3
    assert check_count(np.int8(3), "x") == 3
    assert check_flag(np.bool_(True), "x") is True
    assert xn.Dropout(np.float32(0.25)).config() == {"type": "Dropout", "p": 0.25}


def network(*layers, loss="softmax_cross_entropy", **options):
    return xn.Network(layers or [xn.Linear(2)], loss=loss, n_features=3, device="cpu", **options)


X, Y = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60) % 2


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda: xn.Trainer(None), "network is None: give a Network"),
        (lambda: xn.Trainer(network(), l2=True), "l2 is True: give a number"),
        (lambda: xn.profile(None), "network is None: give a Network"),
        (
            lambda: xn.Network(None, loss="mean_squared_error", n_features=3),
            r"layers is None: give a list such as \[Linear",
        ),
        (
            lambda: network(xn.Linear(2), "relu"),
            r"'relu' is not a layer: give one such as ReLU\(\)",
        ),
        (lambda: network(xn.Linear(2), xn.ReLU), "is not a layer: did you mean to call it"),
        (
            lambda: xn.Trainer(network()).fit(X, Y, batch_size=None),
            "batch_size is None: give a whole number, or 'auto'",
        ),
        (
            lambda: xn.Trainer(network()).fit(X, Y, shuffle="no"),
            "shuffle is 'no': give True or False",
        ),
        (
            lambda: network(loss="sigmoid_cross_entropy").predict(X * 1e39),
            r"X has \d+ values that are too large for float32, in columns 0 .*: scale them, or",
        ),
        (
            lambda: network(xn.Linear(1), loss="mean_squared_error").evaluate(X, Y * 1e39),
            r"y has values up to 1e\+39, too large for float32",
        ),
        (
            lambda: network(xn.Linear(1)).evaluate(X, Y),
            r"with 1 outputs needs labels 0 to 0: give Linear\(2\), or loss=.sigmoid",
        ),
        (
            lambda: network(xn.Linear(1), loss="sigmoid_cross_entropy").evaluate(X, Y.astype(str)),
            r"needs numbers: numpy.unique\(y, return_inverse=True\)\[1\]",
        ),
        (
            lambda: network(xn.Linear(1), loss="mean_squared_error").evaluate(X, Y.astype(str)),
            r"needs numbers; if they are numbers, as y\.astype\(float\)",
        ),
        (
            lambda: network(xn.Linear(1)).evaluate(X, np.arange(60) % 5),
            r"labels 0 to 0: numpy.unique\(.*\)\[1\], and an output for each class",
        ),
        (
            lambda: xn.partition(X, Y + 0.5, stratify=True),
            "y holds fractions: to stratify give labels of classes, or stratify=False",
        ),
    ],
)
def test_the_message_says_what_to_do(what, message):
    with pytest.raises((TypeError, ValueError), match=message):
        what()


def test_values_that_are_not_finite_are_not_told_to_be_too_large():
    x = X * 1e39
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="values that are NaN or infinite"):
        network().predict(x)


def test_whole_labels_as_floats_may_stratify():
    parts = xn.partition(X, Y * 1.0, stratify=True)
    assert [round(y.mean(), 1) for _, y in parts] == [0.5] * 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["array", "sparse", "file"])
def test_values_too_large_are_told_as_such_wherever_they_are(kind, tmp_path):
    large = X * 1e39
    if kind == "sparse":
        large = sparse.csr_array(large)
    elif kind == "file":
        np.save(tmp_path / "X.npy", large)
        large = np.load(tmp_path / "X.npy", mmap_mode="r")
    with pytest.raises(ValueError, match=r"too large for float32.*: scale them"):
        network().predict(large)
    assert np.isfinite(network(dtype="float64").predict(large)).all()


@pytest.mark.filterwarnings("error")
def test_nobody_is_warned_of_the_batch_size_that_he_did_not_choose():
    xn.Trainer(network()).fit(X, Y, epochs=1)
    with pytest.raises(UserWarning, match="batch_size is 64 and there are 60 examples"):
        xn.Trainer(network()).fit(X, Y, epochs=1, batch_size=64)
