"""``--test`` and ``--dev``: sets of one's own, as a user gives them."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from test_cli import run  # noqa: F401 - a fixture
from test_resume import leave

from xpnet.cli import outputs
from xpnet.search import studies

QUICK = ["--hidden", "4", "--epochs", "2", "--batch-size", "20", "--device", "cpu"]
TABLE = ["--target", "kind", "--drop", "id", *QUICK]
BOTH = ["--test", "test.csv", "--dev", "dev.csv"]


def lines(first, last):
    """Return the lines of a table, with a class that a number and a colour tell."""
    draw = np.random.default_rng(first)
    rows = [f"{k},{k % 3 + draw.normal() / 9:.4f},{'rgb'[k % 3]},{['low', 'mid', 'top'][k % 3]}"
            for k in range(first, last)]  # fmt: skip
    return ["id,size,colour,kind", *rows]


@pytest.fixture
def tables(run, pa, monkeypatch):  # noqa: F811
    """Write a table to train on, and one for each set, into the present folder; return `run`.

    No pictures are drawn, which takes longer than the rest.
    """
    monkeypatch.setattr(outputs, "draw", lambda picture, draw: False)
    for name, ends in (("train", (0, 90)), ("test", (90, 120)), ("dev", (120, 141))):
        Path(f"{name}.csv").write_text("\n".join(lines(*ends)) + "\n")
    return run


def change(name, old, new, into=None):
    """Write a table anew, with another text in it."""
    Path(into or name).write_text(re.sub(old, new, Path(name).read_text(), flags=re.MULTILINE))


def test_all_rows_of_the_data_are_trained_on(tables):
    code, out, err = tables("train", "train.csv", *BOTH, *TABLE)
    assert (code, err) == (0, "")
    assert "train: 90 train + 21 dev (dev.csv) + 30 test (test.csv) examples, multiclass" in out
    for row in (r"train +90 ", r"dev +21 ", r"test +30 "):
        assert re.search(f"^{row}", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        (BOTH, {"train": 90, "dev": 21, "test": 30}),
        (BOTH[:2], {"train": 72, "dev": 18, "test": 30}),
        (BOTH[2:], {"train": 72, "dev": 21, "test": 18}),
    ],
)
def test_the_answer_names_them(tables, given, sizes):
    code, out, err = tables("train", "train.csv", *given, *TABLE, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["examples"] == sizes
    assert {part: of["data"] for part, of in told["sets"].items()} == dict(
        zip([name.removeprefix("--") for name in given[::2]], given[1::2], strict=True)
    )


def test_sweeps_and_learning_curves_take_them(tables):
    more = ["--l2", "0,0.1", "--learning-curve", "--json"]
    code, out, err = tables("train", "train.csv", *BOTH, *TABLE, *more)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert len(told["l2_choice"]) == 2
    assert told["learning_curve"][-1]["examples"] == 90


def test_compressed_files_and_little_memory_change_nothing(tables):
    import gzip

    Path("test.csv.gz").write_bytes(gzip.compress(Path("test.csv").read_bytes()))
    files = [*BOTH[2:], "--test", "test.csv.gz"]
    found = []
    for memory in ([], ["--memory", "0.00001"]):
        code, out, _ = tables("train", "train.csv", *files, *TABLE, *memory, "--json")
        found.append((code, json.loads(out)["results"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("file", "change_it", "message"),
    [
        ("test", (r",[^,]*$", ""), "test.csv: there is no column 'kind'; there are id, size, col"),
        ("dev", (r"^([^,]*),[^,]*", r"\1"), "dev.csv: the data has no column 'size'"),
        ("test", ("mid", "huge"), "test.csv: the target has labels that the model does not know: "
                                  "huge; it knows low, mid, top"),
        ("dev", ("^121,[^,]*", "121,big"), "dev.csv: column 'size' holds text where numbers belong"
                                           ": 1 value such as 'big'"),
        ("test", (r"^\d.*\n", ""), "test.csv: there are no rows"),
        ("dev", (r"[\s\S]+", ""), "dev.csv: the file is empty"),
        ("test", ("^91,.*", "91,1,2,3,4,5"), "test.csv: can't be read as .csv"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_go_with_the_data(tables, file, change_it, message):
    change(f"{file}.csv", *change_it)
    code, out, err = tables("train", "train.csv", *BOTH, *TABLE)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(f"error: {message}")
    assert not Path("train.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--test", "no.csv"], "no.csv: no such file"),
        (["--test", ""], "--test is '': give a file"),
        (["--dev", "iris"], "iris: train is a table with named columns: give such a table"),
        (["--test", "train.csv"], "train.csv: holds the same as train, row by row: give other"),
        (["--test", "test.csv", "-o", "test.csv"], "test.csv: would be written over test.csv; "
                                                   "give another"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(tables, arguments, message):
    code, _, err = tables("train", "train.csv", *TABLE, *arguments)
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(f"error: {message}")


def test_other_columns_and_categories_are_no_matter(tables):
    change("test.csv", "^(?=.)", "0,")
    change("test.csv", "^0,id", "more,id")
    change("test.csv", ",r,", ",pink,")
    code, _, err = tables("train", "train.csv", *BOTH, *TABLE, "-q")
    assert code == 0
    assert err.startswith("note: column 'colour' holds categories that training did not have, such")


def test_rows_of_the_data_in_a_set_are_told_of(tables):
    change("test.csv", "$(?![\r\n])", "\n".join(lines(0, 90)[1:21]))
    code, _, err = tables("train", "train.csv", *BOTH, *TABLE, "-q")
    assert code == 0
    assert err.startswith("note: test.csv: 20 of 50 rows stand in train as well: what is measured")


def test_the_schema_is_shown_with_what_is_read_by_it(tables):
    options = ["--target", "kind", *BOTH, "--schema"]
    code, out, err = tables("train", "train.csv", *options)
    assert (code, err) == (0, "")
    assert "test.csv: 30 test examples, of these columns\ndev.csv: 21 dev examples" in out
    told = json.loads(tables("train", "train.csv", *options, "--json")[1])
    assert told["sets"]["dev"] == {"data": "dev.csv", "examples": 21}
    change("dev.csv", "kind", "sort")
    code, _, err = tables("train", "train.csv", *options)
    assert (code, err) == (2, "error: dev.csv: there is no column 'kind'; there are id, size, "
                              "colour, sort\n")  # fmt: skip


# -- evaluate ----


def part_of(run, *arguments):  # noqa: F811
    """Return what evaluate says that it measures, or its error."""
    code, out, err = run("evaluate", "m", *arguments, "--json")
    return json.loads(out)["part"] if code == 0 else err


def test_evaluate_knows_each_file(tables):
    assert tables("train", "train.csv", *BOTH, *TABLE, "-q", "-o", "m") == (0, "", "")
    told = "train, all of it, the model's train set: no measure of new rows (its test set was test"
    assert part_of(tables, "train.csv").startswith(told)
    assert part_of(tables, "test.csv") == "test, the model's test set, which it was not trained on"
    assert part_of(tables, "dev.csv") == "dev, the model's dev set, which it was not trained on"
    for arguments, message in (
        (["train.csv", "--part", "test"], "its test set was test.csv: give that"),
        (["train.csv", "--part", "dev"], "its dev set was dev.csv: give that"),
        (["test.csv", "--part", "train"], "--part is train, and test is the model's test set"),
    ):
        assert message in part_of(tables, *arguments)
    assert part_of(tables, "train.csv", "--part", "all") == "train, all of it"
    change("test.csv", "^99,.*\n", "")
    assert part_of(tables, "test.csv") == "test"


def test_evaluate_cuts_the_rest_as_the_training_did(tables):
    for given, cut, other in ((BOTH[:2], "dev", "test"), (BOTH[2:], "test", "dev")):
        _, out, _ = tables("train", "train.csv", *given, *TABLE, "--json", "-o", "m")
        expected = json.loads(out)
        measured = json.loads(tables("evaluate", "m", "train.csv", "--part", cut, "--json")[1])
        assert measured["examples"] == expected["examples"][cut] == 18
        assert measured["error"] == expected["results"][cut]["error"]
        own = json.loads(tables("evaluate", "m", f"{other}.csv", "--json")[1])
        assert own["error"] == expected["results"][other]["error"]
    assert "the model's test set, which it was not" in part_of(tables, "train.csv")


# -- checkpoints ----


def test_a_run_goes_on_with_its_sets(tables, tmp_path):
    options = ["train.csv", *BOTH, *TABLE, "--epochs", "4"]
    assert tables("train", *options, "--checkpoint", "run", "--keep", "9", "-q") == (0, "", "")
    expected = Path("train.safetensors").read_bytes()
    leave(5)
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")
    assert tables("train", "--resume", tmp_path / "run", "-q") == (0, "", "")
    assert (tmp_path / "train.safetensors").read_bytes() == expected


def test_sets_that_were_moved_or_changed(tables):
    assert tables("train", "train.csv", *BOTH, *TABLE, "--checkpoint", "run", "-q")[0] == 0
    Path("test.csv").rename("moved.csv")
    code, _, err = tables("train", "--resume", "run")
    assert code == 2
    assert "test.csv: no such file; if it was moved: xpnet train --test FILE --resume run\n" in err
    assert tables("train", "--resume", "run", "--test", "moved.csv", "-q")[0] == 0
    change("dev.csv", ",r,", ",g,")
    code, _, err = tables("train", "--resume", "run", "--test", "moved.csv")
    assert (code, len(err.splitlines())) == (2, 1)
    told = r"is of another dev set: the fingerprint of .*/dev\.csv is 3:\w{16}, and in the check"
    assert re.search(told, err)


def test_a_run_that_began_without_a_set_goes_on_without(tables):
    assert tables("train", "train.csv", *BOTH[:2], *TABLE, "--checkpoint", "run", "-q")[0] == 0
    code, _, err = tables("train", "--resume", "run", "--dev", "dev.csv")
    assert (code, err) == (2, "error: --dev can't be given with --resume: the run began without a "
                              "dev set of its own\n")  # fmt: skip


# -- tune ----

SEARCH = ["--trials", "2", "--repeats", "0", "--no-halving", "--set", "learning_rate=0.01|0.1"]


@pytest.fixture
def at_random(monkeypatch):
    """Let Optuna not be there."""
    monkeypatch.setattr(studies, "find_spec", lambda name: None)


@pytest.mark.usefixtures("at_random")
@pytest.mark.parametrize(
    ("given", "train", "test"), [(BOTH, 111, 30), (BOTH[:2], 90, 30), (BOTH[2:], 93, 18)]
)
def test_tune_trains_anew_on_training_and_development_set(tables, given, train, test):
    code, out, _ = tables("tune", "train.csv", *given, *TABLE, *SEARCH, "-o", "m")
    assert code == 0
    assert re.search(rf"^train \+ dev +{train} ", out, re.MULTILINE)
    assert re.search(rf"^test +{test} ", out, re.MULTILINE)
    if "--dev" in given:
        assert (
            part_of(tables, "dev.csv") == "dev, the model's dev set, which the model was trained on"
        )


@pytest.mark.usefixtures("at_random")
def test_folds_need_no_development_set(tables):
    more = [*TABLE, *SEARCH, "-o", "m", "--json"]
    code, out, _ = tables("tune", "train.csv", *BOTH[:2], "--folds", "3", *more)
    assert code == 0
    told = json.loads(out)
    assert told["examples"] == {"train": 90, "test": 30}
    assert told["sets"]["test"]["data"] == "test.csv"
    assert "the model's train and dev sets: no measure" in part_of(tables, "train.csv")
    code, out, err = tables("tune", "train.csv", *BOTH, "--folds", "3", *more)
    assert (code, out) == (2, "")
    assert err.startswith("error: --dev is dev.csv and --folds 3: settings are judged by one of")


@pytest.mark.usefixtures("at_random")
def test_a_study_goes_on_with_the_same_sets_alone(tables):
    more = [*TABLE, *SEARCH, "-o", "m", "-q"]
    assert tables("tune", "train.csv", *BOTH, *more)[0] == 0
    assert tables("tune", "train.csv", *BOTH, *more, "--resume")[0] == 0
    code, _, err = tables("tune", "train.csv", *BOTH[:2], *more, "--resume")
    assert code == 2
    assert "is another study: " in err


# -- arrays ----


def test_arrays_and_regressions(run):  # noqa: F811
    X = np.random.default_rng(0).normal(size=(120, 3))
    y = X.sum(axis=1)
    np.savez("d.npz", X=X[:80], y=y[:80])
    np.savez("t.npz", X=X[80:100], y=y[80:100])
    np.savez("v.npz", X=X[100:], y=y[100:])
    given = ["--test", "t.npz", "--dev", "v.npz"]
    code, out, err = run("train", "d.npz", *given, *QUICK, "--json", "-o", "m")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["task"], told["examples"]) == ("regression", {"train": 80, "dev": 20, "test": 20})
    assert part_of(run, "t.npz") == "t, the model's test set, which it was not trained on"
    code, _, err = run("train", "d.npz", "--test", "iris", *QUICK)
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith("error: iris: rows of d holds numbers of shape (n, 3) and rows holds")
