"""The table of activations: each row by itself, and what is made from all of them."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from emulator import stand_in, why_no_compiler
from parity import ACTIVATION_SPECS
from strict import StrictBackend

import xpnet as xn
from xpnet.backends.activations import (
    IDENTITY,
    NO_OPTION,
    ROWS,
    Mask,
    Row,
    activation_work,
    specify,
)
from xpnet.backends.reference import Kernels
from xpnet.backends.select import why_not_compiled
from xpnet.nn import activations
from xpnet.nn.activations import ACTIVATIONS, Elementwise
from xpnet.nn.initializers import Initializer, resolve

ROOT = Path(__file__).parents[2]

each_spec = pytest.mark.parametrize("spec", ACTIVATION_SPECS, ids=lambda spec: spec.name)


def slope(spec, z):
    """Return f(z) and f'(z), as the reference computes them."""
    kernels, y, dy = Kernels(np), np.empty_like(z), np.ones_like(z)
    kernels.activation(spec, z, y)
    kept = y if spec.row.derivative_from == "output" else z
    kernels.activation_backward(spec, kept, dy)
    return y, dy


@each_spec
def test_the_derivative_is_that_of_the_function(spec):
    z = np.linspace(-12, 12, 4000) + 1e-3
    step = 1e-5
    (above, _), (below, _), (_, dy) = (slope(spec, z + d) for d in (step, -step, 0))
    np.testing.assert_allclose(dy, (above - below) / (2 * step), rtol=0, atol=1e-8)


@each_spec
def test_float32_is_float64_rounded(spec):
    z = np.linspace(-30, 30, 4001)
    for found, expected in zip(slope(spec, z.astype("float32")), slope(spec, z), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_spec
def test_nothing_overflows(spec, dtype):
    half = float(np.finfo(dtype).max) / 2
    z = np.array([0.0, -0.0, 20, -20, 100, -100, 1e4, -1e4, 1e30, -1e30, half, -half], dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        y, dy = slope(spec, z)
    assert np.isfinite(y).all()
    assert np.isfinite(dy).all()
    assert np.abs(dy).max() < 2


@each_spec
def test_nan_stays_nan(spec):
    with np.errstate(all="ignore"):
        y, _ = slope(spec, np.array([np.nan, 1.0]))
    assert np.isnan(y).tolist() == [True, False]


@pytest.mark.parametrize(("name", "expected"), [("relu", 0), ("leaky_relu", 0.01), ("elu", 1)])
def test_the_derivative_at_the_kink(name, expected):
    np.testing.assert_array_equal(slope(specify(name), np.zeros(1))[1], [expected])


@each_spec
def test_dropout_scales_the_gradient(spec):
    kernels, kept = Kernels(np), np.linspace(-1, 1, 8).reshape(2, 4)
    gradients = []
    for mask in (None, Mask(np.zeros(1, np.uint64), 3, 32768)):
        gradients.append(np.ones_like(kept))
        kernels.activation_backward(type(spec)(spec.name, spec.option, mask), kept, gradients[-1])
    np.testing.assert_allclose(gradients[1], 2 * gradients[0])


def test_a_row_that_fuses_dropout_has_no_gradient_where_its_output_is_0():
    for name, row in ROWS.items():
        if row.fuses_dropout:
            assert row.derivative_from == "output"
            dy = np.ones(3)
            Kernels(np).activation_backward(specify(name), np.zeros(3), dy)
            assert not dy.any()


def test_programs_write_into_the_scratch_that_they_ask_for():
    made = []

    def room(name, dtype):
        made.append((name, dtype))
        return np.empty(5, dtype)

    spec = specify("gelu")
    work = activation_work(room, spec.forward, spec.backward)
    assert len(work.registers) == max(spec.forward.n_registers, spec.backward.n_registers)
    assert work.mask is None
    assert activation_work(room, specify("relu").backward).mask.dtype == bool
    assert len(set(made)) == len(made)


# -- bad input ----


def test_an_unknown_activation_names_the_known_ones():
    with pytest.raises(ValueError, match="activation is 'swish': give one of identity, relu, "):
        specify("swish")


@pytest.mark.parametrize(
    ("name", "has"), [("relu", "it has none"), ("elu", "it has alpha"), ("gelu", "it has none")]
)
def test_an_unknown_option_is_refused_by_its_name(name, has):
    with pytest.raises(TypeError, match=f"slope is no option of the activation {name}: {has}"):
        specify(name, slope=0.1)
    with pytest.raises(TypeError, match="slope"):
        ACTIVATIONS[name](slope=0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: xn.ELU(0.0), ValueError, "alpha is 0.0: give a finite number above 0"),
        (lambda: xn.ELU(np.inf), ValueError, "alpha is inf"),
        (lambda: xn.ELU("1"), TypeError, "alpha is '1': give a number"),
        (lambda: xn.LeakyReLU(1), ValueError, r"negative_slope is 1: give a number in \[0, 1\)"),
        (lambda: xn.GELU("erf"), ValueError, "approximate is 'erf': give 'none' or 'tanh'"),
        (lambda: xn.GELU(True), ValueError, "approximate is True"),
    ],
)
def test_an_option_out_of_range_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# -- what is made from the table ----


def test_every_row_is_a_layer_with_its_option():
    assert {*ACTIVATIONS} == {*ROWS} - {"identity"} | {"softmax"}
    for name, make in ACTIVATIONS.items():
        layer = make()
        if name == "softmax":
            continue
        assert layer.row is ROWS[name]
        assert layer.activation == specify(name)
        assert layer.keeps_output == (layer.row.derivative_from == "output")
        assert isinstance(resolve(layer.row.initializer), Initializer)
        assert getattr(xn, type(layer).__name__) is type(layer)
        if layer.row.option is not NO_OPTION:
            assert getattr(layer, layer.row.option.name) == layer.row.option.default


def test_a_layer_says_its_formula_and_source():
    for kind in Elementwise.__subclasses__():
        if kind.__module__ == activations.__name__:
            assert len(inspect.getdoc(kind)) > 30


def readme_rows():
    """Return the rows of the README's table of activations, cell by cell."""
    text = ROOT.joinpath("README.md").read_text("utf-8")
    table = re.search(r"^\| activation \|.*?\n\n", text, re.DOTALL | re.MULTILINE)[0]
    lines = table.strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_readme_has_the_table():
    expected = []
    for name, make in ACTIVATIONS.items():
        if name in ROWS:
            row = ROWS[name]
            options = "" if row.option is NO_OPTION else f"`{row.option.name}={row.option.default}`"
            approximate = "(approximate='tanh')" if name == "gelu_tanh" else ""
            layer = f"{type(make()).__name__}{approximate}"
            expected.append([f"`{name}`", f"`{layer}`", row.formula, options, row.source])
    assert readme_rows() == expected


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "reference"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_warm_step_allocates_nothing(name, fused):
    if fused and why_no_compiler() is not None:
        pytest.skip(f"emulation: {why_no_compiler()}")
    device = stand_in() if fused else StrictBackend()
    made = []
    for layers in ([], [ACTIVATIONS[name](), xn.BatchNorm(), ACTIVATIONS[name]()]):
        net = xn.Network(
            [xn.Linear(4), *layers, xn.Linear(2)],
            loss="mean_squared_error",
            n_features=3,
            device=device,
        )
        x, y = net.prepare(np.ones((6, 3)), np.ones((6, 2)))
        trainer = xn.Trainer(net)
        for _ in range(3):
            before = device.allocations, device.uploads, device.hidden_copies
            trainer.step(x, y)
        after = device.allocations, device.uploads, device.hidden_copies
        made.append(np.subtract(after, before).tolist())
    assert made[0] == made[1]  # the loss that it returns, with or without an activation


# -- machine code on disk ----

KEPT = """
from xpnet.backends import numba_loops, numba_rows
import numpy as np
from xpnet.backends.select import select
loop = numba_rows.for_activation(numba_loops.bias_activation_backward, "relu")
total = np.zeros((1, 2))
loop(np.ones((3, 2)), np.ones((3, 2)), 0.0, 1.0, total)
print(*total[0], sum(loop.stats.cache_hits.values()), sum(loop.stats.cache_misses.values()))
"""

CHANGED = """
import dataclasses
from xpnet.backends import activations
row = activations.ROWS["relu"]
activations.ROWS["relu"] = dataclasses.replace(row, dy="dy = where(y > 0, 2 * dy, 0)")
"""


@pytest.mark.skipif(why_not_compiled() is not None, reason=str(why_not_compiled()))
def test_functions_that_differ_are_linked_by_names_that_differ():
    """Numba 0.68.1 links code from the disk by name: findings/numba_cache_links_by_name.sh."""
    from xpnet.backends.numba_rows import scalar_function

    sources = [f"def f(x):\n    return {factor} * x" for factor in (1, 2, 2)]
    one, two, again = (scalar_function("f", source).py_func.__qualname__ for source in sources)
    assert one != two == again


@pytest.mark.slow
@pytest.mark.skipif(why_not_compiled() is not None, reason=str(why_not_compiled()))
def test_machine_code_is_kept_and_never_that_of_another_expression(tmp_path):
    def run(code):
        environment = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert run(KEPT) == ["3.0", "3.0", "0", "1"]
    assert run(KEPT) == ["3.0", "3.0", "1", "0"]
    assert run(CHANGED + KEPT) == ["6.0", "6.0", "0", "1"]
    assert run(KEPT) == ["3.0", "3.0", "1", "0"]


def test_a_row_is_enough():
    """A new row's functions come with it, on the reference at least."""
    square = Row(
        name="square",
        y="y = z * z",
        dy="dy = dy * (2 * z)",
        derivative_from="input",
        formula="z²",
        source="",
    )
    z, y, dy = np.array([1.0, -3.0]), np.empty(2), np.ones(2)
    square.forward.program(option=0.0).run(np, None, {"z": z, "y": y}, ())
    square.backward.program(option=0.0).run(np, None, {"z": z, "dy": dy}, [np.empty(2)])
    assert (y.tolist(), dy.tolist()) == ([1.0, 9.0], [2.0, -6.0])
    assert IDENTITY.row is ROWS["identity"]
