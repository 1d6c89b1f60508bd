"""The same kernel on two backends: arguments for each one, in each way there is to call it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from xpnet.backends.activations import (
    IDENTITY,
    ROWS,
    ActivationSpec,
    ChangingMask,
    Mask,
    specify,
)
from xpnet.backends.cuda.rows import UPDATE_ROWS
from xpnet.backends.dense_stack import ACTIVATION, BATCH_NORM, PRODUCT, DenseStep, tabulate
from xpnet.backends.output_losses import OUTPUT_LOSSES
from xpnet.backends.piecewise_work import PiecewiseWork
from xpnet.backends.reference import Kernels, dropout_work
from xpnet.backends.updates import UPDATES
from xpnet.backends.work import CategoryWork, ColumnWork, DropoutWork, SoftmaxBuffers

#: Relative to the largest number in an array, in units of the type's precision.
ULPS = 200

#: A value of each option that is not its default.
OPTIONS = {
    "leaky_relu": {"negative_slope": 0.1},
    "elu": {"alpha": 1.5},
    "smooth_clip": {"limit": 1.5},
}

#: Every row of the table, in its order.
ACTIVATION_SPECS = [IDENTITY, *(specify(name, **OPTIONS.get(name, {})) for name in [*ROWS][1:])]
RELU = specify("relu")
#: ReLU and the dropout behind it, whose salt takes 64 bits.
MASKED = [
    ActivationSpec("relu", mask=mask)
    for mask in (Mask(np.array([7], np.uint64), 2**64 - 5, p) for p in (0, 20_000, 65535))
]
#: The same whose threshold lies in an array, as one that changes from step to step: of one network.
CHANGING = ActivationSpec(
    "relu", mask=ChangingMask(np.array([7], np.uint64), 2**64 - 5, np.array([20_000], np.int32))
)


def replaced(backend):
    """Return the names of the kernels that a backend has in place of the reference's."""
    kind = type(backend.kernels)
    names = (n for n in dir(Kernels) if not n.startswith("_") and callable(getattr(Kernels, n)))
    return [n for n in names if getattr(kind, n) is not getattr(Kernels, n)]


class Draw:
    """Draws the arrays of a case: n examples, m features in, k out."""

    def __init__(self, n, m, k, dtype, seed=0):
        self.n, self.m, self.k, self.dtype = n, m, k, np.dtype(dtype)
        self._rng = np.random.default_rng(seed)

    def __call__(self, *shape):
        return self._rng.standard_normal(shape).astype(self.dtype)

    def positive(self, *shape):
        return (self._rng.random(shape) + 0.1).astype(self.dtype)

    def output(self, *shape):
        """As from an activation: many are exactly zero."""
        return np.where(self(*shape) < -0.5, 0, self(*shape)).astype(self.dtype)

    def whole(self, limit, *shape, dtype=np.int32):
        return self._rng.integers(0, limit, shape).astype(dtype)

    def empty(self, *shape):
        return np.full(shape, np.nan, self.dtype)


def loss_work(d):
    return SoftmaxBuffers(
        dz=None,
        loss=None,
        row=d.empty(d.n, 1),
        other=d.empty(d.n, 1),
        terms=d.empty(d.n, d.m),
        hot=np.empty((d.n, d.m), bool),
        classes=np.arange(d.m, dtype=np.int32),
        registers=[d.empty(d.n, d.m) for _ in range(3)],
        mask=np.empty((d.n, d.m), bool),
    )


def before(d, activation, width):
    """Return where an activation's input is kept, if its derivative is computed from that."""
    wants_input = activation.row.derivative_from == "input"
    return d.empty(d.n, width) if wants_input else None


def batch_norm(d, activation):
    rows = {name: d.empty(1, d.m) for name in ("mean", "variance", "inverse_deviation")}
    x = d(d.n, d.m)
    return {
        "x": x,
        "gamma": d(1, d.m),
        "beta": d(1, d.m),
        "eps": 1e-3,
        **rows,
        "x_hat": d.empty(d.n, d.m),
        "out": d.empty(d.n, d.m),
        "activation": activation,
        "z": before(d, activation, d.m),
    }


def batch_norm_backward(d, activation):
    return {
        "dy": d(d.n, d.m),
        "kept": d.output(d.n, d.m),
        "x_hat": d(d.n, d.m),
        "gamma": d(1, d.m),
        "inverse_deviation": d.positive(1, d.m),
        "d_gamma": d.empty(1, d.m),
        "d_beta": d.empty(1, d.m),
        "row": d.empty(1, d.m),
        "dx": d.empty(d.n, d.m),
        "activation": activation,
    }


def batch_norm_inference(d, activation):
    return {
        "x": d(d.n, d.m),
        "gamma": d(1, d.m),
        "beta": d(1, d.m),
        "eps": 1e-3,
        "mean": d(1, d.m),
        "variance": d.positive(1, d.m),
        "row": d.empty(1, d.m),
        "out": d.empty(d.n, d.m),
        "activation": activation,
    }


def activation(d, activation, *leading_shape):
    shape = *leading_shape, d.n, d.m
    return {"activation": activation, "z": d(*shape), "out": d.empty(*shape)}


def linear(d, activation):
    return {
        "x": d(d.n, d.m),
        "weight_t": d(d.k, d.m).T,
        "bias": d(1, d.k),
        "out": d.empty(d.n, d.k),
        "activation": activation,
        "z": before(d, activation, d.k),
    }


def linear_backward(d, activation):
    return {
        "dy": d(d.n, d.k),
        "kept": d.output(d.n, d.k),
        "x": d(d.n, d.m),
        "weight": d(d.k, d.m),
        "d_weight": d.empty(d.k, d.m),
        "d_bias": d.empty(1, d.k),
        "dx": d.empty(d.n, d.m),
        "activation": activation,
    }


def gather(d, count=None, order=None, arrays=3):
    """Return arguments that take `count` rows from the third place of an order on."""
    count = d.k if count is None else count
    order = d.whole(d.n, count + 4, dtype=np.int64) if order is None else order
    work = SimpleNamespace(counting=np.arange(count + 1), places=np.empty(count + 1, np.int64))
    work.chosen = work.places.copy()
    integers = d.whole(9, d.n, dtype=np.int32), np.zeros(count, np.int32)
    pairs = [(d(d.n, d.m), d.empty(count, d.m)), integers, (d(d.n, 1), d.empty(count, 1))]
    pairs.append((d(d.n, 2), d.empty(count, 2)))
    return {"order": order, "start": np.array([2]), "work": work, "pairs": pairs[:arrays]}


def scalar_table(d, width, cursor, changing=0):
    """Return tables of three rows, and where to copy one to."""
    return SimpleNamespace(
        cursor=np.array([cursor]),
        scalars=d(3, width),
        row=d.empty(1, width),
        keys=d.whole(2**63, 3, 1, dtype=np.uint64),
        key=np.zeros((1, 1), np.uint64),
        starts=d.whole(9, 3, 1, dtype=np.int64),
        start=np.zeros((1, 1), np.int64),
        thresholds=d.whole(65536, 3, changing) if changing else None,
        threshold=np.zeros((1, changing), np.int32) if changing else None,
    )


def softmax(d):
    return {"z": 3 * d(d.n, d.m), "row": d.empty(d.n, 1), "out": d.empty(d.n, d.m)}


def dropout(d, threshold):
    def room(name, width, dtype=None):
        return d.empty(d.n, width) if dtype is None else np.empty((d.n, width), dtype)

    counters = d.whole(2**63, d.n, -(-d.m // 4), dtype=np.uint64)
    return {
        "x": d(d.n, d.m),
        "key": d.whole(2**63, 1, dtype=np.uint64),
        "threshold": threshold,
        "work": dropout_work(d.m, counters, room),
        "out": d.empty(d.n, d.m),
    }


#: What stands for no category, of however many.
ODD_CODES = (np.nan, np.inf, -np.inf, 1e30, -1e30, -1.0, 0.5, -0.5, 1e9 + 0.5, 2.0**62)


def coded(d):
    """Return two columns of codes, not in their order, or one where there is one alone."""
    return ((d.m - 1, d.k), (0, 3)) if d.m > 1 else ((0, d.k),)


def with_codes(d, *leading_shape):
    """Return an input whose columns of codes also hold what stands for no category."""
    x = d(*leading_shape, d.n, d.m)
    for column, size in coded(d):
        x[..., column] = d.whole(size + 3, *leading_shape, d.n) - 1.0
        odd = [*ODD_CODES, size, size - 0.5, -0.0][: d.n // 2]
        x[..., : len(odd), column] = odd
    return x


def category_work(d, n_dims, *leading_shape):
    def rows(name, width, dtype=None):
        return np.zeros((*leading_shape, d.n, width), dtype or d.dtype)

    return CategoryWork(coded(d), d.m, n_dims, d.dtype, rows, lambda name, value: value)


def one_hot(d, *leading_shape):
    width = d.m + sum(size - 1 for _, size in coded(d))
    return {
        "x": with_codes(d, *leading_shape),
        "work": category_work(d, 0, *leading_shape),
        "out": d.empty(*leading_shape, d.n, width),
    }


def tables(d, n_dims, *leading_shape):
    return *leading_shape, sum(size for _, size in coded(d)), n_dims


def embedding(d, n_dims, *leading_shape):
    return {
        "x": with_codes(d, *leading_shape),
        "weight": d(*tables(d, n_dims, *leading_shape)),
        "work": category_work(d, n_dims, *leading_shape),
        "out": d.empty(*leading_shape, d.n, d.m + (n_dims - 1) * len(coded(d))),
    }


def embedding_backward(d, n_dims, *leading_shape):
    return {
        "dy": d(*leading_shape, d.n, d.m + (n_dims - 1) * len(coded(d))),
        "x": with_codes(d, *leading_shape),
        "work": category_work(d, n_dims, *leading_shape),
        "d_weight": d.empty(*tables(d, n_dims, *leading_shape)),
    }


def edged(d):
    """Return two columns with edges of k bins and of one, not in their order, or the first one."""
    edges = tuple((np.linspace(-1.3, 1.3, d.k + 1) ** 3).tolist())
    columns = ((d.m - 1, edges), (0, (-0.5, 0.25)))
    return columns if d.m > 1 else columns[:1]


def with_places(d, *leading_shape):
    """Return an input of which some numbers are edges, and some lie far from them."""
    x = d(*leading_shape, d.n, d.m)
    for column, edges in edged(d):
        odd = np.array([*edges[-9:], edges[0], 50.0, -50.0], d.dtype)[: d.n // 2]
        x[..., : len(odd), column] = odd
    return x


def piecewise_work(d, n_dims, *leading_shape, linear=True, **options):
    def rows(name, width, dtype=None):
        return np.zeros((*leading_shape, d.n, width), dtype or d.dtype)

    columns, edges = zip(*edged(d), strict=True)
    rooms = {"rows": rows, "row": lambda name, width: d.empty(*leading_shape, 1, width)}
    rooms["constant"] = lambda name, value: value
    kind = {"n_dims": n_dims, "dtype": d.dtype, "linear": linear}
    return PiecewiseWork(columns=columns, n_inputs=d.m, edges=edges, **kind, **rooms, **options)


def piecewise_encoding(d, *leading_shape, **options):
    work = piecewise_work(d, 0, *leading_shape, **options)
    width = work.n_others + sum(len(edges) - 1 for edges in work.edges)
    return {
        "x": with_places(d, *leading_shape),
        "work": work,
        "out": d.empty(*leading_shape, d.n, width),
    }


def piecewise_encoding_backward(d, *leading_shape, **options):
    given = piecewise_encoding(d, *leading_shape, **options)
    return {
        "dy": d(*given["out"].shape),
        "x": given["x"],
        "work": given["work"],
        "dx": d.empty(*given["x"].shape),
    }


def piecewise_parameters(work, draw, *leading_shape):
    """Return what draws a bin's weights, a column's biases, and its linear terms if it has some."""
    bins = sum(len(edges) - 1 for edges in work.edges)
    shapes = {"weight": bins, "bias": len(work.columns), "linear": len(work.columns)}
    found = {k: draw(*leading_shape, rows, work.n_dims) for k, rows in shapes.items()}
    return found if work.linear else found | {"linear": None}


def piecewise_embedding(d, n_dims, *leading_shape, **options):
    work = piecewise_work(d, n_dims, *leading_shape, **options)
    width = work.n_others + n_dims * len(work.columns)
    return {
        "x": with_places(d, *leading_shape),
        **piecewise_parameters(work, d, *leading_shape),
        "work": work,
        "out": d.empty(*leading_shape, d.n, width),
    }


def piecewise_embedding_backward(d, n_dims, *leading_shape, needs_dx=True, **options):
    given = piecewise_embedding(d, n_dims, *leading_shape, **options)
    out, work, x = given.pop("out"), given["work"], given["x"]
    gradients = piecewise_parameters(work, d.empty, *leading_shape)
    return {
        "dy": d(*out.shape),
        "kept": d.output(*out.shape),
        **given,
        **{f"d_{name}": gradient for name, gradient in gradients.items()},
        "dx": d.empty(*x.shape) if needs_dx else None,
    }


def column_work(d, *leading_shape):
    """Return the work of the last column and the first one, where there are two."""

    def rows(name, width, dtype=None):
        return np.zeros((*leading_shape, d.n, width), dtype or d.dtype)

    columns = (d.m - 1, 0) if d.m > 1 else (0,)
    return ColumnWork(columns, d.m, rows, lambda name, value: value)


def periodic(d, phases=False, trains=True, *leading_shape):
    work = column_work(d, *leading_shape)
    c = len(work.columns)
    each, rows = (*leading_shape, c, d.k), (*leading_shape, c * d.n)
    out = d.empty(*rows, d.k if phases else 2 * d.k)
    return {
        "x": d(*leading_shape, d.n, d.m),
        "frequencies": d(*each),
        "phases": d(*each) if phases else None,
        "work": work,
        "scaled": d.empty(*each),
        "values": d.empty(*rows, 1),
        "angle": d.empty(*rows, d.k) if trains else out,
        "out": out,
    }


def periodic_backward(d, phases=False, d_values=False, *leading_shape):
    c = len(column_work(d).columns)
    each, rows = (*leading_shape, c, d.k), (*leading_shape, c * d.n)
    width = d.k if phases else 2 * d.k
    return {
        "dy": d(*rows, width),
        "y": d(*rows, width),
        "angle": d(*rows, d.k),
        "values": d(*rows, 1),
        "frequencies": d(*each),
        "scaled": d.empty(*each),
        "d_frequencies": d.empty(*each),
        "d_phases": d.empty(*each) if phases else None,
        "d_values": d.empty(*rows, 1) if d_values else None,
    }


def place_blocks(d, beside=0, *leading_shape):
    work = column_work(d, *leading_shape)
    c = len(work.columns)
    return {
        "x": d(*leading_shape, d.n, d.m),
        "values": d(*leading_shape, c * d.n, 1),
        "rows": d(*leading_shape, c * d.n, d.k),
        "work": work,
        "out": d.empty(*leading_shape, d.n, work.n_others + c * (d.k + beside)),
    }


def member_affine(d, activation=IDENTITY, bias=True, shared=False, members=3):
    rows = members * d.n
    return {
        "x": d(d.n if shared else rows, d.m),
        "scale": d(members, d.m),
        "bias": d(members, d.m) if bias else None,
        "out": d.empty(rows, d.m),
        "activation": activation,
        "z": d.empty(rows, d.m) if activation.row.derivative_from == "input" else None,
    }


def member_affine_backward(d, activation=IDENTITY, bias=True, dx="dy", members=3):
    """Return arguments whose dx is dy, is given by all members, or is not wanted."""
    rows = members * d.n
    dy, x = d(rows, d.m), d(d.n if dx == "shared" else rows, d.m)
    return {
        "dy": dy,
        "kept": d.output(rows, d.m),
        "x": x,
        "scale": d(members, d.m),
        "d_scale": d.empty(members, d.m),
        "d_bias": d.empty(members, d.m) if bias else None,
        "dx": {"dy": dy, "shared": d.empty(d.n, d.m), None: None}[dx],
        "scratch": x if dx == "dy" else d.empty(rows, d.m),
        "activation": activation,
    }


def in_place(arguments, given, written):
    """Return arguments of which one array is written over another."""
    return arguments | {written: arguments[given]}


def softmax_cross_entropy(d, example_weight):
    return {
        "z": 3 * d(d.n, d.m),
        "y": d.whole(d.m, d.n),
        "example_weight": example_weight,
        "work": loss_work(d),
        "dz": d.empty(d.n, d.m),
        "loss": d.empty(),
    }


#: Options of the losses of one output, and what draws outputs and targets.
LOSS_OPTIONS = {"squared_error": (0.5,), "huber": (0.7,), "quantile": (0.3,)}


def output_loss(d, row, example_weight):
    z, y = 3 * d(d.n, d.m), d(d.n, d.m)
    if row.name == "sigmoid_cross_entropy":
        z[0, 0], y = 200.0, d.whole(2, d.n, d.m, dtype=d.dtype)
    if row.name == "poisson":
        z, y = z / 3, d.whole(4, d.n, d.m, dtype=d.dtype)
    options = {"row": row, "options": LOSS_OPTIONS.get(row.name, ())}
    return softmax_cross_entropy(d, example_weight) | options | {"z": z, "y": y}


def squared_error(d, example_weight):
    return output_loss(d, OUTPUT_LOSSES["squared_error"], example_weight)


def normalize_weights(d, weights):
    names = ("total", "safe", "decay")
    work = SimpleNamespace(
        example_weight=d.empty(d.n, 1), **{name: d.empty(1, 1) for name in names}
    )
    return {"weights": weights, "l2": 0.3, "work": work}


#: Options of the updates.
FACTORED = [row for row in UPDATE_ROWS.values() if row.factors]
UPDATE_OPTIONS = {"momentum": 0.9, "beta": 0.9, "beta_1": 0.9, "beta_2": 0.99, "eps": 1e-3}


def update(d, row, decays=False, leading_shape=()):
    shape = *leading_shape, d.m * d.k
    return {
        "row": row,
        "p": d.positive(*shape),
        "g": d.positive(*shape),
        "moments": [d.positive(*shape) for _ in row.moments],
        "scalars": [np.array([0.01 + 0.3 * i], d.dtype) for i in range(len(row.scalars) + decays)],
        "options": tuple(UPDATE_OPTIONS[name] for name in row.options),
        "scratch": [d.empty(*shape) for _ in range(row.n_registers)],
        "n_decayed": -(-d.m * d.k * 2 // 3) if decays else 0,
        "factors": [d.positive(d.m * d.k) for _ in row.factors],
    }


def observe(d):
    work = SimpleNamespace(
        total=np.array(3.0), steps=np.array(2.0), term=np.array(0.0), finite=np.array(True)
    )
    return {"loss": np.array(0.5, d.dtype), "n": d.n, "work": work}


#: What holds arrays that a kernel works in.
WORK = (SimpleNamespace, SoftmaxBuffers, DropoutWork)


#: For each kernel that something replaces: its arguments, in each way there is to call it.
def dense_stack(d, *layers, lead=()):
    """Return a stack that begins with d.m features; a layer is a width, "norm" or an activation."""
    steps, width, at, of_statistics = [], d.m, 0, 0
    for layer in layers:
        if isinstance(layer, ActivationSpec):
            steps.append((DenseStep(ACTIVATION, width, activation=layer), ()))
        elif layer == "norm":
            places = at, at + width, of_statistics, of_statistics + width
            steps.append((DenseStep(BATCH_NORM, width, eps=1e-3), places))
            at, of_statistics = at + 2 * width, of_statistics + 2 * width
        else:
            has_bias = layer != d.k
            places = (at, at + width * layer)[: 1 + has_bias]
            steps.append((DenseStep(PRODUCT, layer), places))
            at, width = at + (width + has_bias) * layer, layer
    return {
        "x": d(d.n, d.m),
        "parameters": d(*lead, at),
        "statistics": d.positive(*lead, of_statistics),
        "stack": tabulate(d.m, steps),
        "out": d.empty(*lead, d.n, width),
    }


#: Widths of layers with a bias are other ones than k, of those without k itself.
STACKS = [
    *([11, spec, 3] for spec in ACTIVATION_SPECS),
    [17, "norm", RELU, 200, RELU],
    ["norm", 10],
    [RELU, 9],
    ["norm"],
]

CASES = {
    "dense_stack": [
        *(lambda d, stack=stack: dense_stack(d, *stack) for stack in STACKS),
        lambda d: dense_stack(d, d.k, RELU, d.k),
    ],
    "sum_examples": [lambda d: {"x": d(d.n, d.m), "out": d.empty(1, d.m)}],
    "sum_features": [lambda d: {"x": d(d.n, d.m), "out": d.empty(d.n, 1)}],
    "max_features": [lambda d: {"x": d(d.n, d.m), "out": d.empty(d.n, 1)}],
    "product": [
        lambda d: {"x": d(d.n, d.m), "weight_t": d(d.k, d.m).T, "out": d.empty(d.n, d.k)},
        lambda d: {"x": d(2, d.n, d.m), "weight_t": d(2, d.m, d.k), "out": d.empty(2, d.n, d.k)},
    ],
    "weight_gradient": [
        lambda d: {"dy": d(d.n, d.k), "x": d(d.n, d.m), "out": d.empty(d.k, d.m)},
        lambda d: {"dy": d(2, d.n, d.k), "x": d(2, d.n, d.m), "out": d.empty(2, d.k, d.m)},
    ],
    "input_gradient": [
        lambda d: {"dy": d(d.n, d.k), "weight": d(d.k, d.m), "out": d.empty(d.n, d.m)},
        lambda d: {"dy": d(2, d.n, d.k), "weight": d(2, d.k, d.m), "out": d.empty(2, d.n, d.m)},
    ],
    "gather": [lambda d, n=n: gather(d, arrays=n) for n in (1, 2, 3, 4)],
    "advance": [
        lambda d, width=width, cursor=cursor: {"scalar_table": scalar_table(d, width, cursor)}
        for width, cursor in ((1, 0), (2, 1), (300, 2))
    ]
    + [
        lambda d, changing=changing: {"scalar_table": scalar_table(d, 2, 2, changing)}
        for changing in (1, 300)
    ],
    "linear": [
        *(lambda d, c=c: linear(d, c) for c in [*ACTIVATION_SPECS, *MASKED, CHANGING]),
        lambda d: linear(d, specify("gelu")) | {"z": None},
        lambda d: linear(d, IDENTITY) | {"bias": None},
    ],
    "linear_backward": [
        *(lambda d, c=c: linear_backward(d, c) for c in [*ACTIVATION_SPECS, *MASKED, CHANGING]),
        lambda d: linear_backward(d, RELU) | {"dx": None},
        lambda d: linear_backward(d, RELU) | {"d_bias": None},
    ],
    "activation": [
        *(lambda d, c=c: in_place(activation(d, c), "z", "out") for c in ACTIVATION_SPECS + MASKED),
        *(lambda d, c=c: activation(d, c, 2) for c in ACTIVATION_SPECS + MASKED),
        lambda d: activation(d, CHANGING),
    ],
    "activation_backward": [
        lambda d, c=c, shape=shape: {
            "activation": c,
            "kept": d.output(*shape, d.n, d.m),
            "dy": d(*shape, d.n, d.m),
        }
        for c in ACTIVATION_SPECS + MASKED
        for shape in ((), (2,))
    ]
    + [
        lambda d: {"activation": CHANGING, "kept": d.output(d.n, d.m), "dy": d(d.n, d.m)},
    ],
    "softmax": [softmax, lambda d: in_place(softmax(d), "z", "out")],
    "batch_norm": [
        *(lambda d, c=c: batch_norm(d, c) for c in [*ACTIVATION_SPECS, *MASKED, CHANGING]),
        lambda d: in_place(batch_norm(d, RELU), "x", "x_hat"),
    ],
    "batch_norm_backward": [
        lambda d, c=c: batch_norm_backward(d, c) for c in [*ACTIVATION_SPECS, *MASKED, CHANGING]
    ],
    "batch_norm_inference": [
        *(lambda d, c=c: batch_norm_inference(d, c) for c in ACTIVATION_SPECS),
        lambda d: in_place(batch_norm_inference(d, RELU), "x", "out"),
    ],
    "running_average": [
        lambda d: {
            "average": d(1, d.m),
            "value": d(1, d.m),
            "scale": 1.5,
            "fraction": 0.1,
            "row": d.empty(1, d.m),
        }
    ],
    "dropout": [
        *(lambda d, p=p: dropout(d, p) for p in (0, 20_000, 65535)),
        lambda d: dropout(d, np.array([20_000], np.int32)),
        lambda d: in_place(dropout(d, 20_000), "x", "out"),
    ],
    "one_hot": [one_hot, lambda d: one_hot(d, 2)],
    "embedding": [
        *(lambda d, dims=dims: embedding(d, dims) for dims in (1, 5, 40)),
        lambda d: embedding(d, 3, 2),
    ],
    "embedding_backward": [
        *(lambda d, dims=dims: embedding_backward(d, dims) for dims in (1, 5, 40)),
        lambda d: embedding_backward(d, 3, 2),
    ],
    "piecewise_encoding": [
        piecewise_encoding,
        lambda d: piecewise_encoding(d, clamp=True),
        lambda d: piecewise_encoding(d, 2),
    ],
    "piecewise_encoding_backward": [
        piecewise_encoding_backward,
        lambda d: piecewise_encoding_backward(d, clamp=True),
        lambda d: piecewise_encoding_backward(d, 2),
    ],
    "piecewise_embedding": [
        *(lambda d, dims=dims: piecewise_embedding(d, dims) for dims in (1, 5, 40)),
        lambda d: piecewise_embedding(d, 3, linear=False, clamp=True),
        lambda d: piecewise_embedding(d, 3, 2, relu=True),
    ],
    "piecewise_embedding_backward": [
        *(lambda d, dims=dims: piecewise_embedding_backward(d, dims) for dims in (1, 5, 40)),
        lambda d: piecewise_embedding_backward(d, 3, linear=False, clamp=True),
        lambda d: piecewise_embedding_backward(d, 3, 2, relu=True),
        lambda d: piecewise_embedding_backward(d, 3, needs_dx=False),
    ],
    "member_affine": [
        *(lambda d, a=a: member_affine(d, a) for a in [*ACTIVATION_SPECS, *MASKED, CHANGING]),
        lambda d: member_affine(d, shared=True),
        lambda d: member_affine(d, bias=False),
        lambda d: member_affine(d, RELU, bias=False, shared=True, members=1),
        lambda d: in_place(member_affine(d, RELU), "x", "out"),
    ],
    "member_affine_backward": [
        *(
            lambda d, a=a: member_affine_backward(d, a)
            for a in [*ACTIVATION_SPECS, *MASKED, CHANGING]
        ),
        lambda d: member_affine_backward(d, bias=False),
        lambda d: member_affine_backward(d, bias=False, dx="shared"),
        lambda d: member_affine_backward(d, bias=False, dx=None),
        lambda d: member_affine_backward(d, RELU, bias=False, dx="shared", members=1),
        lambda d: member_affine_backward(d, RELU, dx="shared", members=40),
    ],
    "periodic": [
        periodic,
        lambda d: periodic(d, True),
        lambda d: periodic(d, True, False),
        lambda d: periodic(d, False, True, 2),
    ],
    "periodic_backward": [
        lambda d, phases=phases, d_values=d_values: periodic_backward(d, phases, d_values)
        for phases in (False, True)
        for d_values in (False, True)
    ],
    "place_blocks": [place_blocks, lambda d: place_blocks(d, 1), lambda d: place_blocks(d, 1, 2)],
    "softmax_cross_entropy": [
        lambda d: softmax_cross_entropy(d, 1 / d.n),
        lambda d: softmax_cross_entropy(d, d.positive(d.n, 1)),
        lambda d: softmax_cross_entropy(d, 1 / d.n) | {"y": d.whole(3, d.n) * d.m - d.m // 2},
        lambda d: softmax_cross_entropy(d, d.positive(d.n, 1)) | {"smoothing": 0.2},
    ],
    "output_loss": [
        lambda d, row=row, weigh=weigh: output_loss(d, row, weigh(d))
        for row in OUTPUT_LOSSES.values()
        for weigh in (lambda d: 1 / d.n, lambda d: d.positive(d.n, 1))
    ],
    "normalize_weights": [
        lambda d: normalize_weights(d, d.positive(d.n, 1)),
        lambda d: normalize_weights(d, np.zeros((d.n, 1), d.dtype)),
    ],
    "add_decay": [
        lambda d: {"g": d(d.m), "p": d(d.m), "factor": 0.3, "scratch": d.empty(d.m)},
        lambda d: {"g": d(d.m), "p": d(d.m), "factor": d(1), "scratch": d.empty(d.m)},
        lambda d: {"g": d(2, d.m), "p": d(2, d.m), "factor": 0.3, "scratch": d.empty(2, d.m)},
    ],
    "clip_norm": [
        lambda d, limit=limit, leading_shape=leading_shape: {
            "g": d(*leading_shape, d.m * d.k),
            "limit": limit,
            "norm": d.empty(*leading_shape, 2),
            "scratch": d.empty(*leading_shape, d.m * d.k),
        }
        for limit in (0.5, 1e6)
        for leading_shape in ((), (2,))
    ],
    "update": [
        *(lambda d, row=row: update(d, row) for row in UPDATES.values()),
        *(lambda d, row=row: update(d, row, True) for row in UPDATES.values()),
        lambda d: update(d, UPDATES["adam"], False, (3,)),
        lambda d: update(d, UPDATES["lion"], True, (3,)),
        *(lambda d, row=row: update(d, row) for row in FACTORED),
    ],
    "put_back": [
        lambda d, frozen=frozen: {
            "array": d(3, d.m),
            "copy": d(3, d.m),
            "frozen": np.array(frozen).reshape(3, 1),
        }
        for frozen in ([True, False, True], [False] * 3, [True] * 3)
    ],
    "observe": [
        lambda d: observe(d),
        lambda d: observe(d) | {"loss": np.array(np.nan, d.dtype)},
    ],
}


# -- several networks at once: each has what a case draws from a seed of its own ----

#: What lies in a flat buffer of each member's, with more between one and the next than itself.
IN_FLAT_BUFFERS = {"weight_t", "weight", "bias", "gamma", "beta", "average", "counters"}
IN_FLAT_BUFFERS |= {"d_weight", "d_bias", "d_gamma", "d_beta", "scale", "d_scale"}
IN_FLAT_BUFFERS |= {"linear", "d_linear", "frequencies", "phases", "d_frequencies", "d_phases"}


def alone(case, d, k, shared=()):
    """Return the arguments of k networks, each for a call of its own; some are the first one's."""
    each = [vary(case(Draw(d.n, d.m, d.k, d.dtype, seed)), seed) for seed in range(k)]
    return [arguments | {name: each[0][name] for name in shared} for arguments in each]


def vary(arguments, i):
    """Return arguments with numbers of member i's own, where it may have some."""
    spec = arguments.get("activation")
    if spec is not None and spec.mask is not None:
        key, salt, threshold = spec.mask
        more = np.minimum(threshold + 999 * i, 65535).astype(np.int32)
        threshold = more if isinstance(spec.mask, ChangingMask) else int(more)
        mask = type(spec.mask)(key + np.uint64(i), (salt + 77 * i) % 2**64, threshold)
        arguments = arguments | {"activation": spec.masked(mask)}
    if "scalars" in arguments:
        own = [scalar * (1 + i / 8) for scalar in arguments["scalars"]]
        arguments = arguments | {"scalars": [s.astype(arguments["p"].dtype) for s in own]}
    return arguments


def members(case, shared=(), k=3):
    """Return a case of one call for k networks."""
    return lambda d: together(alone(case, d, k, shared), shared)


def together(each, shared=()):
    """Return the arguments of one call from those of a call for each network."""
    first, found = each[0], {}
    for name, value in first.items():
        twin = next((n for n in found if value is first[n] and isinstance(value, np.ndarray)), None)
        values = [arguments[name] for arguments in each]
        found[name] = found[twin] if twin else value if name in shared else join(name, values)
    return found


def join(name, values):
    """Return what stands in one call for some argument of each network's."""
    first = values[0]
    if isinstance(first, ActivationSpec) and first.mask is not None:
        keys, salts, thresholds = zip(*(value.mask for value in values), strict=True)
        own = keys, np.array(salts, np.uint64), np.array(thresholds, np.int32)
        kind = type(first.mask)
        return first.masked(kind(*(np.reshape(part, (-1, 1, 1)) for part in own)))
    if isinstance(first, CategoryWork | ColumnWork):
        names = ("rows", "row") if isinstance(first, PiecewiseWork) else ("rows",)
        rooms = {n: lambda *a, n=n: np.stack([getattr(v, n)(*a) for v in values]) for n in names}
        return replace(first, **rooms)
    if isinstance(first, WORK):
        fields = {key: [vars(value)[key] for value in values] for key in vars(first)}
        joined = {key: v[0] if key == "classes" else join(key, v) for key, v in fields.items()}
        if "lanes" in joined:
            joined["lanes"] = joined["bits"].view(np.uint16)[..., : first.lanes.shape[-1]]
        return type(first)(**joined)
    if isinstance(first, list):
        return [join("", list(column)) for column in zip(*values, strict=True)]
    if not isinstance(first, np.ndarray):
        return first
    if name in ("key", "smoothing"):
        return np.reshape(values, (-1, 1, 1))
    return apart(values) if name in IN_FLAT_BUFFERS else np.stack(values)


def apart(values):
    """Return arrays as one, with something else between them; each lies as it does alone."""
    turned = values[0].flags.f_contiguous and not values[0].flags.c_contiguous
    rows = np.stack([value.T if turned else value for value in values])
    size = rows[0].size
    flat = np.zeros((len(values), size + 3), rows.dtype)
    flat[:, :size] = rows.reshape(len(values), size)
    return of_members(flat, rows.swapaxes(1, 2) if turned else rows)


def of_members(flat, like):
    """Return a view of members' buffers that lies as ``like`` does, but for what is between."""
    turned = like.ndim == 3 and like.strides[1] < like.strides[2]
    shape = like.swapaxes(1, 2).shape if turned else like.shape
    view = flat[:, : like[0].size].reshape(*shape)
    return view.swapaxes(1, 2) if turned else view


def gather_members(d, k=2):
    """Return arguments of members with an order each, of arrays that they share or don't."""
    arguments = gather(d)
    order = d.whole(d.n, k, d.k + 4, dtype=np.int64)
    work = SimpleNamespace(**vars(arguments["work"]))
    work.chosen = np.empty(k * (d.k + 1), np.int64)
    pairs = [(rows, np.stack([out] * k)) for rows, out in arguments["pairs"]]
    pairs += [(np.stack([rows, rows[::-1]]), out.copy()) for rows, out in pairs[:2]]
    return arguments | {"order": order, "work": work, "pairs": pairs}


def broadcast(case):
    """Return a case whose members see the same input, which lies there once."""

    def arguments(d):
        found = members(case, ("x",))(d)
        return found | {"x": np.broadcast_to(found["x"], (3, *found["x"].shape))}

    return arguments


def own_options(d, row, decays=False):
    """Return arguments of an update whose members have an option each, and others in common."""
    arguments = members(lambda d: update(d, row, decays), ("factors",))(d)
    own = np.array([[0.9], [0.5], [0.0]])
    options = tuple(own if i != 1 else option for i, option in enumerate(arguments["options"]))
    registers = row.registers_for(options)
    scratch = [np.empty_like(arguments["g"]) for _ in range(registers)]
    return arguments | {"options": options, "scratch": scratch}


#: Activations that are tried with members.
FEW = [IDENTITY, RELU, specify("gelu"), *MASKED[1:], CHANGING]

#: For each kernel: cases, and which arguments members share.
TOGETHER = {
    "sum_examples": [(CASES["sum_examples"][0], ())],
    "sum_features": [(CASES["sum_features"][0], ())],
    "max_features": [(CASES["max_features"][0], ())],
    "product": [(CASES["product"][0], shared) for shared in ((), ("x",))],
    "weight_gradient": [(CASES["weight_gradient"][0], shared) for shared in ((), ("x",))],
    "input_gradient": [(CASES["input_gradient"][0], ())],
    "linear": [
        *((lambda d, c=c: linear(d, c), ()) for c in FEW),
        (lambda d: linear(d, RELU), ("x",)),
        (lambda d: linear(d, IDENTITY) | {"bias": None}, ()),
    ],
    "member_affine": [
        *((lambda d, c=c: member_affine(d, c), ()) for c in FEW),
        (lambda d: member_affine(d, bias=False, shared=True), ()),
    ],
    "member_affine_backward": [
        *((lambda d, c=c: member_affine_backward(d, c), ()) for c in FEW),
        (lambda d: member_affine_backward(d, bias=False, dx="shared"), ()),
        (lambda d: member_affine_backward(d, bias=False, dx=None), ()),
    ],
    "linear_backward": [
        *((lambda d, c=c: linear_backward(d, c), ()) for c in FEW),
        (lambda d: linear_backward(d, RELU) | {"dx": None}, ("x",)),
        (lambda d: linear_backward(d, RELU) | {"d_bias": None}, ()),
    ],
    "activation": [(lambda d, c=c: activation(d, c), ()) for c in FEW],
    "activation_backward": [
        (lambda d, c=c: {"activation": c, "kept": d.output(d.n, d.m), "dy": d(d.n, d.m)}, ())
        for c in FEW
    ],
    "softmax": [(softmax, ())],
    "batch_norm": [
        *((lambda d, c=c: batch_norm(d, c), ()) for c in FEW),
        (lambda d: in_place(batch_norm(d, RELU), "x", "x_hat"), ()),
    ],
    "batch_norm_backward": [(lambda d, c=c: batch_norm_backward(d, c), ()) for c in FEW],
    "batch_norm_inference": [
        (lambda d: batch_norm_inference(d, RELU), ()),
        (lambda d: in_place(batch_norm_inference(d, RELU), "x", "out"), ()),
    ],
    "running_average": [(CASES["running_average"][0], ())],
    "dropout": [(lambda d: dropout(d, 20_000), ())],
    "one_hot": [(one_hot, ())],
    "embedding": [(lambda d: embedding(d, 5), ())],
    "embedding_backward": [(lambda d: embedding_backward(d, 5), ())],
    "periodic": [
        (periodic, ()),
        (lambda d: periodic(d, True), ()),
        (lambda d: periodic(d, True, False), ()),
    ],
    "periodic_backward": [
        (lambda d, phases=phases, d_values=d_values: periodic_backward(d, phases, d_values), ())
        for phases in (False, True)
        for d_values in (False, True)
    ],
    "place_blocks": [(place_blocks, ()), (lambda d: place_blocks(d, 1), ())],
    "piecewise_encoding": [(piecewise_encoding, ())],
    "piecewise_encoding_backward": [(piecewise_encoding_backward, ())],
    "piecewise_embedding": [
        (lambda d: piecewise_embedding(d, 5), ()),
        (lambda d: piecewise_embedding(d, 2, relu=True, linear=False), ()),
    ],
    "piecewise_embedding_backward": [
        (lambda d: piecewise_embedding_backward(d, 5), ()),
        (lambda d: piecewise_embedding_backward(d, 2, relu=True, linear=False), ()),
    ],
    "softmax_cross_entropy": [
        (lambda d: softmax_cross_entropy(d, 1 / d.n), ()),
        (lambda d: softmax_cross_entropy(d, 1 / d.n), ("y",)),
        (lambda d: softmax_cross_entropy(d, d.positive(d.n, 1)), ()),
        (
            lambda d: softmax_cross_entropy(d, d.positive(d.n, 1)) | {"smoothing": 0.2},
            ("y", "example_weight"),
        ),
    ],
    "output_loss": [
        (lambda d, row=row: output_loss(d, row, d.positive(d.n, 1)), shared)
        for row in OUTPUT_LOSSES.values()
        for shared in ((), ("y", "example_weight"))
    ],
    "normalize_weights": [(lambda d: normalize_weights(d, d.positive(d.n, 1)), ())],
    "add_decay": [
        (case, shared) for case in CASES["add_decay"][:2] for shared in ((), ("factor",))
    ],
    "clip_norm": [(case, ()) for case in CASES["clip_norm"][::2]],
    "update": [
        (lambda d, name=name, decays=decays: update(d, UPDATES[name], decays), shared)
        for name in ("sgd", "adam", "lion")
        for decays in (False, True)
        for shared in ((), ("scalars",))
    ]
    + [
        (lambda d, row=row: update(d, row), ("factors", *shared))
        for row in FACTORED
        if row.name == "decayed_adam_by_factors"
        for shared in ((), ("scalars",))
    ],
    "observe": [(observe, ())],
}

#: For each kernel: cases of one call for several networks that no call for one is like.
OF_MEMBERS = {
    "dense_stack": [
        lambda d, stack=stack: dense_stack(d, *stack, lead=(3,)) for stack in STACKS[-4:]
    ],
    "gather": [gather_members],
    "batch_norm": [broadcast(lambda d: batch_norm(d, RELU))],
    "batch_norm_inference": [broadcast(lambda d: batch_norm_inference(d, RELU))],
    "one_hot": [broadcast(one_hot)],
    "periodic": [broadcast(periodic)],
    "embedding": [broadcast(lambda d: embedding(d, 5))],
    "piecewise_encoding": [broadcast(piecewise_encoding)],
    "piecewise_embedding": [broadcast(lambda d: piecewise_embedding(d, 5))],
    "piecewise_embedding_backward": [broadcast(lambda d: piecewise_embedding_backward(d, 5))],
    "dropout": [
        broadcast(lambda d: dropout(d, 20_000)),
        lambda d: (
            members(lambda d: dropout(d, 0))(d)
            | {"threshold": np.array([0, 20_000, 65535], np.int32).reshape(3, 1, 1)}
        ),
    ],
    "softmax_cross_entropy": [
        lambda d: (
            members(lambda d: softmax_cross_entropy(d, 1 / d.n))(d)
            | {"smoothing": np.array([0.0, 0.1, 0.5]).reshape(3, 1, 1)}
        )
    ],
    "clip_norm": [
        lambda d: (
            members(CASES["clip_norm"][0])(d) | {"limit": np.array([[0.5], [1e-3], [1e6]], d.dtype)}
        )
    ],
    "add_decay": [  # of the weights, which are a part of the buffers
        lambda d, factor=factor: {
            "g": apart([d(d.m) for _ in range(3)]),
            "p": apart([d(d.m) for _ in range(3)]),
            "factor": factor,
            "scratch": apart([d(d.m) for _ in range(3)]),
        }
        for factor in (0.5, np.array([0.5], "f4"), np.array([[0.5], [0.0], [0.75]], "f4"))
    ],
    "update": [
        lambda d, name=name, decays=decays: own_options(d, UPDATES[name], decays)
        for name in ("adam", "nesterov", "rmsprop")
        for decays in (False, True)
    ]
    + [lambda d: own_options(d, UPDATES["adam"].with_factors(True))],
}


#: What of a kernel's work others read.
WRITTEN = {
    "work": ("mask", "total", "steps", "finite", "example_weight", "decay"),
    "scalar_table": ("cursor", "row", "key", "start", "threshold"),
}


def results(kernels, name, arguments):
    """Return what a kernel has written, by name of the array."""
    getattr(kernels, name)(**arguments)
    found = {k: v for k, v in arguments.items() if hasattr(v, "ndim")}
    for key, names in WRITTEN.items():
        work = arguments.get(key)
        if isinstance(work, SimpleNamespace | DropoutWork):
            found |= {k: v for k, v in vars(work).items() if k in names and v is not None}
    found |= {f"out {i}": out for i, (_, out) in enumerate(arguments.get("pairs", ()))}
    found |= {f"moment {i}": moment for i, moment in enumerate(arguments.get("moments", ()))}
    # What is used up may be left in any state.
    used_up = {
        "linear_backward": {"dy"},
        "batch_norm_backward": {"dy", "x_hat", "row"},
        "batch_norm_inference": {"row"},
        "running_average": {"row"},
        "softmax": {"row"},
        "clip_norm": {"norm"},
        "periodic": {"scaled", *(() if arguments.get("phases") is not None else ("angle",))},
        "periodic_backward": {"dy", "angle", "scaled"},
        "piecewise_encoding_backward": {"dy"},
        "piecewise_embedding_backward": {"dy"},
        "member_affine_backward": {
            "dx" if arguments.get("dx") is arguments.get("dy") else "dy",
            "x" if arguments.get("dx") is arguments.get("dy") else "scratch",
        },
    }.get(name, set()) | {"scratch"}
    return {k: v for k, v in found.items() if k not in used_up}


def all_on_device(backend, arguments):
    """Return arguments where the backend can take them; what is the same array stays so."""
    moved = {id(v): on_device(backend, v) for v in arguments.values()}
    return {k: moved[id(v)] for k, v in arguments.items()}


def on_device(backend, value):
    """Return an argument where the backend can take it."""
    if isinstance(value, CategoryWork | ColumnWork):
        names = ("rows", "row") if isinstance(value, PiecewiseWork) else ("rows",)
        rooms = {n: lambda *a, n=n: backend.asarray(getattr(value, n)(*a)) for n in names}
        return replace(value, constant=lambda name, array: backend.asarray(array), **rooms)
    if isinstance(value, WORK):
        return type(value)(**{k: on_device(backend, v) for k, v in vars(value).items()})
    if isinstance(value, ActivationSpec) and value.mask is not None:
        parts = (on_device(backend, part) for part in value.mask)
        return value.masked(type(value.mask)(*parts))
    if type(value) in (list, tuple):
        return type(value)(on_device(backend, each) for each in value)
    if isinstance(value, np.ndarray) and not backend.owns(value):
        if value.base is not None and value.base.shape == (len(value), value[0].size + 3):
            return of_members(backend.asarray(value.base), value)
        if value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous:
            return backend.asarray(value.T).T  # as it lies: a weight comes transposed
        return backend.asarray(value).reshape(value.shape)  # CuPy gives a scalar an axis
    return value


def compare(backend, name, case, shape, dtype):
    """Return how far a backend's kernel is from the reference: the largest difference of an array.

    In units of the precision of ``dtype``, relative to the array's largest number; what is no
    floating-point number has to be equal, and NaN is equal to NaN.

    Raises
    ------
    AssertionError
        If it is more than `ULPS`, or a result has another dtype.
    """
    ours = all_on_device(backend, case(Draw(*shape, dtype)))
    with np.errstate(all="ignore"):
        expected = results(Kernels(np), name, case(Draw(*shape, dtype)))
        with backend.active():
            found = results(backend.kernels, name, ours)
    furthest = 0.0
    for key, value in expected.items():
        actual = np.asarray(backend.to_host(found[key]))
        assert actual.dtype == value.dtype, f"{key} is {actual.dtype}, not {value.dtype}"
        unit = 0.0
        if value.dtype.kind == "f":
            largest = np.max(np.abs(value), initial=1.0, where=np.isfinite(value))
            unit = np.finfo(dtype).eps * largest
        np.testing.assert_allclose(actual, value, rtol=0, atol=ULPS * unit, err_msg=key)
        if unit and value.size:
            with np.errstate(invalid="ignore"):
                apart = np.abs(actual - value)
            largest_apart = np.max(apart, initial=0.0, where=np.isfinite(apart))
            furthest = max(furthest, float(largest_apart) / unit)
    return furthest
