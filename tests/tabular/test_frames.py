"""Data sets from frames, tables, arrays and lists in memory, with the labels apart."""

import numpy as np
import pytest
from scipy import sparse

import xpnet as xn
from xpnet.recipes.settings import Settings
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.frames import dataset_of, dicts_as_table, rows_for

X = np.random.default_rng(0).normal(size=(60, 3)).round(3)
Y = X.sum(axis=1)
WORDS = np.array(["no", "yes"])[np.arange(60) % 2]
COLOURS = np.array(["red", "green", "blue"])[np.arange(60) % 3]
OBJECTS = np.c_[X[:, :2].astype(object), COLOURS]
WITH_GAPS = np.where(np.arange(60)[:, None] % 9 == 4, np.nan, X)


def prepare(dataset, **options):
    options = {"test": False} | options
    return Experiment.prepare(dataset, Settings(hidden=(4,), epochs=1), "cpu", **options)


def of_pandas(rows):
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    return pd.DataFrame({"a": rows[:, 0].astype(float), "b": rows[:, 1].astype(float),
                         "c": rows[:, 2]})  # fmt: skip


def of_arrow(rows):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    return pa.table({"a": rows[:, 0].astype(float), "b": rows[:, 1].astype(float),
                     "c": rows[:, 2].tolist()})  # fmt: skip


def of_polars(rows):
    pl = pytest.importorskip("polars", reason="polars is not installed")
    return pl.DataFrame({"a": rows[:, 0].astype(float), "b": rows[:, 1].astype(float),
                         "c": rows[:, 2].tolist()})  # fmt: skip


def of_dicts(rows):
    return [dict(zip("abc", row, strict=True)) for row in rows.tolist()]


@pytest.mark.parametrize("of", [of_pandas, of_arrow, of_polars, of_dicts])
def test_tables_of_all_kinds_are_the_same(pa, of):
    found = dataset_of(of(OBJECTS[:40]), WORDS[:40], of(OBJECTS[40:]), WORDS[40:])
    assert [(c.name, c.kind) for c in found.schema.columns] == [
        ("a", "number"),
        ("b", "number"),
        ("c", "category"),
    ]
    other = dataset_of(of_arrow(OBJECTS[:40]), WORDS[:40], of_arrow(OBJECTS[40:]), WORDS[40:])
    assert (found.fingerprint(), found.sets()) == (other.fingerprint(), other.sets())
    experiment = prepare(found)
    assert {name: len(p.labels) for name, p in experiment.parts.items()} == {"train": 40, "dev": 20}
    experiment.run()
    predicted = experiment.model.predict(rows_for(found.schema, of(OBJECTS[40:])))
    np.testing.assert_array_equal(predicted, experiment.model.predict(found.dev_rows))


@pytest.mark.parametrize("given", [np.asarray, np.ndarray.tolist])
def test_an_array_of_objects_is_a_table(pa, given):
    found = dataset_of(given(OBJECTS[:40]), WORDS[:40], given(OBJECTS[40:]), WORDS[40:])
    assert [(c.name, c.kind) for c in found.schema.columns] == [
        ("x0", "number"),
        ("x1", "number"),
        ("x2", "category"),
    ]
    experiment = prepare(found)
    experiment.run()
    predicted = experiment.model.predict(rows_for(found.schema, given(OBJECTS[40:])))
    np.testing.assert_array_equal(predicted, experiment.model.predict(found.dev_rows))


def test_objects_may_have_gaps(pa):
    rows = OBJECTS[:40].copy()
    rows[3, 0], rows[5, 2], rows[7, 1] = None, None, float("nan")
    found = dataset_of(rows, WORDS[:40]).rows
    assert [found[name].null_count for name in ("x0", "x1", "x2")] == [1, 1, 1]


@pytest.mark.parametrize("given", [np.asarray, np.ndarray.tolist, np.float32])
def test_finite_numbers_stay_an_array(given):
    found = dataset_of(given(X), Y.tolist(), given(X[:9] + 1), Y[:9].tolist())
    assert (found.schema, found.rows.shape, found.dev_rows.shape) == (None, (60, 3), (9, 3))
    experiment = prepare(found)
    assert experiment.model.target.task == "regression"
    np.testing.assert_array_equal(rows_for(None, given(X)), found.rows)


@pytest.mark.parametrize("which", [(True, False), (False, True)])
def test_numbers_with_gaps_are_a_table(pa, which):
    own = [WITH_GAPS if gaps else X for gaps in which]
    found = dataset_of(own[0][:40], Y[:40], own[1][40:], Y[40:])
    assert found.schema.of_kind("number") == ["x0", "x1", "x2"]
    assert found.rows["x1"].null_count == (4 if which[0] else 0)
    assert found.dev_rows["x1"].null_count == (3 if which[1] else 0)
    prepare(found).run()


def test_masked_numbers_are_gaps(pa):
    masked = np.ma.array(X, mask=np.isnan(WITH_GAPS))
    assert dataset_of(masked, Y).fingerprint() == dataset_of(WITH_GAPS, Y).fingerprint()
    assert dataset_of(np.ma.array(X), Y).schema is None


def test_the_schema_and_the_classes_are_those_of_the_training_rows(pd):
    frame = of_pandas(OBJECTS)
    numbers, words = frame[:40].assign(c=["1", "2"] * 20), frame[40:].assign(c=["x"] * 20)
    assert dataset_of(numbers, WORDS[:40]).schema["c"].kind == "integer"
    assert dataset_of(frame[:40], WORDS[:40], numbers, WORDS[:40]).schema["c"].kind == "category"
    with pytest.raises(TypeError, match=r"^X_val: column 'c' holds text where .* belong"):
        dataset_of(numbers, WORDS[:40], words, WORDS[40:])
    labels = np.where(np.arange(20) == 3, "never", WORDS[40:])
    with pytest.raises(ValueError, match=r"^X_val: the target has .* know: never; it knows"):
        prepare(dataset_of(frame[:40], WORDS[:40], frame[40:], labels))


def test_labels_of_all_kinds(pd):
    for y in (pd.Series(WORDS, name="kind"), pd.DataFrame({"kind": WORDS}), WORDS[:, None],
              WORDS.tolist(), pd.Series(WORDS).astype("category")):  # fmt: skip
        found = dataset_of(X, y)
        assert prepare(found).model.target.classes == ["no", "yes"]
    assert dataset_of(X, pd.Series(WORDS, name="kind")).target_name == "kind"
    two = prepare(dataset_of(X, np.c_[Y, -Y])).model.target
    assert (two.task, two.n_outputs) == ("regression", 2)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((X, None), TypeError, "y is None: give a label for each row of X"),
        ((X, Y, X), ValueError, "X_val is given and no y_val: give both, or neither"),
        ((X, Y, None, Y), ValueError, "y_val is given and no X_val: give both, or neither"),
        ((X[:, 0], Y), ValueError, r"X has shape \(60,\): give .*; one row is X.reshape\(1, -1\)"),
        (([], []), ValueError, r"X has shape \(0,\): give \(rows, columns\)"),
        (([[1.0], [2.0, 3.0]], Y[:2]), ValueError, "X is not a rectangular array of numbers"),
        ((sparse.csr_matrix(X), Y), TypeError, r"X is a sparse matrix: give X.toarray\(\)"),
        ((X, Y, sparse.csr_matrix(X), Y), TypeError, "X_val is a sparse matrix"),
        ((X, Y[:9]), ValueError, "data: rows has 60 rows and target 9: give one label"),
        ((X, Y, X[:9], Y[:8]), ValueError, "X_val: rows has 9 rows and target 8: give one label"),
        ((X, Y, X[:9, :2], Y[:9]), ValueError, r"X_val: rows of data holds .* \(n, 3\) and rows"),
        ((X, Y, X, Y), ValueError, "X_val: holds the same as data, row by row"),
        ((X * np.inf, Y), ValueError, "the data has 180 values that are NaN or infinite"),
    ],
)
def test_what_is_none_of_these_is_refused(given, error, message):
    with pytest.raises(error, match=f"^{message}"):
        prepare(dataset_of(*given))


def test_tables_and_arrays_do_not_go_together(pa):
    with pytest.raises(TypeError, match="one of X and X_val has named columns and the other has"):
        dataset_of(of_arrow(OBJECTS), WORDS, X, WORDS)
    with pytest.raises(ValueError, match="X has 3 columns and X_val has 2 columns: give as many"):
        dataset_of(OBJECTS, WORDS, OBJECTS[:, 1:], WORDS)
    with pytest.raises(TypeError, match="X holds complex numbers: turn them into numbers first"):
        dataset_of(X + 1j, Y)
    named, unnamed = dataset_of(of_arrow(OBJECTS), WORDS), dataset_of(OBJECTS, WORDS)
    for schema, rows, message in (
        (named.schema, OBJECTS, "a table with named columns: give such a table"),
        (None, of_arrow(OBJECTS), "an array, without named columns: give an array"),
        (unnamed.schema, OBJECTS[:, :2], "X has 2 columns and the model was trained on 3"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            rows_for(schema, rows)
    frame = rows_for(unnamed.schema, OBJECTS)
    assert rows_for(unnamed.schema, frame) is frame


# -- rows that are dicts ----


def test_dicts_have_all_columns_that_any_of_them_has(pa):
    """Arrow takes those of the first row alone, and says nothing of the others."""
    rows = [{"b": "u"}, {"a": 1.5, "b": "v"}, {"a": 2, "c": True}]
    found = dicts_as_table(rows, "X")
    assert found.to_pydict() == {
        "b": ["u", "v", None],
        "a": [None, 1.5, 2.0],
        "c": [None, None, True],
    }


@pytest.mark.parametrize("gap", [None, float("nan"), np.float32("nan")], ids=repr)
def test_gaps_of_dicts_may_be_nan_beside_text(pa, gap):
    """As ``frame.to_dict("records")`` has them."""
    rows = [{"a": 1.0, "b": "u"}, {"a": gap, "b": "v"}, {"a": 3.0, "b": gap}]
    found = dicts_as_table(rows, "X")
    assert found.to_pydict() == {"a": [1.0, None, 3.0], "b": ["u", "v", None]}


def test_a_column_that_the_first_row_lacks_is_learnt_from(pa):
    y = np.arange(60) % 2
    rows = [{"noise": i % 7, "a": float(label)} for i, label in enumerate(y)]
    rows[0] = {"noise": 0}
    model = xn.TabularClassifier("plain", epochs=30, random_state=0).fit(rows, y)
    assert [*model.feature_names_in_] == ["noise", "a"]
    assert model.score(rows, y) > 0.9
    one = model.predict([{"a": 1.0}, {"noise": 3, "a": 1.0}])
    assert one.tolist() == [1, 1]


def test_what_no_feature_is_made_of_is_told_of_dicts_too(pa):
    with pytest.raises(TypeError, match="column 'a' holds lists"):
        xn.TabularClassifier(epochs=1).fit([{"a": [1, 2]}, {"a": [3, 4]}] * 10, [0, 1] * 10)
