"""The same small cases run by PyTorch and by xpnet, and the golden files between them.

A case is a frozen description with three functions: ``inputs(seed)`` draws arrays, ``by_torch`` and
``by_xpnet`` turn them into results by the same names. Only ``by_torch`` needs PyTorch. What it says
of `SEED`'s inputs is kept, inputs and all, in ``golden/``, a file for each family of cases, so that
xpnet is held to PyTorch where there is none; ``golden/make.py`` writes the files.

All cases are in float64. Arrays are (examples, features), weights (outputs, inputs), in both.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.backends.protocol import Backend
from xpnet.nn.activations import ACTIVATIONS, Elementwise
from xpnet.nn.loss import Loss
from xpnet.nn.losses import (
    Huber,
    PoissonDeviance,
    Quantile,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    resolve,
)

Arrays = dict[str, np.ndarray]

GOLDEN = Path(__file__).parent / "golden"

#: The golden files' inputs are drawn from this.
SEED = 2022

#: Why PyTorch can't be asked; None if it can.
NO_TORCH = None if importlib.util.find_spec("torch") else "PyTorch is not installed"


# -- helpers on xpnet's side ----


def on_host(backend: Backend, array: Any) -> np.ndarray:
    """Return a copy on the host: the network's own buffers are written over by its next step."""
    return np.array(backend.to_host(array))


def gradients(net: xn.Network) -> Arrays:
    """Return the gradients on the host, by the parameters' names."""
    return {
        f"{layer.index}.{name}": on_host(net.backend, array)
        for layer in net.layers
        for name, array in layer.gradients.items()
    }


def draw_state(net: xn.Network, seed: int, scale: float = 1.0) -> Arrays:
    """Return random values for all parameters, biases too, and for running statistics."""
    rng = np.random.default_rng(seed)
    state = {
        name: (scale * rng.standard_normal(array.shape)).astype(array.dtype)
        for name, array in net.state().items()
    }
    for name in state:
        if name.endswith("running_var"):
            state[name] = np.square(state[name]) + state[name].dtype.type(0.1)
    return state


class Alone:
    """Layers by themselves: what goes in is x, what comes back is the gradient of x.

    It is a network with one linear layer in front. Its input is the identity, so that layer's
    output is its own Wᵀ, to the bit, and the gradient of W is that of the output, transposed: x is
    put in as Wᵀ, and dx is read from W's gradient. Parameters of the layers begin at "1.".
    """

    def __init__(
        self,
        backend: Backend,
        layers: Sequence[xn.Layer],
        n: int,
        m: int,
        dtype: str = "float64",
        **options: Any,
    ) -> None:
        self.net = xn.Network(
            [xn.Linear(m, bias=False), *layers],
            loss="mean_squared_error",
            n_features=n,
            device=backend,
            dtype=dtype,
            **options,
        )
        self.backend, self.n, self.dtype = backend, n, dtype

    def load(self, state: Arrays) -> None:
        """Set the layers' parameters and statistics."""
        self.net.load_state(self.net.state() | state)

    def forward(self, x: np.ndarray, training: bool = True) -> np.ndarray:
        """Return the output for up to n examples x."""
        weight = np.zeros((x.shape[1], self.n), self.dtype)
        weight[:, : len(x)] = x.T
        self.load({"0.weight": weight})
        identity = self.backend.asarray(np.eye(len(x), self.n), self.dtype)
        self.examples = len(x)
        return on_host(self.backend, self.net.forward(identity, training=training))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient of the last x for one of the output; the others are in the net."""
        # A copy, because the network uses the gradient up.
        self.net.backward(self.backend.asarray(np.array(dy, self.dtype)))
        return gradients(self.net)["0.weight"][:, : self.examples].T


# -- helpers on PyTorch's side ----


def _torch() -> Any:
    """Return PyTorch, in one thread: on arrays as small as these, more only wait for each other."""
    import torch

    torch.set_num_threads(1)
    return torch


@contextmanager
def numbers_in_float64() -> Iterator[None]:
    """Let PyTorch make tensors in float64 where none says in which type."""
    torch = _torch()
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def _module(layer: xn.Layer) -> Any:
    """Return PyTorch's counterpart of a layer that is built into a network."""
    nn = _torch().nn

    match layer:
        case xn.Linear():
            return nn.Linear(layer.n_inputs, layer.n_outputs, bias=bool(layer.bias))
        case xn.BatchNorm():
            return nn.BatchNorm1d(layer.n_inputs, eps=layer.eps, momentum=layer.momentum)
        case xn.Dropout():
            return nn.Dropout(layer.p)
        case xn.Softmax():
            return nn.Softmax(dim=-1)
        case xn.OneHot() | xn.Embedding():
            return _of_categories(layer)
        case xn.Softplus():
            return nn.Softplus(threshold=700)  # at 20, its default, it would be wrong by 2e-9
        case xn.SmoothClip():
            return _smooth_clip(layer.limit)
        case Elementwise():  # by the same name, with the same option
            options = {f.name: getattr(layer, f.name) for f in fields(layer) if f.init}
            return getattr(nn, type(layer).__name__)(**options)
    raise TypeError(f"PyTorch's counterpart of {layer!r} is not known here")


def _smooth_clip(limit: float) -> Any:
    """Return a module that clips as RealMLP does."""
    torch = _torch()

    class SmoothClip(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return x / torch.sqrt(1 + (x / limit) ** 2)

    return SmoothClip()


def _of_categories(layer: xn.OneHot | xn.Embedding) -> Any:
    """Return a module of PyTorch's lookups: one for each column of codes, where it has one."""
    torch = _torch()
    coded, functional = dict(layer.columns), torch.nn.functional

    class Lookups(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            if isinstance(layer, xn.Embedding):
                rows = torch.empty(sum(coded.values()), layer.n_dims, dtype=torch.float64)
                self.weight = torch.nn.Parameter(rows)

        def forward(self, x: Any) -> Any:
            blocks, start = [x[:, [j for j in range(x.shape[1]) if j not in coded]]], 0
            for column, size in coded.items():
                known = (x[:, column] >= 0) & (x[:, column] < size)
                codes = torch.where(known, x[:, column], 0).detach().long()
                if isinstance(layer, xn.Embedding):
                    block = functional.embedding(codes, self.weight[start : start + size])
                else:
                    block = functional.one_hot(codes, size).to(x)
                blocks.append(block * known[:, None])
                start += size
            return torch.cat(blocks, dim=1)

    return Lookups()


def sequential(net: xn.Network) -> Any:
    """Return a network's counterpart in PyTorch, in float64, with weights of its own."""
    return _torch().nn.Sequential(*map(_module, net.layers)).double()


def _tensors(arrays: Arrays, names: Iterable[str]) -> dict[str, Any]:
    """Return arrays as tensors that gather gradients."""
    torch = _torch()
    return {name: torch.tensor(arrays[name], requires_grad=True) for name in names}


def _torch_loss(loss: str | Loss, z: Any, y: Any) -> Any:
    """Return the mean over the examples of the sum over the outputs."""
    torch = _torch()
    functional = torch.nn.functional
    loss = resolve(loss)
    if isinstance(loss, SoftmaxCrossEntropy):
        return functional.cross_entropy(z, y, label_smoothing=loss.label_smoothing)
    y = y.reshape(z.shape).to(z.dtype)
    match loss:
        case SigmoidCrossEntropy():
            total = functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
        case PoissonDeviance():  # PyTorch's lacks what is the same for all z
            total = functional.poisson_nll_loss(z, y, reduction="sum")
            total = total + (torch.special.xlogy(y, y) - y).sum()
        case Huber():
            total = functional.huber_loss(z, y, reduction="sum", delta=loss.delta)
        case Quantile():
            total = torch.maximum(loss.q * (y - z), (loss.q - 1) * (y - z)).sum()
        case _:
            total = loss.scale * functional.mse_loss(z, y, reduction="sum")
    return total / len(z)


def _lion() -> Any:
    """Return Lion as an optimiser of PyTorch's, which has none: the program in the paper."""
    torch = _torch()

    class Lion(torch.optim.Optimizer):  # type: ignore[misc,name-defined]
        def __init__(self, groups: Any, lr: float, betas: Any, weight_decay: float) -> None:
            super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

        @torch.no_grad()  # type: ignore[untyped-decorator]
        def step(self) -> None:
            for group in self.param_groups:
                (beta_1, beta_2), lr = group["betas"], group["lr"]
                for p in group["params"]:
                    m = self.state[p].setdefault("m", torch.zeros_like(p))
                    update = torch.sign(m.lerp(p.grad, 1 - beta_1)) + group["weight_decay"] * p
                    m.lerp_(p.grad, 1 - beta_2)
                    p -= lr * update

    return Lion


# -- the cases ----


@contextmanager
def _numbers_in_float64() -> Iterator[None]:
    """Let PyTorch make tensors in float64 where none says in which type."""
    torch = _torch()
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


@dataclass(frozen=True)
class Activation:
    """A linear layer and an activation: output, and gradients of input, weights and bias."""

    layer: xn.Layer

    def inputs(self, seed: int) -> Arrays:
        """Draw x, W, b and the output's gradient; one pre-activation is 0, the kink of ReLUs."""
        rng = np.random.default_rng(seed)
        arrays = {
            "x": 2.0 * rng.standard_normal((9, 4)),
            "w": rng.standard_normal((5, 4)),
            "b": rng.standard_normal(5),
            "dy": rng.standard_normal((9, 5)),
        }
        arrays["x"][0] = 0.0
        arrays["b"][0] = 0.0
        return arrays

    def by_torch(self, a: Arrays) -> Arrays:
        """Ask PyTorch."""
        torch = _torch()
        t = _tensors(a, ("x", "w", "b"))
        y = _module(self.layer)(torch.nn.functional.linear(t["x"], t["w"], t["b"]))
        y.backward(torch.tensor(a["dy"]))
        return {"y": y.detach().numpy()} | {f"d{name}": t[name].grad.numpy() for name in t}

    def by_xpnet(self, a: Arrays, backend: Backend) -> Arrays:
        """Ask xpnet."""
        n, m = a["x"].shape
        alone = Alone(backend, [xn.Linear(len(a["b"]), bias=True), self.layer], n, m)
        alone.load({"1.weight": a["w"], "1.bias": a["b"]})
        y = alone.forward(a["x"])
        dx = alone.backward(a["dy"])
        d = gradients(alone.net)
        return {"y": y, "dx": dx, "dw": d["1.weight"], "db": d["1.bias"]}


@dataclass(frozen=True)
class Categories:
    """A layer of codes: output, and the gradients of its input and of its table."""

    layer: xn.OneHot | xn.Embedding

    def inputs(self, seed: int) -> Arrays:
        """Draw x with codes from −1 to one too large, the table and the output's gradient."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((20, 5))
        for column, size in self.layer.columns:
            x[:, column] = rng.integers(-1, size + 1, 20)
        built = replace(self.layer)
        width = built.build(0, 5, [])
        tables = {name: rng.standard_normal(s) for name, s in built.other_shapes().items()}
        return {"x": x, "dy": rng.standard_normal((20, width))} | tables

    def by_torch(self, a: Arrays) -> Arrays:
        """Ask PyTorch."""
        torch = _torch()
        module, x = _module(self.layer), torch.tensor(a["x"], requires_grad=True)
        module.load_state_dict({k: torch.tensor(a[k]) for k in module.state_dict()})
        y = module(x)
        y.backward(torch.tensor(a["dy"]))
        found = {"y": y.detach().numpy(), "dx": x.grad.numpy()}
        return found | {f"d{k}": p.grad.numpy() for k, p in module.named_parameters()}

    def by_xpnet(self, a: Arrays, backend: Backend) -> Arrays:
        """Ask xpnet."""
        alone = Alone(backend, [self.layer], *a["x"].shape)
        alone.load({"1.weight": a["weight"]} if "weight" in a else {})
        found = {"y": alone.forward(a["x"]), "dx": alone.backward(a["dy"])}
        table = gradients(alone.net).get("1.weight")
        return found if table is None else found | {"dweight": table}


@dataclass(frozen=True)
class Places:
    """Piecewise-linear encodings or embeddings: output, and all gradients."""

    layer: xn.PiecewiseLinearEmbedding

    @property
    def needs(self) -> str:
        """The module that is asked."""
        return "rtdl_num_embeddings"

    def inputs(self, seed: int) -> Arrays:
        """Draw x, within the bins and beside them, the parameters and the output's gradient."""
        rng = np.random.default_rng(seed)
        built = replace(self.layer)
        width = built.build(0, 5, [])
        shapes = {"x": (20, 5), "dy": (20, width), **built.other_shapes()}
        return {name: rng.standard_normal(shape) for name, shape in shapes.items()}

    @_numbers_in_float64()  # as is what the package computes from the edges
    def by_torch(self, a: Arrays) -> Arrays:
        """Ask rtdl_num_embeddings, whose weights are padded: the last bin stands last."""
        torch, rtdl = _torch(), importlib.import_module("rtdl_num_embeddings")
        columns, edges = zip(*self.layer.columns, strict=True)
        others = [j for j in range(a["x"].shape[1]) if j not in columns]
        bins, t = [torch.tensor(e) for e in edges], _tensors(a, a.keys() - {"dy"})
        numbers = t["x"][:, columns]
        if self.layer.n_dims is None:
            blocks = rtdl.PiecewiseLinearEncoding(bins)(numbers)
        else:
            kind = {"activation": self.layer.relu, "version": "B" if self.layer.linear else "A"}
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".* has just two bin edges")
                module = rtdl.PiecewiseLinearEmbeddings(bins, self.layer.n_dims, **kind)
            padded, rows = torch.zeros_like(module.linear.weight), iter(t["weight"])
            for j, several in enumerate(bins):
                for k in [*range(len(several) - 2), -1]:
                    padded[j, k] = next(rows)
            named = {"linear.weight": padded, "linear.bias": t["bias"]}
            if self.layer.linear:
                named = {"linear.weight": padded, "linear0.bias": t["bias"]}
                named |= {"linear0.weight": t["linear"]}
            blocks = torch.func.functional_call(module, named, numbers).flatten(1)
        y = torch.cat([t["x"][:, others], blocks], dim=1)
        y.backward(torch.tensor(a["dy"]))
        return {"y": y.detach().numpy()} | {f"d{name}": t[name].grad.numpy() for name in t}

    def by_xpnet(self, a: Arrays, backend: Backend) -> Arrays:
        """Ask xpnet."""
        alone = Alone(backend, [self.layer], *a["x"].shape)
        names = [name for name in ("weight", "bias", "linear") if name in a]
        alone.load({f"1.{name}": a[name] for name in names})
        found = {"y": alone.forward(a["x"]), "dx": alone.backward(a["dy"])}
        d = gradients(alone.net)
        return found | {f"d{name}": d[f"1.{name}"] for name in names}


@dataclass(frozen=True)
class Periodic:
    """An embedding of numbers as waves, by the package of those who thought of its form.

    Pairs of sines and cosines are rtdl_num_embeddings', what has phases or is dense is pytabkit's.
    """

    layer: xn.PeriodicEmbedding

    @property
    def needs(self) -> str:
        """The module that is asked."""
        other = self.layer.phase or self.layer.dense
        return "pytabkit.models.nn_models.nn" if other else "rtdl_num_embeddings"

    def inputs(self, seed: int) -> Arrays:
        """Draw x, the parameters and the output's gradient."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((20, 5))
        built = replace(self.layer)
        width = built.build(0, 5, [])
        shapes = built.weight_shapes() | built.other_shapes()
        drawn = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        return {"x": x, "dy": rng.standard_normal((20, width))} | drawn

    def by_torch(self, a: Arrays) -> Arrays:
        """Ask the package."""
        torch, columns = _torch(), list(self.layer.columns)
        names = [name for name in a if name not in ("x", "dy")]
        t = _tensors(a, ["x", *names])
        of_package = self._pytabkit if self.needs.startswith("pytabkit") else self._rtdl
        blocks = of_package(t["x"][:, columns], t)
        others = [j for j in range(a["x"].shape[1]) if j not in columns]
        y = torch.cat([t["x"][:, others], blocks.flatten(1)], dim=1)
        y.backward(torch.tensor(a["dy"]))
        found = {"y": y.detach().numpy(), "dx": t["x"].grad.numpy()}
        return found | {f"d{name}": t[name].grad.numpy() for name in names}

    def _rtdl(self, x: Any, t: dict[str, Any]) -> Any:
        """Return the embeddings (n, c, n_dims); what they gather goes to the tensors' gradients."""
        layer, torch = self.layer, _torch()
        module = importlib.import_module(self.needs).PeriodicEmbeddings(
            x.shape[1],
            layer.n_dims,
            n_frequencies=layer.n_frequencies,
            activation=layer.relu,
            lite=layer.shared,
        )
        weight = t["weight"] if layer.shared else t["weight"].transpose(-1, -2)
        given = {"periodic.weight": t["frequencies"], "linear.weight": weight}
        given |= {"linear.bias": t["bias"]}
        return torch.func.functional_call(module.double(), given, (x,))

    def _pytabkit(self, x: Any, t: dict[str, Any]) -> Any:
        """Return the same; where it is dense, each column is put before its block."""
        layer, module = self.layer, importlib.import_module(self.needs)
        kind = module.PLREmbeddingsLayerCosBias if layer.phase else module.PLREmbeddingsLayer
        given = SimpleNamespace(
            weight_1=t["frequencies"][:, None],
            weight_2=t["weight"].transpose(-1, -2),
            bias_2=t["bias"][:, None],
            plr_act_name="relu" if layer.relu else "linear",
            plr_use_densenet=layer.dense,
        )
        if layer.phase:
            given.bias_1 = t["phases"][:, None]
        y, c = kind.forward_cont(given, x), x.shape[1]
        blocks = y[:, : y.shape[1] - c * layer.dense].unflatten(1, (c, -1))
        beside = [y[:, -c:, None]] if layer.dense else []
        return _torch().cat([*beside, blocks], dim=2)

    def by_xpnet(self, a: Arrays, backend: Backend) -> Arrays:
        """Ask xpnet."""
        alone = Alone(backend, [self.layer], *a["x"].shape)
        names = [name for name in a if name not in ("x", "dy")]
        alone.load({f"1.{name}": a[name] for name in names})
        found = {"y": alone.forward(a["x"]), "dx": alone.backward(a["dy"])}
        d = gradients(alone.net)
        return found | {f"d{name}": d[f"1.{name}"] for name in names}


@dataclass(frozen=True)
class LossCase:
    """A loss's value and its gradient with respect to the logits."""

    loss: str | Loss
    n_outputs: int
    scale: float = 1.0

    def inputs(self, seed: int) -> Arrays:
        """Draw logits and labels."""
        rng = np.random.default_rng((seed, self.n_outputs))
        shape = (7, self.n_outputs)
        z = self.scale * rng.standard_normal(shape)
        name = self.loss if isinstance(self.loss, str) else self.loss.name
        if name == "softmax_cross_entropy":
            return {"z": z, "y": rng.integers(self.n_outputs, size=7)}
        if name == "sigmoid_cross_entropy":
            return {"z": z, "y": rng.integers(2, size=shape)}
        if name == "poisson_deviance":
            return {"z": z, "y": rng.integers(4, size=shape)}
        return {"z": z, "y": rng.standard_normal(shape)}

    def by_torch(self, a: Arrays) -> Arrays:
        """Ask PyTorch."""
        torch = _torch()
        z = torch.tensor(a["z"], requires_grad=True)
        loss = _torch_loss(self.loss, z, torch.tensor(a["y"]))
        loss.backward()
        return {"loss": loss.detach().numpy(), "dz": z.grad.numpy()}

    def by_xpnet(self, a: Arrays, backend: Backend) -> Arrays:
        """Ask xpnet: with the identity as input, the logits are Wᵀ, and dW is dzᵀ (see Alone)."""
        n, m = a["z"].shape
        net = xn.Network(
            [xn.Linear(m, bias=False)],
            loss=self.loss,
            n_features=n,
            device=backend,
            dtype="float64",
        )
        net.load_state({"0.weight": a["z"].T})
        x, y = net.prepare(np.eye(n), a["y"])
        loss = on_host(backend, net.passes.loss_and_gradient(x, y))
        return {"loss": loss, "dz": gradients(net)["0.weight"].T}


@dataclass(frozen=True)
class Normalisation:
    """Batch norm over batches of several sizes in training, then once in prediction."""

    momentum: float
    eps: float
    sizes: tuple[int, ...] = (6, 5, 2)

    def inputs(self, seed: int) -> Arrays:
        """Draw batches with the outputs' gradients, γ, β and the running statistics' beginning."""
        rng = np.random.default_rng(seed)
        arrays = {
            "gamma": rng.standard_normal(3),
            "beta": rng.standard_normal(3),
            "mean": rng.standard_normal(3),
            "var": rng.uniform(0.5, 2.0, 3),
        }
        for i, n in enumerate(self.sizes):
            arrays[f"x{i}"] = 3.0 + 2.0 * rng.standard_normal((n, 3))
            arrays[f"dy{i}"] = rng.standard_normal((n, 3))
        return arrays

    def by_torch(self, a: Arrays) -> Arrays:
        """Ask PyTorch."""
        torch = _torch()
        norm = torch.nn.BatchNorm1d(3, eps=self.eps, momentum=self.momentum).double()
        start = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}
        norm.load_state_dict({key: torch.tensor(a[name]) for key, name in start.items()})
        results: Arrays = {}
        for i in range(len(self.sizes)):
            x = torch.tensor(a[f"x{i}"], requires_grad=True)
            norm.zero_grad()
            y = norm(x)
            y.backward(torch.tensor(a[f"dy{i}"]))
            results |= {f"y{i}": y.detach().numpy(), f"dx{i}": x.grad.numpy()}
            results |= {f"dgamma{i}": norm.weight.grad.numpy().copy()}
            results |= {f"dbeta{i}": norm.bias.grad.numpy().copy()}
            results |= {f"mean{i}": norm.running_mean.numpy().copy()}
            results |= {f"var{i}": norm.running_var.numpy().copy()}
        norm.eval()
        results["predicted"] = norm(torch.tensor(a["x0"])).detach().numpy()
        return results

    def by_xpnet(self, a: Arrays, backend: Backend) -> Arrays:
        """Ask xpnet."""
        alone = Alone(backend, [xn.BatchNorm(self.momentum, self.eps)], max(self.sizes), 3)
        start = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}
        alone.load({f"1.{key}": a[name] for key, name in start.items()})
        results: Arrays = {}
        for i in range(len(self.sizes)):
            y = alone.forward(a[f"x{i}"])
            dx = alone.backward(a[f"dy{i}"])
            d, state = gradients(alone.net), alone.net.state()
            results |= {f"y{i}": y, f"dx{i}": dx}
            results |= {f"dgamma{i}": d["1.weight"], f"dbeta{i}": d["1.bias"]}
            results |= {f"mean{i}": state["1.running_mean"], f"var{i}": state["1.running_var"]}
        results["predicted"] = alone.forward(a["x0"], training=False)
        return results


@dataclass(frozen=True)
class Training:
    """Fifty updates in mini-batches, the last one of each epoch short, with L2 on weights alone.

    Attributes
    ----------
    optimizer : Optimizer
        xpnet's optimiser; PyTorch's is ``torch_optimizer``, a name and arguments.
    torch_schedule : (str, dict) or None
        PyTorch's schedule, if the optimiser's rate is one.
    """

    optimizer: xn.Optimizer
    torch_optimizer: tuple[str, dict[str, Any]]
    torch_schedule: tuple[str, dict[str, Any]] | None = None
    l2: float = 0.3
    steps: int = 50
    layers: Sequence[xn.Layer] = field(
        default=(
            xn.Linear(7),
            xn.BatchNorm(momentum=0.2),
            xn.ReLU(),
            xn.Linear(6),
            xn.Tanh(),
            xn.Linear(3),
        )
    )

    def _network(self, backend: Backend | str) -> xn.Network:
        return xn.Network(
            self.layers,
            loss="softmax_cross_entropy",
            n_features=5,
            device=backend,
            dtype="float64",
        )

    def inputs(self, seed: int) -> Arrays:
        """Draw a data set and the initial state."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((30, 5))
        start = draw_state(self._network("cpu"), seed, scale=0.6)
        return {"x": x, "y": rng.integers(3, size=30)} | {f"0/{k}": v for k, v in start.items()}

    def _batch(self, step: int) -> slice:
        return (slice(0, 8), slice(8, 16), slice(16, 24), slice(24, 30))[step % 4]

    @numbers_in_float64()  # as is NAdam's product of momenta
    def by_torch(self, a: Arrays) -> Arrays:
        """Ask PyTorch."""
        torch = _torch()
        model = sequential(self._network("cpu"))
        model.load_state_dict(
            {k.removeprefix("0/"): torch.tensor(v) for k, v in a.items() if k.startswith("0/")}
        )
        weights = [m.weight for m in model if isinstance(m, torch.nn.Linear)]
        others = [p for p in model.parameters() if all(p is not w for w in weights)]
        name, options = self.torch_optimizer
        kind = _lion() if name == "Lion" else getattr(torch.optim, name)
        optimizer = kind([{"params": weights}, {"params": others}], **options)
        decay = optimizer.param_groups[0]["weight_decay"]
        optimizer.param_groups[1]["weight_decay"] = 0.0
        schedule = None
        if self.torch_schedule is not None:
            name, options = self.torch_schedule
            schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
        losses = []
        for step in range(self.steps):
            x, y = (torch.tensor(a[k][self._batch(step)]) for k in ("x", "y"))
            optimizer.param_groups[0]["weight_decay"] = decay + self.l2 / len(x)
            loss = _torch_loss("softmax_cross_entropy", model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if schedule is not None:
                schedule.step()
        state = {k: v.numpy() for k, v in model.state_dict().items()}
        return {k: v for k, v in state.items() if "num_batches" not in k} | {
            "losses": np.array(losses)
        }

    def by_xpnet(self, a: Arrays, backend: Backend) -> Arrays:
        """Ask xpnet."""
        net = self._network(backend)
        net.load_state({k.removeprefix("0/"): v for k, v in a.items() if k.startswith("0/")})
        trainer = xn.Trainer(net, self.optimizer, l2=self.l2)
        losses = []
        for step in range(self.steps):
            batch = self._batch(step)
            losses.append(float(on_host(backend, trainer.step(a["x"][batch], a["y"][batch]))))
        return net.state() | {"losses": np.array(losses)}


Case = Activation | Categories | Periodic | Places | LossCase | Normalisation | Training


def _scheduled(rate: Any, name: str, **options: Any) -> Training:
    """Return a case for a schedule, with SGD: PyTorch's rate is the schedule's first."""
    return Training(xn.SGD(rate), ("SGD", {"lr": 0.1}), (name, options))


#: All cases: family, then name. Cases of a family that draw the same inputs share them in its file.
#: Of one bin, of two, and of more; not in the columns' order.
EDGES = {3: (-0.5, 0.7), 0: (-1.0, 0.3, 1.5), 4: (-1.5, -0.9, 0.0, 0.1, 2.0)}

CASES: dict[str, dict[str, Case]] = {
    "activations": {
        **{name: Activation(make()) for name, make in ACTIVATIONS.items()},
        "leaky_relu_0.3": Activation(xn.LeakyReLU(0.3)),
        "elu_1.5": Activation(xn.ELU(1.5)),
        "smooth_clip_0.5": Activation(xn.SmoothClip(0.5)),
    },
    "categories": {
        "one_hot": Categories(xn.OneHot({1: 4})),
        "one_hot_of_several": Categories(xn.OneHot({3: 2, 0: 6})),
        "embedding": Categories(xn.Embedding({1: 4}, 3)),
        "embedding_of_several": Categories(xn.Embedding({4: 50, 0: 6, 2: 1}, 2)),
    },
    "piecewise": {
        "encoding": Places(xn.PiecewiseLinearEmbedding({1: (-1.0, -0.2, 0.1, 0.8)})),
        "encoding_of_several": Places(xn.PiecewiseLinearEmbedding(EDGES)),
        "version_a": Places(xn.PiecewiseLinearEmbedding(EDGES, 3, linear=False)),
        "version_a_relu": Places(xn.PiecewiseLinearEmbedding(EDGES, 4, linear=False, relu=True)),
        "version_b": Places(xn.PiecewiseLinearEmbedding(EDGES, 3)),
    },
    "periodic": {
        "plr": Periodic(xn.PeriodicEmbedding((1,), 4, 6)),
        "plr_of_several": Periodic(xn.PeriodicEmbedding((4, 0, 2), 3, 5)),
        "plr_of_all": Periodic(xn.PeriodicEmbedding((0, 1, 2, 3, 4), 2, 3)),
        "pl": Periodic(xn.PeriodicEmbedding((3, 1), 3, 5, relu=False)),
        "lite": Periodic(xn.PeriodicEmbedding((4, 0, 2), 3, 5, shared=True)),
        "pbld": Periodic(xn.PeriodicEmbedding((4, 0, 2), 4, 5, relu=False, phase=True, dense=True)),
        "phase": Periodic(xn.PeriodicEmbedding((4, 2), 3, 5, relu=False, phase=True)),
        "phase_and_relu": Periodic(xn.PeriodicEmbedding((4, 2), 3, 5, phase=True)),
        "dense": Periodic(xn.PeriodicEmbedding((4, 2), 3, 5, relu=False, dense=True)),
    },
    "losses": {
        "softmax_2": LossCase("softmax_cross_entropy", 2),
        "softmax_4": LossCase("softmax_cross_entropy", 4),
        "softmax_large": LossCase("softmax_cross_entropy", 4, scale=1e4),
        "sigmoid_1": LossCase("sigmoid_cross_entropy", 1),
        "sigmoid_3": LossCase("sigmoid_cross_entropy", 3),
        "sigmoid_large": LossCase("sigmoid_cross_entropy", 3, scale=1e4),
        "squared_1": LossCase("mean_squared_error", 1),
        "squared_3": LossCase("mean_squared_error", 3),
        "half_squared_3": LossCase("half_squared_error", 3),
        "poisson_3": LossCase("poisson_deviance", 3),
        "huber_1": LossCase("huber", 1),
        "huber_3": LossCase(Huber(delta=0.4), 3),
        "huber_large": LossCase(Huber(delta=2.0), 3, scale=1e4),
        "quantile_1": LossCase("quantile", 1),
        "quantile_3": LossCase(Quantile(q=0.9), 3),
        "smoothed_2": LossCase(SoftmaxCrossEntropy(label_smoothing=0.1), 2),
        "smoothed_4": LossCase(SoftmaxCrossEntropy(label_smoothing=0.9), 4),
        "smoothed_large": LossCase(SoftmaxCrossEntropy(label_smoothing=0.2), 4, scale=1e4),
        "smoothed_many": LossCase(SoftmaxCrossEntropy(label_smoothing=0.2), 70),
    },
    "batch_norm": {
        "usual": Normalisation(momentum=0.1, eps=1e-5),
        "other": Normalisation(momentum=0.4, eps=0.1),
        "last_batch_only": Normalisation(momentum=1.0, eps=1e-5),
    },
    "optimizers": {
        "sgd": Training(xn.SGD(0.1), ("SGD", {"lr": 0.1})),
        "sgd_momentum": Training(
            xn.SGD(0.05, momentum=0.8), ("SGD", {"lr": 0.05, "momentum": 0.8})
        ),
        "nesterov": Training(
            xn.SGD(0.05, momentum=0.8, nesterov=True),
            ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
        ),
        # Σ (1 − β) βᵏ g against PyTorch's Σ βᵏ g: the same path at α (1 − β).
        "momentum": Training(
            xn.Momentum(0.2, beta=0.9), ("SGD", {"lr": 0.2 * (1 - 0.9), "momentum": 0.9})
        ),
        "rmsprop": Training(
            xn.RMSProp(0.01, beta=0.9, eps=1e-6),
            ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-6}),
        ),
        "adam": Training(
            xn.Adam(0.02, beta_1=0.9, beta_2=0.99), ("Adam", {"lr": 0.02, "betas": (0.9, 0.99)})
        ),
        "adagrad": Training(xn.Adagrad(0.1), ("Adagrad", {"lr": 0.1})),
        "adamw": Training(
            xn.AdamW(0.02, beta_1=0.9, beta_2=0.99, weight_decay=2.0),
            ("AdamW", {"lr": 0.02, "betas": (0.9, 0.99), "weight_decay": 2.0}),
            l2=0.0,
        ),
        "nadam": Training(
            xn.NAdam(0.02, beta_1=0.9, beta_2=0.99, momentum_decay=0.05),
            ("NAdam", {"lr": 0.02, "betas": (0.9, 0.99), "momentum_decay": 0.05}),
        ),
        "lion": Training(
            xn.Lion(0.02, beta_1=0.8, beta_2=0.95, weight_decay=2.0),
            ("Lion", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 2.0}),
            l2=0.0,
        ),
        "adam_large_eps": Training(xn.Adam(0.05, eps=0.1), ("Adam", {"lr": 0.05, "eps": 0.1})),
    },
    "schedules": {
        "exponential": _scheduled(
            xn.Exponential(0.1, decay=0.95, per="step"), "ExponentialLR", gamma=0.95
        ),
        "cosine": _scheduled(
            xn.Cosine(0.1, total=50, final=0.01, per="step"),
            "CosineAnnealingLR",
            T_max=50,
            eta_min=0.01,
        ),
        # PyTorch's rates are highest at step 0.3 T − 1 and lowest at T − 1, T its total_steps.
        "one_cycle": _scheduled(
            xn.OneCycle(0.1, total=50, warm_up=(0.3 * 51 - 1) / 50, per="step"),
            "OneCycleLR",
            max_lr=0.1,
            total_steps=51,
            cycle_momentum=False,
        ),
        "one_cycle_other": _scheduled(
            xn.OneCycle(
                0.1, total=60, warm_up=(0.6 * 61 - 1) / 60, start=0.1, final=0.01, per="step"
            ),
            "OneCycleLR",
            max_lr=0.1,
            total_steps=61,
            pct_start=0.6,
            div_factor=10,
            final_div_factor=100,
            cycle_momentum=False,
        ),
        "piecewise": _scheduled(
            xn.Piecewise(0.1, boundaries=(10, 30), rates=(0.05, 0.025), per="step"),
            "MultiStepLR",
            milestones=[10, 30],
            gamma=0.5,
        ),
        "inverse_time": _scheduled(
            xn.InverseTime(0.1, decay=0.2, per="step"),
            "LambdaLR",
            lr_lambda=lambda i: 1 / (1 + 0.2 * i),
        ),
        "adam_exponential": Training(
            xn.Adam(xn.Exponential(0.05, decay=0.9, per="step")),
            ("Adam", {"lr": 0.05}),
            ("ExponentialLR", {"gamma": 0.9}),
        ),
    },
}


# -- golden files ----


def make(family: str) -> Arrays:
    """Ask PyTorch, and return a family's golden file: "case/in/name" and "case/out/name".

    Inputs that the first case has too are there alone.
    """
    arrays: Arrays = {}
    shared: Arrays = {}
    for name, case in CASES[family].items():
        a = case.inputs(SEED)
        for key, value in a.items():
            if not (key in shared and np.array_equal(shared[key], value)):
                arrays[f"{name}/in/{key}"] = value
        shared = shared or a
        arrays |= {f"{name}/out/{key}": value for key, value in case.by_torch(a).items()}
    return arrays


def read(family: str, name: str) -> tuple[Arrays, Arrays]:
    """Return the inputs and PyTorch's results of a case from its golden file."""
    first = next(iter(CASES[family]))
    with np.load(GOLDEN / f"{family}.npz", allow_pickle=False) as file:
        shared = _under(file, f"{first}/in/")
        return shared | _under(file, f"{name}/in/"), _under(file, f"{name}/out/")


def _under(file: Any, prefix: str) -> Arrays:
    return {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}
