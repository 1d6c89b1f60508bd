"""Who races against `Trainer.step`: the same net on the same batch, made with other tools.

A ReLU net for classes, softmax cross-entropy, Adam with the usual betas, in one dtype. All start
from the same weights; tests/test_rivals.py holds that all then train alike.

A rival is a class with a ``name``; ``why_not(task)``, which says in a few words why it can't run a
task, or nothing; its ``version``; ``step()``, which makes one update and returns the loss in the
library's own type; and ``synchronize()``, which waits for the device.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from harness import make_network, threads
from notes import Notes

from xpnet import Adam, Linear, Network, Trainer, __version__
from xpnet.backends.protocol import Backend
from xpnet.backends.select import select

MOMENTUM, EPS = 0.1, 1e-5  # of batch norm, as ours


@dataclass(frozen=True)
class Task:
    """What to train, and on what.

    ``weights`` are those of the linear layers, (out, in) each, or (k, out, in) of k networks that
    share the batch; biases begin at zero, and a hidden layer has none where batch norm comes after
    it. x (n, m) and labels y (n,) lie on the host.
    """

    weights: list[Any]
    norm: bool
    x: Any
    y: Any
    rate: float
    device: str = "cpu"

    @property
    def dtype(self) -> str:
        """Of all arrays."""
        return str(self.x.dtype)

    @property
    def widths(self) -> tuple[int, ...]:
        """From the features to the classes."""
        return self.x.shape[1], *(w.shape[-2] for w in self.weights)

    @property
    def members(self) -> int | None:
        """How many networks are trained at once; None: it is one."""
        return len(self.weights[0]) if self.weights[0].ndim > 2 else None

    def hidden(self) -> Iterator[bool]:
        """Yield for each linear layer whether it is a hidden one."""
        last = len(self.weights) - 1
        return (i < last for i in range(len(self.weights)))


def make_task(network: Network, norm: bool, x: Any, y: Any, rate: float) -> Task:
    """Return the task of training a network of ours from the weights that it has."""
    backend, linear = network.backend, [k for k in network.layers if isinstance(k, Linear)]
    weights = [np.array(backend.to_host(layer.parameters["weight"])) for layer in linear]
    return Task(weights, norm, x, y, rate, backend.device.partition(":")[0])


class Ours:
    """`Trainer.step`."""

    name: ClassVar[str] = "xpnet"

    def __init__(self, network: Network, task: Task) -> None:
        self.trainer = Trainer(network, Adam(learning_rate=task.rate))
        self.x, self.y = network.prepare(task.x, task.y)
        self.synchronize = network.backend.synchronize

    def step(self) -> Any:  # noqa: D102
        return self.trainer.step(self.x, self.y)


class OneByOne:
    """`Trainer.step` of one network, as often as there are members."""

    name: ClassVar[str] = "one by one"
    version = __version__

    @staticmethod
    def why_not(task: Task) -> str | None:  # noqa: D102
        return None

    def __init__(self, task: Task) -> None:
        network = make_network(task.widths, task.norm, task.dtype, select(task.device))
        self.one, self.members = Ours(network, task), task.members or 1
        self.synchronize = self.one.synchronize

    def step(self) -> Any:  # noqa: D102
        for _ in range(self.members):
            loss = self.one.step()
        return loss


class OnHost:
    """What rivals on NumPy have in common."""

    @staticmethod
    def why_not(task: Task) -> str | None:  # noqa: D102
        if task.device == "cuda":
            return "the CPU only"
        return "no batch norm" if task.norm else None

    def synchronize(self) -> None:
        """NumPy is done when it returns."""


class TheNotes(OnHost):
    """The notes' own code, on columns."""

    name: ClassVar[str] = "notes"
    version = np.__version__

    def __init__(self, task: Task) -> None:
        biases = [np.zeros(len(w), task.dtype) for w in task.weights]
        self.net = Notes(task.weights, biases, task.rate)
        self.x = np.ascontiguousarray(task.x.T)
        self.y = np.eye(task.widths[-1], dtype=task.dtype)[:, task.y]

    def step(self) -> Any:  # noqa: D102
        return self.net.step(self.x, self.y)


class ScikitLearn(OnHost):
    """`MLPClassifier.partial_fit`, with all that it checks."""

    name: ClassVar[str] = "scikit-learn"

    def __init__(self, task: Task) -> None:
        from sklearn.neural_network import MLPClassifier

        self.version = version("scikit-learn")
        self.net = MLPClassifier(
            task.widths[1:-1],
            alpha=0.0,
            batch_size=len(task.x),
            learning_rate_init=task.rate,
            shuffle=False,
            random_state=0,
        )
        self.x, self.y = task.x, task.y
        self.net.partial_fit(self.x, self.y, classes=np.arange(task.widths[-1]))
        # That was a step. Back to the start: given weights, no biases, an optimiser without past.
        for w, b, given in zip(self.net.coefs_, self.net.intercepts_, task.weights, strict=True):
            w[...], b[...] = given.T, 0.0
        del self.net._optimizer

    def step(self) -> Any:  # noqa: D102
        return self.net.partial_fit(self.x, self.y).loss_


class Torch:
    """PyTorch as it is usually run, with Adam in one fused kernel."""

    name: ClassVar[str] = "torch"

    @staticmethod
    def why_not(task: Task) -> str | None:  # noqa: D102
        if find_spec("torch") is None:
            return "not installed"
        import torch

        if task.device == "cuda" and not torch.cuda.is_available():
            return "installed without CUDA, or finds no device"
        return None

    def __init__(self, task: Task) -> None:
        import torch

        torch.set_num_threads(threads())
        self.version, self.task = str(torch.__version__), task
        dtype = getattr(torch, task.dtype)
        layers: list[Any] = []
        for hidden, w in zip(task.hidden(), task.weights, strict=True):
            n_out, n_in = w.shape
            linear = torch.nn.Linear(n_in, n_out, bias=not (hidden and task.norm), dtype=dtype)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(w))
                if linear.bias is not None:
                    linear.bias.zero_()
            layers.append(linear)
            if hidden:
                if task.norm:
                    layers.append(torch.nn.BatchNorm1d(n_out, EPS, MOMENTUM, dtype=dtype))
                layers.append(torch.nn.ReLU())
        net = torch.nn.Sequential(*layers).to(task.device)
        self.x = torch.from_numpy(task.x).to(task.device)
        self.y = torch.from_numpy(task.y).long().to(task.device)
        self.optimizer = torch.optim.Adam(net.parameters(), task.rate, fused=True)
        self.loss = self.prepare(lambda x, y: torch.nn.functional.cross_entropy(net(x), y))

    def prepare(self, loss: Any) -> Any:
        """Return the function that computes the loss."""
        return loss

    def step(self) -> Any:  # noqa: D102
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.x, self.y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def synchronize(self) -> None:  # noqa: D102
        if self.task.device == "cuda":
            import torch

            torch.cuda.synchronize()


class TorchCompiled(Torch):
    """`torch.compile` of net and loss, forward and backward; as CUDA graphs on a GPU."""

    name: ClassVar[str] = "torch.compile"

    @staticmethod
    def why_not(task: Task) -> str | None:  # noqa: D102
        compilers = [os.environ.get("CXX"), "c++", "g++", "clang++"]
        if not any(shutil.which(compiler) for compiler in compilers if compiler):
            return "no C++ compiler"
        if task.device == "cuda" and find_spec("triton") is None:
            return "Triton is not installed"
        return Torch.why_not(task)

    def prepare(self, loss: Any) -> Any:
        """Compile it; without a reset PyTorch gives up on one function for the ninth net."""
        import torch
        import torch._inductor.config as inductor

        inductor.compile_threads = 1  # no processes of its own that would live on in the race
        torch.compiler.reset()
        mode = "reduce-overhead" if self.task.device == "cuda" else None
        return torch.compile(loss, dynamic=False, mode=mode)


class Jax:
    """JAX: the whole step is one compiled function, its buffers given back to it."""

    name: ClassVar[str] = "jax"

    @staticmethod
    def why_not(task: Task) -> str | None:  # noqa: D102
        if find_spec("jax") is None:
            return "not installed"
        if not _jax_devices(task.device):
            return "installed without CUDA, or finds no device"
        if threads() < (os.cpu_count() or 1) and not hasattr(os, "sched_setaffinity"):
            return "can't be held to fewer threads on this system"
        return None

    def __init__(self, task: Task) -> None:
        from jax_step import make_step

        device = _jax_devices(task.device)[0]
        self.version = version("jax")
        self.run, self.state, self.data = make_step(task, device)

    def step(self) -> Any:  # noqa: D102
        self.state, loss = self.run(self.state, *self.data)
        return loss

    def synchronize(self) -> None:  # noqa: D102
        import jax

        jax.block_until_ready(self.state)


@lru_cache
def _jax_devices(kind: str) -> list[Any]:
    """Return JAX's devices of a kind, and see to its threads, types and precision on the way."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    jax.config.update("jax_enable_x64", True)
    # On a GPU its own choice is TF32, which the others do not take by themselves.
    jax.config.update("jax_default_matmul_precision", "highest")
    # Else, beside the one thread that computes, Python would already be preparing the next step.
    jax.config.update("jax_cpu_enable_async_dispatch", threads() > 1)
    try:
        if kind == "cuda":
            return list(jax.devices("gpu"))
        with fewer_cpus(threads()):
            return list(jax.devices(kind))
    except RuntimeError:
        return []


@contextmanager
def fewer_cpus(count: int) -> Iterator[None]:
    """Show the process so many CPUs for a while: JAX makes a thread for each that it finds.

    There is no setting that would hold it to fewer. Afterwards its threads may go to any CPU again,
    as everyone's may.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_of_them)[:count])
    try:
        yield
    finally:
        for thread in os.listdir("/proc/self/task"):
            with suppress(ProcessLookupError):  # it may have ended meanwhile
                os.sched_setaffinity(int(thread), all_of_them)


class Products:
    """The matrix products of a step alone, into arrays that are there: the floor of any step.

    Forward, weight gradient, and input gradient but for the first layer's.
    """

    name: ClassVar[str] = "products"

    @staticmethod
    def why_not(task: Task) -> str | None:  # noqa: D102
        return None

    def __init__(self, task: Task, backend: Backend) -> None:
        xp, self.version = backend.xp, str(backend.xp.__version__)
        self.backend = backend
        self.synchronize = backend.synchronize
        # CuPy's own can't be captured as a graph, which is how a GPU is quickest.
        self.product = xp.matmul if task.device == "cpu" else _into(backend.kernels.input_gradient)
        n, a, lead = len(task.x), backend.asarray(task.x), task.weights[0].shape[:-2]
        normal = np.random.default_rng(0).standard_normal  # a GPU is quicker with equal numbers
        self.products: list[tuple[Any, Any, Any]] = []  # (left, right, out)
        with backend.active():
            for index, given in enumerate(task.weights):
                w = backend.asarray(given)
                dz = backend.asarray(normal((*lead, n, w.shape[-2])), task.dtype)
                dw, z = xp.empty_like(w), xp.empty_like(dz)
                self.products += [(a, w.swapaxes(-1, -2), z), (dz.swapaxes(-1, -2), a, dw)]
                if index:
                    self.products.append((dz, w, xp.empty_like(a)))
                a = dz
        self.replay = backend.replay(self.multiply, [out for _, _, out in self.products])

    def step(self) -> None:  # noqa: D102
        with self.backend.active():
            self.replay()

    def multiply(self) -> None:
        """Compute all of them; on a GPU this becomes one graph, as a step does."""
        for left, right, out in self.products:
            self.product(left, right, out=out)


def _into(kernel: Any) -> Any:
    """Return a kernel (left, right, out) that is called like ``matmul``."""
    return lambda left, right, *, out: kernel(left, right, out)


KINDS: tuple[Any, ...] = (Torch, TorchCompiled, Jax, ScikitLearn, TheNotes, Products)

#: Who can train several networks at once; JAX does it by ``vmap``.
OF_MEMBERS: tuple[Any, ...] = (OneByOne, Jax, Products)


def line_up(network: Network, task: Task) -> tuple[dict[str, Any], dict[str, str]]:
    """Return those who can run the task, by name; and why the others can't."""
    why = {kind.name: kind.why_not(task) for kind in KINDS}
    rivals = {kind.name: _made(kind, network, task) for kind in KINDS if why[kind.name] is None}
    return rivals, {name: reason for name, reason in why.items() if reason is not None}


def try_out(
    network: Network, task: Task, kinds: tuple[Any, ...] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the same after a step of each: one that fails must not end the race of the others."""
    rivals, absent = {}, {}
    for kind in KINDS if kinds is None else kinds:
        try:
            why = kind.why_not(task)
            if why is None:
                rival = _made(kind, network, task)
                rival.step()
                rival.synchronize()
                rivals[kind.name] = rival
        except Exception as error:
            why = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if why is not None:
            absent[kind.name] = why
    return rivals, absent


def _made(kind: Any, network: Network, task: Task) -> Any:
    return kind(task, network.backend) if kind is Products else kind(task)
