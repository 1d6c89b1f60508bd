"""From a table's rows to features: numbers, gaps, dates, categories; what is told of it."""

import json
from decimal import Decimal

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")

import xpnet as xn  # noqa: E402
from xpnet.tabular.columns.schema import Column  # noqa: E402
from xpnet.tabular.features import categories, numeric, preprocessing  # noqa: E402
from xpnet.tabular.features.table_features import require_finite  # noqa: E402

HOUR = 3_600_000_000


@pytest.fixture
def rows():
    return pa.table(
        {
            "size": [1.0, 2.0, None, 5.0],
            "colour": ["red", "blue", None, "red"],
            "count": [1, 1, 3, 3],
            "flag": [True, False, True, True],
        }
    )


def table(**columns):
    return pa.table(columns)


def column(learnt, name, values, dtype=np.float64):
    """Return the feature of one number, of a table with that column alone changed."""
    place = learnt.names.index(name)
    return learnt.transform(values, dtype)[:, place]


def test_numbers_gaps_and_codes(rows):
    learnt = preprocessing.learn(rows)
    features = learnt.transform(rows, np.float64)
    # size, count, flag; where size was missing; the code of blue, red, missing
    assert features.shape == (4, learnt.n_features) == (4, 5)
    np.testing.assert_allclose(features[:, :3].mean(axis=0), 0.0, atol=1e-12)
    assert features[2, 0] == 0.0  # filled with the mean
    np.testing.assert_array_equal(features[:, 3], [0, 0, 1, 0])
    np.testing.assert_array_equal(features[:, 4], [1, 0, 2, 1])
    assert learnt.layers() == [] or repr(learnt.layers()) == "[OneHot(columns=((4, 3),))]"


def test_rows_in_another_order_with_further_columns(rows):
    learnt = preprocessing.learn(rows)
    other = rows.select(["flag", "colour", "size", "count"]).append_column("more", [["text"] * 4])
    np.testing.assert_array_equal(
        learnt.transform(other, np.float64), learnt.transform(rows, np.float64)
    )


def test_travels_as_json(rows):
    learnt = preprocessing.learn(rows)
    again = preprocessing.from_config(json.loads(json.dumps(learnt.config())))
    np.testing.assert_array_equal(
        again.transform(rows, np.float64), learnt.transform(rows, np.float64)
    )
    assert repr(again.layers()) == repr(learnt.layers())


def test_frames_of_pandas_are_tables(pd, rows):
    learnt = preprocessing.learn(rows)
    frame = pd.DataFrame(rows.to_pydict())
    np.testing.assert_array_equal(
        learnt.transform(frame, np.float64), learnt.transform(rows, np.float64)
    )


def test_unknown_categories_are_none_of_them_and_said_once(rows):
    learnt = preprocessing.learn(rows)
    other = rows.set_column(1, "colour", [["green", "mauve", "red", "red"]])
    with pytest.warns(UserWarning, match="'colour' holds categories .* 'green': none is") as told:
        features = learnt.transform(other, np.float64)
    assert len(told) == 1
    np.testing.assert_array_equal(features[:, 4], [-1, -1, 1, 1])


def test_rare_categories_share_a_code_which_unknown_ones_have_too():
    names = [f"k{i:02}" for i in range(30)]
    values = [name for i, name in enumerate(names) for _ in range(1 + i // 10)]
    learnt = preprocessing.learn(table(a=values, b=[*range(len(values))][::-1]))
    found = learnt.categories["a"]
    assert found.names == names[20:]  # those of three rows
    assert found.rare
    later = table(a=["k29", "k00", "k11", "new"], b=[1, 2, 3, 4])
    np.testing.assert_array_equal(learnt.transform(later, np.float64)[:, -1], [9, 10, 10, 10])
    assert "11 categories, rare and unknown ones as one" in learnt.became()["a"]


def test_few_categories_are_never_rare():
    learnt = preprocessing.learn(table(a=["x", "y", "z"], b=[1, 2, 4]))
    assert learnt.categories["a"] == categories.Categories(["x", "y", "z"])


def test_many_categories_are_embedded_and_few_are_not():
    values = [f"k{i}" for i in range(250)] * 3
    few = ["x", "y", "z"] * 250
    learnt = preprocessing.learn(table(few=few, many=values, b=[*range(750)][::-1]))
    assert repr(learnt.layers()) == (
        "[OneHot(columns=((2, 3),)), Embedding(columns=((1, 250),), n_dims=8, init='auto')]"
    )
    features = learnt.transform(table(few=["z"], many=["k249"], b=[0]), np.float32)
    known = learnt.categories["many"].names.index("k249")
    np.testing.assert_array_equal(features[0, 1:], [known, 2])
    layers = [*learnt.layers(), xn.Linear(1)]
    network = xn.Network(layers, loss="mean_squared_error", n_features=3, device="cpu")
    assert network.layers[-1].n_inputs == 1 + 8 + 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.drop_columns("size"), ValueError, "no column 'size'"),
        (lambda t: t.set_column(0, "size", [["big"] * 4]), TypeError, "'size' holds text where"),
        (lambda t: t.set_column(0, "size", [[np.inf] * 4]), ValueError, r"4 values .* size \(4\)"),
        (lambda t: np.ones((4, 4)), TypeError, "named columns"),
    ],
)
def test_rows_of_another_kind(rows, change, error, message):
    with pytest.raises(error, match=message):
        preprocessing.learn(rows).transform(change(rows), np.float64)


def test_infinite_numbers_are_counted_over_all_rows():
    rows = table(a=[np.inf, 1.0, -np.inf], b=[1.0, 2.0, 4.0])
    with pytest.raises(ValueError, match=r"2 values .* in column a \(2\)"):
        preprocessing.learn(rows)
    schema = preprocessing.learn(table(a=[1.0, 2.5, 4.0], b=[1.0, 2.0, 4.0])).schema
    with pytest.raises(ValueError, match=r"2 values .* in column a \(2\)"):
        require_finite(schema.read(rows), schema)


def test_what_lies_too_far_from_the_training_is_refused():
    learnt = preprocessing.learn(table(a=[1.0, 2.0, 4.0], b=[1.0, 2.5, 0.0]))
    far = table(a=[1.0], b=[1e39])  # more than a float32 holds
    message = r"column 'b' of the data has values up to 1e\+39, too far from those of the training"
    with pytest.raises(ValueError, match=message):
        learnt.transform(far, np.float32)
    assert np.isfinite(learnt.transform(far, np.float64)).all()


# -- large numbers ----


@pytest.mark.parametrize(
    "values",
    [
        [10**17 + i for i in range(0, 90, 2)],
        [2**53 + i for i in range(0, 90, 2)],
        [str(10**25 + i) for i in range(0, 90, 2)],
        [-(10**18) - i for i in range(0, 90, 2)],
    ],
)
def test_large_numbers_that_hardly_vary_are_scaled_exactly(values):
    rows = table(a=values, b=np.sin(range(45)))
    features = column(preprocessing.learn(rows), "a", rows, np.float32)
    steps = np.arange(45) * np.sign(int(values[-1]) - int(values[0]))
    np.testing.assert_allclose(features, (steps - steps.mean()) / steps.std(), atol=1e-6)


def test_decimals_are_numbers():
    from decimal import Decimal

    values = [Decimal("12345678901234567.25"), Decimal("12345678901234567.75")] * 10
    rows = table(a=pa.array(values), b=range(0, 40, 2))
    features = column(preprocessing.learn(rows), "a", rows)
    np.testing.assert_allclose(features, np.tile([-1.0, 1.0], 10), atol=1e-12)


@pytest.mark.parametrize("value", [5, 2**53 + 1, str(10**20), "x", 0.1, True, None])
def test_what_is_the_same_in_all_training_rows_is_left_out(value):
    rows = table(a=[value] * 30, b=[1.0, 2.0, 4.0] * 10)
    learnt = preprocessing.learn(rows)
    assert learnt.names == ["b"]
    assert learnt.became()["a"] == "left out: the same in every row"
    later = table(a=[7] * 2, b=[1.0, 4.0])
    assert learnt.transform(later, np.float64).shape == (2, 1)


def test_what_is_the_same_in_the_training_part_alone_is_left_out_too():
    rows = table(a=[5, 5, 5, 7], c=["x", "x", "x", "y"], b=[1.0, 2.0, 4.0, 3.0])
    learnt = preprocessing.learn(rows)
    part = type(learnt).learn_parts(lambda: [learnt.schema.read(rows[:3])], learnt.schema)
    assert (part.names, part.categories) == (["b"], {})
    gone = "left out: the same in every training row"
    assert part.became() == {"a": gone, "c": gone, "b": "standardised"}


def test_nothing_to_learn_from():
    with pytest.raises(
        ValueError, match="no column of the data is left to learn from: 'a' is left out: the same"
    ):
        preprocessing.learn(table(a=[1, 1], b=["x", "x"]))


def test_two_whole_numbers_that_are_one_float_differ():
    rows = table(a=[2**53, 2**53 + 1] * 20, b=range(0, 80, 2))
    np.testing.assert_allclose(
        column(preprocessing.learn(rows), "a", rows), np.tile([-1.0, 1.0], 20), atol=1e-12
    )


# -- gaps ----


def test_gaps_in_later_rows_alone_are_filled(rows):
    learnt = preprocessing.learn(table(a=[1.0, 3.0], c=["x", "y"]))
    features = learnt.transform(table(a=[None, 3.0], c=[None, "y"]), np.float64)
    np.testing.assert_array_equal(features, [[0.0, -1.0], [1.0, 1.0]])


def test_a_column_whose_gaps_alone_say_something():
    learnt = preprocessing.learn(table(a=[7, None, 7, None], b=[1.0, 2.0, 4.0, 3.0]))
    assert learnt.names == ["b"]
    assert learnt.gaps == ["a"]
    assert learnt.became()["a"] == "gaps filled and marked"
    features = learnt.transform(table(a=[None, 7], b=[1.0, 2.0]), np.float64)
    np.testing.assert_array_equal(features[:, 1], [1.0, 0.0])


# -- dates and times ----


def numbers(values, kind):
    learnt = numeric.Column("t", kind)
    read = pa.table({"t": learnt.read(pa.table({"t": values})["t"])})
    found = numeric.numbers(read, [learnt]).high
    names = (name.removeprefix("t: ") for name in numeric.names_of([learnt]))
    return dict(zip(names, found.T, strict=True))


def test_the_calendar_of_a_date():
    found = numbers(["2024-02-29 18:30:00", "1969-12-31", "3000-01-01", None], "date")
    np.testing.assert_array_equal(found["year"][:3], [2024, 1969, 3000])
    np.testing.assert_array_equal(found["month"][:3], [2, 12, 1])
    np.testing.assert_array_equal(found["day"][:3], [29, 31, 1])
    np.testing.assert_array_equal(found["weekday"][:3], [3, 2, 2])  # Thursday, Wednesday twice
    np.testing.assert_array_equal(found["hour"][:3], [18.5, 0, 0])
    np.testing.assert_array_equal(
        found["elapsed"][:2], [19782 * 24 * HOUR + 18.5 * HOUR, -24 * HOUR]
    )
    np.testing.assert_allclose(found["hour sin"][:2], [np.sin(18.5 / 12 * np.pi), 0])
    np.testing.assert_allclose(found["month cos"][:2], [np.cos(2 / 6 * np.pi), 1])
    assert all(np.isnan(part[3]) for part in found.values())


def test_the_day_goes_round():
    found = numbers(["00:00", "23:59:59", "12:00"], "time")
    np.testing.assert_array_equal(found["time"], [0, 24 * HOUR - 1_000_000, 12 * HOUR])
    np.testing.assert_allclose(found["time cos"], [1, 1, -1], atol=1e-8)


def test_dates_become_what_varies_of_them():
    days = np.arange("2024-01-01", "2024-01-29", dtype="M8[D]")
    learnt = preprocessing.learn(table(d=days, b=np.sin(range(28))))
    assert learnt.became()["d"] == "day, weekday, elapsed, weekday sin, weekday cos"


def test_instants_a_microsecond_apart():
    instants = np.datetime64("2024-01-01T00:00:00", "us") + np.arange(40)
    rows = table(d=instants, b=np.sin(range(40)))
    z = column(preprocessing.learn(rows), "d: elapsed", rows, np.float32)
    np.testing.assert_allclose(z, (np.arange(40) - 19.5) / np.arange(40).std(), atol=1e-6)


def test_gaps_of_dates_are_marked_once():
    learnt = preprocessing.learn(table(d=["2024-01-01", None, "2024-02-03"], b=[1.0, 2.0, 4.0]))
    assert learnt.gaps == ["d: elapsed"]


# -- model files ----


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["size"]},
        {"names": ["size", "count", "other"]},
        {"gaps": ["colour"]},
        {"gaps": [0]},
        {"categories": {"size": {"names": ["a"], "rare": False}}},
        {"categories": {"colour": {"names": ["a"]}}},
        {"categories": {"colour": {"names": [1], "rare": False}}},
        {"categories": {"colour": {"names": ["a"], "rare": 1}}},
        {"categories": []},
        {"coded": None},
        {"schema": []},
        {"more": 1},
    ],
)
def test_a_made_up_file_is_refused(rows, change):
    with pytest.raises((TypeError, ValueError)):
        preprocessing.from_config(preprocessing.learn(rows).config() | change)


def test_a_number_may_be_called_as_a_part_of_a_date():
    days = np.arange(0, 4000, 100).astype("M8[D]")
    x = np.random.default_rng(0).normal(size=40)
    rows = pa.table({"d": days, "d: year": x, "d: elapsed": x**2})
    learnt = preprocessing.learn(rows)
    assert len({*learnt.names}) == len(learnt.names)
    assert {"d: year", "d: year (date)", "d: elapsed (date)"} <= {*learnt.names}
    np.testing.assert_allclose(
        column(learnt, "d: year", rows), (x - x.mean()) / x.std(), atol=1e-12
    )
    years = 1970 + np.arange(0, 4000, 100) // 365.25
    found = column(learnt, "d: year (date)", rows)
    assert np.corrcoef(found, years)[0, 1] > 0.99
    again = preprocessing.from_config(json.loads(json.dumps(learnt.config())))
    np.testing.assert_array_equal(again.transform(rows, np.float64), learnt.transform(rows, float))
    assert learnt.became()["d"].split(", ")[:2] == ["year", "month"]


def test_decimals_in_hundreds_are_exact_too():
    values = [Decimal((2**52 + 10**15 + i) * 100) for i in range(40)]
    held = pa.array(values, pa.decimal128(30, 0)).cast(pa.decimal128(30, -2))
    found = numeric.numbers(pa.table({"a": held}), [Column("a", "integer")])
    exact = [int(h) + int(low) for h, low in zip(found.high[:, 0], found.low[:, 0], strict=True)]
    assert exact == [int(value) for value in values]


def test_rows_may_be_dicts(rows):
    learnt = preprocessing.learn(rows)
    expected = learnt.transform(rows, np.float64)
    for given in (rows.to_pylist(), rows.to_pydict()):
        np.testing.assert_array_equal(learnt.transform(given, np.float64), expected)


@pytest.mark.parametrize("given", [[[1, "red", 1, True]], "rows.csv", 7])
def test_rows_without_names(rows, given):
    learnt = preprocessing.learn(rows)
    with pytest.raises(TypeError, match=f"a table .* not {type(given).__name__}"):
        learnt.transform(given, np.float64)
    with pytest.raises(ValueError, match="give such a table"):
        learnt.transform(rows.to_pydict() | {"size": [1.0]}, np.float64)
