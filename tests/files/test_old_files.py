"""Files of every release so far: they load, and predict what they predicted then.

`tests/files/released/make_files.py` says how a release's files are made.
"""

from pathlib import Path

import numpy as np
import pytest

import xpnet as xn

FOLDERS = sorted(p for p in (Path(__file__).parent / "released").iterdir() if p.is_dir())

#: Of predictions in float32 on another machine, another BLAS, another backend.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture
def held(folder):
    with np.load(folder / "predictions.npz") as file:
        return dict(file)


def test_there_are_files_of_this_release():
    names = {folder.name for folder in FOLDERS}
    assert xn.__version__ in names, "run tests/files/released/make_files.py for this release"
    assert "0.1.0-format-1" in names


def test_a_network(folder, held, backend):
    net = xn.load(folder / "network.safetensors", device=backend)
    np.testing.assert_allclose(net.predict_proba(held["X"]), held["network"], **CLOSE)
    assert len(net.layers) == 13
    # It also trains on.
    xn.Trainer(net).fit(held["X"], np.arange(9) % 3, batch_size=4, epochs=1)


def test_a_network_as_a_model(folder, held):
    model = xn.load_model(folder / "network.safetensors", device="cpu")
    np.testing.assert_allclose(model.predict_proba(held["X"]), held["network"], **CLOSE)


def test_a_model_with_preprocessing(folder, held):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(7)
    n = 12
    rows = pd.DataFrame({"age": rng.normal(40, 10, n).round(1), "fare": rng.integers(5, 90, n)})
    rows["port"] = rng.choice(["Cherbourg", "Queenstown", "Southampton"], n)
    rows.loc[::7, "age"] = np.nan
    rows.loc[3::11, "port"] = None
    model = xn.load_model(folder / "model.safetensors", device="cpu")
    np.testing.assert_allclose(model.predict_proba(rows), held["model"], **CLOSE)
    np.testing.assert_array_equal(model.predict(rows), held["model_labels"])
    assert model.training["target"] == "y"
    assert model.training["settings"]["seed"] == 0


def test_estimators(folder, held):
    classifier = xn.MLPClassifier.load(folder / "classifier.safetensors", device="cpu")
    np.testing.assert_allclose(classifier.predict_proba(held["X"]), held["classifier"], **CLOSE)
    assert classifier.classes_.tolist() == ["no", "yes"]
    regressor = xn.MLPRegressor.load(folder / "regressor.safetensors", device="cpu")
    np.testing.assert_allclose(regressor.predict(held["X"]), held["regressor"], **CLOSE)


def test_what_is_loaded_can_be_written_again(folder, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    for name, load in [("network", xn.load), ("model", xn.load_model)]:
        found = load(folder / f"{name}.safetensors", device="cpu")
        found.save(tmp_path / "again")
        again = load(tmp_path / "again", device="cpu")
        network = getattr(found, "network", found)
        for key, value in network.state().items():
            np.testing.assert_array_equal(getattr(again, "network", again).state()[key], value)


def test_todays_files_are_the_same_bytes_when_written_again(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    folder = FOLDERS[0].parent / xn.__version__
    for name, load in [("network", xn.load), ("model", xn.load_model)]:
        load(folder / f"{name}.safetensors", device="cpu").save(tmp_path / name)
        before = (folder / f"{name}.safetensors").read_bytes()
        assert (tmp_path / name).read_bytes() == before
