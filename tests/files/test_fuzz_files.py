"""Model files that somebody altered: each is refused with a reason, or it is what it says.

Hypothesis mutates good files: bytes of the whole, or header, description and data by themselves,
which are then put together again with the right checksum, as an attacker would. A longer run, which
counts what became of the files:

    python tests/test_fuzz_files.py --count 100000
"""

import argparse
import copy
import datetime
import json
import re
import sys
import tempfile
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
from hostile import pack, sign, unpack
from hypothesis import HealthCheck, Phase, given, seed, settings

import xpnet as xn
from xpnet.data.scaling import Scales
from xpnet.tabular.columns.schema import Column, Schema
from xpnet.tabular.features.array_features import ArrayFeatures
from xpnet.tabular.target import Target

of_tables = pytest.importorskip(
    "xpnet.tabular.features.table_features", reason="pyarrow is not installed (extra 'files')"
)
Categories, TableFeatures = of_tables.Categories, of_tables.TableFeatures

try:
    import pandas as pd
except ImportError:
    pd = None

#: What became of the files, by how they were altered.
COUNTS: Counter[tuple[str, str]] = Counter()

#: Numbers beyond these need not give finite predictions.
LARGE, SMALL = 1e4, 1e-4


# -- good files ----


def _save(thing) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        thing.save(Path(folder) / "m")
        return (Path(folder) / "m").read_bytes()


def _network(*layers, loss="softmax_cross_entropy", dtype="float32") -> xn.Network:
    return xn.Network(layers, loss=loss, n_features=4, device="cpu", dtype=dtype)


def _table() -> xn.Model:
    kinds = {"age": "number", "fare": "integer", "port": "category", "deck": "category"}
    schema = Schema(tuple(Column(name, kind) for name, kind in kinds.items()))
    known = {"port": Categories(["C", "Q", None]), "deck": Categories(["1", "2"], rare=True)}
    scales = Scales([40.0, 30.5], [9.5, 20.0])
    features = TableFeatures(schema, ["age", "fare"], scales, ["age"], known)
    target = Target("multiclass", ["no", "maybe", "yes"])
    told = {"data": "t", "target": "y", "fingerprint": "0123456789abcdef", "settings": {"seed": 3}}
    net = xn.Network(
        [*features.layers(), xn.Linear(4), xn.ReLU(), xn.Linear(3)],
        loss="softmax_cross_entropy",
        n_features=features.n_features,
        device="cpu",
    )
    return xn.Model(net, features, target, told)


def _array() -> xn.Model:
    features = ArrayFeatures(Scales([0.5] * 4, [2.0] * 4), {2: 0.5})
    target = Target("regression", None, Scales([100.0, 5.0], [3.0, 2.0]), 2)
    return xn.Model(_network(xn.Linear(2), loss="mean_squared_error"), features, target, {})


@cache
def bases() -> dict[str, bytes]:
    """Return the files that are altered."""
    found = {
        "plain": _network(xn.Linear(3), xn.ReLU(), xn.Linear(3)),
        "float64": _network(xn.Linear(1), loss="sigmoid_cross_entropy", dtype="float64"),
        "batch norm": _network(xn.Linear(5), xn.BatchNorm(), xn.LeakyReLU(0.1), xn.Linear(2)),
        "dropout": _network(xn.Dropout(0.1), xn.Linear(3, init=xn.Normal(0.1)), xn.Dropout(0.5)),
        "codes": _network(xn.OneHot({3: 2}), xn.Embedding({0: 3, 1: 1}, 2), xn.Linear(2)),
        "places": _network(
            xn.RepeatedColumns((3, 0)),
            xn.PiecewiseLinearEmbedding({3: (-1.0, 1.0)}),
            xn.PiecewiseLinearEmbedding({0: (-1.0, 0.0, 1.0), 1: (0.0, 2.0)}, 2),
            xn.Linear(2),
        ),
        "ensemble": _network(
            xn.EnsembleLinear(3, 2), xn.ReLU(), xn.EnsembleLinear(2, 2, shared=False)
        ),
        "table": _table(),
        "array": _array(),
    }
    contents = {name: _save(thing) for name, thing in found.items()}
    old = Path(__file__).parent / "released" / "0.1.0-format-1"
    contents |= {f"old {p.stem}": p.read_bytes() for p in sorted(old.glob("*.safetensors"))}
    return contents


# -- mutations ----

HOSTILE = [
    *(None, True, False, 0, 1, 2, 3, 4, -1, 255, 2**31, 2**63, 2**64, 10**12, 10**30, 10**400),
    *(0.5, 0.0, -0.0, 4.0, 1e308, -1e-300, 5e-324, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        "x",
        "4",
        "Linear",
        "Layer",
        "Dropout",
        "float64",
        "O",
        "f4,(",
        "U",
        "\ud800",
        "a\0",
        "é",
    ),
    *("he", "auto", "regression", "binary", "@deep 30@", "@deep 90@", "@deep 3000@", "x" * 5000),
    *([], [1], [None], ["a", "a"], [[]], {}, {"name": "he"}, {"type": "Linear"}, {"a": {}}),
    *([{"type": "ReLU"}] * 3, [0] * 3000, {"type": "Linear", "n_outputs": 10**12}),
]

DTYPES = ["F32", "F64", "F16", "BF16", "I8", "I64", "U8", "BOOL", "F8_E4M3", "C64", "", "f32", None]


def _places(document, path=()):
    """Yield the path of everything in a document."""
    yield path
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inner:
        if isinstance(value, dict | list):
            yield from _places(value, (*path, key))
        else:
            yield (*path, key)


def _replace(document, path, change):
    """Change what stands at a path of a document, in place."""
    *way, last = path
    for key in way:
        document = document[key]
    change(document, last)


def _alter_document(draw, document):
    places = [p for p in _places(document) if p]
    if not places:
        return  # all of it is deleted already
    path = draw(st.sampled_from(places))
    value = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
    what = draw(st.sampled_from(["set", "set", "set", "delete", "add", "double", "wrap"]))

    def change(parent, key):
        if what == "delete":
            del parent[key]
        elif what == "add" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["extra", "members", "device", "", "n_inputs"]))] = value
        elif what == "double" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif what == "wrap":
            parent[key] = [parent[key]]
        else:
            parent[key] = value

    _replace(document, path, change)


def _whole(offsets):
    return isinstance(offsets, list) and len(offsets) == 2 and all(type(x) is int for x in offsets)


def _alter_header(draw, header):
    name = draw(st.sampled_from(sorted(header)))
    entry = header[name]
    if not isinstance(entry, dict) or not _whole(entry.get("data_offsets")):
        return  # it is altered already
    start, stop = entry["data_offsets"]
    number = st.sampled_from(
        [0, 1, start, stop, stop + 1, stop + 4, -1, 2**63, 2**64 + 1, 1e3, "4"]
    )
    axis = st.sampled_from([0, 1, 2, 3, 4, 12, 2**31, 2**62, 2**64, -1, 1.5, True, "3", None])
    what = draw(
        st.sampled_from(["dtype", "shape", "offsets", "rename", "delete", "copy", "value", "extra"])
    )
    if what == "dtype":
        entry["dtype"] = draw(st.sampled_from(DTYPES))
    elif what == "shape":
        entry["shape"] = draw(st.lists(axis, max_size=4))
    elif what == "offsets":
        entry["data_offsets"] = draw(st.lists(number, min_size=1, max_size=3))
    elif what == "rename":
        header[draw(st.sampled_from(["0.weight", "0.bias", "9.weight", "", "é", "x" * 300]))] = (
            header.pop(name)
        )
    elif what == "delete":
        del header[name]
    elif what == "copy":
        header["copy"] = dict(entry)
    elif what == "value":
        header[name] = draw(st.sampled_from([None, [], {}, 3, "x", {"dtype": "F32"}]))
    else:
        entry["extra"] = 1


def _alter_data(draw, data):
    values = [float("nan"), float("inf"), -1.0, 0.0, -0.0, 1e38, 1e-45, 0.123, 256.0]
    kind = draw(st.sampled_from(["<f4", "<f4", "<f8"]))
    size = np.dtype(kind).itemsize
    what = draw(st.sampled_from(["value", "value", "value", "cut", "more", "zeros"]))
    if what == "value" and len(data) >= size:
        place = draw(st.integers(0, len(data) // size - 1)) * size
        value = np.array(draw(st.sampled_from(values)), kind).tobytes()
        return data[:place] + value + data[place + size :]
    if what == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if what == "more":
        return data + bytes(draw(st.integers(1, 64)))
    return bytes(len(data))


def _alter_bytes(draw, content):
    place = draw(st.integers(0, len(content) - 1))
    what = draw(st.sampled_from(["set", "set", "flip", "cut", "insert", "delete", "length"]))
    if what == "set":
        return content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
    if what == "flip":
        bit = 1 << draw(st.integers(0, 7))
        return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    if what == "cut":
        return content[:place]
    if what == "insert":
        return content[:place] + draw(st.binary(min_size=1, max_size=9)) + content[place:]
    if what == "delete":
        return content[:place] + content[place + draw(st.integers(1, 40)) :]
    length = draw(st.sampled_from([0, 1, 7, 2**20, 2**26 + 1, 2**31, 2**63, 2**64 - 1]))
    return length.to_bytes(8, "little") + content[8:]


def _deep(content: bytes) -> bytes:
    """Put nested lists in the place of their marks, and the header's length right."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = re.sub(
        rb'\\"@deep (\d+)@\\"', lambda m: b"[" * int(m[1]) + b"]" * int(m[1]), content[8:start]
    )
    return len(head).to_bytes(8, "little") + head + content[start:]


@st.composite
def altered(draw):
    """Draw a file: its base, how it was altered, its content."""
    base = draw(st.sampled_from(sorted(bases())))
    content = bases()[base]
    kind = draw(st.sampled_from(["bytes", "header", "document", "document", "data"]))
    if kind == "bytes":
        for _ in range(draw(st.integers(1, 3))):
            content = _alter_bytes(draw, content) or b"\0"
        return base, kind, content
    header, document, data = unpack(content)
    checksum = document.get("sha256")
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        if kind == "header" and header:
            _alter_header(draw, header)
        elif kind == "document":
            _alter_document(draw, document)
        else:
            data = _alter_data(draw, data)
    how = draw(st.sampled_from(["signed", "signed", "unsigned", "stripped"]))
    if how == "stripped":  # as if it was a file of before there were checksums
        document.pop("sha256", None)
        document["version"] = 1
    content = pack(header, document, data)
    if "@deep" in json.dumps(document):
        content = sign(_deep(content))
    if how == "unsigned" and checksum is not None:
        content = _put_back(content, checksum)
    return base, f"{kind}, {how}", content


def _put_back(content, checksum):
    """Return a content with the checksum that it had before it was altered."""
    return re.sub(
        rb'^(.{8}\{"__metadata__":\{"xpnet":"\{\\"sha256\\": \\")[0-9a-f]{64}',
        lambda m: m[1] + checksum.encode(),
        content,
        flags=re.DOTALL,
    )


# -- the judgement ----


def _numbers(value):
    """Yield the numbers in a document."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield abs(value)


def _moderate(document, arrays) -> bool:
    """Return whether predictions have to be finite: no number is very large, or nearly zero."""
    told = {k: document.get(k) for k in ("features", "target")}
    options = document["network"]["layers"]
    numbers = [*_numbers(told), *_numbers(options)]
    numbers += [float(v) for array in arrays.values() for v in np.abs(array).ravel()]
    eps = [layer["eps"] for layer in options if "eps" in layer]
    usual = [n for n in numbers if n not in eps]
    return all(n <= LARGE and (n == 0 or n >= SMALL) for n in usual) and min(eps, default=1) > 1e-8


def _try(load, path):
    """Return what is loaded, or None if it is refused; any other error ends the run."""
    try:
        return load(path, device="cpu")
    except xn.ModelFileError as error:
        message = str(error)
        assert str(path) in message
        assert len(message) < 1000
        assert len(message) > len(str(path)) + 10
        return None


def _check_network(net, content, document):
    """Check that a network is what its file says, read by another hand."""
    arrays = safetensors.numpy.load(content)
    state = net.state()
    assert state.keys() == arrays.keys()
    for name, array in arrays.items():
        assert state[name].dtype == array.dtype == net.dtype
        assert state[name].tobytes() == array.tobytes()
        assert np.isfinite(array).all()
    assert net.config() == document["network"]
    for layer in net.layers:
        if isinstance(layer, xn.BatchNorm):
            assert (state[f"{layer.index}.running_var"] >= 0).all()
    return arrays


def _check_predictions(net, moderate):
    X = np.linspace(-1, 1, 3 * net.n_features).reshape(3, net.n_features)
    predicted = net.predict(X)
    assert predicted.shape == ((3,) if predicted.ndim == 1 else (3, net.n_outputs))
    if moderate:
        assert np.isfinite(predicted).all()
        if net.loss.of_classes:
            assert np.isfinite(net.predict_proba(X)).all()


#: Three values of each kind of column.
VALUES = {
    "number": [1.0, None, 2.0],
    "integer": [1, None, 2],
    "boolean": [True, None, False],
    "category": ["C", None, "Q"],
    "date": [pd and pd.Timestamp("2024-02-29"), None, None],
    "time": [datetime.time(12, 30), None, None],
}


def _check_model(model, document, moderate):
    """Check that preprocessing and target are what the file says, and fit the network."""
    told = document.get("features", {})
    if told and (told["names"] is None or "schema" in told):  # not of a file of before
        assert model.features.config() == document["features"]
    if "target" in document:
        assert model.target.config() == document["target"]
    assert model.training == document.get("training", {})
    if not isinstance(model.features, TableFeatures):
        rows = np.linspace(-1, 1, 3 * model.network.n_features).reshape(3, -1)
    else:
        if pd is None:
            return
        rows = pd.DataFrame({c.name: VALUES[c.kind] for c in model.features.schema.used})
        for column, known in model.features.categories.items():
            rows[column] = [*known.names[:1], None, None][:3] if known.names else None
    try:
        predicted = model.predict(rows)
    except ValueError:  # such as means beyond what its type holds
        assert not moderate
        return
    assert len(predicted) == 3
    if predicted.dtype.kind == "f" and moderate:
        assert np.isfinite(predicted).all()


def judge(base: str, kind: str, content: bytes, path: Path) -> str:
    """Return "refused" or "accepted", or raise an AssertionError: a wrong accept."""
    path.write_bytes(content)
    # What the numbers of a strange model do in NumPy is not the matter.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        net = _try(xn.load, path)
        model = _try(xn.load_model, path)
        if net is None:
            assert model is None, "a model whose network is refused"
            return "refused"
        same = content == bases()[base]
        # Whoever does not write a new checksum is found out.
        if "old" not in base and ("unsigned" in kind or kind == "bytes"):
            assert same, "altered, and accepted in spite of its checksum"
        _, document, _ = unpack(content)
        arrays = _check_network(net, content, document)
        moderate = _moderate(document, arrays)
        _check_predictions(net, moderate)
        if model is not None:
            _check_model(model, document, moderate)
    return "as it was" if same else "accepted" if model is not None else "network alone"


def _property(case, folder):
    base, kind, content = case
    became = judge(base, kind, content, Path(folder) / "m.safetensors")
    COUNTS["no checksum: " * ("old" in base) + kind, became] += 1


common = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=3000, derandomize=True, **common)
@given(altered())
def test_an_altered_file_is_refused_or_what_it_says(tmp_path, case):
    _property(case, tmp_path)


def test_good_files_are_accepted(tmp_path):
    for base, content in bases().items():
        assert judge(base, "bytes", content, tmp_path / "m") == "as it was"


def main() -> None:
    """Run as many mutations as are asked for, and count."""
    parser = argparse.ArgumentParser(description="Mutate model files and load them.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args()
    phases = (Phase.generate, Phase.shrink)
    with tempfile.TemporaryDirectory() as folder:
        run = given(altered())(lambda case: _property(case, folder))
        seed(given_.seed)(settings(max_examples=given_.count, phases=phases, **common)(run))()
    total = sum(COUNTS.values())
    for (kind, what), n in sorted(COUNTS.items()):
        print(f"{kind:34} {what:14} {n:8,}")
    print(f"{total:,} mutations: no crash, no wrong accept")


if __name__ == "__main__":
    sys.exit(main())
