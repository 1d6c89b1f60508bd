"""Features in a memory-mapped file: the bits of the array, and a fraction of its memory."""

import tracemalloc

import numpy as np
import pytest
from oracle import on_host
from strict import StrictBackend

import xpnet as xn
from xpnet import Rows
from xpnet.backends.select import select
from xpnet.data.streaming import Streamed

N, M = 120, 6


def network(device, dtype="float32", **more):
    layers = [xn.Dropout(0.1), xn.Linear(8), xn.BatchNorm(), xn.ReLU(), xn.Linear(3)]
    return xn.Network(
        layers, loss="softmax_cross_entropy", n_features=M, device=device, dtype=dtype, **more
    )


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(3, size=N)


def in_file(folder, X, name="X.npy"):
    np.save(folder / name, X)
    return np.load(folder / name, mmap_mode="r")


def kinds():
    """Return arrays of several kinds that a file may hold."""
    X = np.random.default_rng(0).normal(size=(N, M))
    return {
        "float32": X.astype("f4"),
        "float64": X,
        "big-endian": X.astype(">f8"),
        "float16": X.astype("f2"),
        "bytes": (X * 40 + 128).astype("u1"),
        "truth values": X > 0,
        "columns": np.asfortranarray(X.astype("f4")),
    }


@pytest.mark.parametrize("kind", kinds())
def test_training_on_a_file_gives_the_bits_of_training_on_the_array(device, tmp_path, labels, kind):
    X = kinds()[kind]
    file = in_file(tmp_path, X)
    order = np.random.default_rng(3).permutation(N)
    found = []
    for features, y in [
        (X, labels),
        (file, labels),
        (Rows(file, np.arange(N)), labels),
        (X[order], labels[order]),
        (Rows(file, order), labels[order]),
    ]:
        net = network(device)
        history = xn.Trainer(net, l2=0.1).fit(
            features,
            y,
            batch_size=25,
            epochs=3,
            validation_data=(features[:40], y[:40]),
            monitor=30,
        )
        assert len(history) == 3
        told = [history[k] for k in ("train_loss", "train_error", "dev_loss", "dev_error")]
        outputs = [net.predict(features), net.predict_proba(features)]
        found.append((net.state(), told, net.evaluate(features, y), outputs))
    for first, other in [(0, 1), (0, 2), (3, 4)]:
        for name, value in found[first][0].items():
            np.testing.assert_array_equal(found[other][0][name], value, err_msg=name)
        assert found[other][1:3] == found[first][1:3]
        for a, b in zip(found[other][3], found[first][3], strict=True):
            np.testing.assert_array_equal(a, b)


def test_weights_and_augmentation_go_with_the_rows(device, tmp_path, labels):
    X = kinds()["float64"]
    weights = np.random.default_rng(2).random(N)
    noise = xn.Augmentation([xn.GaussianNoise(0.1), xn.Mixup(0.2)])
    states = []
    for features in (X, in_file(tmp_path, X)):
        net = network(device, "float64")
        xn.Trainer(net).fit(
            features, labels, batch_size=16, epochs=2, sample_weight=weights, augmentation=noise
        )
        states.append(net.state())
    for name, value in states[0].items():
        np.testing.assert_array_equal(states[1][name], value, err_msg=name)


def test_whatever_takes_an_array_takes_a_file(device, tmp_path, labels):
    X = kinds()["float64"]
    found = []
    for features in (X, in_file(tmp_path, X)):
        net = network(device, "float64")
        trainer = xn.Trainer(net)
        loss = float(trainer.step(features, labels))
        activations = [on_host(net.backend, a) for a in net.activations(features)]
        smooth = xn.Network(
            [xn.Linear(3), xn.Tanh(), xn.Linear(3)],
            loss="softmax_cross_entropy",
            n_features=M,
            device=device,
            dtype="float64",
        )
        error = float(xn.check_gradients(smooth, features, labels))
        data = (features, labels)
        curve = xn.learning_curve(net, data, data, sizes=(0.5, 1.0), batch_size=20, epochs=2).rows
        choice = xn.choose_l2(net, data, data, l2=(0.0, 1.0), batch_size=20, epochs=2).rows
        held = [[v for k, v in row.items() if "second" not in k] for row in [*curve, *choice]]
        found.append((loss, activations, error, held))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[0][2:] == found[1][2:]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_found_in_a_file_too(device, tmp_path, labels, bad):
    """1e300 is finite, but not in the network's type."""
    X = kinds()["float64"]
    X[[5, 77], 2] = bad
    told = []
    for features in (X, in_file(tmp_path, X)):
        with pytest.raises(ValueError, match=r"X has 2 values .* in column 2 \(2\)") as caught:
            xn.Trainer(network(device)).fit(features, labels, epochs=1)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_a_bad_value_is_found_wherever_it_is(device, tmp_path, monkeypatch):
    """The check looks at some rows at a time; no row may fall between."""
    monkeypatch.setattr("xpnet.data.arrays.ELEMENTS", 7 * M)
    for place in (0, 6, 7, 8, 13, 14, N - 1):
        X = kinds()["float32"]
        X[place, 1] = np.nan
        with pytest.raises(ValueError, match=r"1 value .* column 1 \(1\)"):
            network(device).predict(in_file(tmp_path, X, f"{place}.npy"))


def test_rows_are_read_from_front_to_back(tmp_path):
    class Watched(np.memmap):
        asked: list = []  # noqa: RUF012

        def __getitem__(self, key):
            if isinstance(key, np.ndarray):
                Watched.asked.append(key)
            return super().__getitem__(key)

    X = kinds()["float32"]
    in_file(tmp_path, X)
    file = np.load(tmp_path / "X.npy", mmap_mode="r").view(Watched)
    xn.Trainer(network("cpu")).fit(file, np.arange(N) % 3, batch_size=10, epochs=2, monitor=0)
    assert len(Watched.asked) == 24
    assert all((np.diff(key) > 0).all() for key in Watched.asked)
    seen = np.sort(np.concatenate(Watched.asked[:12]))
    np.testing.assert_array_equal(seen, np.arange(N))


def large(tmp_path, dtype="f4"):
    """Return a file of 200 MB or more, which takes no room: there are only zeros in it."""
    X = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", dtype, (100_000, 500))
    y = np.random.default_rng(0).integers(3, size=len(X))
    return X, y


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_memory_does_not_grow_with_the_file(strict, tmp_path, dtype):
    X, y = large(tmp_path, dtype)
    train, dev, _ = xn.partition(X, y)
    for where in ("cpu", strict):
        net = xn.Network([xn.Linear(3)], loss="softmax_cross_entropy", n_features=500, device=where)
        tracemalloc.start()
        try:
            xn.Trainer(net).fit(*train, batch_size=1000, epochs=1, validation_data=dev)
            xn.Trainer(net).fit(X, y, batch_size=1000, epochs=1)
            net.evaluate(X, y)
            net.predict(X)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1e8, f"{peak / 1e6:.0f} MB, of a file of {X.nbytes / 1e6:.0f}"


def test_whole_numbers_are_not_read_to_be_checked(tmp_path, monkeypatch, labels):
    def refuse(*args):
        raise AssertionError("read")

    file = in_file(tmp_path, kinds()["bytes"])
    monkeypatch.setattr(Streamed, "__getitem__", refuse)
    network("cpu").prepare(file, labels)
    with pytest.raises(AssertionError, match="read"):
        network("cpu").prepare(in_file(tmp_path, kinds()["float32"], "f.npy"), labels)


# -- arrays that the device has no room for ----


@pytest.mark.parametrize("kind", kinds())
def test_an_array_too_large_for_the_device_stays_on_the_host_and_trains_alike(kind, labels):
    X = np.concatenate([kinds()[kind]] * 100)
    y = np.concatenate([labels] * 100)
    found = []
    for memory in (None, 340_000):
        device = StrictBackend(memory=memory)
        net = network(device)
        admitted, _ = net.prepare(X, y)
        assert isinstance(admitted, Streamed) == (memory is not None)
        del admitted
        trainer = xn.Trainer(net)
        history = trainer.fit(X, y, batch_size=32, epochs=2, monitor=0)
        trainer.fit(X[:1000], y[:1000], batch_size=32, epochs=1, monitor=0)
        predicted = net.predict(X[:500])
        state = [device.to_host(a) for a in (net.parameters, net.statistics, *trainer.moments)]
        found.append([*state, history["train_loss"], predicted])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fit_to_an_array_on_the_host_is_captured_as_a_graph(labels):
    device = StrictBackend(memory=340_000)
    X, y = (np.concatenate([a] * 100) for a in (kinds()["float32"], labels))
    xn.Trainer(network(device)).fit(X, y, batch_size=32, epochs=1, monitor=0)
    assert device.replays > 300


def test_a_small_array_is_copied_to_the_device(strict, labels):
    strict.memory = 10**6
    assert strict.owns(network(strict).prepare(kinds()["float32"], labels)[0])


def test_batches_pass_by_two_places_in_turns(device):
    with device.active():
        stage = device.stage((5, 2), np.float32)
        sent = []
        for i in range(6):
            rows = stage.send(3 + i % 2, lambda out, i=i: out.fill(i))
            assert device.owns(rows)
            assert rows.shape == (3 + i % 2, 2)
            sent.append(rows * 1.0)
        for i, rows in enumerate(sent):
            np.testing.assert_array_equal(device.to_host(rows), np.full(rows.shape, float(i)))


@pytest.mark.parametrize("given", [np.float32, np.float64, np.int8])
def test_rows_of_an_array_are_written_in_the_type_that_is_wanted(given):
    X = (np.arange(12).reshape(6, 2) * 1.0).astype(given)
    out = np.empty((3, 2), np.float32)
    Streamed(X, select("cpu"), np.float32).write(np.array([5, 0, 5]), out)
    np.testing.assert_array_equal(out, [[10, 11], [0, 1], [10, 11]])
