"""What each kernel is timed on: a method of `Cases` makes the arguments of the kernel of its name.

With members, arrays have one axis more, but for a batch's labels.

A kernel is called on the same arrays many times, and some work in place. So each array is such
that this leaves ordinary numbers or zeros in it, never smaller and smaller ones: a CPU is slow at
denormal numbers.
"""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from xpnet.backends.activations import ActivationSpec
from xpnet.backends.dense_stack import ACTIVATION, PRODUCT, DenseStep, tabulate
from xpnet.backends.output_losses import OUTPUT_LOSSES
from xpnet.backends.piecewise_work import PiecewiseWork
from xpnet.backends.protocol import Backend
from xpnet.backends.reference import dropout_work
from xpnet.backends.updates import UPDATES
from xpnet.backends.work import CategoryWork, ColumnWork, SoftmaxBuffers
from xpnet.data.batches import GatherWorkspace
from xpnet.randomness import MULTIPLIER_1

#: Features of a layer, classes of the losses, and members that share weights.
FEATURES, CLASSES, MEMBERS = 128, 10, 8

#: The activation that is fused with the layers.
RELU = ActivationSpec("relu")

Arguments = tuple[Any, ...]


class Cases:
    """Makes arguments for n examples; the optimisers get as many parameters as a layer outputs."""

    def __init__(self, backend: Backend, n: int, dtype: str, members: int | None = None) -> None:
        self.backend, self.n, self.dtype = backend, n, dtype
        self.leading_shape = () if members is None else (members,)
        self.draw = np.random.default_rng(0)

    # -- arrays ----

    def normal(self, *shape: int) -> Any:
        """Return normal numbers."""
        return self.backend.asarray(self.draw.standard_normal(shape), self.dtype)

    def fill(self, value: float, *shape: int, dtype: Any = None) -> Any:
        """Return an array of one value."""
        return self.backend.xp.full(shape, value, dtype or self.dtype)

    def x(self, m: int = FEATURES) -> Any:
        """Return a batch (n, m)."""
        return self.normal(*self.leading_shape, self.n, m)

    def weight(self) -> Any:
        """Return a matrix of weights."""
        return self.normal(*self.leading_shape, FEATURES, FEATURES)

    def zeros(self, m: int = FEATURES, dtype: Any = None) -> Any:
        """Return zeros (n, m)."""
        return self.fill(0, *self.leading_shape, self.n, m, dtype=dtype)

    def row(self, value: float = 0.0) -> Any:
        """Return a row (1, m)."""
        return self.fill(value, *self.leading_shape, 1, FEATURES)

    def scalar(self, dtype: Any = None) -> Any:
        """Return an array of shape ()."""
        return self.backend.xp.zeros(self.leading_shape, dtype or self.dtype)

    # -- sums and data ----

    def sum_examples(self) -> Arguments:
        """Return its arguments, as each method below does."""
        return self.x(), self.row()

    def sum_features(self) -> Arguments:  # noqa: D102
        return self.x(CLASSES), self.zeros(1)

    max_features = sum_features

    def gather(self) -> Arguments:  # noqa: D102
        rows = self.normal(max(4 * self.n, 4096), FEATURES)
        order = self.backend.asarray(self.draw.permutation(len(rows)))
        work = GatherWorkspace(self.backend, self.n)
        labels = self.backend.asarray(self.draw.integers(0, 10, len(rows)), np.int32)
        pairs = [(labels, labels[: self.n].copy()), (rows, self.zeros())]
        return order, self.backend.asarray(np.array([self.n])), work, pairs

    def advance(self) -> Arguments:  # noqa: D102
        def table(rows: int, dtype: Any, width: int = 1) -> Any:
            return self.fill(1, rows, width, dtype=dtype)

        scalar_table = SimpleNamespace(
            cursor=self.fill(0, 1, dtype=np.int64), thresholds=None, threshold=None
        )
        for one, many, width, dtype in (
            ("row", "scalars", 2, self.dtype),
            ("key", "keys", 1, np.uint64),
            ("start", "starts", 1, np.int64),
        ):
            setattr(scalar_table, one, table(1, dtype, width))
            setattr(scalar_table, many, table(1024, dtype, width))
        return (scalar_table,)

    # -- layers ----

    def dense_stack(self) -> Arguments:
        """Return those of a hidden layer with a ReLU, and one of classes."""
        hidden, classes = FEATURES * (FEATURES + 1), CLASSES * (FEATURES + 1)
        steps = [
            (DenseStep(PRODUCT, FEATURES), (0, hidden - FEATURES)),
            (DenseStep(ACTIVATION, FEATURES, activation=RELU), ()),
            (DenseStep(PRODUCT, CLASSES), (hidden, hidden + classes - CLASSES)),
        ]
        parameters = self.normal(*self.leading_shape, hidden + classes)
        statistics = self.normal(*self.leading_shape, 0)
        x = self.normal(self.n, FEATURES)
        return x, parameters, statistics, tabulate(FEATURES, steps), self.zeros(CLASSES)

    def linear(self) -> Arguments:  # noqa: D102
        weight_t = self.weight().swapaxes(-1, -2)
        return self.x(), weight_t, self.row(1.0), self.zeros(), RELU

    def linear_backward(self) -> Arguments:  # noqa: D102
        weight, d_weight = self.weight(), self.weight()
        return self.x(), self.x(), self.x(), weight, d_weight, self.row(), self.zeros(), RELU

    def activation(self) -> Arguments:  # noqa: D102
        return RELU, self.x(), self.zeros()

    def activation_backward(self) -> Arguments:  # noqa: D102
        return RELU, self.x(), self.x()

    def product(self) -> Arguments:  # noqa: D102
        return self.x(), self.weight().swapaxes(-1, -2), self.zeros()

    def weight_gradient(self) -> Arguments:  # noqa: D102
        return self.x(), self.x(), self.weight()

    def input_gradient(self) -> Arguments:  # noqa: D102
        return self.x(1), self.row(1.0), self.zeros()

    def softmax(self) -> Arguments:  # noqa: D102
        return self.x(CLASSES), self.zeros(1), self.zeros(CLASSES)

    def softmax_backward(self) -> Arguments:  # noqa: D102
        y = self.zeros(CLASSES)
        y[..., 0] = 1.0
        return y, self.x(CLASSES), self.zeros(1), self.zeros(CLASSES)

    def batch_norm(self) -> Arguments:  # noqa: D102
        rows = self.row(), self.row(), self.row()
        return self.x(), self.row(1.0), self.row(), 1e-5, *rows, self.zeros(), self.zeros(), RELU

    def batch_norm_backward(self) -> Arguments:  # noqa: D102
        ones, rows = self.row(1.0), (self.row(), self.row(), self.row())
        return self.x(), self.x(), self.zeros(), ones, ones, *rows, self.zeros(), RELU

    def batch_norm_inference(self) -> Arguments:  # noqa: D102
        ones, rows = self.row(1.0), (self.row(), self.row())
        return self.x(), ones, self.row(), 1e-5, self.row(), ones, rows[0], self.zeros(), RELU

    def running_average(self) -> Arguments:  # noqa: D102
        return self.row(), self.row(1.0), 1.0, 0.1, self.row()

    def _dropout(self) -> SimpleNamespace:
        words = -(-FEATURES // 4)
        steps = np.arange(self.n * words, dtype=np.uint64).reshape(self.n, words)

        def room(name: str, width: int, dtype: Any = None) -> Any:
            return self.fill(1, *self.leading_shape, self.n, width, dtype=dtype)

        each = np.broadcast_to(steps, (*self.leading_shape, self.n, words))
        counters = self.backend.asarray(each * np.uint64(MULTIPLIER_1))
        return dropout_work(FEATURES, counters, room)

    def dropout(self) -> Arguments:  # noqa: D102
        key = self.fill(1, *(self.leading_shape and (*self.leading_shape, 1)), 1, dtype=np.uint64)
        return self.x(), key, 2**15, self._dropout(), self.zeros()

    def dropout_backward(self) -> Arguments:  # noqa: D102
        return self.x(), self._dropout()

    # -- categories: 16 numbers, and 4 columns of 20 categories, or 3 of 5,000 ----

    def _codes(self, count: int, size: int, n_dims: int) -> tuple[Any, CategoryWork]:
        """Return an input with columns of codes at its end, and what the kernels work with."""
        shape = *self.leading_shape, self.n
        x = self.draw.standard_normal((*shape, 16 + count))
        x[..., 16:] = self.draw.integers(0, size, (*shape, count))

        def rows(name: str, width: int, dtype: Any = None) -> Any:
            return self.zeros(width, dtype)

        def constant(name: str, value: Any) -> Any:
            return self.backend.asarray(value)

        coded = tuple((16 + j, size) for j in range(count))
        work = CategoryWork(coded, 16 + count, n_dims, np.dtype(self.dtype), rows, constant)
        return self.backend.asarray(x, self.dtype), work

    def one_hot(self) -> Arguments:  # noqa: D102
        return *self._codes(4, 20, 0), self.zeros(16 + 4 * 20)

    def embedding(self) -> Arguments:  # noqa: D102
        x, work = self._codes(3, 5000, 8)
        return x, self.table(), work, self.zeros(16 + 3 * 8)

    def table(self) -> Any:
        """Return the embeddings of 3 columns."""
        return self.normal(*self.leading_shape, 3 * 5000, 8)

    def embedding_backward(self) -> Arguments:  # noqa: D102
        return self.x(16 + 3 * 8), *self._codes(3, 5000, 8), self.table()

    # -- places among bins: 10 numbers with 16 bins each, beside 6 without ----

    def _places(self, n_dims: int) -> tuple[Any, PiecewiseWork]:
        """Return an input, and what the kernels work with."""

        def rows(name: str, width: int, dtype: Any = None) -> Any:
            return self.zeros(width, dtype)

        work = PiecewiseWork(
            columns=tuple(range(10)),
            n_inputs=16,
            rows=rows,
            constant=lambda name, value: self.backend.asarray(value),
            edges=10 * (tuple(np.linspace(-2, 2, 17).tolist()),),
            n_dims=n_dims,
            dtype=np.dtype(self.dtype),
            row=lambda name, width: self.fill(0, *self.leading_shape, 1, width),
            linear=True,
        )
        return self.x(16), work

    def _parameters(self) -> tuple[Any, Any, Any]:
        """Return weights of each bin, and a bias and a linear term of each column."""
        shape = self.leading_shape
        return (
            self.normal(*shape, 160, 12),
            self.normal(*shape, 10, 12),
            self.normal(*shape, 10, 12),
        )

    def piecewise_encoding(self) -> Arguments:  # noqa: D102
        return *self._places(0), self.zeros(6 + 160)

    def piecewise_encoding_backward(self) -> Arguments:  # noqa: D102
        return self.zeros(6 + 160), *self._places(0), self.zeros(16)

    def piecewise_embedding(self) -> Arguments:  # noqa: D102
        x, work = self._places(12)
        return x, *self._parameters(), work, self.zeros(6 + 120)

    def piecewise_embedding_backward(self) -> Arguments:
        """Return those of a first layer, whose input needs no gradient."""
        x, work = self._places(12)
        parameters, gradients = self._parameters(), self._parameters()
        dy, kept = self.x(6 + 120), self.zeros(6 + 120)
        return dy, kept, x, *parameters, work, *gradients, None

    # -- columns of numbers: 8 of 16, 24 waves of each, and as many outputs ----

    def _columns(self) -> ColumnWork:
        def rows(name: str, width: int, dtype: Any = None) -> Any:
            return self.zeros(width, dtype)

        return ColumnWork(
            tuple(range(8)), 16, rows, lambda name, value: self.backend.asarray(value)
        )

    def _rows(self, width: int) -> Any:
        """Return a row for each of these columns of each example."""
        return self.normal(*self.leading_shape, 8 * self.n, width)

    def _waves(self) -> Any:
        return self.normal(*self.leading_shape, 8, 24)

    def periodic(self) -> Arguments:  # noqa: D102
        scratch = self._waves(), self._rows(1), self._rows(24), self._rows(48)
        return self.x(16), self._waves(), None, self._columns(), *scratch

    def periodic_backward(self) -> Arguments:  # noqa: D102
        dy, ones = self._rows(48), self.fill(1, *self.leading_shape, 8 * self.n, 48)
        return (
            dy,
            ones,
            self._rows(24),
            self._rows(1),
            self._waves(),
            self._waves(),
            self._waves(),
            None,
            None,
        )

    def place_blocks(self) -> Arguments:  # noqa: D102
        arrays = self._rows(1), self._rows(24), self._columns()
        return self.x(16), *arrays, self.zeros(8 + 8 * 24)

    # -- members that share weights ----

    def _members(self) -> tuple[Any, Any, Any]:
        """Return the rows of all members, and a scale and a bias for each."""
        rows, one = self.normal(MEMBERS * self.n, FEATURES), self.fill(1, MEMBERS, FEATURES)
        return rows, one, self.normal(MEMBERS, FEATURES)

    def member_affine(self) -> Arguments:  # noqa: D102
        x, scale, bias = self._members()
        return x, scale, bias, self.backend.xp.zeros_like(x), RELU

    def member_affine_backward(self) -> Arguments:  # noqa: D102
        dy, scale, bias = self._members()
        xp, x = self.backend.xp, self.normal(MEMBERS * self.n, FEATURES)
        kept, sums = xp.maximum(x, 0), (xp.zeros_like(scale), xp.zeros_like(bias))
        return dy, kept, x, scale, *sums, dy, xp.zeros_like(x), RELU

    # -- losses ----

    def _loss_buffers(self) -> SoftmaxBuffers:
        classes = np.arange(CLASSES, dtype=np.int32)
        return SoftmaxBuffers(
            dz=self.zeros(CLASSES),
            loss=self.scalar(),
            terms=self.zeros(CLASSES),
            row=self.zeros(1),
            other=self.zeros(1),
            classes=self.backend.asarray(classes),
            hot=self.zeros(CLASSES, np.bool_),
            registers=[self.zeros(CLASSES) for _ in range(3)],
            mask=self.zeros(CLASSES, np.bool_),
        )

    def softmax_cross_entropy(self) -> Arguments:  # noqa: D102
        labels = self.backend.asarray(self.draw.integers(0, CLASSES, self.n), np.int32)
        b = self._loss_buffers()
        return self.x(CLASSES), labels, 1.0 / self.n, b, b.dz, b.loss

    def output_loss(self) -> Arguments:
        """Return those of sigmoid cross-entropy."""
        row, y, b = (
            OUTPUT_LOSSES["sigmoid_cross_entropy"],
            self.zeros(CLASSES) + 1,
            self._loss_buffers(),
        )
        return row, self.x(CLASSES), y, 1.0 / self.n, (), b, b.dz, b.loss

    def normalize_weights(self) -> Arguments:  # noqa: D102
        one = *self.leading_shape, 1, 1
        work = {name: self.fill(0, *one) for name in ("total", "safe", "decay")}
        return self.zeros(1) + 1, 0.1, SimpleNamespace(example_weight=self.zeros(1), **work)

    # -- optimisers ----

    def _flat(self) -> Any:
        return self.normal(*self.leading_shape, self.n * FEATURES)

    def add_decay(self) -> Arguments:  # noqa: D102
        return self._flat(), self._flat(), 1e-12, self._flat()

    def clip_norm(self) -> Arguments:  # noqa: D102
        return self._flat(), 1e9, self.fill(0, *self.leading_shape, 2), self._flat()

    def put_back(self) -> Arguments:
        """Return those of one frozen member."""
        k = math.prod(self.leading_shape)
        array, copy = (self.normal(k, self.n * FEATURES) for _ in range(2))
        return array, copy, self.backend.asarray(np.arange(k)[:, None] == 0)

    def update(self) -> Arguments:
        """Return Adam's."""
        moments = [self._flat() ** 2 + 1 for _ in range(2)]
        scalars = [self.fill(1e-12, 1), self.fill(math.sqrt(1000), 1)]
        options = 0.9, 0.999, 1e-8
        p, g, scratch = self._flat(), self._flat(), [self._flat()]
        return UPDATES["adam"], p, g, moments, scalars, options, scratch

    def observe(self) -> Arguments:  # noqa: D102
        totals = {name: self.scalar(np.float64) for name in ("total", "steps", "term")}
        work = SimpleNamespace(finite=self.scalar(np.bool_), **totals)
        return self.scalar(), self.n, work
