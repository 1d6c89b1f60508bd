"""Affine layers of an ensemble's members, which share their weights or have their own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .._typing import NO_ARRAY, Array, HostArray
from ..backends.reference import Kernels
from ..checks import check_count, check_fields
from . import initializers
from .initializers import Initializer
from .layer import Allocator, Layer, LayerBuffers
from .linear import Linear


@dataclass
class EnsembleBuffers(LayerBuffers):
    """The buffers: x is the input, by reference; dx its gradient.

    ``scaled`` (k n, n_inputs) is X ∘ r and ``d_scaled`` its gradient, ``product`` (k n, n_outputs)
    its product with Wᵀ.
    """

    x: Array = NO_ARRAY
    dx: Array | None = None
    scaled: Array = NO_ARRAY
    d_scaled: Array = NO_ARRAY
    product: Array = NO_ARRAY


@dataclass(eq=False)
class EnsembleLinear(Layer[EnsembleBuffers]):
    """The affine layers of k members of an ensemble, which share their weights.

    Member k computes y = ((x ∘ r_k) Wᵀ) ∘ s_k + b_k: one W for all, and r_k, s_k and b_k of its own
    (BatchEnsemble; Wen, Tran & Ba, ICLR 2020, eq. 5). A network of such layers is TabM (Gorishniy,
    Kotelnikov & Babenko, ICLR 2025), whose last layer has a W_k for each member: ``shared=False``,
    y = x W_kᵀ + b_k.

    The first such layer of a network makes k rows of each example, one for each member; all layers
    behind it see a batch of k n rows, those of member 0 first. A plain `Linear` there is the same
    for all members. `BatchNorm` can't stand there: it would normalise members by each other's rows.

    The loss is the mean of the members' losses, never the loss of their mean. Predictions are of
    the average of their probabilities, or of their values in regression; `Network.member` gives one
    of them alone. ``Network(..., members=K)`` trains K such ensembles at once.

    The parameters are ``weight`` (n_outputs, n_inputs), or (k, n_outputs, n_inputs) if it is not
    shared, ``r`` (k, n_inputs), ``s`` and ``bias`` (k, n_outputs). Weight decay and L2 apply to the
    weights alone, as in BatchEnsemble's own training: towards 0 it would draw r and s away from the
    1 that they start from.

    Parameters
    ----------
    n_outputs : int
        Number of outputs.
    members : int
        How many members k there are, the same in all such layers of a network.
    shared : bool
        Whether they share W; False: each has its own, and no r and s.
    bias : bool
        Whether there is a b.
    init : str or Initializer
        The initial W, as for `Linear`, with zeros for b. "auto": as in TabM, both from
        U(−1/√m_in, 1/√m_in), b the same for all members that share W. Of the first layer r is −1 or
        1 with equal probability, which is what makes members differ; all else in r and s is 1.

    Raises
    ------
    TypeError, ValueError
        If n_outputs or members is no whole number or less than 1, or init is not known. Within a
        network: if its layers have not the same members, or batch norm stands behind them.

    Examples
    --------
    TabM with the paper's defaults, for three classes:

    >>> import xpnet as xn
    >>> blocks = [(xn.EnsembleLinear(512), xn.ReLU(), xn.Dropout(0.1)) for _ in range(3)]
    >>> layers = [layer for block in blocks for layer in block]
    >>> net = xn.Network([*layers, xn.EnsembleLinear(3, shared=False)], n_features=8,
    ...                  loss="softmax_cross_entropy", device="cpu")
    >>> trainer = xn.Trainer(net, xn.AdamW(0.002, weight_decay=0.0003))
    >>> X = np.zeros((5, 8))
    >>> net.predict_proba(X).shape, net.predict_proba(X, members=True).shape
    ((5, 3), (32, 5, 3))
    >>> {name: array.shape for name, array in net.state().items() if name[0] in "09"}
    {'0.weight': (512, 8), '0.r': (32, 8), '0.s': (32, 512), '0.bias': (32, 512), \
'9.weight': (32, 3, 512), '9.bias': (32, 3)}
    """

    proportional_to: ClassVar[tuple[str, ...]] = ("weight", "bias")

    n_outputs: int
    members: int = 32
    shared: bool = True
    bias: bool = True
    init: str | Initializer = "auto"

    #: Whether it is the first one, which makes a row for each member.
    expands: bool = field(init=False, repr=False, default=True)

    def __post_init__(self) -> None:
        self.n_outputs = check_count(self.n_outputs, "n_outputs")
        self.members = check_count(self.members, "members")
        check_fields(self)
        if not self._as_tabm:
            self.init = initializers.resolve(self.init)

    @property
    def _as_tabm(self) -> bool:
        return isinstance(self.init, str) and self.init == "auto"

    @property
    def suits(self) -> str | Initializer | None:
        """A linear layer right behind another one: Xavier."""
        return "xavier"

    @property
    def fuses_activation(self) -> bool:
        """It can where members share W and have a bias: in the pass that scales and shifts."""
        return self.shared and self.bias

    @property
    def expansion(self) -> int | None:
        """The first one makes a row for each member."""
        return self.members if self.expands else None

    def build(self, index: int, n_inputs: int, following: list[Layer]) -> int:
        """Learn the place in the network; return the number of outputs.

        Raises
        ------
        ValueError
            If a layer that follows has other members, or mixes examples.
        """
        super().build(index, n_inputs, following)
        for layer in following:
            if layer.mixes_examples:
                name = type(layer).__name__
                raise ValueError(
                    f"{name} behind EnsembleLinear would mix the members' rows: leave it out, or "
                    f"give it before the first EnsembleLinear"
                )
            if isinstance(layer, EnsembleLinear):
                if layer.members != self.members:
                    raise ValueError(
                        f"one EnsembleLinear has members={self.members} and one behind it "
                        f"members={layer.members}: give all of a network the same"
                    )
                layer.expands = False
        return self.n_outputs

    def alone(self, i: int) -> tuple[Layer, dict[str, Array]]:
        """Return a `Linear` layer with member i's W and b: s_k ∘ W ∘ r_k, where W is shared."""
        p = self.parameters
        weight = p["weight"]
        weight = weight * p["r"][i] * p["s"][i][:, None] if self.shared else weight[i]
        bias = {"bias": p["bias"][i]} if self.bias else {}
        return Linear(self.n_outputs, self.bias, self.init), {"weight": weight, **bias}

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of W, or of all W_k."""
        shape = self.n_outputs, self.n_inputs
        return {"weight": shape if self.shared else (self.members, *shape)}

    def other_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of r, s and b."""
        k = self.members
        shapes: dict[str, tuple[int, ...]] = {}
        if self.shared:
            shapes |= {"r": (k, self.n_inputs), "s": (k, self.n_outputs)}
        return shapes | ({"bias": (k, self.n_outputs)} if self.bias else {})

    def initial(self, name: str, generator: np.random.Generator) -> HostArray | float:
        """Return initial values; each array is drawn from a stream of its own."""
        k, m, n_outputs = self.members, self.n_inputs, self.n_outputs
        for_r, for_bias = generator.spawn(2)
        bound = 1.0 / math.sqrt(m)
        if name == "r" and self.expands:
            return 2.0 * for_r.integers(2, size=(k, m)) - 1.0
        if name in ("r", "s"):
            return 1.0
        if name == "bias":
            shape: tuple[int, ...] = (n_outputs,) if self.shared else (k, n_outputs)
            return for_bias.uniform(-bound, bound, shape) if self._as_tabm else 0.0
        if self._as_tabm:
            return generator.uniform(-bound, bound, self.weight_shapes()["weight"])
        init = initializers.resolve(self.init)
        if self.shared:
            return init.draw(generator, m, n_outputs)
        return np.stack([init.draw(generator, m, n_outputs) for _ in range(k)])

    def check_initial(self) -> None:
        """Raise an error if initial weights can't be drawn."""
        if not self._as_tabm:
            initializers.check_scale(self.init, self.n_inputs, self.n_outputs)

    def bind(self, kernels: Kernels) -> None:
        """Prepare the views that forward and backward use."""
        super().bind(kernels)
        p, g = self.parameters, self.gradients
        self._weight, self._d_weight = p["weight"], g["weight"]
        self._weight_t = self._weight.swapaxes(-1, -2)
        self._r, self._d_r = p.get("r", NO_ARRAY), g.get("r", NO_ARRAY)
        self._s, self._d_s = p.get("s", NO_ARRAY), g.get("s", NO_ARRAY)
        self._bias, self._d_bias = p.get("bias"), g.get("bias")

    def buffers(
        self, new: Allocator, x: Array | None, overwrite: bool, needs_dx: bool
    ) -> EnsembleBuffers:
        """Return y and what the way back needs; the input is kept by reference."""
        rows = new.times(self.expansion or 1).rows
        y, d_scaled = rows("y", self.n_outputs), rows("d_scaled", self.n_inputs)
        dx = new.rows("dx", self.n_inputs) if self.expands else d_scaled
        b = EnsembleBuffers(y=y, d_scaled=d_scaled, dx=dx if needs_dx else None)
        if self.shared:
            b.scaled, b.product = rows("scaled", self.n_inputs), rows("product", self.n_outputs)
        return b

    def inference_buffers(
        self, new: Allocator, x: Array | None, overwrite: bool
    ) -> EnsembleBuffers:
        """Return y, into which the product is written too, and X ∘ r."""
        rows = new.times(self.expansion or 1).rows
        b = EnsembleBuffers(y=rows("y", self.n_outputs))
        b.product = b.y
        if self.shared:
            b.scaled = rows("scaled", self.n_inputs)
        return b

    def forward(self, x: Array, b: EnsembleBuffers) -> Array:
        """f(((X ∘ r) Wᵀ) ∘ s + b), f what the network fused with the layer; or X W_kᵀ + b_k."""
        kernels = self.kernels
        b.x = x
        if not self.shared:
            kernels.member_linear(x, self._weight, self._bias, b.y)
            return b.y
        kernels.member_affine(x, self._r, None, b.scaled)
        kernels.product(b.scaled, self._weight_t, b.product)
        kernels.member_affine(b.product, self._s, self._bias, b.y, b.activation, b.z)
        return b.y

    def backward(self, dy: Array, b: EnsembleBuffers) -> Array | None:
        """δ = dy · f', ∂b = Σ δ, ∂s = Σ δ ∘ product, ∂W = (δ ∘ s)ᵀ (X ∘ r), ∂r = Σ ∂(X ∘ r) ∘ X.

        Where members share no weights, for each δᵀ X and δ W as in `Linear`.
        """
        kernels = self.kernels
        if not self.shared:
            gradients = self._d_weight, self._d_bias
            arrays = dy, dy, b.x, self._weight, *gradients, b.dx, b.d_scaled
            kernels.member_linear_backward(*arrays)
            return b.dx
        product = b.product
        kernels.member_affine_backward(
            dy, b.kept, product, self._s, self._d_s, self._d_bias, dy, product, b.activation
        )
        kernels.weight_gradient(dy, b.scaled, self._d_weight)
        kernels.input_gradient(dy, self._weight, b.d_scaled)
        kernels.member_affine_backward(
            b.d_scaled, b.d_scaled, b.x, self._r, self._d_r, None, b.dx, b.scaled
        )
        return b.dx
