"""`TabularClassifier` and `TabularRegressor`: columns of tables, and model files."""

import sys

import numpy as np
import pytest
from raw_tables import (
    BOTH,
    IRIS,
    LABELS,
    RAW,
    RED,
    SPECIES,
    N,
    fitted,
    of_arrow,
    of_dicts,
    of_objects,
    of_pandas,
    of_polars,
    quick,
)
from sklearn.base import clone

import xpnet as xn
from xpnet import TabularClassifier, TabularRegressor
from xpnet.cli.app import main
from xpnet.files import safetensors_files
from xpnet.recipes.settings import Settings
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.frames import dataset_of

# -- tables ----


@pytest.mark.parametrize("of", [of_pandas, of_polars, of_arrow, of_dicts, of_objects])
def test_raw_tables_of_all_kinds(pa, of):
    model = quick(epochs=30, settings={"learning_rate": 0.03}).fit(of(RAW), RED)
    assert model.score(of(RAW), RED) > 0.9
    assert model.n_features_in_ == 4
    assert hasattr(model, "feature_names_in_") == (of is not of_objects)
    same = quick(epochs=30, settings={"learning_rate": 0.03}).fit(of_arrow(RAW), RED)
    np.testing.assert_array_equal(model.predict(of(RAW)), same.predict(of_arrow(RAW)))


def test_columns_are_known_by_name(pa):
    model = quick().fit(of_arrow(RAW), RED)
    assert [*model.feature_names_in_] == [*RAW]
    expected = model.predict_proba(of_arrow(RAW))
    more = {"other": [[1]] * N} | dict(reversed(RAW.items()))
    np.testing.assert_array_equal(model.predict_proba(of_arrow(more)), expected)
    with pytest.raises(ValueError, match="no column 'colour'"):
        model.predict(of_arrow({k: v for k, v in RAW.items() if k != "colour"}))


def test_columns_without_names_are_known_by_place(pa):
    named = quick().fit(of_arrow(RAW), RED)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        found = named.predict_proba(of_objects(RAW))
    np.testing.assert_array_equal(found, named.predict_proba(of_arrow(RAW)))
    unnamed = quick().fit(of_objects(RAW), RED)
    with pytest.warns(UserWarning, match="X has feature names"):
        found = unnamed.predict_proba(of_arrow(RAW))
    np.testing.assert_array_equal(found, unnamed.predict_proba(of_objects(RAW)))
    numbers = of_arrow({name: IRIS[:, i] for i, name in enumerate("abcd")})
    with pytest.warns(UserWarning, match="X has feature names"):
        np.testing.assert_array_equal(fitted().predict(numbers), fitted().predict(IRIS))
    with pytest.raises(ValueError, match="X has 3 features, but TabularClassifier is expecting 4"):
        unnamed.predict(of_objects(RAW)[:, :3])


@pytest.mark.parametrize("of", [of_pandas, of_arrow, of_objects])
def test_kinds_of_columns_and_columns_that_are_left_out(pa, of):
    name = {of_objects: "x3"}.get(of, "zip")
    features = {}
    for columns, drop in ((None, ()), ({name: "category"}, ()), (None, [name])):
        model = quick(epochs=1, columns=columns, drop=drop).fit(of(RAW), RED)
        features[str(columns), *drop] = model.model_.features
        assert model.n_features_in_ == 4
        model.predict(of(RAW))
    kinds = [{c.name: c.kind for c in f.schema.columns}.get(name) for f in features.values()]
    assert kinds == ["integer", "category", None]
    for options in ({"columns": {"lost": "number"}}, {"drop": ["lost"]}):
        with pytest.raises(ValueError, match="'lost', and X has no such column; it has"):
            quick(**options).fit(of(RAW), RED)


def test_what_is_left_out_need_not_be_usable(pa):
    lists = of_arrow(RAW | {"list": [[1, 2]] * N})
    with pytest.raises(TypeError, match="'list' holds lists"):
        quick().fit(lists, RED)
    model = quick(drop=["list"]).fit(lists, RED)
    np.testing.assert_array_equal(model.predict(lists), model.predict(of_arrow(RAW)))


def test_an_array_of_numbers_may_have_kinds_as_well(pa):
    X = np.c_[np.arange(N) % 3, np.arange(N) / N]
    model = quick(columns={"x0": "category"}).fit(X, RED)
    assert model.model_.features.schema["x0"].kind == "category"
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(X).shape == (N,)


def test_an_index_of_pandas_is_left_out():
    frame = of_pandas(RAW)
    model = quick().fit(frame, RED)
    frame.index = frame.index.astype(str)
    frame.index.name = "id"
    other = quick().fit(frame, RED)
    assert other.n_features_in_ == 4
    np.testing.assert_array_equal(model.predict_proba(frame), other.predict_proba(frame))


@BOTH
@pytest.mark.parametrize("X", [IRIS, np.ceil(IRIS / 2), np.arange(600).reshape(150, 4) % 5])
def test_a_frame_of_numbers_is_what_their_array_is(kind, X):
    """Also of whole numbers, whose columns may have the same median and quartiles."""
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    model = quick(kind).fit(pd.DataFrame(X), LABELS[kind])
    assert not hasattr(model, "feature_names_in_")
    np.testing.assert_array_equal(model.predict(pd.DataFrame(X)), model.predict(X))
    np.testing.assert_array_equal(model.predict(X), quick(kind).fit(X, LABELS[kind]).predict(X))


# -- files ----


@pytest.mark.parametrize("of", [of_arrow, of_objects, None])
def test_a_file_is_read_again(pa, of, tmp_path):
    rows, y = (IRIS, SPECIES) if of is None else (of(RAW), RED)
    drop = {of_arrow: ["zip"]}.get(of, ())
    model = quick(drop=drop).fit(rows, y)
    model.save(tmp_path / "m.safetensors")
    other = TabularClassifier.load(tmp_path / "m.safetensors", "cpu")
    np.testing.assert_array_equal(other.predict_proba(rows), model.predict_proba(rows))
    np.testing.assert_array_equal(other.classes_, model.classes_)
    assert other.n_features_in_ == model.n_features_in_
    assert hasattr(other, "feature_names_in_") == (of is of_arrow)
    assert {k: v for k, v in other.get_params().items() if k != "drop"} == {
        k: v for k, v in model.get_params().items() if k != "drop"
    }
    clone(other).fit(rows, y)
    found = xn.load_model(tmp_path / "m.safetensors", "cpu")
    if of is not of_objects:
        np.testing.assert_array_equal(found.predict(rows), model.predict(rows))
    with pytest.raises(xn.ModelFileError, match="it predicts classes: TabularClassifier loads it"):
        TabularRegressor.load(tmp_path / "m.safetensors", "cpu")


def test_the_command_line_reads_the_file(pa, tmp_path, capsys, monkeypatch):
    import pyarrow.csv

    pyarrow.csv.write_csv(of_arrow(RAW), tmp_path / "t.csv")
    model = quick().fit(of_arrow(RAW), RED)
    model.save(tmp_path / "m.safetensors")
    paths = [str(tmp_path / name) for name in ("m.safetensors", "t.csv")]
    monkeypatch.setattr(sys, "argv", ["xpnet", "predict", *paths, "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (None, 0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [*model.predict(of_arrow(RAW))]


def test_a_regressor_s_file(tmp_path):
    model = fitted(TabularRegressor, callbacks=[lambda trainer, row: None])
    with pytest.warns(UserWarning, match="callbacks is .*can't be written"):
        model.save(tmp_path / "m")
    other = TabularRegressor.load(tmp_path / "m", "cpu")
    assert (other.n_outputs_, other.callbacks, other.plan_) == (1, None, None)
    np.testing.assert_array_equal(other.predict(IRIS), model.predict(IRIS))


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {"members": -1}},
        {"params": {"lost": 1}},
        {"params": [1]},
        {"columns": ["a"]},
        {"columns": 3},
        {"named": "yes"},
        {"n_features": 0},
        {"n_features": 7},
    ],
    ids=str,
)
def test_a_file_that_was_tampered_with_is_refused(changes, tmp_path):
    fitted().save(tmp_path / "m")
    arrays, description = safetensors_files.read(tmp_path / "m")
    description["training"]["estimator"] |= changes
    safetensors_files.write(tmp_path / "m", arrays, description)
    with pytest.raises(xn.ModelFileError, match="no TabularClassifier can be made of it"):
        TabularClassifier.load(tmp_path / "m", "cpu")


def test_a_file_of_the_command_line(tmp_path):
    data = dataset_of(IRIS, SPECIES)
    experiment = Experiment.prepare(data, Settings(hidden=(4,), epochs=2), "cpu")
    experiment.run()
    experiment.model.save(tmp_path / "m")
    model = TabularClassifier.load(tmp_path / "m", "cpu")
    np.testing.assert_array_equal(model.predict(IRIS), experiment.model.predict(IRIS))
    assert model.get_params() == TabularClassifier().get_params()
