"""Labels at the estimators' door: columns and strings of every type, and what is missing."""

import numpy as np
import pytest
from scipy import sparse

from xpnet import MLPClassifier, MLPRegressor
from xpnet.estimators.inputs import plain_labels

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(60, 2))
SECOND = X[:, 0] > 0


@pytest.fixture
def pd():
    return pytest.importorskip("pandas", reason="pandas is not installed (extra 'files')")


def make(kind=MLPClassifier):
    return kind(
        hidden_layer_sizes=(8,), max_iter=100, learning_rate_init=0.05, random_state=0, device="cpu"
    )


class Colour(str):  # as `class Colour(str, Enum)` makes one
    __slots__ = ()

    def __str__(self):
        return "Colour." + self.upper()


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (2**53, 2**53 + 1, "Int64"),
        (2**53, 2**53 + 1, "int64[pyarrow]"),
        (1, 2, "UInt8"),
        (False, True, "boolean"),
        (0.0, 1.0, "Float32"),
        ("a", "b", "string"),
        ("a", "b", "category"),
    ],
)
def test_columns_of_pandas_own_types_give_the_classes_that_stand_there(pd, first, second, dtype):
    if "arrow" in dtype:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    y = pd.Series([second if is_second else first for is_second in SECOND]).astype(dtype)
    model = make().fit(X, y)
    assert [*map(repr, model.classes_.tolist())] == [repr(first), repr(second)]
    assert model.score(X, y) > 0.9
    assert model.score(X, y.to_numpy()) == model.score(X, y)
    again = make().partial_fit(X, y, classes=y.unique()).partial_fit(X, y, classes=y.unique())
    assert again.classes_.tolist() == model.classes_.tolist()
    assert make().fit(X, y.rename("y")).score(X, y) > 0.9
    y[3] = None
    for fitted in (make().fit, model.score, model.partial_fit):
        with pytest.raises(ValueError, match="y has 1 value that is missing: remove"):
            fitted(X, y)


def test_a_frame_of_pandas_own_types(pd):
    y = pd.DataFrame({"a": SECOND, "b": ~SECOND}).astype("boolean")
    assert make().fit(X, y).score(X, y) > 0.9
    values = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}).astype("Float64")
    assert make(MLPRegressor).fit(X, values).score(X, values) > 0.9
    column = pd.DataFrame({"a": (2**53 + SECOND).astype(np.int64)}).astype("Int64")
    with pytest.warns(UserWarning, match="column-vector"):
        assert make().fit(X, column).classes_.tolist() == [2**53, 2**53 + 1]


def test_numpys_own_strings_are_scored_and_given_as_classes():
    y = np.where(SECOND, "é", "b").astype("T")
    model = make().fit(X, y)
    assert model.score(X, y) == model.score(X, [*map(str, y)]) > 0.9
    again = make().partial_fit(X, y, classes=np.unique(y)).partial_fit(X, y, classes=np.unique(y))
    assert again.classes_.tolist() == ["b", "é"]


@pytest.mark.parametrize("gap", [None, np.nan])
def test_missing_labels_are_no_class(gap):
    text = np.where(SECOND, "a", "b").astype(np.dtypes.StringDType(na_object=gap))
    text[:3] = gap
    objects = np.where(SECOND, "a", "b").astype(object)
    objects[:3] = gap
    masked = np.ma.array(SECOND, mask=np.arange(60) < 3)
    for y in (text, objects, masked):
        for kind in (MLPClassifier, MLPRegressor):
            with pytest.raises(
                ValueError, match=r"y has 3 values that are (missing|masked): remove"
            ):
                make(kind).fit(X, y)
    with pytest.raises(ValueError, match="y has 3 values that are missing: remove"):
        make().fit(X, objects.tolist())


def test_strings_that_are_also_something_else_are_their_values(tmp_path):
    y = np.array([Colour("red"), Colour("blue")], object)[SECOND.astype(int)]
    model = make().fit(X, y)
    model.save(tmp_path / "m")
    again = MLPClassifier.load(tmp_path / "m")
    assert [*map(type, model.classes_)] == [str, str]
    assert again.classes_.tolist() == model.classes_.tolist() == ["blue", "red"]
    assert again.score(X, y) == model.score(X, y) > 0.9


def test_what_scikit_learn_knows_stays_as_it_is():
    given = [[0, 1], np.array([1.0]), np.array(["a"]), np.array(["a"], object), sparse.eye_array(2)]
    for y in given:
        assert plain_labels(y) is y
    assert plain_labels(None) is None
