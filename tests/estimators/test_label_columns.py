"""Labels at the estimators' door: columns and strings of every type, and what is missing."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

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
    return pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")


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
    given = [
        *(np.array([1.0]), np.array(["a"]), np.array(["a"], object), sparse.eye_array(2)),
        *([[1], [2, 3]], ["a", "b"], [b"a"], None),
    ]
    for y in given:
        assert plain_labels(y, of_classes=True) is y
    for y in ([0, 1], [[0.5], [1]], np.array([Decimal(1)], object), sparse.eye_array(2)):
        assert plain_labels(y, of_classes=False) is y


def pick(first, second):
    return [second if is_second else first for is_second in SECOND]


#: Two labels in a list, and in an array of Python's objects.
PAIRS = [
    (2**60, 2**60 + 1), (2**63 + 1, 2**64 - 1), (1, 2**63 + 1), (-1, 2**62 + 1), (False, True),
    (np.uint64(2**63 + 1), 7), (np.int8(-1), 2**60 + 1), (1.0, 2), (-0.0, 3.0), ("a", "b"),
    (np.str_("a"), "b"),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_labels_in_lists_and_among_objects_are_what_stands_there(pair):
    y = pick(*pair)
    wanted = [v.item() if isinstance(v, np.generic) else v for v in pair]
    for given in (y, tuple(y), np.array(y, object), np.array(y, object)[:, None].tolist()):
        if isinstance(given[0], list):
            with pytest.warns(UserWarning, match="column-vector"):
                model = make().fit(X, given)
        else:
            model = make().fit(X, given)
        classes = model.classes_.tolist()
        assert classes == sorted(wanted)
        assert len({*map(type, classes)}) == 1
        assert type(classes[0]) in map(type, wanted)
        assert model.score(X, given) > 0.9
        assert {*model.predict(X).tolist()} == {*wanted}
        again = make().partial_fit(X, y, classes=[*pair]).partial_fit(X, y, classes=[*pair])
        assert again.classes_.tolist() == classes
        assert [*map(type, again.classes_.tolist())] == [*map(type, classes)]


def test_minus_zero_is_zero():
    for y in (np.array(pick(-0.0, 1.0)), np.array([-0.0, 0.0, *pick(-0.0, 1.0)[2:]], np.float32)):
        for model in (make().fit(X, y), make().partial_fit(X, y, classes=[-0.0, 1.0])):
            assert repr(model.classes_.tolist()) == "[0.0, 1.0]"
            assert not np.signbit(model.predict(X)).any()
        assert model.score(X, y) == model.score(X, y + 0.0)


def test_columns_of_labels_may_be_of_python_s_numbers():
    lists = [[int(second), True * (not second)] for second in SECOND]
    for y in (lists, np.array(lists, object), [[a > 0, b > 0] for a, b in lists]):
        assert make().fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (pick(1, "b"), "y holds int and str: give numbers or strings, all of one kind"),
        (pick(True, "b"), "y holds bool and str: give numbers or strings, all of one kind"),
        (pick(True, 0), "y holds bool and int: give numbers or strings, all of one kind"),
        (pick(1.0, 2**60 + 1), "y holds 1152921504606846977 beside floats, and float64 does not"),
        (pick(2**64, 1), "y has whole numbers of more than 64 bits: give them as text"),
        (pick(-1, 2**63), "y has whole numbers of more than 64 bits: give them as text"),
        (pick(Decimal(1), Decimal(2)), "Unknown label type: y holds Decimal: give numbers or str"),
        (pick(date(2020, 1, 1), "b"), "Unknown label type: y holds date and str: give numbers or"),
    ],
    ids=str,
)
def test_labels_of_several_kinds_are_refused(y, message):
    for given in (y, np.array(y, object)):
        with pytest.raises(ValueError, match=message):
            make().fit(X, given)


def test_values_are_numbers():
    numbers = pick(0, Fraction(1, 2))
    with np.errstate(all="raise"):
        for y in (numbers, np.array(numbers, object), pick(True, 2.5), pick(2**60 + 1, 0.5)):
            assert make(MLPRegressor).fit(X, y).predict(X).dtype == np.float64
    for y in (pick("1.5", "2"), pick("1", 2), pick(date(2020, 1, 1), date(2021, 1, 1))):
        for given in (np.array(y, object), y):
            with pytest.raises(ValueError, match=r"y holds (date|str): give numbers"):
                make(MLPRegressor).fit(X, given)


@pytest.mark.parametrize("gap", [None, float("nan"), "NA", "NaT"])
@pytest.mark.parametrize("pair", [(1, 2), (0.5, 1.5), (False, True), ("a", "b"), (2**60, 2**63)])
def test_gaps_among_python_s_objects_are_missing(gap, pair, request):
    gap = getattr(request.getfixturevalue("pd"), gap) if isinstance(gap, str) else gap
    y = pick(*pair)
    y[:2] = gap, gap
    numbers = isinstance(pair[0], int | float)
    fitted = {kind: make(kind).fit(X, SECOND) for kind in (MLPClassifier, MLPRegressor)}
    for given in (y, tuple(y), np.array(y, object), [[label, 1] for label in y]):
        for model in fitted.values():
            for use in (model.fit, model.partial_fit, model.score):
                if numbers or isinstance(model, MLPClassifier):
                    with pytest.raises(ValueError, match="y has 2 values that are missing: remove"):
                        use(X, given)
    with pytest.raises(ValueError, match="classes has 1 value that is missing: remove"):
        make().partial_fit(X, pick(*pair), classes=[*pair, gap])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((2**60, 2**60 + 1), "int64"),
        ((2**63 + 1, 2**63 + 2), "uint64"),
        ((False, True), "bool_"),
        (("a", "b"), "string"),
        (("a", "b"), "large_string"),
    ],
)
def test_arrow_s_columns_give_the_classes_that_stand_there(values, kind):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    y = pa.array(pick(*values), getattr(pa, kind)())
    several = [y, pa.chunked_array([y[:9], y[9:]]), y.dictionary_encode()]
    for given in several:
        model = make().fit(X, given)
        assert [*map(repr, model.classes_.tolist())] == [*map(repr, values)]
        assert model.score(X, given) > 0.9
    with pytest.warns(UserWarning, match="column-vector"):
        assert make().fit(X, pa.table({"y": y})).classes_.tolist() == [*values]
    gaps = pa.array([None, None, *y.to_pylist()[2:]], y.type)
    for given in (gaps, pa.chunked_array([gaps]), gaps.dictionary_encode(), pa.table({"y": gaps})):
        for use in (make().fit, model.score):
            with pytest.raises(ValueError, match="y has 2 values that are missing: remove"):
                use(X, given)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [((2**60, 2**60 + 1), "Int64"), ((False, True), "boolean"), (("a", "b"), "string"),
     (("a", "b"), "object"), (("a", "b"), "category"), ((1, 2), "object")],
)  # fmt: skip
def test_a_frame_of_one_column_is_that_column(pd, values, dtype):
    y = pd.Series(pick(*values), dtype=dtype)
    with pytest.warns(UserWarning, match="column-vector"):
        model = make().fit(X, y.to_frame())
    assert model.classes_.tolist() == [*values]
    assert model.score(X, y.to_frame()) == model.score(X, y) > 0.9
    y[:2] = None
    for use in (make().fit, model.score):
        with pytest.raises(ValueError, match="y has 2 values that are missing: remove"):
            use(X, y.to_frame())
    with pytest.raises(ValueError, match="y has no columns: give one of labels"):
        make().fit(X, y.to_frame()[[]])


def test_polars_columns_give_the_classes_that_stand_there():
    pl = pytest.importorskip("polars", reason="Polars is not installed")
    large = ((2**60, 2**60 + 1), pl.Int64), ((2**63 + 1, 2**63 + 2), pl.UInt64)
    for values, dtype in (*large, ((False, True), pl.Boolean), (("a", "b"), pl.String)):
        y = pl.Series(pick(*values), dtype=dtype)
        model = make().fit(X, y)
        assert [*map(repr, model.classes_.tolist())] == [*map(repr, values)]
        assert model.score(X, y) > 0.9
        with pytest.warns(UserWarning, match="column-vector"):
            assert make().fit(X, pl.DataFrame({"y": y})).classes_.tolist() == [*values]
        gaps = pl.Series([None, None, *y.to_list()[2:]], dtype=y.dtype)
        for given in (gaps, pl.DataFrame({"y": gaps})):
            with pytest.raises(ValueError, match="y has 2 values that are missing: remove"):
                make().fit(X, given)


def test_labels_of_another_kind_have_no_score():
    model, text = make().fit(X, SECOND * 1), make().fit(X, pick("0", "1"))
    for fitted, y in ((model, pick("0", "1")), (text, SECOND * 1)):
        for given in (y, np.array(y, object)):
            with pytest.raises(ValueError, match=r"y holds (numbers|strings) and the classes are"):
                fitted.score(X, given)
    assert model.score(X, SECOND) == model.score(X, SECOND * 1.0) == model.score(X, SECOND * 1)
