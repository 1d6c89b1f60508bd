"""Who races against `Network.predict_proba`: the same ReLU net for classes.

All are on the host, but for PyTorch, which is where the network is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from harness import threads

from xpnet import Linear, Network, __version__


class Ours:
    """`Network.predict_proba`."""

    name: ClassVar[str] = "xpnet"

    def __init__(self, network: Network, x: Any) -> None:
        self.step: Callable[[], Any] = lambda: network.predict_proba(x)
        self.synchronize = network.backend.synchronize


class Answerer:
    """A rival on the host: ``step`` returns the probabilities."""

    package: ClassVar[str]

    def __init__(self, network: Network, x: Any) -> None:
        self.version = version(self.package)
        linear = [layer for layer in network.layers if isinstance(layer, Linear)]
        self.weights = [layer.parameters["weight"] for layer in linear]
        self.biases = [layer.parameters["bias"] for layer in linear]

    @classmethod
    def why_not(cls) -> str | None:
        """Return why it can't run, or nothing."""
        return None

    def synchronize(self) -> None:
        """Wait for nothing."""


class Onnx(Answerer):
    """ONNX Runtime on the CPU."""

    name: ClassVar[str] = "onnxruntime"
    package: ClassVar[str] = "onnxruntime"

    @classmethod
    def why_not(cls) -> str | None:
        """Return what is not installed."""
        missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
        return f"{' and '.join(missing)} not installed" if missing else None

    def __init__(self, network: Network, x: Any) -> None:
        import onnxruntime

        super().__init__(network, x)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads(), 1
        session = onnxruntime.InferenceSession(
            self._model(), options, providers=["CPUExecutionProvider"]
        )
        self.step: Callable[[], Any] = lambda: session.run(None, {"x": x})[0]

    def _model(self) -> bytes:
        """Return the net as a graph of ONNX's operations."""
        from onnx import TensorProto, helper, numpy_helper

        nodes, arrays, at = [], [], "x"
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays += [
                numpy_helper.from_array(np.array(a), f"{k}{i}") for k, a in (("w", w), ("b", b))
            ]
            nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
            at = f"z{i}"
            if i < len(self.weights) - 1:
                nodes.append(helper.make_node("Relu", [at], [f"a{i}"]))
                at = f"a{i}"
        nodes.append(helper.make_node("Softmax", [at], ["p"], axis=-1))
        kind, widths = TensorProto.FLOAT, (self.weights[0].shape[1], len(self.weights[-1]))
        given, found = (
            helper.make_tensor_value_info(name, kind, ["n", width])
            for name, width in zip(("x", "p"), widths, strict=True)
        )
        graph = helper.make_graph(nodes, "net", [given], [found], arrays)
        opset = [helper.make_opsetid("", 13)]
        return bytes(
            helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
        )


class ScikitLearn(Answerer):
    """`MLPClassifier.predict_proba`."""

    name: ClassVar[str] = "scikit-learn"
    package: ClassVar[str] = "scikit-learn"

    def __init__(self, network: Network, x: Any) -> None:
        from sklearn.neural_network import MLPClassifier

        super().__init__(network, x)
        net = MLPClassifier([len(b) for b in self.biases[:-1]], max_iter=1)
        classes = np.arange(len(self.biases[-1]))
        net.partial_fit(np.zeros((len(classes), x.shape[1]), x.dtype), classes, classes=classes)
        net.coefs_ = [np.ascontiguousarray(w.T) for w in self.weights]
        net.intercepts_ = [np.array(b) for b in self.biases]
        self.step: Callable[[], Any] = lambda: net.predict_proba(x)


class Torch:
    """PyTorch as it is usually run, where the network is: ``step`` returns the probabilities."""

    name: ClassVar[str] = "torch"

    @staticmethod
    def why_not(device: str) -> str | None:
        """Return why it can't run there, or nothing."""
        if find_spec("torch") is None:
            return "not installed"
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            return "installed without CUDA, or finds no device"
        return None

    def __init__(self, network: Network, x: Any, device: str) -> None:
        import torch

        torch.set_num_threads(threads())
        self.version, self._cuda = str(torch.__version__), device == "cuda"
        linear = [layer for layer in network.layers if isinstance(layer, Linear)]
        layers: list[Any] = []
        for layer in linear:
            w, b = (np.array(network.backend.to_host(a)) for a in layer.parameters.values())
            made = torch.nn.Linear(*w.shape[::-1])
            with torch.no_grad():
                made.weight.copy_(torch.from_numpy(w))
                made.bias.copy_(torch.from_numpy(b))
            layers += [made, torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1], torch.nn.Softmax(-1)).to(device).eval()
        self._net, self._x = net, torch.from_numpy(x).to(device)

    def step(self) -> Any:
        """Return the probabilities."""
        import torch

        with torch.inference_mode():
            return self._net(self._x)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self._cuda:
            import torch

            torch.cuda.synchronize()


class TwoCallers(Answerer):
    """`Network.predict_proba` in two threads, each of which asks once: twice the answers."""

    name: ClassVar[str] = "two callers, twice the answers"
    package: ClassVar[str] = "xpnet"
    #: What a thread asks at a time: handing it work takes longer than a prediction.
    CALLS: ClassVar[int] = 200

    def __init__(self, network: Network, x: Any) -> None:
        self.version, self._pool = __version__, ThreadPoolExecutor(2)
        self._network, self._x = network, x

    def _ask(self) -> Any:
        for _ in range(self.CALLS):
            found = self._network.predict_proba(self._x)
        return found

    def step(self) -> Any:
        """Return the last answer of one."""
        one, other = (self._pool.submit(self._ask) for _ in range(2))
        other.result()
        return one.result()


class OneCaller(TwoCallers):
    """The same in one thread: what two are measured by."""

    name: ClassVar[str] = "one caller"

    def step(self) -> Any:
        """Return the last answer."""
        return self._pool.submit(self._ask).result()


KINDS: tuple[type[Answerer], ...] = (Onnx, ScikitLearn)


def line_up(network: Network, x: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return those who can run, by name; and why the others can't."""
    why = {kind.name: kind.why_not() for kind in KINDS}
    rivals = {kind.name: kind(network, x) for kind in KINDS if why[kind.name] is None}
    return rivals, {name: reason for name, reason in why.items() if reason is not None}
