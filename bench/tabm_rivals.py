"""Who races at training TabM: ours, and the package ``tabm`` on PyTorch, from the same weights.

The loss is the mean of the members' losses; AdamW decays all that it decays in ours.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from harness import threads

import xpnet as xn
from xpnet.backends.protocol import Backend

RATE, DECAY = 1e-12, 3e-4  # a rate at which no weight changes, see harness.make_trainer


@dataclass(frozen=True)
class Shape:
    """TabM's sizes; the defaults are the paper's."""

    n_features: int
    n_classes: int
    width: int = 512
    blocks: int = 3
    members: int = 32
    dropout: float = 0.1


def make_network(shape: Shape, dtype: str, backend: Backend) -> xn.Network:
    """Return ours."""
    layers: list[xn.Layer] = []
    for _ in range(shape.blocks):
        layers += [xn.EnsembleLinear(shape.width, shape.members), xn.ReLU()]
        layers += [xn.Dropout(shape.dropout)] if shape.dropout else []
    return xn.Network(
        [*layers, xn.EnsembleLinear(shape.n_classes, shape.members, shared=False)],
        loss="softmax_cross_entropy",
        n_features=shape.n_features,
        device=backend,
        dtype=dtype,
    )


class Ours:
    """`Trainer.step`."""

    name: ClassVar[str] = "xpnet"

    def __init__(self, network: xn.Network, x: Any, y: Any, rate: float = RATE) -> None:
        self.trainer = xn.Trainer(network, xn.AdamW(rate, weight_decay=DECAY))
        self.x, self.y = network.prepare(x, y)
        self.synchronize = network.backend.synchronize

    def step(self) -> Any:  # noqa: D102
        return self.trainer.step(self.x, self.y)


class Tabm:
    """The package as its own example trains it, with AdamW in one fused kernel."""

    name: ClassVar[str] = "tabm"

    @staticmethod
    def why_not(device: str) -> str | None:  # noqa: D102
        for package in ("torch", "tabm"):
            if find_spec(package) is None:
                return f"{package} is not installed"
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            return "installed without CUDA, or finds no device"
        return None

    def __init__(
        self, network: xn.Network, shape: Shape, x: Any, y: Any, rate: float = RATE
    ) -> None:
        import tabm
        import torch

        torch.set_num_threads(threads())
        self.version = f"{tabm.__version__} on PyTorch {torch.__version__}"
        self.device = network.backend.device.partition(":")[0]
        model = tabm.TabM.make(
            n_num_features=shape.n_features,
            d_out=shape.n_classes,
            n_blocks=shape.blocks,
            d_block=shape.width,
            dropout=shape.dropout,
            k=shape.members,
        )
        modules = [block[0] for block in model.backbone.blocks] + [model.output]
        places = [k.index for k in network.layers if isinstance(k, xn.EnsembleLinear)]
        state, groups = network.state(), ([], [])
        for place, module in zip(places, modules, strict=True):
            for name, parameter in module.named_parameters():
                given = state[f"{place}.{name}"]
                given = given.swapaxes(-1, -2) if given.ndim == 3 else given
                parameter.data = torch.from_numpy(np.ascontiguousarray(given)).to(self.device)
                groups[name == "weight"].append(parameter)
        decayed = [{"params": groups[i], "weight_decay": i * DECAY} for i in (0, 1)]
        self.optimizer = torch.optim.AdamW(decayed, lr=rate, fused=True)
        self.x = torch.from_numpy(x).to(self.device)
        self.y = torch.from_numpy(y).long().repeat_interleave(shape.members).to(self.device)
        self.model, self.cross_entropy = model, torch.nn.functional.cross_entropy

    def step(self) -> Any:  # noqa: D102
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.cross_entropy(self.model(self.x).flatten(0, 1), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def synchronize(self) -> None:  # noqa: D102
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


class Products:
    """The large products alone, those between hidden layers: no step can take less."""

    name: ClassVar[str] = "products"

    def __init__(self, network: xn.Network, shape: Shape, batch: int) -> None:
        backend = self.backend = network.backend
        xp, self.synchronize = backend.xp, backend.synchronize
        self.version, self.count = str(xp.__version__), shape.blocks - 1
        normal = np.random.default_rng(0).standard_normal
        with backend.active():
            self.a, self.d = (
                backend.asarray(normal((batch * shape.members, shape.width)), network.dtype)
                for _ in range(2)
            )
            self.w = backend.asarray(normal((shape.width, shape.width)), network.dtype)
            self.z, self.dw = xp.empty_like(self.a), xp.empty_like(self.w)
        self.replay = backend.replay(self.multiply, [self.z, self.dw])

    def step(self) -> None:  # noqa: D102
        with self.backend.active():
            self.replay()

    def multiply(self) -> None:
        """Forward, weight gradient, input gradient."""
        kernels = self.backend.kernels
        for _ in range(self.count):
            kernels.product(self.a, self.w.swapaxes(0, 1), self.z)
            kernels.weight_gradient(self.d, self.a, self.dw)
            kernels.input_gradient(self.d, self.w, self.z)
