"""Data sets made in Python: what labels and rows may be given as, and what they must be."""

import sys

import numpy as np
import pytest

from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import DataError, Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.tabular.features import preprocessing

X = np.random.default_rng(0).normal(size=(40, 3))
NUMBERS, WORDS = np.arange(40) % 2, np.array(["no", "yes"])[np.arange(40) % 2]


def prepare(*parts):
    return Experiment.prepare(Dataset("d", *parts), Settings(hidden=(4,)), "cpu")


def as_series(values):
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    return pd.Series(values, index=range(7, 7 + len(values)))


def as_categories(values):
    return as_series(values).astype("category")


def as_arrow(values):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    return pa.chunked_array([pa.array(values[:5]), pa.array(values[5:])])


@pytest.mark.parametrize("labels", [NUMBERS, WORDS], ids=["numbers", "words"])
@pytest.mark.parametrize(
    "given", [list, tuple, np.ndarray.tolist, as_series, as_categories, as_arrow]
)
def test_labels_may_be_given_as_lists_and_columns(given, labels):
    expected = prepare(X, labels, X[:8], labels[:8])
    found = prepare(X, given(labels), X[:8], given(labels[:8]))
    for name, part in expected.parts.items():
        np.testing.assert_array_equal(found.parts[name].labels, part.labels)
    assert found.model.target.config() == expected.model.target.config()
    assert found.dataset.fingerprint() == expected.dataset.fingerprint()


def test_several_labels_a_row_may_be_given_as_a_list_or_frame(pd):
    labels = X[:, :2] * 3 + 1
    expected = prepare(X, labels).parts["train"].labels
    for given in (labels.tolist(), pd.DataFrame(labels)):
        np.testing.assert_array_equal(prepare(X, given).parts["train"].labels, expected)


def test_rows_may_be_given_as_a_list():
    found = prepare(X.tolist(), NUMBERS.tolist())
    np.testing.assert_array_equal(found.dataset.rows, X)


def test_a_gap_in_a_list_is_no_text():
    with pytest.raises(ValueError, match="1 value that is missing"):
        prepare(X, [float("nan"), *WORDS[1:].tolist()])
    with pytest.raises(ValueError, match="1 value that is missing"):
        prepare(X, [None, *WORDS[1:].tolist()])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((X, []), "rows has 40 rows and target 0: give one label for each row"),
        ((X, np.array([])), "rows has 40 rows and target 0: give one label for each row"),
        ((X, NUMBERS[1:]), "rows has 40 rows and target 39: give one label for each row"),
        ((X[:0], NUMBERS[:0]), "rows has no rows"),
        (([], []), "rows has no rows"),
        ((X, np.array(1)), "target is a single value: give one label for each row"),
        ((X, NUMBERS, X[:8], []), "test_rows has 8 rows and test_target 0: give one label"),
        ((X, NUMBERS, X[:8], NUMBERS), "test_rows has 8 rows and test_target 40: give one label"),
        ((X, NUMBERS, X[:0], NUMBERS[:0]), "test_rows has no rows"),
    ],
)
def test_labels_that_are_not_one_for_each_row(parts, message):
    with pytest.raises(DataError, match=f"^d: {message}"):
        prepare(*parts)


def test_rows_of_several_lengths():
    with pytest.raises(ValueError, match="rows is not a rectangular array"):
        Dataset("d", [[1.0, 2.0], [3.0]], [0, 1])


def test_arrows_tables_are_united_by_name(pa):
    first = pa.table({"a": [1, 2], "b": ["u", None]})
    second = pa.table({"a": [0.5], "b": pa.array(["v"], pa.large_string())})
    dataset = Dataset("d", first, NUMBERS[:2], second, NUMBERS[:1])
    rows, labels = dataset.everything()
    assert rows.to_pydict() == {"a": [1, 2, 0.5], "b": ["u", None, "v"]}
    np.testing.assert_array_equal(labels, [0, 1, 0])
    dataset.require_alike("d")


def test_arrows_tables_of_other_columns_do_not_go_together(pa):
    dataset = Dataset("d", pa.table({"a": [1]}), NUMBERS[:1], pa.table({"b": [1]}), NUMBERS[:1])
    with pytest.raises(
        DataError, match=r"^d: rows has the columns a and test_rows has the columns b"
    ):
        dataset.require_alike("d")


def test_a_test_set_may_have_numbers_of_other_types():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    from decimal import Decimal

    train = pa.table({"a": [1.5, 2.5] * 20, "b": [Decimal("1.25"), Decimal(2)] * 20})
    test = pa.table({"a": [1, 2], "b": ["3", "4.5"]})
    rows = Dataset("d", train, NUMBERS, test, [0, 1]).everything()[0]
    assert rows.slice(38).to_pydict() == {"a": [1.5, 2.5, 1, 2], "b": [1.25, 2, 3, 4.5]}


def test_a_test_set_of_other_kinds_is_refused():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    train = pa.table({"a": [1.5, 2.5] * 20})
    for values, message in ((["x", "y"], "text where numbers"), ([b"1", b"z"], "text where")):
        with pytest.raises(TypeError, match=f"column 'a' holds {message}"):
            Dataset("d", train, NUMBERS, pa.table({"a": values}), [0, 1])
    dates = np.array(["2024-01-31"] * 2, "M8[D]")
    with pytest.raises(TypeError, match="column 'a' holds numbers and dates"):
        Dataset("d", train, NUMBERS, pa.table({"a": dates}), [0, 1])


def test_what_tables_need_is_told(monkeypatch):
    class Frame:
        columns = dtypes = ()

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = r"tables need pyarrow: pip install 'xpnet\[files\]'"
    with pytest.raises(ImportError, match=f"d: {message}"):
        Dataset("d", Frame(), [0, 1])
    for make in (preprocessing.learn, preprocessing.from_config):
        with pytest.raises(ImportError, match=message):
            make({"names": []})
