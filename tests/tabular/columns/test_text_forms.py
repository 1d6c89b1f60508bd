"""How text is read: which form a column has, and what its values are."""

import datetime
from decimal import Decimal

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")

from xpnet.tabular.columns import kinds  # noqa: E402
from xpnet.tabular.columns.text_forms import FORMS, MONTH_FIRST, Form  # noqa: E402

INF, NAN = float("inf"), None


def read(*texts):
    """Return the kind of the first form that fits, and the values."""
    text = pa.array(texts, pa.string())
    form = next((form for form in FORMS if form.fits(text)), None)
    return ("text", [*texts]) if form is None else (form.kind, form.read(text)[0].to_pylist())


def at(*parts):
    return datetime.datetime(*parts)


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "-2", "+3"], "integer", [1, -2, 3]),
        (["0", "-0", "10"], "integer", [0, 0, 10]),
        ([" 1", "2 ", ""], "integer", [1, 2, None]),
        (["1", "nan", "NA"], "integer", [1, None, None]),
        ([str(2**63), "1"], "integer", [2**63, 1]),
        ([str(2**53 + 1), str(2**53)], "integer", [2**53 + 1, 2**53]),
        (
            ["123456789012345678901234567890", "-1"],
            "integer",
            [Decimal(123456789012345678901234567890), Decimal(-1)],
        ),
        (["9" * 60], "integer", [Decimal("9" * 60)]),
        (["9" * 80], "number", [1e80]),
        (["1.5", "1e5", ".5", "1."], "number", [1.5, 1e5, 0.5, 1.0]),
        (["1.5", "inf", "-Infinity"], "number", [1.5, INF, -INF]),
        (["0.5", "00.5"], "number", [0.5, 0.5]),
        # decimal commas, thousands, currencies, percentages
        (["1,5", "2"], "number", [1.5, 2.0]),
        (["1,234", "5,678"], "number", [1234.0, 5678.0]),
        (["1,234", "5,5"], "number", [1.234, 5.5]),
        (["1,234.50", "7", "-1,000"], "number", [1234.5, 7.0, -1000.0]),
        (["1.234,50", "1,5"], "number", [1234.5, 1.5]),
        (["1 234,5", "2\u00a0000", "3\u202f000"], "number", [1234.5, 2000.0, 3000.0]),
        (["1'234.5", "7"], "number", [1234.5, 7.0]),
        (["$5", "$1,234.50", "-$3"], "number", [5.0, 1234.5, -3.0]),
        (["5 €", "-3,5 €", "n/a"], "number", [5.0, -3.5, None]),
        (["£7", "8"], "number", [7.0, 8.0]),
        (["12.3%", "4 %"], "number", [12.3, 4.0]),
        (["\u22125", "3,5"], "number", [-5.0, 3.5]),
        # truth values
        (["true", "FALSE", "", "True"], "boolean", [True, False, None, True]),
        # dates and times
        (["2024-01-31", "2024-02-01 12:30"], "date", [at(2024, 1, 31), at(2024, 2, 1, 12, 30)]),
        (["0001-01-01", "9999-12-31"], "date", [at(1, 1, 1), at(9999, 12, 31)]),
        (["2024-01-31T12:00:00.123456789"], "date", [at(2024, 1, 31, 12, 0, 0, 123456)]),
        (
            ["2024-01-31T12:00:00Z", "2024-01-31 12:00:00 +01:00"],
            "date",
            [at(2024, 1, 31, 12), at(2024, 1, 31, 11)],
        ),
        (
            ["31.01.2024", "1.2.2024 12:00", "NaT"],
            "date",
            [at(2024, 1, 31), at(2024, 2, 1, 12), None],
        ),
        (["2024/1/3"], "date", [at(2024, 1, 3)]),
        (["01/31/2024"], "date", [at(2024, 1, 31)]),
        (["31/01/2024", "1/2/2023"], "date", [at(2024, 1, 31), at(2023, 2, 1)]),
        (["1/31/13 8:01", "12/1/69"], "date", [at(2013, 1, 31, 8, 1), at(1969, 12, 1)]),
        (["31/1/13", "1/2/68 22:33:10"], "date", [at(2013, 1, 31), at(2068, 2, 1, 22, 33, 10)]),
        (["1/2/2024 8:01", ""], "date", [at(2024, 1, 2, 8, 1), None]),
        (["3.11.17", "1.2.13"], "text", None),
        (["12:30", "9:05:01.5"], "time", [datetime.time(12, 30), datetime.time(9, 5, 1, 500000)]),
        # what stays text
        (["01", "2"], "text", None),
        (["0", "00"], "text", None),
        (["-01", "5"], "text", None),
        (["0x10"], "text", None),
        (["1_000"], "text", None),
        (["yes", "no"], "text", None),
        (["T", "F"], "text", None),
        (["1", "?"], "text", None),
        (["12.3%", "4"], "text", None),
        (["$5", "€5"], "text", None),
        (["1,23,4"], "text", None),
        (["2024-02-30"], "text", None),
        (["2024-01-31", "2024-01-31T12:00:00Z"], "text", None),
        (["24:00"], "text", None),
        (["2024-01", "2024-02"], "text", None),
    ],
)
def test_the_form_of_a_column(texts, kind, values):
    assert read(*texts) == (kind, texts if values is None else values)


def test_an_empty_column_is_of_the_first_form_and_has_gaps():
    assert read("", "NA", " ") == ("boolean", [None, None, None])


@pytest.mark.parametrize("gap", kinds.GAPS)
def test_gaps_among_numbers(gap):
    assert read("1", gap) == ("integer", [1, None])
    assert read("x", gap) == ("text", ["x", gap])


def test_what_is_not_of_the_form_is_told_as_often_as_it_is_there():
    values, others = Form("integer").read(pa.array(["1", "x", " 2", "1.5", "NA", "x"]))
    assert values.to_pylist() == [1, None, 2, None, None, None]
    assert others.to_pylist() == ["x", "1.5", "x"]


def test_a_single_value_far_down_decides():
    text = pa.array(["7"] * 1000 + ["07"])
    assert not Form("integer").fits(text)
    assert Form("integer").fits(text[:1000])


@pytest.mark.parametrize("text", ["03/04/2024", "3/4/24 8:01"])
def test_day_and_month_that_nothing_tells_apart_fit_both_ways(text):
    month_first = next(form for form in MONTH_FIRST if form.fits(pa.array([text])))
    assert MONTH_FIRST[month_first].fits(pa.array([text]))


def test_leading_zeros_may_be_allowed():
    values, others = Form("number", kinds.ZEROS).read(pa.array(["007", "1"]))
    assert (values.to_pylist(), len(others)) == ([7.0, 1.0], 0)


@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_those_that_python_reads(seed):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=300) * 10.0 ** rng.integers(-300, 300, 300)
    assert Form("number").read(pa.array(map(repr, numbers.tolist())))[0].to_pylist() == [*numbers]
    whole = [int(rng.integers(-9, 9)) * 10 ** int(rng.integers(0, 37)) + 1 for _ in range(300)]
    assert [*map(int, Form("integer").read(pa.array(map(str, whole)))[0].to_pylist())] == whole


@pytest.mark.parametrize("seed", range(5))
def test_dates_are_those_that_were_written(seed):
    rng = np.random.default_rng(seed)
    days = rng.integers(-719_162, 2_932_896, 200).astype("M8[D]")
    dates = days.astype(object)
    orders = {
        "": "%Y-%m-%d",
        "%d.%m.%Y": "%d.%m.%Y",
        "%m/%d/%Y": "%m/%d/%Y",
        "%Y/%m/%d": "%Y/%m/%d",
    }
    for pattern, order in orders.items():
        y = {date: f"{date.year:04d}" for date in dates}
        text = [
            order.replace("%Y", y[d]).replace("%m", f"{d.month:02d}").replace("%d", f"{d.day:02d}")
            for d in dates
        ]
        values, others = Form("date", pattern).read(pa.array(text))
        assert len(others) == 0
        assert [value.date() for value in values.to_pylist()] == [*dates]
