"""The order of the house: who may import whom, who may name CuPy, and what an import loads."""

import ast
import copy
import importlib
import inspect
import multiprocessing
import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import xpnet as xn
from xpnet.backends.select import why_no_cuda, why_not_compiled

PACKAGE = Path(xn.__file__).parent

#: The packages from the ground up: each may import only from those before it, and from itself.
#: The package's own modules are the first, and what stands for the whole library the last.
ORDER = [
    "ground",
    "backends",
    "files",
    "data",
    "nn",
    "optim",
    "throughput",
    "train",
    "analysis",
    "recipes",
    "search",
    "estimators",
    "tabular",
    "cli",
    "whole",
]
WHOLE = {"", "__main__"}

#: What it takes a reason to load: each of these is imported where it is used.
HEAVY = (
    *("cupy", "matplotlib", "numba", "pandas", "pyarrow"),
    *("rich", "safetensors", "sklearn", "typer"),
)

#: What none of the required packages brings along.
OPTIONAL = ("cupy", "numba", "optuna", "pandas", "polars", "pyarrow", "tabm", "torch")


def dotted(path):
    """Return what a file is called as a module within the package: "nn.layer", "nn", ""."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}

#: Asked here: what CuPy does when it is imported first starts a process, as no quick test may.
WITHOUT_CUDA = why_no_cuda()

each_module = pytest.mark.parametrize("module", MODULES)


def _name(node):
    """Return the last part of a dotted name."""
    return getattr(node, "attr", None) or getattr(node, "id", None)


def package_of(module):
    """Return the package that a module belongs to, by the names of `ORDER`."""
    if module in WHOLE:
        return "whole"
    head, _, rest = module.partition(".")
    return head if rest or head in ORDER else "ground"


def imported(tree, module):
    """Yield the library's modules that a module imports, wherever in it: also in functions."""
    place = ["xpnet", *filter(None, module.split("."))]
    if (PACKAGE / module.replace(".", "/")).is_dir():
        place.append("__init__")
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom():
                start = place[: -node.level] if node.level else []
                base = ".".join(filter(None, [*start, node.module]))
                names = [f"{base}.{alias.name}" for alias in node.names]
                names = [name if name.removeprefix("xpnet.") in MODULES else base for name in names]
            case ast.Call() if _name(node.func) in ("import_module", "__import__"):
                names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
            case _:
                continue
        for name in dict.fromkeys(names):
            if name.partition(".")[0] == "xpnet":
                yield name.partition(".")[2]


def test_there_are_modules_and_each_has_its_package():
    assert len(MODULES) > 50
    assert {package_of(module) for module in MODULES} == set(ORDER)


def test_few_modules_stand_outside_the_packages():
    assert len([module for module in MODULES if package_of(module) in ("ground", "whole")]) <= 12


@each_module
def test_a_module_imports_only_from_packages_below_its_own(module):
    above = ORDER[ORDER.index(package_of(module)) + 1 :]
    assert {m for m in imported(MODULES[module], module) if package_of(m) in above} == set()


def at_run_time(tree):
    """Return a tree without what is there for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


def test_no_module_imports_itself_by_way_of_others():
    graph = {
        module: [*imported(at_run_time(copy.deepcopy(tree)), module)]
        for module, tree in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", sorted({p.parent for p in PACKAGE.rglob("*.py")} - {PACKAGE}))
def test_a_package_is_a_map_of_its_files(package):
    tree = ast.parse((package / "__init__.py").read_text("utf-8"))
    assert [type(node) for node in tree.body] == [ast.Expr]
    named = {*re.findall(r"`(\w+)`", ast.get_docstring(tree))}
    inside = {
        p.stem for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert inside - {"__init__"} <= named


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from .layer import Linear", ["nn.layer"]),
        ("from . import layer, losses", ["nn.layer", "nn.losses"]),
        ("from .. import Network", [""]),
        ("from ..optim import schedules", ["optim.schedules"]),
        ("import xpnet.nn.layer", ["nn.layer"]),
        ("import xpnet", [""]),
        ("from xpnet.nn.layer import Linear", ["nn.layer"]),
        ("from xpnet.nn import losses", ["nn.losses"]),
        ("def f():\n    from .layer import Linear", ["nn.layer"]),
        ("if TYPE_CHECKING:\n    from .layer import Linear", ["nn.layer"]),
        (
            "importlib.import_module('xpnet.backends.numba_kernels')",
            ["backends.numba_kernels"],
        ),
        ("import numpy as np\nfrom collections import abc", []),
    ],
)
def test_imports_are_found(source, expected):
    assert list(imported(ast.parse(source), "nn.network")) == expected


# -- CuPy ----

#: Who knows of CuPy: what chooses the backend, what finds out whose an array is, and the backend.
CUPY = ("backends.select", "backends.arrays", "backends.cuda.cupy_backend")


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
def test_cupy_is_named_in_three_modules_alone(module):
    names = {name for name in named(MODULES[module]) if "cupy" in name.lower()}
    assert bool(names) == (module in CUPY)


def test_cupy_is_imported_in_one_module_alone():
    def imports_cupy(tree):
        return any(
            isinstance(node, ast.Import | ast.ImportFrom)
            and "cupy"
            in {a.name.partition(".")[0] for a in node.names} | {getattr(node, "module", "")}
            for node in ast.walk(tree)
        )

    assert [module for module, tree in MODULES.items() if imports_cupy(tree)] == [
        "backends.cuda.cupy_backend"
    ]


@each_module
def test_nobody_but_the_backend_asks_for_the_device(module):
    asked = [
        node.lineno
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.Compare | ast.Match)
        and any(_name(part) == "device" for part in ast.walk(node))
    ]
    assert module in CUPY or asked == []


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


#: What some modules can't be imported without: the extra that brings it.
EXTRAS = {"optuna": "tune", "pyarrow": "files", "sqlalchemy": "tune"}


@each_module
def test_a_module_can_be_imported_where_there_is_what_it_needs(module):
    """Of one that can't be imported no doctests are run."""
    if module.startswith("backends.numba_") and why_not_compiled() is not None:
        pytest.skip(f"compiled kernels: {why_not_compiled()}")
    if module == "backends.cuda.cupy_backend" and WITHOUT_CUDA is not None:
        pytest.importorskip("cupy", reason="CuPy is not installed (extra 'cuda12' or 'cuda13')")
    try:
        found = importlib.import_module(f"xpnet.{module}".rstrip("."))
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        pytest.skip(f"{error.name} is not installed (extra {EXTRAS[error.name]!r})")
    assert found.__doc__


@pytest.mark.slow
def test_every_test_can_be_collected_where_nothing_optional_is_installed():
    code = f"""
import sys
import pytest
from importlib.machinery import PathFinder
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {OPTIONAL} else found(name, path, target)
found, PathFinder.find_spec = PathFinder.find_spec, find_spec
sys.exit(pytest.main(["--collect-only", "-qq", "-m", "", "-p", "no:randomly", "-p", "no:xdist"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


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


README = PACKAGE.parent / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the README is not here")
@pytest.mark.parametrize(
    "registry", [xn.Optimizer.registry, xn.Loss.registry], ids=lambda r: r.kind
)
def test_the_readme_lists_every_optimiser_and_loss(registry):
    rows = [line for line in README.read_text("utf-8").splitlines() if line.startswith("| ")]
    names = {name.strip('"') for row in rows for name in re.findall(r"`([\w\"]+)", row)}
    missing = {
        name: kind for name, kind in registry.own.items() if not names & {name, kind.__name__}
    }
    assert missing == {}


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
def test_warnings_name_the_line_that_called_the_library(module):
    if module != "warning":
        names = {ast.unparse(n.func) for n in ast.walk(MODULES[module]) if isinstance(n, ast.Call)}
        assert "warnings.warn" not in names


@each_module
def test_nothing_rests_on_an_assert(module):
    # They vanish under python -O.
    assert [n.lineno for n in ast.walk(MODULES[module]) if isinstance(n, ast.Assert)] == []


def test_no_class_of_a_test_has_the_name_of_an_example_s():
    """Both are in one process, and a file could not tell them apart."""
    sources = [*PACKAGE.rglob("*.py"), *([README] if README.exists() else [])]
    shown = re.compile(r"(?:\.\.\.|>>>) class (\w+)")
    examples = {name for file in sources for name in shown.findall(file.read_text("utf-8"))}
    tests = Path(__file__).parent.rglob("test_*.py")
    own = {
        name
        for file in tests
        for name in re.findall(r"^class (\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    assert "Ripple" in examples
    assert examples & own == set()
