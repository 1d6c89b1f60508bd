"""Model files of networks: the round trip, what is refused, and what a failed write leaves."""

import json
import os
import pickle
import re
import stat
from contextlib import suppress
from copy import deepcopy

import numpy as np
import pytest
import safetensors.numpy
from hostile import rewrite
from oracle import draw_state, on_host
from safetensors import safe_open

import xpnet as xn
from xpnet.files import atomic, safetensors_files

LAYERS = [
    xn.Dropout(0.25),
    xn.Linear(8),
    xn.BatchNorm(momentum=0.3, eps=1e-3),
    xn.ReLU(),
    xn.Dropout(0.5),
    xn.Linear(7, bias=False, init=xn.Normal(0.3)),
    xn.LeakyReLU(0.2),
    xn.Linear(6, init="lecun"),
    xn.Tanh(),
    xn.Linear(5, bias=True, init=xn.He(slope=0.1)),
    xn.BatchNorm(),
    xn.Sigmoid(),
    xn.Linear(5),
    xn.Softmax(),
    xn.Linear(4),
    xn.GELU(approximate="tanh"),
    xn.Linear(4),
    xn.ELU(0.5),
    xn.Linear(3, init="zeros"),
]

LOSSES = ["softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error"]


def build(backend, loss="softmax_cross_entropy", dtype="float32", layers=LAYERS):
    """Return a network with random values in every array, and a seed of its own."""
    net = xn.Network(
        layers, loss=loss, n_features=4, device=backend, dtype=dtype, random_state=2**40 + 7
    )
    net.load_state(draw_state(net, 1))
    return net


def labels(net, n):
    rng = np.random.default_rng(2)
    if net.loss.name == "softmax_cross_entropy":
        return rng.integers(3, size=n)
    return rng.integers(2, size=(n, 3)).astype(float)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# -- the round trip ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
def test_round_trip_is_bit_for_bit(backend, path, loss, dtype):
    net = build(backend, loss, dtype)
    net.save(path)
    again = xn.load(path, device=backend)
    state, expected = again.state(), net.state()
    assert list(state) == list(expected)
    for name, value in expected.items():
        assert state[name].dtype == value.dtype == dtype
        np.testing.assert_array_equal(state[name], value, err_msg=name)
    X = np.random.default_rng(0).standard_normal((20, 4))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    if loss != "mean_squared_error":
        np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    assert again.evaluate(X, labels(net, 20)) == net.evaluate(X, labels(net, 20))


def test_description_comes_back_whole(backend, path):
    """Biases and initial weights as they were resolved, seed and all: the second file is the first.

    Without the resolved bias, a network with its batch norm taken out would find an array missing.
    """
    net = build(backend)
    net.save(path)
    again = xn.load(path, device=backend)
    assert again.config() == net.config()
    assert repr(again) == repr(net)
    assert again.random_state == 2**40 + 7
    again.initialize()
    net.initialize()
    for name, value in net.state().items():
        np.testing.assert_array_equal(again.state()[name], value, err_msg=name)


def test_saving_twice_gives_the_same_bytes(backend, path, tmp_path):
    build(backend).save(path)
    xn.load(path, device=backend).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_loaded_network_trains_on_as_the_saved_one(backend, path):
    """The same mini-batches and dropout masks: the seed is in the file."""
    net = build(backend, dtype="float64")
    net.save(path)
    again = xn.load(path, device=backend)
    X = np.random.default_rng(0).standard_normal((20, 4))
    for one in (net, again):
        xn.Trainer(one, xn.Adam(0.01), l2=0.1).fit(X, labels(net, 20), batch_size=6, epochs=2)
    for name, value in net.state().items():
        np.testing.assert_array_equal(again.state()[name], value, err_msg=name)


def test_a_file_does_not_know_where_it_was_trained(backend, path):
    """Written on each backend, read on the CPU, and the other way round."""
    net = build(backend, dtype="float64")
    net.save(path)
    on_cpu = xn.load(path, device="cpu")
    assert on_cpu.backend.device == "cpu"
    for name, value in net.state().items():
        np.testing.assert_array_equal(on_cpu.state()[name], value, err_msg=name)
    X = np.random.default_rng(0).standard_normal((20, 4))
    z = on_host(on_cpu.backend, on_cpu.forward(on_cpu.backend.asarray(X)))
    np.testing.assert_allclose(on_host(backend, net.forward(backend.asarray(X))), z, atol=1e-12)

    on_cpu.save(path)
    again = xn.load(path, device=backend)
    assert again.backend is backend
    for name, value in net.state().items():
        np.testing.assert_array_equal(again.state()[name], value, err_msg=name)


def test_the_saved_network_is_apart_from_the_loaded_one(backend, path):
    net = build(backend)
    net.save(path)
    again, third = xn.load(path, device=backend), xn.load(path, device=backend)
    again.load_state(draw_state(again, 9))
    for name, value in third.state().items():
        np.testing.assert_array_equal(value, net.state()[name])
        assert (again.state()[name] != value).any()


@pytest.mark.parametrize("name", ["plain", "with spaces.safetensors", "δίκτυο.safetensors"])
def test_any_path_will_do(tmp_path, name):
    net = build("cpu")
    net.save(str(tmp_path / name))
    net.save(tmp_path / name)
    assert xn.load(str(tmp_path / name), device="cpu").state().keys() == net.state().keys()
    assert os.listdir(tmp_path) == [name]


# -- the format ----


def test_arrays_have_pytorch_s_names(backend, path):
    build(backend).save(path)
    arrays = safetensors.numpy.load_file(path)
    assert {name: array.shape for name, array in arrays.items()} == {
        "1.weight": (8, 4),
        "2.weight": (8,),
        "2.bias": (8,),
        "2.running_mean": (8,),
        "2.running_var": (8,),
        "5.weight": (7, 8),
        "7.weight": (6, 7),
        "7.bias": (6,),
        "9.weight": (5, 6),
        "9.bias": (5,),
        "10.weight": (5,),
        "10.bias": (5,),
        "10.running_mean": (5,),
        "10.running_var": (5,),
        "12.weight": (5, 5),
        "12.bias": (5,),
        "14.weight": (4, 5),
        "14.bias": (4,),
        "16.weight": (4, 4),
        "16.bias": (4,),
        "18.weight": (3, 4),
        "18.bias": (3,),
    }


def test_the_architecture_is_json_in_the_metadata(backend, path):
    net = build(backend)
    net.save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"xpnet"}
    document = json.loads(metadata["xpnet"])
    assert len(document.pop("sha256")) == 64
    assert document == {"version": 2, "network": net.config()}


def test_members_are_saved_with_their_axis(backend, path):
    net = xn.Network(
        [xn.Linear(2), xn.BatchNorm(), xn.Dropout([0.1, 0.2])],
        loss=xn.MeanSquaredError(),
        n_features=2,
        device=backend,
        members=2,
        random_state=[5, 9],
    )
    net.save(path)
    again = xn.load(path, device=backend)
    assert (again.members, again.seeds) == (2, (5, 9))
    assert again.config() == net.config()
    assert again.layers[2].p == (0.1, 0.2)
    for name, array in net.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    copy = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(backend.to_host(copy.parameters), backend.to_host(net.parameters))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(12)[::2],
        np.array(3.5),
        np.zeros((0, 4), np.float32),
        np.array([True, False]),
        np.array([1, 2**60], np.uint64),
        np.array([np.nan, -0.0, np.inf, 5e-324]),
    ],
    ids=["rows", "columns", "strided", "scalar", "empty", "bool", "uint64", "special"],
)
def test_any_array_comes_back(path, array):
    safetensors_files.write(path, {"a": array}, {})
    found = safetensors_files.read(path)[0]["a"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == np.ascontiguousarray(array).tobytes()


def test_any_json_comes_back(path):
    description = {"a": [1, 2.5, None, True, "é \u2028"], "b": {"c": {}}, "": 1e-300}
    safetensors_files.write(path, {"a": np.zeros(1)}, description)
    assert safetensors_files.read(path)[1] == description


# -- what is refused ----


def refuse(path, *parts):
    """Check that `xpnet.load` refuses a file, naming it and saying why."""
    with pytest.raises(xn.ModelFileError) as caught:
        xn.load(path, device="cpu")
    message = str(caught.value)
    assert str(path) in message
    for part in parts:
        assert part in message
    assert len(message) > len(str(path)) + 10


@pytest.fixture
def good(path):
    """Return a good file's arrays, description and path."""
    build("cpu").save(path)
    with safe_open(path, framework="numpy") as file:
        return safetensors.numpy.load_file(path), json.loads(file.metadata()["xpnet"]), path


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors: no such file"):
        xn.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError):
        xn.load(tmp_path / "no" / "where")


def test_a_folder(tmp_path):
    refuse(tmp_path)


def test_an_error_is_a_value_error():
    assert issubclass(xn.ModelFileError, ValueError)


def test_a_truncated_file(good):
    *_, path = good
    whole = path.read_bytes()
    lengths = {0, 1, 7, 8, 9, 100, len(whole) - 1, *range(0, len(whole), len(whole) // 20)}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        refuse(path, "not a whole safetensors file")


def test_a_file_with_more_behind_it(good):
    *_, path = good
    path.write_bytes(path.read_bytes() + b"more")
    refuse(path, "not a whole safetensors file")


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(path, seed):
    rng = np.random.default_rng(seed)
    path.write_bytes(rng.bytes(int(rng.integers(1, 3000))))
    refuse(path, "not a whole safetensors file")


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04 a zip file", b"\x80\x04\x95 a pickle", b"text\n" * 50, bytes(1000)],
    ids=["zip", "pickle", "text", "zeros"],
)
def test_files_of_other_kinds(path, content):
    path.write_bytes(content)
    refuse(path, "not a whole safetensors file")


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_header_never_gives_another_error(good, seed):
    """Any byte of the header changed: a `ModelFileError`, or a network if it did not matter."""
    *_, path = good
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(seed)
    for _ in range(25):
        damaged = bytearray(whole)
        for place in rng.integers(0, header, int(rng.integers(1, 4))):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        # Any other error ends the test.
        with suppress(xn.ModelFileError):
            xn.load(path, device="cpu")


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"XPNET": "{}"}])
def test_a_safetensors_file_of_others(good, metadata):
    arrays, _, path = good
    safetensors.numpy.save_file(arrays, path, metadata)
    refuse(path, "a safetensors file, but not one that xpnet wrote")


@pytest.mark.parametrize("version", [0, 3, "1", True, None, [1], ...])
def test_another_version(good, version):
    arrays, description, path = good
    del description["version"]
    rewrite(path, arrays, description if version is ... else description | {"version": version})
    shown = None if version is ... else version
    refuse(
        path,
        f"format version {shown}, and this xpnet reads 2 and before",
        "use the xpnet that wrote it",
    )


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("", "its description is not JSON"),
        ("{", "its description is not JSON"),
        ("[" * 100_000, "its description is not JSON"),
        ("[]", "its description is not a JSON object"),
        ("3", "its description is not a JSON object"),
        ("null", "its description is not a JSON object"),
        ({"version": 1}, "its network can't be built"),
        ({"version": 1, "network": None}, "its network can't be built"),
        ({"version": 1, "network": 3}, "its network can't be built"),
        ({"version": 1, "network": []}, "its network can't be built"),
        ({"version": 1, "network": {}}, "its network can't be built"),
    ],
)
def test_a_bad_description(good, description, reason):
    arrays, _, path = good
    rewrite(path, arrays, description)
    refuse(path, reason)


def in_layer(index, **changes):
    """Return a change of a layer's description; a value of ... takes the key out."""

    def change(network):
        layer = network["layers"][index]
        layer.update(changes)
        for key in [k for k, v in changes.items() if v is ...]:
            del layer[key]

    return change


def in_network(**changes):
    """Return a change of the network's description; a value of ... takes the key out."""

    def change(network):
        network.update(changes)
        for key in [k for k, v in changes.items() if v is ...]:
            del network[key]

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (in_layer(1, type="Convolution"), "Convolution"),
        (in_layer(1, type="Layer"), "Layer"),
        (in_layer(1, type=...), "type"),
        (in_layer(1, type=["Linear"]), "can't be built"),
        (in_layer(1, n_outputs=0), "n_outputs is 0"),
        (in_layer(1, n_outputs="8"), "n_outputs is '8'"),
        (in_layer(1, n_outputs=...), "n_outputs"),
        (in_layer(1, n_outputs=10**15), ""),
        (in_layer(1, n_outputs=10**30), ""),
        (in_layer(1, extra=1), "extra"),
        (in_layer(1, init="glorot"), "glorot"),
        (in_layer(1, init={"name": "he", "slope": 1e200}), ""),
        (in_layer(0, p=1.5), "p is 1.5"),
        (in_layer(0, p="0.5"), "can't be built"),
        (in_layer(0, p=[0.1, 0.2]), "p of Dropout has 2 values, for so many members"),
        (in_layer(0, p=[]), "p is (): give one"),
        (in_layer(0, p=[0.1, "a"]), "which no Dropout takes"),
        (in_layer(2, eps=-1.0), "eps is -1.0"),
        (in_layer(2, eps=2**64), "eps is 18446744073709551616, which no BatchNorm takes"),
        (in_layer(6, negative_slope=float("nan")), "it holds NaN"),
        (in_layer(6, negative_slope=float("inf")), "it holds Infinity"),
        (in_layer(6, negative_slope=False), "negative_slope is False, which no LeakyReLU takes"),
        (in_layer(1, bias=1), "bias is 1, which no Linear takes"),
        (in_layer(1, n_outputs=True), "n_outputs is True"),
        (in_layer(1, init={"name": "normal", "sigma": True}), "sigma is True"),
        (in_layer(1, init={"name": "normal", "sigma": 10**400}), "can't be built"),
        (in_layer(0, p=...), "an option is missing"),
        (in_layer(1, bias=None), "an option is missing, or stands there as no file has it"),
        (in_layer(1, init="he"), "an option is missing"),
        (in_layer(3, p=0.5), "p is 0.5, which no ReLU takes"),
        (in_layer(15, approximate="erf"), "approximate is 'erf': give 'none' or 'tanh'"),
        (in_layer(15, approximate=True), "approximate is True, which no GELU takes"),
        (in_layer(17, alpha=0.0), "alpha is 0.0: give a finite number above 0"),
        (in_network(layers=[{"type": "ReLU"}] * 10_001), "no list of at most 10,000"),
        (in_network(dtype="f4,("), "dtype is 'f4,('"),
        (in_network(dtype=">f4"), "dtype is '>f4'"),
        (in_network(random_state=None), "random_state is None"),
        (in_network(random_state=...), "random_state"),
        (in_network(layers=...), "layers"),
        (in_network(members=2), "can't be built"),
        (
            in_network(members=2, random_state=[0, 1]),
            "expected float32 of shape (2, 8, 4)",
        ),
        (in_network(members=0, random_state=[]), "members is 0"),
        (in_network(members=-1, random_state=[0]), "members is -1"),
        (in_network(members=True, random_state=[0]), "members is True"),
        (in_network(members=1.5, random_state=[0]), "members is 1.5"),
        (in_network(members="2", random_state=[0, 1]), "members is '2'"),
        (in_network(members=None, random_state=[0]), "can't be built"),
        (in_network(members=10**12, random_state=[0]), "members is 1000000000000: give at most"),
        (in_network(members=2**20, random_state=[0]), "expected float32 of shape (1048576, 8, 4)"),
        (in_network(members=2, random_state={"0": 1}), "can't be built"),
        (in_network(members=2, random_state="01"), "can't be built"),
        (in_network(members=2, random_state=[0, 1.5]), "random_state is 1.5"),
        (in_network(members=2, random_state=[0, True]), "random_state is True"),
        (in_network(members=1, random_state=[0, 1]), "expected float32 of shape (1, 8, 4)"),
        (in_network(random_state=[0]), "random_state is [0]"),
        (in_network(layers=[]), "not expected"),
        (in_network(layers=[None]), "can't be built"),
        (in_network(layers=None), "can't be built"),
        (in_network(loss="hinge"), "hinge"),
        (in_network(loss=["softmax_cross_entropy"]), "can't be built"),
        (in_network(loss=...), "loss"),
        (in_network(n_features=-4), "n_features is -4"),
        (in_network(n_features=4.0), "n_features is 4.0"),
        (in_network(n_features=10**15), ""),
        (in_network(dtype="float16"), "float16"),
        (in_network(dtype=17), "dtype is 17"),
        (in_network(random_state=-1), "random_state is -1"),
        (in_network(device="cuda"), "device"),
        (in_network(surprise=1), "surprise"),
    ],
)
def test_a_network_that_can_t_be_built(good, change, reason):
    arrays, description, path = good
    change(description["network"])
    rewrite(path, arrays, description)
    refuse(path, reason)


def replaced(name, array):
    return lambda arrays: arrays | {name: array}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replaced("1.weight", np.zeros((8, 5), "f4")), "1.weight is float32 of shape (8, 5)"),
        (replaced("1.weight", np.zeros((4, 8), "f4")), "expected float32 of shape (8, 4)"),
        (replaced("2.bias", np.zeros((8, 1), "f4")), "2.bias is float32 of shape (8, 1)"),
        (replaced("2.bias", np.zeros(8, "f8")), "2.bias is float64 of shape (8,)"),
        (replaced("2.bias", np.zeros(8, "i4")), "2.bias is int32 of shape (8,)"),
        (replaced("99.weight", np.zeros(3, "f4")), "not expected: ['99.weight']"),
        (lambda a: {k: v for k, v in a.items() if k != "7.bias"}, "arrays missing: ['7.bias']"),
        (lambda a: {}, "arrays missing"),
        (replaced("2.bias", np.full(8, np.nan, "f4")), "2.bias holds values that are NaN"),
        (replaced("2.running_var", np.full(8, np.inf, "f4")), "2.running_var holds values"),
        (replaced("2.running_var", np.full(8, -1.0, "f4")), "2.running_var holds negative"),
    ],
)
def test_arrays_that_do_not_fit(good, change, reason):
    arrays, description, path = good
    rewrite(path, change(arrays), description)
    refuse(path, reason)


def test_a_network_in_another_precision_than_its_arrays(good):
    arrays, description, path = good
    description["network"]["dtype"] = "float64"
    rewrite(path, arrays, description)
    refuse(path, "expected float64")


def test_a_state_that_does_not_fit_changes_nothing(backend):
    net = build(backend)
    before = net.state()
    bad = deepcopy(before)
    # The first array is good and another: nothing of it may get in.
    bad["1.weight"] = bad["1.weight"] + 1
    bad["14.bias"] = bad["14.bias"][:-1]
    with pytest.raises(xn.ModelFileError, match=r"the given state: 14\.bias is float32"):
        net.load_state(bad)
    for name, value in net.state().items():
        np.testing.assert_array_equal(value, before[name])


# -- writing ----


def broken(*args, **kwargs):
    raise OSError(28, "No space left on device")


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("function", ["create", "write", "sync", "rename"])
@pytest.mark.parametrize("existing", [True, False], ids=["over a file", "anew"])
@pytest.mark.parametrize(
    ("failure", "error"), [(broken, OSError), (interrupted, KeyboardInterrupt)]
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, function, existing, failure, error
):
    path = tmp_path / "model.safetensors"
    if existing:
        build("cpu").save(path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = build("cpu", dtype="float64")
    with monkeypatch.context() as patch:
        patch.setattr(atomic.DISK, function, failure)
        with pytest.raises(error):
            other.save(path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    # And once there is room again, it is written.
    other.save(path)
    assert xn.load(path, device="cpu").dtype == "float64"


@pytest.mark.parametrize(
    "description",
    [{"a": float("nan")}, {"a": {1, 2}}, {"a": np.float32(1)}],
    ids=["nan", "set", "numpy"],
)
def test_a_description_that_is_no_json_leaves_the_old_file(good, description):
    *_, path = good
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError)):
        safetensors_files.write(path, {"a": np.zeros(1)}, description)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("name", "error"),
    [("no such folder/model.safetensors", FileNotFoundError), ("folder", IsADirectoryError)],
)
def test_where_nothing_can_be_written(tmp_path, name, error):
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / name)
    with pytest.raises(error, match=re.escape(repr(path))) as caught:
        build("cpu").save(path)
    assert (caught.value.filename, caught.value.filename2) == (path, None)
    assert sorted(os.listdir(tmp_path)) == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize(
    ("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)]
)
def test_permissions_honour_the_umask(path, umask, mode):
    net = build("cpu")
    old = os.umask(umask)
    try:
        for _ in range(2):  # anew, and over a file
            net.save(path)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        left = os.umask(old)
    assert left == umask
