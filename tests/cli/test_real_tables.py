"""Tables of real life through the commands: each is a kind of fault that users of others had."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from test_cli import run  # noqa: F401

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")

from pyarrow import csv, feather, parquet  # noqa: E402

N = 400
DRAW = np.random.default_rng(0)
A, B = DRAW.normal(size=(2, N)).round(4)
CLASS = (A + B > 0).astype(int)


def lines(*columns, end=""):
    return "".join(",".join(map(str, row)) + f"{end}\n" for row in zip(*columns, strict=True))


def train(run, path, *options, target="y", epochs=60):  # noqa: F811
    code, out, err = run(
        *("train", path, "--target", target, "--epochs", str(epochs), "--batch-size", "32"),
        *("--hidden", "32", "--device", "cpu", "--json", *options),
    )
    assert code == 0, err
    return json.loads(out)


def error(found):
    return found["results"]["dev"]["error"]


def kinds(found):
    return {row["column"]: row["kind"] for row in found["columns"]}


def evaluated(run, model, path):  # noqa: F811
    code, out, err = run("evaluate", model, path, "--json", "--device", "cpu")
    assert code == 0, err
    return json.loads(out)["error"]


@pytest.mark.parametrize("start", ["", '"",'])
def test_row_names_and_commas_at_the_end(run, start):  # noqa: F811
    Path("plain.csv").write_text("y,a,b\n" + lines(CLASS, A, B))
    Path("comma.csv").write_text("y,a,b\n" + lines(CLASS, A, B, end=","))
    names = [f"row {i}" for i in range(N)]
    Path("names.csv").write_text(f"{start}y,a,b\n" + lines(names, CLASS, A, B))
    errors = [error(train(run, f"{name}.csv")) for name in ("plain", "comma", "names")]
    assert errors[0] == errors[1] == errors[2] < 0.05
    run("train", "plain.csv", "--target", "y", "-q", "--epochs", "60")
    for other in ("plain", "comma", "names"):
        assert evaluated(run, "plain.safetensors", f"{other}.csv") < 0.05


def test_codes_are_text_in_a_file_that_has_digits_alone(run):  # noqa: F811
    codes = DRAW.choice(["01", "02", "A1", "B2", "C3"], N)
    labels = np.isin(codes, ["01", "C3"]).astype(int)
    Path("d.csv").write_text("code,a,y\n" + lines(codes, A, labels))
    assert error(train(run, "d.csv", "-o", "m.safetensors")) == 0
    some = np.isin(codes, ["01", "02"])
    Path("e.csv").write_text("code,a,y\n" + lines(codes[some], A[some], labels[some]))
    assert evaluated(run, "m.safetensors", "e.csv") == 0


def test_targets_are_text_in_a_file_that_has_digits_alone(run):  # noqa: F811
    labels = DRAW.choice(["0", "1", "?"], N)
    values = np.where(labels == "0", -1, np.where(labels == "1", 0, 1)) + A / 100
    Path("d.csv").write_text("a,y\n" + lines(values, labels))
    assert error(train(run, "d.csv", "-o", "m.safetensors")) == 0
    some = labels != "?"
    Path("e.csv").write_text("a,y\n" + lines(values[some], labels[some]))
    assert evaluated(run, "m.safetensors", "e.csv") == 0


def test_a_column_has_one_type_in_all_of_a_long_file(run):  # noqa: F811
    n = 70_000  # more rows than are read at once
    codes = np.concatenate([DRAW.choice(["01", "02", "03", "04"], n - 100), ["A1", "B2"] * 50])
    Path("d.csv").write_text("y,a\n" + lines(codes, np.arange(n) % 7 / 2))
    code, out, _ = run("train", "d.csv", "--target", "y", "--schema", "--json")
    assert code == 0
    assert kinds(json.loads(out)) == {"y": "category", "a": "number"}
    found = train(run, "d.csv", epochs=1)
    assert found["task"] == "multiclass"
    _, out, _ = run("evaluate", "d.safetensors", "d.csv", "--json")
    assert json.loads(out)["classes"] == ["01", "02", "03", "04", "A1", "B2"]


def test_numbers_that_are_no_floats(run):  # noqa: F811
    values = (A * 1000).round(2)
    columns = {
        "decimal": [Decimal(f"{v:.2f}") for v in values],
        "text": [f"{v:.2f}" for v in values],
        "comma": [f"{v:.2f}".replace(".", ",") for v in values],
        "thousands": [f"{v:,.2f}" for v in values],
        "money": [f"${abs(v):.2f}" for v in values],
        "share": [f"{v:.1f}%" for v in values],
    }
    for name, column in columns.items():
        above = values > np.median(values)
        labels = np.abs(values) > np.median(np.abs(values)) if name == "money" else above
        parquet.write_table(pa.table({name: column, "y": labels}), "d.parquet")
        found = train(run, "d.parquet")
        assert kinds(found)[name].startswith("number"), name
        assert error(found) < 0.05, name
    # and as a target: a regression, not hundreds of classes
    parquet.write_table(pa.table({"a": A, "y": columns["thousands"]}), "d.parquet")
    found = train(run, "d.parquet")
    assert found["task"] == "regression"
    assert error(found) < 0.01


def test_a_target_that_is_another_in_every_row_is_told(run):  # noqa: F811
    Path("d.csv").write_text("a,y\n" + lines(A, [f"k{i}" for i in range(N)]))
    _, _, err = run("train", "d.csv", "--target", "y", "--epochs", "1")
    assert "the target has 400 classes in 400 rows" in err


def test_dates_and_times(run):  # noqa: F811
    hours = DRAW.integers(0, 600 * 24, N)
    dates = [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=int(h)) for h in hours]
    weekend = np.array([date.weekday() >= 5 for date in dates]).astype(int)
    early = np.array([date.hour < 12 for date in dates]).astype(int)
    as_date, as_time = [d.date() for d in dates], [d.time() for d in dates]
    for name, column, labels in (
        ("instants", dates, weekend),
        ("days", as_date, weekend),
        ("times", as_time, early),
        ("iso", [f"{d:%Y-%m-%d %H:%M:%S}" for d in dates], weekend),
        ("german", [f"{d:%d.%m.%Y}" for d in dates], weekend),
        ("zoned", [f"{d:%Y-%m-%dT%H:%M:%S}Z" for d in dates], weekend),
    ):
        parquet.write_table(pa.table({"d": column, "y": labels}), "d.parquet")
        found = train(run, "d.parquet")
        assert error(found) < 0.05, name
        Path("d.csv").write_text("d,y\n" + lines(column, labels))
        assert error(train(run, "d.csv")) < 0.05, name
    became = {row["column"]: row["became"] for row in found["columns"]}
    assert became["d"].startswith("year, month, day, weekday, hour, elapsed, month sin")


def test_large_numbers_that_hardly_vary(run):  # noqa: F811
    digits = [10**25 + int(i) for i in DRAW.integers(0, 10**6, N)]
    for order in (10**17 + DRAW.integers(0, 10**6, N), np.full(N, 10**17), digits):
        Path("d.csv").write_text("order,a,y\n" + lines(order, A, (A > 0).astype(int)))
        assert error(train(run, "d.csv")) < 0.05
    order = 10**17 + DRAW.integers(0, 1000, N)
    Path("d.csv").write_text("order,y\n" + lines(order, (order > 10**17 + 500).astype(int)))
    assert error(train(run, "d.csv")) < 0.05
    Path("d.csv").write_text("a,y\n" + lines(A, 10**17 + (A * 1000).astype(int)))
    assert error(train(run, "d.csv")) < 0.01


def test_a_constant_column_is_left_out_and_named(run):  # noqa: F811
    Path("d.csv").write_text("id,a,y\n" + lines([7] * N, A, CLASS))
    found = train(run, "d.csv", "-o", "m.safetensors", epochs=1)
    assert found["columns"][0] == {
        "column": "id",
        "kind": "constant",
        "became": "left out: the same in every row",
    }
    Path("e.csv").write_text("a\n" + lines(A))
    assert run("predict", "m.safetensors", "e.csv")[0] == 0


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1], [2]] * 200, "column 'b' holds lists"),
        ([{"c": 1}] * 400, "column 'b' holds records"),
        ([b"\xff"] * 400, "column 'b' has bytes that are no text"),
    ],
)
def test_what_no_feature_is_made_of_is_named(run, column, message):  # noqa: F811
    parquet.write_table(pa.table({"a": A, "b": column, "y": CLASS}), "d.parquet")
    code, _, err = run("train", "d.parquet", "--target", "y")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_gaps_of_a_target_are_counted(run):  # noqa: F811
    for labels in (["a", None] * 200, [True, None] * 200, [1, None] * 200):
        parquet.write_table(pa.table({"a": A, "y": labels}), "d.parquet")
        code, _, err = run("train", "d.parquet", "--target", "y")
        assert (code, "200 values that are missing" in err) == (2, True)


def test_whole_numbers_of_many_digits_are_classes_of_their_own(run):  # noqa: F811
    labels = pa.array(2**60 + (A > 0))
    parquet.write_table(pa.table({"a": A, "y": labels}), "d.parquet")
    train(run, "d.parquet")
    _, out, _ = run("evaluate", "d.safetensors", "d.parquet", "--json")
    assert json.loads(out)["classes"] == [2**60, 2**60 + 1]


def test_values_that_floats_do_not_tell_apart(run):  # noqa: F811
    for large in (2**53, 2**64 + 10):
        values = [large + int(v) for v in (A > 0)]
        Path("d.csv").write_text("b,a,y\n" + lines(values, B, (A > 0).astype(int)))
        assert error(train(run, "d.csv")) == 0


def test_bytes_are_the_text_that_they_are_and_an_empty_text_is_a_gap(run):  # noqa: F811
    columns = {"b": [b"u", b"v"] * 200, "c": ["", "x"] * 200, "y": [0, 1] * 200}
    parquet.write_table(pa.table(columns), "d.parquet")
    found = train(run, "d.parquet", "-o", "m.safetensors")
    assert error(found) == 0
    assert found["columns"][1]["became"] == "0 or 1 for each of 2 categories, gaps as one"
    Path("d.csv").write_text("b,c,y\n" + lines(*(columns | {"b": ["u", "v"] * 200}).values()))
    assert evaluated(run, "m.safetensors", "d.csv") == 0


def test_classes_called_as_gaps_are_classes_and_told(run):  # noqa: F811
    Path("d.csv").write_text("a,y\n" + lines(A, np.where(A > 0, "NA", "None")))
    code, out, err = run("train", "d.csv", "--target", "y", "--json", "--epochs", "60")
    assert (code, json.loads(out)["results"]["dev"]["error"] < 0.05) == (0, True)
    assert "the target has the class 'NA', in" in err
    assert "the target has the class 'None', in" in err


def test_a_column_may_be_said_to_be_another(run):  # noqa: F811
    Path("d.csv").write_text("zip,y\n" + lines(DRAW.integers(0, 9, N) * 7919, CLASS))
    assert kinds(train(run, "d.csv", epochs=1))["zip"] == "integer"
    assert kinds(train(run, "d.csv", "--column", "zip=category", epochs=1))["zip"] == "category"
    code, _, err = run("train", "d.csv", "--target", "y", "--column", "zip=float")
    assert (code, "column 'zip' is said to be 'float': give one of number" in err) == (2, True)
    for text in ("zip", "=number", "zip=number --column zip=category"):
        code, _, err = run("train", "d.csv", "--target", "y", *f"--column {text}".split())
        assert (code, "give NAME=KIND, as zip=category" in err) == (2, True)


def test_semicolons_and_decimal_commas(run):  # noqa: F811
    text = lines(A, B, CLASS).replace(",", ";").replace(".", ",")
    Path("d.csv").write_text("a;b;y\n" + text)
    code, _, err = run("train", "d.csv", "--target", "y")
    assert (code, "--separator ';'" in err) == (2, True)
    options = ("--separator", ";", "--decimal", ",")
    assert error(train(run, "d.csv", *options, "-o", "m.safetensors")) < 0.05
    assert run("predict", "m.safetensors", "d.csv", "--separator", ";")[0] == 0


def test_many_categories_become_learnt_numbers(run):  # noqa: F811
    names = np.array([f"item {i}" for i in range(300)])
    codes = np.tile(np.arange(300), 15)
    Path("d.csv").write_text("item,y\n" + lines(names[codes], codes % 2))
    found = train(run, "d.csv", epochs=30)
    assert found["columns"][0]["became"] == "8 learnt numbers for each of 300 categories"
    assert error(found) == 0


def test_a_training_goes_on_with_what_was_said_of_columns(run):  # noqa: F811
    Path("d.csv").write_text("zip;y\n" + lines(DRAW.integers(0, 9, N), CLASS).replace(",", ";"))
    options = ("--separator", ";", "--column", "zip=category", "--checkpoint", "run")
    train(run, "d.csv", *options, epochs=2)
    code, out, err = run("train", "--resume", "run", "--epochs", "3", "--json")
    assert code == 0, err
    assert kinds(json.loads(out))["zip"] == "category"


def test_the_schema_is_shown_without_training(run):  # noqa: F811
    Path("d.csv").write_text(
        "id,when,y\n" + lines(range(N), ["2024-01-31", "2024-03-01"] * 200, CLASS)
    )
    code, out, _ = run("train", "d.csv", "--target", "y", "--schema")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        ["id", "identifier"],
        ["when", "date"],
        ["y", "integer"],
    ]
    assert not Path("d.safetensors").exists()
    assert run("train", "d.csv", "--schema")[0] == 0  # the target need not be said
    code, _, err = run("train", "iris", "--schema")
    assert (code, "iris has no named columns" in err) == (2, True)


def test_a_table_is_the_same_in_every_format(run):  # noqa: F811
    table = pa.table(
        {
            "a": A,
            "price": [Decimal(int(v)).scaleb(-2) for v in DRAW.integers(0, 10**6, N)],
            "large": DRAW.integers(2**62, 2**63, N).astype("u8"),
            "when": pa.array(DRAW.integers(0, 10**9, N), pa.timestamp("s", "UTC")),
            "day": pa.array(DRAW.integers(0, 10**4, N).astype("i4")).cast(pa.date32()),
            "at": pa.array(DRAW.integers(0, 86400, N) * 10**9, pa.time64("ns")),
            "kind": pa.array(DRAW.choice(["u", "v, w", ""], N)).dictionary_encode(),
            "flag": [None, *(B[1:] > 0).tolist()],
            "y": pa.array(CLASS, pa.uint64()),
        }
    )
    parquet.write_table(table, "d.parquet")
    Path("parts").mkdir()
    parquet.write_table(table.slice(0, 99), "parts/0.parquet")
    parquet.write_table(table.slice(99).select(table.column_names[::-1]), "parts/1.parquet")
    feather.write_feather(table, "d.feather")
    as_text = table.set_column(5, "at", table["at"].cast(pa.string()))
    csv.write_csv(as_text.set_column(6, "kind", table["kind"].cast(pa.string())), "d.csv")
    files = ["d.parquet", "parts", "d.feather", "d.csv"]
    for path in ("d.parquet", "d.csv"):
        train(run, path, "-o", "m.safetensors", epochs=3)
        found = [run("evaluate", "m.safetensors", other, "--json") for other in files]
        assert [code for code, _, _ in found] == [0] * 4
        told = [json.loads(out) for _, out, _ in found]
        assert all("the model's test set" in one["part"] for one in told)
        assert len({json.dumps(one["confusion_matrix"]) for one in told}) == 1
        predicted = {run("predict", "m.safetensors", other)[1] for other in files}
        assert len(predicted) == 1


def test_a_training_goes_on_with_its_data_in_files(run):  # noqa: F811
    Path("d.csv").write_text("a,c,y\n" + lines(A, DRAW.choice(["u", "v"], N), CLASS))
    train(run, "d.csv", "-o", "whole.safetensors", epochs=4)
    little = ("--memory", "0.00001")
    train(run, "d.csv", "-o", "m.safetensors", "--checkpoint", "run", *little, epochs=2)
    code, _, err = run("train", "--resume", "run", "--epochs", "4", *little)
    assert code == 0, err
    assert Path("m.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()


def test_what_is_said_to_be_numbers_is_known_again(run):  # noqa: F811
    whole = DRAW.integers(0, 999, N)
    Path("d.csv").write_text("a,b,y\n" + lines(A, whole, [10**25 + int(v) * 10**20 for v in whole]))
    said = ("--column", "b=number", "--column", "y=number")
    train(run, "d.csv", *said, epochs=2)
    code, out, err = run("evaluate", "d.safetensors", "d.csv", "--json")
    assert code == 0, err
    assert "the model's test set" in json.loads(out)["part"]


def test_no_rows_to_predict(run):  # noqa: F811
    Path("d.csv").write_text("a,y\n" + lines(A, CLASS))
    train(run, "d.csv", "-o", "m.safetensors", epochs=1)
    Path("e.csv").write_text("a\n")
    code, _, err = run("predict", "m.safetensors", "e.csv", "-o", "o.csv")
    assert (code, "e.csv: there are no rows" in err, Path("o.csv").exists()) == (2, True, False)


def test_the_class_of_minus_zero_is_zero(run):  # noqa: F811
    Path("d.csv").write_text("a,y\n" + lines(A, np.where(A > 0, "1.0", "-0.0")))
    train(run, "d.csv", epochs=1)
    _, out, _ = run("evaluate", "d.safetensors", "d.csv", "--json")
    assert [str(label) for label in json.loads(out)["classes"]] == ["0.0", "1.0"]
