"""Model files made to do harm: refused with the reason, before anything of them is allocated."""

import json
import os
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from hostile import BEFORE, DIGITS, pack, rewrite, sign, unpack

import xpnet as xn
from xpnet.cli import app
from xpnet.data.scaling import Scales
from xpnet.files import safetensors_files
from xpnet.files.json_tree import MOST_LEVELS, MOST_VALUES
from xpnet.files.safetensors_files import MOST_BYTES, Stored
from xpnet.nn.network import Network
from xpnet.tabular.columns.schema import Column, Schema
from xpnet.tabular.target import Target

of_tables = pytest.importorskip(
    "xpnet.tabular.features.table_features", reason="pyarrow is not installed (extra 'files')"
)
Categories, TableFeatures = of_tables.Categories, of_tables.TableFeatures


def model(task="multiclass"):
    """Return a model with the preprocessing of a table."""
    scales = Scales([40.0, 30.5], [9.5, 20.0])
    schema = Schema((Column("age", "number"), Column("fare", "number"), Column("port", "category")))
    known = {"port": Categories(["C", "Q", None])}
    features = TableFeatures(schema, ["age", "fare"], scales, ["age"], known)
    target = {
        "multiclass": lambda: Target("multiclass", ["no", "maybe", "yes"]),
        "binary": lambda: Target("binary", ["no", "yes"]),
        "regression": lambda: Target("regression", None, Scales([1.0, 2.0], [3.0, 4.0]), 2),
    }[task]()
    layers = [xn.Linear(4), xn.BatchNorm(), xn.ReLU(), xn.Linear(target.n_outputs)]
    net = xn.Network(layers, loss=target.loss, n_features=features.n_features, device="cpu")
    told = {"data": "t", "target": "y", "fingerprint": "0123456789abcdef", "settings": {"seed": 3}}
    return xn.Model(net, features, target, told)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def whole(path):
    """Write a good file; return its header, document and data."""
    model().save(path)
    return unpack(path.read_bytes())


def refuse(path, reason, load=xn.load):
    """Check that a file is refused for a reason, and nothing of a kind with it allocated."""
    tracemalloc.start()
    try:
        with pytest.raises(xn.ModelFileError) as caught:
            load(path, device="cpu")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message, message
    assert len(message) < len(str(path)) + 700
    return peak


# -- the header ----


@pytest.mark.parametrize("length", [0, 1, 2**20, MOST_BYTES + 1, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_another_length(path, whole, length):
    content = path.read_bytes()
    path.write_bytes(length.to_bytes(8, "little") + content[8:])
    assert refuse(path, "not a whole safetensors file") < 3e6


def test_a_header_too_large_to_look_at(path):
    with path.open("wb") as file:  # takes no room: there are only zeros in it
        file.write((MOST_BYTES + 8).to_bytes(8, "little"))
        file.truncate(MOST_BYTES + 100)
    assert refuse(path, f"more than {MOST_BYTES:,}") < 1e6


def entry(**changes):
    """Return a change of the header's first entry."""

    def change(header, data):
        first = min(header, key=lambda name: header[name]["data_offsets"])
        header[first].update(changes)
        return data

    return change


def moved(name, by):
    def change(header, data):
        start, stop = header[name]["data_offsets"]
        header[name]["data_offsets"] = [start + by, stop + by]
        return data

    return change


def more(dtype, shape, nbytes):
    """Return a change that adds an array of some bytes."""

    def change(header, data):
        places = [len(data), len(data) + nbytes]
        header["more"] = {"dtype": dtype, "shape": shape, "data_offsets": places}
        return data + bytes(nbytes)

    return change


def shapes(shape):
    """Return a change of every shape, offsets and all, with no more data than before."""

    def change(header, data):
        for told in header.values():
            told["shape"] = shape
        return data

    return change


@pytest.mark.parametrize(
    "change",
    [
        moved("0.weight", -4),
        moved("0.weight", 4),
        moved("0.weight", 2**40),
        moved("3.weight", 10**6),
        entry(data_offsets=[0, 2**64]),
        entry(data_offsets=[16, 0]),
        entry(data_offsets=[-16, 0]),
        entry(data_offsets=[0]),
        entry(data_offsets=[0, 16, 32]),
        entry(data_offsets=[0.0, 16.0]),
        entry(data_offsets="0 16"),
        entry(dtype="F64"),
        entry(dtype="F16"),
        entry(dtype="BF16"),
        entry(dtype="F8_E4M3"),
        entry(dtype="C64"),
        entry(dtype="O"),
        entry(dtype="<f4"),
        entry(dtype=None),
        entry(shape=[2**40, 2**40]),
        entry(shape=[2**62]),
        entry(shape=[-4]),
        entry(shape=[0]),
        entry(shape=[1.5]),
        entry(shape=["4"]),
        entry(shape=None),
        entry(shape=[[4]]),
        shapes([10**12]),
        lambda header, data: data[:-4],
        lambda header, data: data + bytes(4),
        lambda header, data: header.clear() or data,
        lambda header, data: header.update(more={"dtype": "F32"}) or data,
        lambda header, data: header.update(more=3) or data,
        more("BF16", [2], 0),
        more("F8_E5M2", [4], 4),
        more("F32", [0, 2**60], 0),
        more("F32", [0] * 70, 0),
    ],
)
def test_offsets_shapes_and_types_that_can_t_be(path, whole, change):
    header, document, data = whole
    data = change(header, data)
    path.write_bytes(pack(header, document, data))
    assert refuse(path, "not a whole safetensors file") < 3e6


def test_the_place_of_an_array_may_not_be_taken_twice(path, whole):
    header, document, data = whole
    header["copy"] = dict(header["0.weight"])
    path.write_bytes(pack(header, document, data))
    refuse(path, "not a whole safetensors file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX's")
def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR)
    try:
        os.write(pipe, bytes(8))  # what would be read, if it was
        refuse(path, "not a whole safetensors file (no plain file)")
    finally:
        os.close(pipe)


# -- the description ----


def test_values_are_nested_so_deep_and_no_deeper(path):
    def nested(levels):
        return json.loads("[" * levels + "]" * levels)

    arrays = {"a": np.zeros(1)}
    safetensors_files.write(path, arrays, {"x": nested(MOST_LEVELS)})
    assert safetensors_files.read(path)[1] == {"x": nested(MOST_LEVELS)}
    with pytest.raises(ValueError, match=f"more than {MOST_LEVELS} levels deep"):
        safetensors_files.write(path, arrays, {"x": nested(MOST_LEVELS + 1)})


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 900, 1100, 10**6])
def test_deep_json(path, whole, levels):
    text = json.dumps(whole[1])[:-1] + ', "deep": ' + "[" * levels + "]" * levels + "}"
    rewrite(path, safetensors.numpy.load(path.read_bytes()), text)
    refuse(path, "its description is not JSON")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"x": NaN', "it holds NaN"),
        ('"x": -Infinity', "it holds -Infinity"),
        ('"x": 1e999', "a number too large"),
        ('"x": ' + "1" * 5000, "not JSON"),
        ('"x": 1, "x": 1', "stands twice"),
        ('"network": {}', "stands twice"),
        (r'"x": "\ud800"', "surrogates not allowed"),
        (r'"\ud800": 1', "surrogates not allowed"),
        ('"x": [' + "0," * MOST_VALUES + "0]", f"more than {MOST_VALUES:,} values"),
        ('"x": ' + "[[]," * 3 + "[]", "not JSON"),
    ],
    ids=range(10),
)
def test_json_that_means_nothing_or_too_much(path, whole, text, reason):
    rewrite(
        path, safetensors.numpy.load(path.read_bytes()), json.dumps(whole[1])[:-1] + f", {text}}}"
    )
    refuse(path, reason)


def test_what_could_not_be_read_is_not_written(path):
    arrays = {"a": np.zeros(1)}
    with pytest.raises(ValueError, match="more than"):
        safetensors_files.write(path, arrays, {"x": [0] * (MOST_VALUES + 1)})
    with pytest.raises(ValueError, match=r"more than 67,108,864"):
        safetensors_files.write(path, arrays, {"x": "y" * MOST_BYTES})
    with pytest.raises(ValueError, match="a holds complex128, which model files do not"):
        safetensors_files.write(path, {"a": np.zeros(1, complex)}, {})
    assert not path.exists()


# -- what a description claims ----


def test_shapes_are_compared_before_an_array_is_read_or_a_network_built(path, whole, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("too early")

    monkeypatch.setattr(Stored, "__getitem__", never)
    monkeypatch.setattr(Network, "_build", never)
    header, document, data = whole
    layers = document["network"]["layers"]
    for width in (10**6, 10**12, 2**53):
        layers[0]["n_outputs"] = width
        path.write_bytes(pack(header, document, data))
        assert (
            refuse(path, f"0.weight is float32 of shape (4, 4), expected float32 of shape ({width}")
            < 3e6
        )
        refuse(path, "0.weight is float32", load=xn.load_model)
    layers[0]["n_outputs"] = 4
    path.write_bytes(pack(header, document, data))
    with pytest.raises(AssertionError, match="too early"):
        xn.load(path, device="cpu")


def write_codes(path, layer, change=lambda network: None):
    """Write a file of a network that begins with a layer of codes, changed."""
    layers = [layer, xn.Linear(2)]
    xn.Network(layers, loss="mean_squared_error", n_features=4, device="cpu").save(path)
    header, document, data = unpack(path.read_bytes())
    change(document["network"])
    path.write_bytes(pack(header, document, data))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ([[1, -3]], "the number of categories of column 1 is -3: give 1 or more"),
        ([[1, 0]], "the number of categories of column 1 is 0: give 1 or more"),
        ([[-1, 3]], "a column is -1: give 0 or more"),
        ([[4, 3]], "takes column 4 and its input has 4"),
        ([[2**52, 3]], "takes column 4503599627370496 and its input has 4"),
        ([[1, 10**12]], "column 1 has 1,000,000,000,000 categories: give at most"),
        ([[1, 2**53]], "categories: give at most 16,777,216"),
        ([[1, 10**400]], "columns is"),
        ([[1, 3.0]], "which no"),
        ([[1, True]], "which no"),
        ([[1, None]], "which no"),
        ([[1, 3], [1, 3]], "columns has 1 twice"),
        ([[1, 3, 3]], "which no"),
        ([1, 3], "which no"),
        ({"1": 3}, "which no"),
        ([], "columns is empty"),
        ("13", "which no"),
        (None, "which no"),
        ([[1, 10**7]], "float32 of shape"),
        ([[k, 2**24] for k in range(4)], ""),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("kind", ["OneHot", "Embedding"])
def test_columns_of_codes_that_can_t_be(path, columns, reason, kind):
    layer = xn.OneHot({1: 3}) if kind == "OneHot" else xn.Embedding({1: 3}, 2)
    write_codes(path, layer)
    assert xn.load(path, device="cpu").n_features == 4
    write_codes(path, layer, lambda network: network["layers"][0].update(columns=columns))
    assert refuse(path, reason) < 3e6


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ([[1, [0.0]]], "the edges of column 1 are (0.0,): give at least two"),
        ([[1, []]], "the edges of column 1 are (): give at least two"),
        ([[1, [0.0, 0.0]]], "the edges of column 1 go from 0.0 to 0.0"),
        ([[1, [2.0, 1.0]]], "the edges of column 1 go from 2.0 to 1.0"),
        ([[1, [0.0, 1e-300]]], "different in float32"),
        ([[1, [0.0, 1e300]]], "different in float32"),
        ([[1, [0, 2**60]]], "which no"),
        ([[1, [0, 10**400]]], "columns is"),
        ([[1, [0.0, None]]], "which no"),
        ([[1, [0.0, "1"]]], "which no"),
        ([[1, [False, True]]], "which no"),
        ([[1, [0.0, [1.0]]]], "which no"),
        ([[1, 2.0]], "which no"),
        ([[1.0, [0.0, 1.0]]], "which no"),
        ([[-1, [0.0, 1.0]]], "a column is -1"),
        ([[4, [0.0, 1.0]]], "takes column 4 and its input has 4"),
        ([[1, [0.0, 1.0]], [1, [0.0, 1.0]]], "columns has 1 twice"),
        ([[1, [0.0, 1.0], 3]], "which no"),
        ([], "columns is empty"),
        ({"1": [0.0, 1.0]}, "which no"),
        (None, "which no"),
        ([[1, list(range(10**5))]], "float32 of shape"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("n_dims", [None, 2])
def test_edges_that_can_t_be(path, columns, reason, n_dims):
    layer = xn.PiecewiseLinearEmbedding({1: (0.0, 1.0, 3.0)}, n_dims)
    write_codes(path, layer)
    assert xn.load(path, device="cpu").n_features == 4
    write_codes(path, layer, lambda network: network["layers"][0].update(columns=columns))
    assert refuse(path, reason) < 3e7


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_dims": 0}, "n_dims is 0"),
        ({"n_dims": 2**53}, "outputs of 4 inputs, more than"),
        ({"n_dims": 2.0}, "n_dims is 2.0, which no PiecewiseLinearEmbedding takes"),
        ({"n_dims": None}, "not expected"),
        ({"n_dims": None, "relu": True}, "relu is True without n_dims"),
        ({"linear": False}, "not expected: ['0.linear']"),
        ({"linear": 1}, "linear is 1, which no"),
        ({"clamp": None}, "clamp is None, which no"),
    ],
    ids=str,
)
def test_piecewise_embeddings_that_can_t_be(path, changes, reason):
    layer = xn.PiecewiseLinearEmbedding({1: (0.0, 1.0, 3.0)}, 2)
    write_codes(path, layer, lambda network: network["layers"][0].update(changes))
    assert refuse(path, reason) < 3e6


def test_inputs_that_nobody_has_are_not_counted_one_by_one(path):
    """Of 2⁵³ features, of which one becomes two."""
    write_codes(path, xn.OneHot({1: 3}), lambda network: network.update(n_features=2**53))
    assert refuse(path, "more than 16,777,216") < 3e6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_dims": 0}, "n_dims is 0"),
        ({"n_dims": -2}, "n_dims is -2"),
        ({"n_dims": 2**53}, "outputs of 4 inputs, more than"),
        ({"n_dims": 10**6}, "0.weight is float32 of shape (3, 2), expected"),
        ({"n_dims": 2.0}, "n_dims is 2.0, which no Embedding takes"),
        ({"init": {"name": "he", "slope": 1e200}}, "can't be built"),
        ({"init": {"name": "normal", "sigma": -1.0}}, "sigma is -1.0"),
        ({"init": "auto"}, "an option is missing, or stands there as no file has it"),
        ({"init": None}, "init is None, which no Embedding takes"),
    ],
    ids=str,
)
def test_embeddings_that_can_t_be(path, changes, reason):
    layer = xn.Embedding({1: 3}, 2)
    write_codes(path, layer, lambda network: network["layers"][0].update(changes))
    assert refuse(path, reason) < 3e6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"members": 0}, "members is 0"),
        ({"members": -2}, "members is -2"),
        ({"members": 3}, "give all of a network the same"),
        ({"members": 2**53}, "give all of a network the same"),
        ({"members": 2.0}, "members is 2.0, which no EnsembleLinear takes"),
        ({"shared": False}, "not expected: ['0.r', '0.s']"),
        ({"shared": 1}, "shared is 1, which no EnsembleLinear takes"),
        ({"bias": False}, "0.bias"),
        ({"init": {"name": "normal", "sigma": -1.0}}, "sigma is -1.0"),
        ({"expands": False}, "expands"),
    ],
    ids=str,
)
def test_ensembles_that_can_t_be(path, changes, reason):
    layers = [xn.EnsembleLinear(5, 2), xn.EnsembleLinear(1, 2)]
    net = xn.Network(layers, loss="mean_squared_error", n_features=4, device="cpu")
    arrays, document = net.state(), {"network": net.config()}
    document["network"]["layers"][0].update(changes)
    safetensors_files.write(path, arrays, document)
    assert refuse(path, reason) < 3e6


def test_a_network_without_arrays_claims_nothing(path, whole):
    """Ten thousand layers without parameters are few bytes of JSON."""
    header, document, data = whole
    document["network"]["layers"] = [{"type": "Dropout", "p": 0.5}] * 10_000
    path.write_bytes(pack(header, document, data))
    assert refuse(path, "not expected") < 50e6


def test_no_weights_are_drawn_for_a_network_that_is_loaded(path, whole, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("drawn")

    expected = xn.load(path, device="cpu").state()
    monkeypatch.setattr(Network, "initialize", never)
    found = xn.load(path, device="cpu").state()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    with pytest.raises(AssertionError, match="drawn"):
        xn.Network([xn.Linear(1)], loss="mean_squared_error", n_features=1)


@pytest.mark.parametrize(
    "name", ["os.system", "__import__", "object", "Layer", "Network", "linear", "__class__", ""]
)
def test_only_layers_are_made(path, whole, name):
    header, document, data = whole
    document["network"]["layers"][0] = {"type": name}
    path.write_bytes(pack(header, document, data))
    refuse(path, f"the layer '{name}' is not defined here")


def test_nothing_is_unpickled(path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(path) + ".owned",)

    path.write_bytes(pickle.dumps(Evil()))
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "load", None)
    for load in (xn.load, xn.load_model):
        refuse(path, "not a whole safetensors file", load)
    assert os.listdir(path.parent) == [path.name]


# -- the checksum ----


def test_any_byte_that_is_altered_is_noticed(path):
    model().save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    # All of the header's, and some of the data's.
    start = 8 + int.from_bytes(content[:8], "little")
    places = [*range(start), *rng.integers(start, len(content), 100)]
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(altered)
        with pytest.raises(xn.ModelFileError):
            xn.load(path, device="cpu")


def test_the_message_says_that_it_was_altered(path, whole):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for load in (xn.load, xn.load_model):
        refuse(path, "altered or damaged since it was written, for its checksum does not fit", load)


@pytest.mark.parametrize("name", [" ha256", "sha255", "SHA256"])
def test_a_checksum_by_another_name_is_none(path, whole, name):
    content = path.read_bytes().replace(b"sha256", name.encode(), 1)
    path.write_bytes(content)
    refuse(path, "altered or damaged")


def test_a_checksum_elsewhere_is_none(path, whole):
    header, document, data = whole
    document["sha256"] = document.pop("sha256")  # behind all else
    path.write_bytes(pack(header, document, data))
    refuse(path, "altered or damaged")
    document["sha256"] = None
    path.write_bytes(pack(header, document, data))
    refuse(path, "altered or damaged")


def test_a_file_of_before_checksums_needs_none(path, whole):
    header, document, data = whole
    del document["sha256"]
    path.write_bytes(pack(header, document | {"version": 1}, data))
    assert xn.load(path, device="cpu").n_features == 4
    path.write_bytes(pack(header, document | {"version": 2}, data))
    refuse(path, "altered or damaged")
    # One that has a checksum all the same has the right one.
    document = {"sha256": "0" * DIGITS, **document, "version": 1}
    content = pack(header, document, data)
    path.write_bytes(content)
    assert xn.load(path, device="cpu").n_features == 4
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refuse(path, "altered or damaged")


def test_the_checksum_is_that_of_the_whole_file(path, whole):
    content = path.read_bytes()
    assert content[8:].startswith(BEFORE)
    assert sign(content) == content
    model().save(path)
    assert path.read_bytes() == content


# -- preprocessing, target, training ----


def told(*way, value):
    """Return a change of what a document says at a place."""

    def change(document):
        *path, last = way
        for key in path:
            document = document[key]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (told("features", value=None), "no model can be built"),
        (told("features", value=[]), "no model can be built"),
        (told("features", value={}), "no model can be built"),
        (told("features", "extra", value=1), "extra"),
        (told("features", "names", value=["age"]), "there are 1 names of 2 columns"),
        (told("features", "names", value=["age", "age"]), "stands there twice"),
        (told("features", "names", value=["age", 3]), "names are"),
        (told("features", "names", value="ab"), "names are 'ab'"),
        (told("features", "names", value=None), "the features have ["),
        (told("features", "mean", value=[0.0]), "1 means have 2 scales"),
        (told("features", "mean", value=["0", "1"]), "means and scales are"),
        (told("features", "mean", value=[True, 1.0]), "means and scales are"),
        (told("features", "mean", value=3.0), "means and scales are 3.0"),
        (told("features", "mean", value=[10**400, 0]), "no model can be built"),
        (told("features", "mean", value=[2**64 + 1, 0]), "means and scales are"),
        (told("features", "scale", value=[0.0, 1.0]), "not positive"),
        (told("features", "scale", value=[-1.0, 1.0]), "not positive"),
        (told("features", "gaps", value=["port"]), "numbers or gaps are of no column"),
        (told("features", "gaps", value=["z"]), "numbers or gaps are of no column"),
        (told("features", "gaps", value=["age", "age"]), "twice"),
        (told("features", "gaps", value=[0]), "gaps are [0]"),
        (told("features", "gaps", value=None), "gaps are None"),
        (told("features", "categories", value=[]), "categories are no dict"),
        (told("features", "categories", value={"age": ["a"]}), "categories are no dict of columns"),
        (told("features", "categories", "port", value="CQ"), "the categories of 'port' are 'CQ'"),
        (
            told("features", "categories", "port", "names", value="C"),
            "categories of 'port' are 'C'",
        ),
        (told("features", "categories", "port", "rare", value=1), "categories of 'port' are {"),
        (told("features", "schema", value=[]), "numbers or gaps are of no column"),
        (told("features", "schema", value=None), "a schema is None"),
        (told("features", "schema", 0, "kind", value="x"), "column 'age' is of kind 'x'"),
        (told("features", "schema", 0, "pattern", value="%d"), "is written as '%d'"),
        (told("features", "coded", value=0), "coded is 0"),
        (told("features", "categories", "port", value=["C", "C", "Q"]), "twice"),
        (told("features", "categories", "port", value=["C", 2, None]), "categories of 'port'"),
        (told("features", "categories", value={}), "gives 3 features and its network"),
        (told("target", value=None), "no model can be built"),
        (told("target", value={}), "no model can be built"),
        (told("target", "task", value="binary"), "there are 3 classes for a binary task"),
        (told("target", "task", value="regression"), "or classes"),
        (told("target", "task", value="clustering"), "its task is 'clustering'"),
        (told("target", "task", value=["binary"]), "its task is"),
        (told("target", "classes", value=None), "classes are None"),
        (told("target", "classes", value=["no", "yes"]), "it has 3 outputs"),
        (told("target", "classes", value=["no", "no", "yes"]), "twice"),
        (told("target", "classes", value=["no", 1, "yes"]), "give all of one kind"),
        (told("target", "classes", value=[1, 2, 2.5]), "give all of one kind"),
        (told("target", "classes", value=[0, 1, 2**70]), "give all of one kind"),
        (told("target", "classes", value=["a", "b\0", "c"]), "give all of one kind"),
        (told("target", "classes", value=[["a"], ["b"], ["c"]]), "classes are"),
        (told("target", "n_outputs", value=2), "it has 2 outputs"),
        (told("target", "n_outputs", value=None), "it has None outputs"),
        (told("target", "scale", value=[0.0]), "not positive"),
        (told("network", "loss", value="half_squared_error"), "its target is multiclass"),
        (told("training", value=[]), "no model can be built"),
        (told("training", value=None), "no model can be built"),
        (told("training", value={"fingerprint": "x"}), "a fingerprint and no seed"),
        (told("training", "settings", value=None), "no model can be built"),
        (told("training", "settings", value=[1]), "no model can be built"),
        (told("training", "settings", "seed", value=-1), "its seed is -1"),
        (told("training", "settings", "seed", value="0"), "its seed is '0'"),
        (told("training", "target", value=3), "its target is 3"),
        (told("training", "fingerprint", value={}), "its fingerprint is {}"),
    ],
)
def test_a_model_whose_parts_are_wrong(path, whole, change, reason):
    header, document, data = whole
    change(document)
    path.write_bytes(pack(header, document, data))
    refuse(path, reason, xn.load_model)


@pytest.mark.parametrize("task", ["multiclass", "binary", "regression"])
def test_good_models_are_not_refused(path, task):
    model(task).save(path)
    again = xn.load_model(path, device="cpu")
    assert again.target.config() == model(task).target.config()
    assert again.features.config() == model(task).features.config()
    assert again.training == model(task).training


@pytest.mark.parametrize("loss", ["half_squared_error", "poisson_deviance", "mean_squared_error"])
def test_a_network_of_any_loss_is_a_model(path, loss):
    net = xn.Network([xn.Linear(2)], loss=loss, n_features=3, device="cpu")
    net.save(path)
    found = xn.load_model(path, device="cpu")
    X = np.ones((4, 3))
    np.testing.assert_allclose(found.predict(X), net.predict(X), rtol=1e-6)
    assert found.target.encode(np.ones((4, 2))).shape == (4, 2)


# -- the command line, the estimators ----


def harm(kind, path):
    """Write a file that is wrong in a way."""
    model().save(path)
    content = path.read_bytes()
    header, document, data = unpack(content)
    if kind == "truncated":
        content = content[:-9]
    elif kind == "altered":
        content = content[:-1] + b"\x7f"
    elif kind == "pickle":
        content = pickle.dumps({"weights": [1, 2]})
    elif kind == "huge":
        document["network"]["layers"][0]["n_outputs"] = 10**12
        content = pack(header, document, data)
    elif kind == "deep":
        text = json.dumps(document)[:-1] + ', "x": ' + "[" * 5000 + "]" * 5000 + "}"
        content = pack(header, text, data)
    elif kind == "NaN":
        content = pack(header, document, np.full(len(data) // 4, np.nan, "<f4").tobytes())
    elif kind == "unknown layer":
        document["network"]["layers"][0]["type"] = "Conv\n2d"
        content = pack(header, document, data)
    path.write_bytes(content)


KINDS = ["truncated", "altered", "pickle", "huge", "deep", "NaN", "unknown layer"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["predict", "evaluate", "profile"])
def test_a_command_says_it_in_one_line(path, capfd, monkeypatch, kind, command):
    harm(kind, path)
    monkeypatch.setattr(sys, "argv", ["xpnet", command, str(path), "iris"])
    with pytest.raises(SystemExit) as stop:
        app.main()
    out, err = capfd.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"error: {path}: ")


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimator_is_refused_too(path, kind):
    harm(kind, path)
    with pytest.raises(xn.ModelFileError):
        xn.MLPClassifier.load(path)
