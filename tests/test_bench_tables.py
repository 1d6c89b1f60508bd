"""bench/tables.py on made-up tables: who gets which rows and columns, and what is shown."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pd: Any = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
pa: Any = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")

import tables  # noqa: E402  # what it needs is there by now

CSV = tables.Table("codes", "codes.csv", "y", "binary", ("leak",))


def _write_codes(folder: Path, n: int = 60) -> Any:
    """Write a table with leading zeros, a gap in its target and a column of names."""
    lines = [f"{i % 50:03},{'NA' if i == 7 else i % 2},{i % 2},person {i}\n" for i in range(n)]
    (folder / "codes.csv").write_text("code,y,leak,name\n" + "".join(lines))
    return tables.read(folder / "codes.csv", ".csv")


def test_the_test_has_a_fifth_of_the_rows_that_have_a_target(tmp_path):
    frame = _write_codes(tmp_path)
    rows, test = tables.part(frame, CSV)
    assert sorted([*rows, *test]) == [i for i in range(60) if i != 7]
    assert len(test) == 12
    assert frame["y"].iloc[test].sum() == 6  # by class


def test_rows_of_a_csv_are_written_as_they_stand(tmp_path):
    _write_codes(tmp_path)
    to = tmp_path / "some.csv"
    tables.write_rows(tmp_path / "codes.csv", ".csv", np.array([7, 3]), to)
    assert to.read_text() == "code,y,leak,name\n007,NA,1,person 7\n003,1,1,person 3\n"


def test_rows_of_parquet_keep_their_types(tmp_path):
    days = pa.array([dt.date(2020, 1, 1), None, dt.date(9999, 12, 31)])
    pa.parquet.write_table(pa.table({"day": days, "x": [1, 2, 3]}), tmp_path / "d.parquet")
    to = tmp_path / "some.parquet"
    tables.write_rows(tmp_path / "d.parquet", ".parquet", np.array([2, 1]), to)
    found = pa.parquet.read_table(to)
    assert found.schema.field("day").type == pa.date32()
    assert found["day"].to_pylist() == [dt.date(9999, 12, 31), None]


def test_trees_get_numbers_days_and_categories():
    frame = pd.DataFrame(
        {
            "x": [1.5, None],
            "day": [dt.date(2020, 1, 2), None],
            "time": pd.to_datetime(["2020-01-01 12:00", "2020-01-02 00:00"], utc=True),
            "text": ["a", None],
        }
    )
    found = tables.for_trees(frame, np.arange(2))
    assert [*found] == ["x", "day", "time", "text"]
    assert found["day"].iloc[0] - found["time"].iloc[0] == 0.5
    assert np.isnan(found["day"].iloc[1])
    assert found["text"].dtype == "category"


def test_trees_get_no_text_of_more_values_than_they_take():
    n = tables.MOST_CATEGORIES
    frame = pd.DataFrame({"text": [f"{i}" for i in range(n + 1)]})
    assert [*tables.for_trees(frame, np.arange(n))] == ["text"]
    assert [*tables.for_trees(frame, np.arange(n + 1))] == []


def test_what_is_refused_by_name_is_left_out_and_told(monkeypatch):
    calls = []

    def run(*arguments: str, folder: str) -> dict[str, Any]:
        calls.append(arguments)
        if arguments[0] == "evaluate":
            return {"error": 0.25}
        if "leak,when" not in arguments:
            raise tables.Failed("column 'when' holds dates")
        return {"examples": {"train": 36}}

    monkeypatch.setattr(tables, "run", run)
    found = tables.Measured("codes", 60, 2)
    tables.train(CSV, "folder", found)
    assert (found.error, found.learnt_from) == (0.25, 36)
    assert found.refused == ["column 'when' holds dates"]
    assert [call[0] for call in calls] == ["train", "train", "evaluate"]


@pytest.mark.parametrize("why", ["no labels", "column 'y' holds records", "column 'leak' is odd"])
def test_another_refusal_is_the_end(monkeypatch, why):
    def run(*arguments: str, folder: str) -> dict[str, Any]:
        raise tables.Failed(why)

    monkeypatch.setattr(tables, "run", run)
    found = tables.Measured("codes", 60, 2)
    tables.train(CSV, "folder", found)
    assert (found.error, found.seconds, found.refused) == (None, None, [why])


def test_the_table_shows_what_there_is():
    rows = [
        tables.Measured(
            "a", 1234, 5, 700, 0.125, 0.5, 0.75, 12.34, 0.5, ["column 'd' holds dates"], ["n"]
        ),
        tables.Measured("b", 60, 2, trees_error=0.25, trees_seconds=1.0),
    ]
    lines = tables.show(rows).splitlines()
    assert lines[2:4] == [
        "| a | 1,234 | 5 | 12.50% | 50.00% | 75.00% | 12.3 | 0.50 |",
        "| b | 60 | 2 | – | 25.00% | – | – | 1.00 |",
    ]
    assert lines[4:] == [
        "",
        "- a, refused: column 'd' holds dates",
        "- a, without for the trees: n",
    ]


def test_a_missing_file_is_told(tmp_path, capsys):
    assert tables.main([str(tmp_path), "--only", "weather"]) == 2
    assert "seattle-weather.csv is not there: install the packages" in capsys.readouterr().err


def test_an_unknown_table_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        tables.main([str(tmp_path), "--only", "weather,dragons"])
    assert "'dragons' is none of titanic, " in capsys.readouterr().err


@pytest.mark.slow
def test_both_are_measured(tmp_path, monkeypatch, capsys):
    _write_codes(tmp_path, 400)
    monkeypatch.setattr(tables, "TABLES", (CSV,))
    out = tmp_path / "out.json"
    assert tables.main([str(tmp_path), "--out", str(out), "--only", "codes"]) == 0
    assert "| codes | 399 | 2 |" in capsys.readouterr().out
    (found,) = json.loads(out.read_text())["tables"]
    assert found["refused"] == []
    assert 0 <= found["error"] <= 1
    assert 0 <= found["trees_error"] <= 1
    assert 0 <= found["trees_error_alike"] <= 1
    assert found["learnt_from"] < found["rows"]
    assert found["trees_dropped"] == ["name"]


def test_a_target_that_was_taken_for_another_task_is_told(monkeypatch):
    def run(*arguments: str, folder: str) -> dict[str, Any]:
        return {"unexplained_variance": 0.25, "examples": {"train": 36}}

    monkeypatch.setattr(tables, "run", run)
    found = tables.Measured("codes", 60, 2)
    tables.train(CSV, "folder", found)
    assert found.error is None
    assert found.refused == ["y was not taken for binary"]
