"""``xpnet evaluate``: what it measures of which data, and figures that JSON has no numbers for."""

import json
import sys

import numpy as np
import pytest
from commands import plain

from xpnet.cli import app, options
from xpnet.files import safetensors_files

QUICK = ["-q", "--hidden", "4", "--epochs", "1", "--device", "cpu", "-o", "m"]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["xpnet", *plain(arguments)])
        code = 0
        try:
            app.main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capfd.readouterr()

    return command


@pytest.fixture
def arrays():
    X = np.random.default_rng(0).normal(size=(100, 3))
    y = X.sum(axis=1)
    return {"X_train": X[:80], "y_train": y[:80], "X_test": X[80:], "y_test": y[80:]}


@pytest.mark.parametrize(
    ("header", "target", "drop"),
    [("a,y,b,y", "y", "y.1"), ("a,y,b,y", "y.1", "y"), ("a, y,b,y", "y", " y")],
)
def test_a_column_that_was_left_out_at_the_training_is_no_matter(
    run, tmp_path, header, target, drop
):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [f"{a},{int(a > 0)},{b},{int(a > 0)}" for a, b in rows]
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]) + "\n", "utf-8")
    assert run("train", "t.csv", "--target", target, "--drop", drop, *QUICK) == (0, "", "")
    code, out, err = run("evaluate", "m", "t.csv", "--json")
    assert (code, err) == (0, "")
    assert "the model's test set" in json.loads(out)["part"]
    assert run("evaluate", "m", "t.csv", "--drop", drop, "--json") == (0, out, "")


def test_a_column_with_a_comma_in_its_name_can_be_left_out(run, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [f"{a},{int(a > 0)},{b},{int(a > 0)}" for a, b in rows]
    (tmp_path / "t.csv").write_text("\n".join(['a,y,b,"y, too"', *lines]) + "\n", "utf-8")
    code, _, err = run("train", "t.csv", "--target", "y", *QUICK)
    assert code == 0
    assert """leave it out by --drop '"y, too"'""" in err
    drop = ["--drop", '"y, too",b']
    assert run("train", "t.csv", "--target", "y", *drop, *QUICK) == (0, "", "")
    code, out, err = run("predict", "m", "t.csv", *drop)
    assert (code, err, len(out.splitlines())) == (0, "", 61)


def test_a_test_set_kept_apart_is_measured_whatever_the_model_remembers(run, arrays):
    np.savez("d.npz", **arrays)
    assert run("train", "d.npz", *QUICK) == (0, "", "")
    wanted = run("evaluate", "m", "d.npz", "--json")
    assert wanted[0] == 0
    held, description = safetensors_files.read("m")
    description["training"]["fingerprint"] = "0123456789abcdef"  # as older versions made them
    safetensors_files.write("m", held, description)
    for part in ([], ["--part", "test"]):
        assert run("evaluate", "m", "d.npz", "--json", *part) == wanted
    for part in ("train", "dev"):
        code, _, err = run("evaluate", "m", "d.npz", "--part", part)
        assert code == 2
        assert "a fingerprint of an older kind" in err


def test_a_test_set_alone_is_measured_and_predicted_and_nothing_to_train_on(run, arrays):
    np.savez("d.npz", **arrays)
    np.savez("test.npz", **{name: arrays[name] for name in ("X_test", "y_test")})
    code, _, err = run("train", "test.npz", *QUICK)
    assert code == 2
    assert "test.npz: holds X_test, y_test; give X and y, or X_train and y_train" in err
    assert run("train", "d.npz", *QUICK) == (0, "", "")
    told = [json.loads(run("evaluate", "m", name, "--json")[1]) for name in ("d.npz", "test.npz")]
    assert told[0]["root_mean_squared_error"] == told[1]["root_mean_squared_error"]
    assert run("predict", "m", "test.npz") == run("predict", "m", "d.npz")


def test_figures_that_are_not_finite_are_null_and_said(run, arrays):
    y = np.where(arrays["y_train"] > 0, 1.7e308, -1.7e308)
    np.savez("d.npz", X=arrays["X_train"], y=y)
    np.savez("other.npz", X=-arrays["X_train"], y=y)
    more = ["--task", "regression", "--epochs", "60", "--learning-rate", "0.05"]
    assert run("train", "d.npz", *QUICK, *more) == (0, "", "")
    code, out, err = run("evaluate", "m", "other.npz", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out, parse_constant=pytest.fail)
    assert told["root_mean_squared_error"] is None
    assert told["unexplained_variance"] > 1
    code, out, err = run("evaluate", "m", "other.npz")
    assert (code, err) == (0, "")
    assert "root mean squared error   inf" in out


def test_json_is_written_whole_or_not_at_all(capsys):
    options.write_json({"a": [np.inf, {"b": np.float32("nan")}], "c": np.array([1.0, -np.inf])})
    assert json.loads(capsys.readouterr().out) == {"a": [None, {"b": None}], "c": [1.0, None]}
    with pytest.raises(TypeError):
        options.write_json({"a": 1, "b": object()})
    assert capsys.readouterr().out == ""


def test_sparse_rows_may_leave_the_last_features_out(run, tmp_path, arrays):
    X = np.round(arrays["X_train"], 3)
    rows = [f"{int(a > 0)} 1:{a} 2:{b} 3:{c}" for a, b, c in X]
    (tmp_path / "t.svm").write_text("\n".join(rows) + "\n")
    (tmp_path / "few.svm").write_text("1 1:0.5\n0 2:-1\n")
    np.save(tmp_path / "whole_X.npy", [[0.5, 0, 0], [0, -1, 0]])
    assert run("train", "t.svm", *QUICK) == (0, "", "")
    code, out, err = run("predict", "m", "few.svm")
    assert (code, err) == (0, "")
    assert out == run("predict", "m", "whole_X.npy")[1]
    assert json.loads(run("evaluate", "m", "few.svm", "--json")[1])["examples"] == 2
    assert run("profile", "m", "few.svm", "--seconds", "0.01")[0] == 0
    (tmp_path / "many.svm").write_text("1 4:0.5\n")
    assert "has 4 features and the model takes 3" in run("predict", "m", "many.svm")[2]


def test_every_kind_of_data_is_named_where_it_is_asked_for(run):
    from xpnet.tabular.formats.opening import TABLES
    from xpnet.tabular.readers import ARRAYS, BUNDLED

    assert all(name in options.DATA_HELP for name in (*BUNDLED, *ARRAYS, *TABLES, "openml:NAME"))
    for ending in (*ARRAYS, *TABLES):
        code, _, err = run("train", "iris", "-o", f"m{ending}", *QUICK[:-2])
        assert (code, "models are written as .safetensors" in err) == (2, True)
