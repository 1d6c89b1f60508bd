"""The order of the house: who may import whom, who may name CuPy, and what an import loads."""

import ast
import importlib
import inspect
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import xpnet as xn
from xpnet.backend import why_not_compiled

PACKAGE = Path(xn.__file__).parent

#: The modules from the ground up: each may import only from those before it.
ORDER = [
    "_typing",
    "interrupts",
    "checks",
    "randomness",
    "initializers",
    "schedules",
    "kernels",
    "_capture",
    "_cublas",
    "_numpy",
    "_loops",
    "_numba",
    "_cuda",
    "_cuda_kernels",
    "_bfloat16",
    "_epilogues",
    "_cupy",
    "backend",
    "memory",
    "layers",
    "activations",
    "losses",
    "metrics",
    "optimizers",
    "durable",
    "serialization",
    "checkpoint_files",
    "buffers",
    "streaming",
    "validation",
    "averages",
    "search_space",
    "augmentation",
    "descriptions",
    "network",
    "data",
    "history",
    "throughput",
    "measuring",
    "step_numbers",
    "last_good",
    "checkpoints",
    "parts",
    "updates",
    "divergence",
    "training",
    "callbacks",
    "fitting",
    "estimator_files",
    "estimator_data",
    "estimator_weights",
    "estimator_base",
    "estimators",
    "diagnosis",
    "gradient_check",
    "plots",
    "sweeps",
    "profile_result",
    "profiling",
    "propagation",
    "scaling",
    "targets",
    "preprocessing",
    "readers",
    "model",
    "__init__",
    "evaluation",
    "settings",
    "profile_subject",
    "experiment",
    "console",
    "system",
    "options",
    "cli_checkpoints",
    "cli_saving",
    "cli_train",
    "cli_use",
    "cli_profile",
    "cli_info",
    "cli",
    "__main__",
]

#: What it takes a reason to load: each of these is imported where it is used.
HEAVY = ("cupy", "matplotlib", "numba", "pandas", "rich", "safetensors", "sklearn", "typer")

MODULES = {path.stem: ast.parse(path.read_text("utf-8")) for path in PACKAGE.glob("*.py")}

each_module = pytest.mark.parametrize("module", MODULES)


def _name(node):
    """Return the last part of a dotted name."""
    return getattr(node, "attr", None) or getattr(node, "id", None)


def dotted(node):
    """Return what a node of the syntax tree imports, as "xpnet.layers"."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = ".".join(filter(None, ["xpnet" if node.level else "", node.module]))
            return [f"xpnet.{alias.name}" for alias in node.names] if base == "xpnet" else [base]
        case ast.Call() if _name(node.func) in ("import_module", "__import__"):
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
            return [f"xpnet{name}" if name.startswith(".") else name for name in names]
    return []


def imported(tree):
    """Yield the library's modules that a tree imports, wherever in it: also inside functions."""
    for node in ast.walk(tree):
        for name in dotted(node):
            package, _, module = name.partition(".")
            if package == "xpnet":
                yield module if module in {*MODULES, *ORDER} else "__init__"


def test_there_are_modules_and_each_has_one_place():
    assert len(MODULES) > 20
    assert len(set(ORDER)) == len(ORDER)


@each_module
def test_a_module_imports_only_from_those_below_it(module):
    assert module in ORDER, f"give {module}.py its place in ORDER"
    place = ORDER.index(module)
    above = {name for name in imported(MODULES[module]) if name not in ORDER[:place]}
    assert above == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from .layers import Linear", ["layers"]),
        ("from . import layers, losses", ["layers", "losses"]),
        ("from . import __version__", ["__init__"]),
        ("import xpnet.layers", ["layers"]),
        ("import xpnet", ["__init__"]),
        ("from xpnet.layers import Linear", ["layers"]),
        ("from xpnet import losses", ["losses"]),
        ("def f():\n    from .layers import Linear", ["layers"]),
        ("if TYPE_CHECKING:\n    from .layers import Linear", ["layers"]),
        ("importlib.import_module('xpnet._cupy')", ["_cupy"]),
        ("import_module('._cupy', __package__)", ["_cupy"]),
        ("import numpy as np\nfrom collections import abc", []),
    ],
)
def test_imports_are_found(source, expected):
    assert list(imported(ast.parse(source))) == expected


# -- CuPy ----


def named(tree):
    """Yield each name in a tree's code: of variables, attributes, imports, parameters, functions.

    Not what stands in strings.
    """
    for node in ast.walk(tree):
        for key in ("id", "attr", "name", "asname", "arg", "module"):
            value = getattr(node, key, None)
            if isinstance(value, str):
                yield value


@each_module
def test_cupy_is_named_in_two_modules_alone(module):
    names = {name for name in named(MODULES[module]) if "cupy" in name.lower()}
    assert bool(names) == (module in ("backend", "_cupy"))


def test_cupy_is_imported_in_one_module_alone():
    def imports_cupy(tree):
        return any(
            isinstance(node, ast.Import | ast.ImportFrom)
            and "cupy"
            in {a.name.partition(".")[0] for a in node.names} | {getattr(node, "module", "")}
            for node in ast.walk(tree)
        )

    assert [module for module, tree in MODULES.items() if imports_cupy(tree)] == ["_cupy"]


@each_module
def test_nobody_but_the_backend_asks_for_the_device(module):
    asked = [
        node.lineno
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Compare | ast.Match)
        and any(_name(part) == "device" for part in ast.walk(node))
    ]
    assert module in ("backend", "_cupy") or asked == []


# -- quick tests ----


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "-V"]),
        lambda: subprocess.run("echo", shell=True),
        lambda: os.system("echo"),
        lambda: multiprocessing.Process().start(),
        lambda: ProcessPoolExecutor(1).submit(print),
    ],
    ids=["run", "shell", "system", "process", "pool"],
)
def test_a_quick_test_starts_no_process(start):
    with pytest.raises(pytest.fail.Exception, match="to be marked slow"):
        start()


@pytest.mark.slow
def test_a_slow_one_may():
    assert subprocess.run([sys.executable, "-V"], capture_output=True).stdout.startswith(b"Python")


# -- what an import loads, and what there is to read ----


@each_module
def test_a_module_can_be_imported_where_there_is_what_it_needs(module):
    """Of one that can't be imported no doctests are run."""
    with_numba, with_cupy = ("_loops", "_numba"), ("_cupy",)
    if module in with_numba and why_not_compiled() is not None:
        pytest.skip(f"compiled kernels: {why_not_compiled()}")
    if module in with_cupy:
        pytest.importorskip("cupy", reason="CuPy is not installed (extra 'cuda12' or 'cuda13')")
    assert importlib.import_module(f"xpnet.{module}").__doc__


def loaded_by(*lines):
    """Return which of the heavy packages a fresh interpreter has loaded after some lines."""
    code = "\n".join([*lines, f"import sys; print(*[n for n in {HEAVY} if n in sys.modules])"])
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
def test_importing_the_library_loads_numpy_alone():
    assert loaded_by("import xpnet") == []


@pytest.mark.slow
def test_training_loads_no_more_than_the_compiler_on_the_cpu():
    assert loaded_by(
        "import numpy as np, xpnet as xn",
        "X, y = np.eye(4), np.array([0, 1, 0, 1])",
        "net = xn.Network([xn.Linear(2)], loss='softmax_cross_entropy', n_features=4,",
        "                 device='cpu')",
        "xn.Trainer(net).fit(X, y, batch_size=2, epochs=1)",
        "net.predict(X)",
    ) in ([], ["numba"])


@pytest.mark.slow
def test_a_heavy_import_would_be_noticed():
    assert loaded_by("import safetensors") == ["safetensors"]


PUBLIC = [n for n in vars(xn) if not n.startswith("_") and not inspect.ismodule(getattr(xn, n))]


def test_the_public_names_are_there():
    assert {"Network", "Trainer", "Linear", "Adam", "load", "partition", "diagnose"} <= {*PUBLIC}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_says_what_it_is(name):
    thing = getattr(xn, name)
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert own is not None
    # Dataclasses without a docstring get their signature for one.
    assert not own.startswith(f"{name}(")
    assert len(own.split()) >= 3


@each_module
def test_nothing_rests_on_an_assert(module):
    # They vanish under python -O.
    assert [n.lineno for n in ast.walk(MODULES[module]) if isinstance(n, ast.Assert)] == []
