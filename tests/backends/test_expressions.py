"""Scalar code: the same values as operations of an array namespace and as a Python function."""

import math

import numpy as np
import pytest
from scipy.special import erf

from xpnet.backends.expressions import FUNCTIONS, Code

N = 40

CODES = {
    "adam": Code(
        """
        v = beta_1 * v + (1 - beta_1) * g
        s = beta_2 * s + (1 - beta_2) * (g * g)
        p = p - rate * (v / (sqrt(s) * correction + epsilon))
        """,
        ("p", "g", "v", "s"),
        ("rate", "correction"),
        ("beta_1", "beta_2", "epsilon"),
    ),
    "a local name": Code(
        "c = b * v + (1 - b) * g\nv = v + g\np = p - rate * (sign(c) + d * p)",
        ("p", "g", "v"),
        ("rate",),
        ("b", "d"),
    ),
    "local names that outlive each other": Code(
        "a = g * g\nb = a + p\nc = a - b\np = a * b + c * g", ("p", "g")
    ),
    "the same value twice": Code("a = g\np = a * a + g", ("p", "g")),
    "a local name alone": Code("d = p - g\np = 1 * d\nv = d * d", ("p", "g", "v")),
    "a copy": Code("p = g", ("p", "g")),
    "a number": Code("p = 3", ("p",)),
    "where": Code("p = where(g >= o, p, o * p) - where(p < 0, 0, 1)", ("p", "g"), (), ("o",)),
    "where with zero": Code("p = where(g > 0, o * p, 0)", ("p", "g"), (), ("o",)),
    "nested": Code("p = where(g > 0, where(p > 0, p, g), where(p <= g, 1, p))", ("p", "g")),
    "least and largest": Code("p = maximum(p, g) * minimum(g, 0.1)", ("p", "g")),
    **{name: Code(f"p = {name}(g * g + 0.5) - g", ("p", "g")) for name in FUNCTIONS},
}


def as_function(code):
    """Return the Python function that Numba would compile."""
    names = {name: getattr(math, name) for name in FUNCTIONS if hasattr(math, name)}
    names["sign_of"] = lambda x: float(np.sign(x))
    exec(code.to_python("f"), names)
    return names["f"]


@pytest.mark.parametrize("name", CODES)
def test_operations_over_arrays_give_what_each_element_gives(name):
    code = CODES[name]
    draw = np.random.default_rng(1)
    options = {option: draw.uniform(0.1, 0.9) for option in code.options}
    scalars = {scalar: np.full(1, draw.uniform(0.1, 0.9)) for scalar in code.scalars}
    arrays = {array: draw.uniform(-1, 1, N) for array in code.arrays}
    if "s" in arrays:
        arrays["s"] = np.abs(arrays["s"])
    function = as_function(code)
    numbers = [*(float(s[0]) for s in scalars.values()), *options.values()]
    rows = np.transpose(list(arrays.values()))
    expected = np.transpose([np.ravel(function(*map(np.float64, row), *numbers)) for row in rows])
    program = code.program(**options)
    registers = [np.full(N, np.nan) for _ in range(program.n_registers)]
    program.run(np, erf, arrays | scalars, registers, np.empty(N, bool) if program.masks else None)
    for array, values in zip(code.written, expected, strict=True):
        np.testing.assert_allclose(arrays[array], values, rtol=1e-12, atol=1e-14, err_msg=array)


@pytest.mark.parametrize(
    "source",
    [
        "y = 1 / (1 + exp(-z))",
        "y = z / (1 + exp(-z))",
        "y = where(z > 0, z, expm1(z))",
        "y = z * tanh(log1p(exp(z)))",
    ],
)
def test_a_result_may_lie_where_the_input_lay(source):
    code = Code(source, ("z", "y"), in_place=True)
    z = np.random.default_rng(1).uniform(-2, 2, N)
    function = as_function(code)
    expected = [function(np.float64(value), np.float64(0)) for value in z]
    program = code.program()
    registers = [np.full(N, np.nan) for _ in range(program.n_registers)]
    program.run(np, erf, {"z": z, "y": z}, registers, np.empty(N, bool))
    np.testing.assert_allclose(z, expected, rtol=1e-12)


def test_a_program_takes_no_more_registers_than_it_must():
    adam = CODES["adam"].program(beta_1=0.9, beta_2=0.999, epsilon=1e-8)
    assert (adam.n_registers, adam.masks, len(adam.steps)) == (1, False, 13)
    assert Code("y = 1 / (1 + exp(-z))", ("z", "y"), in_place=True).program().n_registers == 0
    assert Code("y = maximum(z, 0)", ("z", "y"), in_place=True).program().masks is False


def test_what_depends_on_options_alone_is_a_number_of_double_precision():
    code = CODES["adam"]
    assert "real((1.0 - beta_1))" in code.to_c()
    assert "real((1.0 - beta_2))" in code.to_python("f")
    steps = code.program(beta_1=0.9, beta_2=0.999, epsilon=1e-8).steps
    assert any((1 - 0.999) in step.operands for step in steps)


def test_a_factor_of_one_costs_nothing():
    assert len(CODES["where with zero"].program(o=1.0).steps) == 2
    assert len(CODES["where with zero"].program(o=2.0).steps) == 3


def test_what_stays_nan():
    code = Code("p = maximum(g, 0)\nq = minimum(g, 0)", ("g", "p", "q"))
    assert np.isnan(as_function(code)(math.nan, 0.0, 0.0)).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("p = p + q", "'q' is not known"),
        ("p = sin(p)", r"'sin\(p\)' is not known"),
        ("p = maximum(p)", "is not known"),
        ("p = p ** 2", "is not known"),
        ("p = True", "is not known"),
        ("p += 1", "not a line such as"),
        ("p", "not a line such as"),
        ("rate = p", "'rate' is given a value"),
    ],
)
def test_what_is_no_such_code_is_refused(source, message):
    with pytest.raises(SyntaxError, match=message):
        Code(source, ("p", "g"), ("rate",))


@pytest.mark.parametrize("options", [{}, {"b": 1.0}, {"b": 1.0, "d": 1.0, "e": 1.0}])
def test_a_program_wants_its_options(options):
    with pytest.raises(TypeError, match="missing or unknown"):
        CODES["a local name"].program(**options)
