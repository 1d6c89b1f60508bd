"""What kind of values a table's columns hold, learnt from all of it; how later ones are read."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")

from xpnet.tabular.columns import reading, scan  # noqa: E402
from xpnet.tabular.columns.kinds import KINDS  # noqa: E402
from xpnet.tabular.columns.schema import Column, Schema  # noqa: E402
from xpnet.tabular.columns.tables import as_table, chunks, concatenate, floats, join  # noqa: E402
from xpnet.tabular.dataset import Dataset  # noqa: E402

N = 40
COUNT = np.arange(N)


def learn(columns, rows=7, **options):
    """Return the schema of columns, learnt from a few rows at a time; and the target's column."""
    table = as_table(columns if hasattr(columns, "shape") else pa.table(columns))
    found = scan.learn(
        lambda names: chunks(table if names is None else table.select(names), rows),
        table.column_names,
        **options,
    )
    if "kinds" not in options:  # which may be others than what is there
        _require_kept(table, found)
    return found.schema, found.target


def _require_kept(table, found):
    """Check that what was read on the way is what is read again."""
    columns = [*found.schema.used, *([found.target] if found.target else [])]
    for column in columns if found.values is not None else ():
        kept = [column.read(part) for part in found.values[column.name]]
        assert join(kept).to_pylist() == join([column.read(table[column.name])]).to_pylist()


def kinds(**columns):
    return [column.kind for column in learn(columns)[0].columns]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.sin(COUNT), "number"),
        (COUNT % 7, "integer"),
        (COUNT % 2 == 0, "boolean"),
        (["red", "blue"] * 20, "category"),
        (COUNT.astype("M8[D]"), "date"),
        ((COUNT * 1000).astype("M8[ns]"), "date"),
        (COUNT.astype("M8[ns]"), "constant"),  # to the microsecond
        ([datetime.time(12, i) for i in COUNT], "time"),
        ([datetime.timedelta(minutes=int(i) % 7) for i in COUNT], "integer"),
        ([Decimal(i) / 4 for i in range(N)], "number"),
        (pa.array([Decimal(int(i) % 3) for i in COUNT], pa.decimal128(5, 0)), "integer"),
        (pa.array([None, *COUNT[1:] % 9]), "integer"),
        (np.float16([0, 1] * 20), "number"),
        (pa.DictionaryArray.from_arrays(COUNT % 2, ["1", "2"]), "category"),
        (pa.DictionaryArray.from_arrays(COUNT % 2, [1, 2]), "category"),
        ([7] * N, "constant"),
        (["x"] * N, "constant"),
        ([2.5] * N, "constant"),
        (["1.50"] * N, "constant"),
        ([None] * N, "constant"),
        ([""] * N, "constant"),
        ([7] * (N - 1) + [None], "integer"),  # where it has a gap it says something
        (["x"] * (N - 1) + [None], "category"),
        (COUNT, "identifier"),
        (COUNT + 1, "identifier"),
        ([str(i) for i in COUNT], "identifier"),
        ([f"row {i}" for i in COUNT], "identifier"),
        ([f"row {i // 2 if i < 8 else i}" for i in COUNT], "text"),
        (COUNT[::-1], "integer"),
        (COUNT * 2, "integer"),
        # text in which only a late row decides
        (["01"] * 39 + ["A1"], "category"),
        (["1"] * 39 + ["1.5"], "number"),
        (["1"] * 39 + ["1,5"], "number"),
        (["1"] * 39 + ["01"], "category"),
        (["true"] * 39 + ["maybe"], "category"),
        (["1"] * 20 + ["2024-01-31"] * 20, "category"),
        (["NA"] * 39 + ["5"], "integer"),
        (["NA"] * 39 + ["x"], "category"),
        (["31/01/2024"] + ["01/02/2024"] * 39, "date"),
        (["01/02/2024"] * 39 + ["31/01/2024"], "date"),
        (["12:30", "7:05"] * 20, "time"),
        (["$5", "$6"] * 20, "number"),
    ],
)
def test_the_kind_of_a_column(values, kind):
    assert kinds(a=values) == [kind]


def test_what_late_rows_say_holds_for_the_first_ones_too():
    texts = ["1", "2"] * 19 + ["1,5", "3"]
    schema = learn({"a": texts})[0]
    assert schema.columns == (Column("a", "number", ",."),)
    assert schema.read(pa.table({"a": texts}))["a"].to_pylist()[-2:] == [1.5, 3.0]
    codes = ["01", "02"] * 20
    assert kinds(a=codes) == kinds(a=[*codes, "A1"]) == ["category"]


def test_all_of_a_file_is_counted_though_a_column_turns_to_text_late():
    schema = learn({"a": [str(i) for i in range(30)] + ["x"] * 31, "b": [1, 2] * 30 + [3]})[0]
    assert schema["a"].kind == "text"  # 31 different ones in 61


def test_codes_stay_codes_in_a_file_that_has_digits_alone():
    schema, target = learn({"a": ["01", "02", "A1"], "y": ["0", "1", "?"]}, target="y")
    later = pa.table({"a": pa.array([1, 2]), "y": pa.array([0, 1])})
    # A file of text says 01; one of whole numbers can't.
    text = pa.table({"a": ["01", "02"], "y": ["0", "1"]})
    assert schema.read(text)["a"].to_pylist() == ["01", "02"]
    assert schema.read(later)["a"].to_pylist() == ["1", "2"]
    for table in (text, later):
        labels = reading.labels(target, target.read(table["y"]))
        assert labels.tolist() == ["0", "1"]


def test_a_column_of_text_that_is_mostly_numbers_has_slips():
    with pytest.raises(TypeError, match=r"'a' holds text where numbers belong: 2 values such as"):
        learn({"a": ["1", "2", "3.5", "x", "y"]})
    assert learn({"a": ["1", "2", "3.5", "x", "y"]}, target="a")[1].kind == "category"
    assert learn({"a": ["1", "2", "x"]}, kinds={"a": "category"})[0]["a"].kind == "category"


def test_day_and_month_have_to_be_told_apart():
    dates = {"d": ["03/04/2024", "05/06/2024"]}
    with pytest.raises(ValueError, match=r"'d' holds dates .* --column d=date:%d/%m/%Y or"):
        learn(dates)
    schema = learn(dates, kinds={"d": "date:%d/%m/%Y"})[0]
    assert schema.read(pa.table(dates))["d"][0].as_py() == datetime.datetime(2024, 4, 3)


@pytest.mark.parametrize(
    ("said", "values", "read"),
    [
        ("category", [1, 2, 1], ["1", "2", "1"]),
        ("category", [1.0, 2.5, None], ["1", "2.5", None]),
        ("category", [True, False, None], ["True", "False", None]),
        ("number", ["01", "2", "003"], [1, 2, 3]),
        ("number", ["1", "x", "2"], None),
        (
            "date",
            ["2024-01-31", "2024-01-30", ""],
            [datetime.datetime(2024, 1, 31), datetime.datetime(2024, 1, 30), None],
        ),
    ],
)
def test_kinds_may_be_said(said, values, read):
    schema = learn({"a": values}, kinds={"a": said})[0]
    assert schema["a"].kind == said
    if read is None:
        with pytest.raises(TypeError, match="'a' holds text where numbers belong: 1 value"):
            schema.read(pa.table({"a": values}))
    else:
        assert schema.read(pa.table({"a": values}))["a"].to_pylist() == read


@pytest.mark.parametrize("said", ["text", "identifier", "constant"])
def test_columns_may_be_said_to_be_left_out(said):
    schema = learn({"a": [[1], [2]], "b": [1.5, 2.5]}, kinds={"a": said})[0]
    assert [column.name for column in schema.used] == ["b"]
    assert schema.read(pa.table({"b": [1.0]})).column_names == ["b"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"z": "number"}, "there is no column 'z'; there are a"),
        ({"a": "float"}, "column 'a' is said to be 'float': give one of number, integer, boolean"),
        ({"a": "date:%d"}, "is said to be 'date:%d'"),
        ({"a": "number:%d"}, "is said to be 'number:%d'"),
    ],
)
def test_bad_kinds(said, message):
    with pytest.raises(ValueError, match=message):
        learn({"a": [1, 2]}, kinds=said)


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.time64("ns"), pa.duration("ns")])
def test_nanoseconds_that_are_no_microseconds(kind):
    found = {"date"} if pa.types.is_timestamp(kind) else {"time", "integer"}
    table = pa.table({"a": pa.array([1, 5, None, 2001], kind), "b": pa.array([7] * 4, kind)})
    schema = scan.learn_of(table)
    assert schema["a"].kind in found
    assert schema["b"].kind == "constant"
    assert schema.read(table)["a"].null_count == 1


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ([[1], [2]], "lists"),
        ([{"b": 1}, None], "records"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "maps"),
    ],
)
def test_nested_columns_are_refused_by_name(values, holds):
    with pytest.raises(TypeError, match=f"column 'a' holds {holds}: make columns of numbers or"):
        learn({"a": values})


def test_decimal_commas_may_be_said():
    texts = {"a": ["1.234", "2.000"]}
    assert learn(texts)[0].read(pa.table(texts))["a"].to_pylist() == [1.234, 2.0]
    schema = learn(texts, decimal=",")[0]
    assert schema.read(pa.table(texts))["a"].to_pylist() == [1234.0, 2000.0]
    whole = learn({"a": ["1", "2"]}, decimal=",")[0]
    assert whole.read(pa.table({"a": ["1,5"]}))["a"].to_pylist() == [1.5]


# -- a later table ----


@pytest.mark.parametrize(
    ("column", "later", "read"),
    [
        (Column("a", "integer"), ["1", "2.5"], [1.0, 2.5]),
        (Column("a", "integer"), [1.5, None], [1.5, None]),
        (Column("a", "number"), [True, False], [1, 0]),
        (Column("a", "boolean"), ["true", "FALSE"], [True, False]),
        (Column("a", "boolean"), ["1", "0"], [1, 0]),
        (Column("a", "number"), ["NA", "", "nan"], [None, None, None]),
        (Column("a", "category"), ["", "x", None], [None, "x", None]),
        (Column("a", "category"), pa.array([b"x", b"y"]), ["x", "y"]),
        (Column("a", "category"), pa.array([0.1, 2.0, None], pa.float32()), ["0.1", "2", None]),
        (Column("a", "category"), pa.array([0.1, 1e300, np.inf]), ["0.1", str(int(1e300)), "inf"]),
        (Column("a", "number"), [None, None], [None, None]),
        (Column("a", "date"), np.array(["3000-01-01"], "M8[s]"), [datetime.datetime(3000, 1, 1)]),
        (Column("a", "date"), [datetime.date(9999, 12, 31)], [datetime.datetime(9999, 12, 31)]),
        (Column("a", "date"), ["2024-01-31"], [datetime.datetime(2024, 1, 31)]),
    ],
)
def test_a_later_file_is_read_as_the_kind(column, later, read):
    assert column.read(pa.table({"a": later})["a"]).to_pylist() == read


@pytest.mark.parametrize(
    ("kind", "later", "message"),
    [
        (
            "number",
            ["1", "two", "two"],
            "'a' holds text where numbers belong: 2 values such as 'two",
        ),
        ("integer", ["07"], "'a' holds text where numbers belong: 1 value such as '07'"),
        ("boolean", ["yes"], "'a' holds text where truth values belong"),
        ("date", ["31.01.2024"], "'a' holds text where dates belong"),
        ("date", [1, 2], "'a' holds numbers where dates belong: 2 values such as 1"),
        ("number", np.array([1], "M8[D]"), "'a' holds dates where numbers belong: 1 value"),
        ("time", [1.5], "'a' holds numbers where times belong"),
        (
            "time",
            pa.array([True]),
            "'a' holds truth values .*: 1 value such as True",
        ),
        (
            "number",
            pa.array([1], pa.timestamp("ns")),
            "'a' holds dates .* 1970-01-01 00:00:00.0+1",
        ),
        ("number", pa.array([1], pa.time64("ns")), "'a' holds times .* such as 00:00:00.000000001"),
        ("date", pa.array([1], pa.duration("ns")), "'a' holds durations .*: 1 value such as 1"),
        ("category", [[1]], "'a' holds lists"),
    ],
)
def test_a_later_file_of_another_kind(kind, later, message):
    with pytest.raises(TypeError, match=message):
        Column("a", kind).read(pa.table({"a": later})["a"])


def test_gaps_among_the_categories_of_several_parts():
    parts = [
        pa.DictionaryArray.from_arrays([0, 1, 2, None], pa.array(["a", None, "b"])),
        pa.DictionaryArray.from_arrays([0, 1, 0, 1], pa.array([None, "c"])),
    ]
    found = Dataset("d", pa.table({"a": pa.chunked_array(parts)}))
    assert found.rows["a"].to_pylist() == ["a", None, "b", None, None, "c", None, "c"]


def test_a_later_file_that_lacks_columns():
    schema = Schema((Column("a", "number"), Column("b", "number"), Column("c", "identifier")))
    with pytest.raises(ValueError, match="the data has no column 'b'"):
        schema.read(pa.table({"a": [1.0], "x": [2]}))
    assert schema.read(pa.table({"b": [1.0], "x": [2], "a": [3]})).column_names == ["a", "b"]


# -- labels ----


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([2**60, 2**60 + 1], [2**60, 2**60 + 1]),
        (["18446744073709551615", "0"], [2**64 - 1, 0]),
        (["0", "1", "?"], ["0", "1", "?"]),
        (["None", "NA", "null"], ["None", "NA", "null"]),
        ([True, None], [True, None]),
        ([Decimal("1.5"), Decimal(2)], [1.5, 2.0]),
        (["1,5", "2"], [1.5, 2.0]),
        (["a", ""], ["a", None]),
        (["7", ""], [7, None]),
        (["x"] * 30, ["x"] * 30),
        ([*range(30)], [*range(30)]),
    ],
)
def test_labels_are_what_the_column_holds(values, labels):
    column = learn({"y": values, "a": [*range(len(values))]}, target="y")[1]
    found = reading.labels(column, column.read(pa.table({"y": values})["y"]))
    assert found.tolist() == labels


def test_dates_are_no_labels():
    column = learn({"y": np.array(["2024-01-31"], "M8[D]")}, target="y")[1]
    with pytest.raises(TypeError, match="the target 'y' holds dates: give numbers, or classes"):
        reading.labels(column, column.read(pa.table({"y": ["2024-01-31"]})["y"]))


# -- model files ----


def test_travels_as_json():
    schema = Schema((Column("a", "number", ",."), Column("b", "category")))
    again = Schema.from_config(json.loads(json.dumps(schema.config())))
    assert again == schema


@pytest.mark.parametrize(
    "told",
    [
        {},
        [7],
        [{"name": "a"}],
        [{"name": "a", "kind": "float"}],
        [{"name": 1, "kind": "number"}],
        [{"name": "a", "kind": "number", "more": 1}],
        [{"name": "a", "kind": "number"}] * 2,
        [{"name": "a", "kind": "number", "pattern": "x"}],
        [{"name": "a", "kind": "date", "pattern": "("}],
    ],
)
def test_a_made_up_schema_is_refused(told):
    with pytest.raises((TypeError, ValueError)):
        Schema.from_config(told)


def test_every_kind_has_its_reading():
    assert {*KINDS} == {*reading.EMPTY, "text", "identifier", "constant"}


# -- tables of others ----


def test_categories_that_are_intervals_or_periods_are_texts(pd):
    frame = pd.DataFrame(
        {
            "cut": pd.cut([0.5, 1.5, np.nan, 0.7], [0, 1, 2]),
            "month": pd.Categorical(
                pd.PeriodIndex(["2024-01", "2024-02", None, "2024-01"], freq="M")
            ),
        }
    )
    found = as_table(frame).to_pydict()
    assert found["cut"] == ["(0, 1]", "(1, 2]", None, "(0, 1]"]
    assert found["month"] == ["2024-01", "2024-02", None, "2024-01"]


def test_frames_of_pandas(pd):
    class Colour(str):
        __slots__ = ()

        def __str__(self):
            return "Colour." + self.upper()

    frame = pd.DataFrame(
        {
            "objects": pd.Series([Colour("red"), b"blue", "red", 7], dtype=object),
            "numbers": pd.Series([1, 2.5, Decimal(3), None], dtype=object),
            "big": [10**25, 1, 2, 3],
            "category": pd.Categorical([3, 1, None, 1]),
            "nullable": pd.array([1, None, 2, 2**53 + 1], dtype="Int64"),
            3: pd.array([True, None, True, False], dtype="boolean"),
        }
    )
    table = as_table(frame)
    assert table.column_names == ["objects", "numbers", "big", "category", "nullable", "3"]
    assert table["objects"].to_pylist() == ["red", "blue", "red", "7"]
    assert table["category"].to_pylist() == ["3", "1", None, "1"]
    read = scan.learn_of(table).read(table)
    assert read["numbers"].to_pylist() == [1.0, 2.5, 3.0, None]
    assert [int(v) for v in read["big"].to_pylist()] == [10**25, 1, 2, 3]
    assert read["nullable"].to_pylist() == [1, None, 2, 2**53 + 1]
    assert read["3"].to_pylist() == [True, None, True, False]


def test_a_named_index_is_a_column(pd):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="place"))
    assert as_table(frame).column_names == ["place", "a"]
    assert as_table(pd.DataFrame({"a": [1, 2]}, index=[5, 7])).column_names == ["a"]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1 + 2j], TypeError, "column 'a' holds complex numbers"),
        ([object()], TypeError, "column 'a' holds objects of type object"),
        ([b"\xff", b"b"], ValueError, r"column 'a' has bytes that are no text in UTF-8"),
        ([b"\xff", 7], ValueError, r"column 'a' has b'\\xff', no text in UTF-8"),
    ],
)
def test_frames_with_other_objects(pd, values, error, message):
    with pytest.raises(error, match=message):
        as_table(pd.DataFrame({"a": pd.Series(values)}))


def test_periods_are_refused(pd):
    with pytest.raises(TypeError, match=r"column 'a' holds .*period"):
        as_table(pd.DataFrame({"a": pd.period_range("2020", periods=2, freq="M")}))


def test_two_columns_of_one_name_are_refused(pd):
    with pytest.raises(ValueError, match="two columns of the same name, 'a'"):
        as_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(ValueError, match="two columns of the same name, '1'"):
        as_table(pd.DataFrame([[1, 2]], columns=[1, "1"]))


def test_parts_of_one_table_keep_every_whole_number():
    parts = [[-1], [2**63], [2**53 + 1]]
    tables = [
        pa.table({"a": pa.array(part, pa.uint64() if part[0] > 0 else None)}) for part in parts
    ]
    assert [int(value) for value in concatenate(tables)["a"].to_pylist()] == [-1, 2**63, 2**53 + 1]


# -- what is told of, and read as, by more than one chunk, unit, type or file ----


def learn_parts(*parts):
    return scan.learn(lambda _: [pa.table({"a": part}) for part in parts], ["a"]).schema["a"]


def test_parts_may_each_be_of_a_form_of_their_own():
    assert learn_parts(["1"], ["2024-01-31"] * 3).kind == "category"
    assert learn_parts(["true"], ["10:00"], ["5"]).kind == "category"
    assert learn_parts(["NA", "NA"], ["x", "NA"]).kind == "category"


def test_parts_of_several_types_are_refused_by_name():
    with pytest.raises(TypeError, match="column 'a' holds numbers and dates: give it one type"):
        learn_parts([1.5], [datetime.date(2024, 1, 31)])


@pytest.mark.parametrize("said", ["date", "date:%m/%d/%Y", "date:%d/%m/%Y"])
def test_dates_that_are_said_to_be_so_are_not_guessed_either(said):
    texts = {"a": ["03/04/2024", "05/06/2024"]}
    if said == "date":
        with pytest.raises(ValueError, match="no value tells which is the day"):
            learn(texts, kinds={"a": said})
        return
    column = learn(texts, kinds={"a": said})[0]["a"]
    month = 3 if said.startswith("date:%m") else 4
    assert column.read(pa.table(texts)["a"])[0].as_py().month == month


def test_numbers_that_are_said_to_be_whole_may_be_of_any_form():
    column = learn({"a": ["$1,200", "$2.5"]}, kinds={"a": "integer"})[0]["a"]
    again = Column.from_config(json.loads(json.dumps(column.config())))
    assert again.read(pa.array(["$1,200", "7"])).to_pylist() == [1200.0, 7.0]


@pytest.mark.parametrize("said", ["text", "identifier", "constant"])
def test_a_target_that_is_said_to_be_left_out(said):
    column = learn({"y": ["1", "2"]}, target="y", kinds={"y": said})[1]
    with pytest.raises(TypeError, match=f"the target 'y' is said to be {said}: give numbers"):
        reading.labels(column, pa.array(["1", "2"]))


ZONED = pa.array([0, 3_600_000_000], pa.timestamp("us", "Europe/Berlin"))


def test_instants_with_a_zone_are_read_of_text_too():
    column = learn({"a": ZONED})[0]["a"]
    assert column == Column("a", "date", "zone")
    texts = ["1970-01-01 01:00:00+01:00", "1970-01-01T01:00:00.000000000Z"]
    assert column.read(pa.array(texts)).to_pylist() == column.read(ZONED).to_pylist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_are_microseconds_in_whatever_unit(unit):
    values = pa.array([5, 90, None], pa.duration("s")).cast(pa.duration(unit))
    column = learn({"a": values})[0]["a"]
    assert (column.kind, column.read(values).to_pylist()) == ("integer", [5e6, 90e6, None])


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0, 10**7], pa.int32()).cast(pa.date32()),
        pa.array([0, -(10**6)], pa.int32()).cast(pa.date32()),
        pa.array([0, 10**15], pa.timestamp("s")),
        pa.array([0, 253_402_300_800], pa.timestamp("s")),
    ],
)
def test_dates_outside_the_calendar_are_refused(values):
    told = "column 'a' holds dates outside the years 1 to 9999"
    with pytest.raises(ValueError, match=told):
        learn({"a": values})
    with pytest.raises(ValueError, match=told):
        Column("a", "date").read(values)


def test_the_first_and_the_last_day_of_the_calendar():
    ends = [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)]
    for unit in ("s", "ms", "us"):
        values = pa.array(ends, pa.timestamp(unit))
        assert learn({"a": values})[0]["a"].read(values).to_pylist() == ends
    assert learn({"a": ["0000-01-01", "2024-01-31"]})[0]["a"].kind == "category"


def test_truth_values_that_are_none_are_told():
    with pytest.raises(TypeError, match=r"'a' holds .* truth values belong: 1 value such as 'yes'"):
        Column("a", "boolean").read(pa.array(["TRUE", "yes", "false"]))


def test_labels_have_one_type_whatever_they_were_held_in():
    column = Column("y", "integer")
    for kind in (pa.uint64(), pa.uint8(), pa.int16(), pa.string()):
        found = reading.labels(column, pa.array([1, 0]).cast(kind))
        assert (found.dtype, found.tolist()) == (np.dtype(np.int64), [1, 0])
    large = reading.labels(column, pa.array([2**63, 0], pa.uint64()))
    assert (large.dtype, large.tolist()) == (np.dtype(np.uint64), [2**63, 0])


def test_labels_of_more_than_64_bits():
    column = learn({"y": ["1" + "0" * 25, "7"]}, target="y")[1]
    with pytest.raises(TypeError, match="'y' holds whole numbers of more than 64 bits: say"):
        reading.labels(column, pa.array(["1" + "0" * 25]))


def test_decimals_are_the_nearest_floats():
    values = [Decimal(k) / 100 for k in range(-5000, 5000, 7)]
    found = floats(pa.array(values, pa.decimal128(20, 2))).to_pylist()
    assert found == [float(value) for value in values]


def test_numbers_of_several_types_are_held_in_one():
    parts = [pa.array([2**53 + 1]), pa.array([Decimal("1.25")]), pa.array([True])]
    found = join(parts)
    assert found.to_pylist() == [2**53 + 1, Decimal("1.25"), 1]
    assert join([parts[0], parts[2]]).to_pylist() == [2**53 + 1, 1]
    assert join([pa.array([0.5]), parts[1]]).to_pylist() == [0.5, 1.25]


def test_most_text_that_is_no_number_is_no_slip():
    texts = [f"a text, the {i}th" for i in range(3000)] + [str(i) for i in range(2000)]
    assert learn({"a": texts}, rows=10**4)[0]["a"].kind == "identifier"
    with pytest.raises(TypeError, match="2000 values such as 'a text, the 0th'"):
        learn({"a": texts[:2000] + texts[3000:] * 2}, rows=10**4)


@pytest.mark.parametrize("name", ["Unnamed: 0", "__index_level_0__", "Unnamed: 3.1"])
def test_numbers_without_a_name_that_all_differ_are_an_index(name):
    numbers = np.random.default_rng(0).permutation(N) * 3
    assert learn({name: numbers})[0].columns[0].kind == "identifier"
    assert learn({"named": numbers})[0].columns[0].kind == "integer"
    numbers[7] = numbers[30]
    assert learn({name: numbers})[0].columns[0].kind == "integer"


@pytest.mark.parametrize(
    ("texts", "stray", "holds"),
    [
        (["2024-01-31", "2024-02-28"] * 9, "2024-02-30", "dates"),
        (["31.01.2024", "28.02.2024"] * 9, "soon", "dates"),
        (["12:30", "7:05"] * 9, "noon", "times"),
    ],
)
def test_text_that_is_mostly_dates_has_slips(texts, stray, holds):
    message = (
        f"'d' holds text where {holds} belong: 1 value such as '{stray}': correct them, or say"
    )
    with pytest.raises(TypeError, match=message):
        learn({"d": [*texts, stray]})
    assert learn({"d": [*texts, stray]}, kinds={"d": "category"})[0]["d"].kind == "category"
    assert learn({"d": texts})[0]["d"].kind == holds[:-1]
