"""bench/critical_batch.py: the law, and a small run of it all."""

import json
from pathlib import Path

import critical_batch
import numpy as np
import pytest
from critical_batch import Problem, Size, law, steps_of, steps_to

RNG = np.random.default_rng(0)


def problem(n=96, target=0.3):
    """Return a set of three classes that are easily told apart."""
    y = RNG.integers(0, 3, n)
    X = (np.eye(3)[y] + 0.2 * RNG.normal(size=(n, 3))).astype(np.float32)
    cut = n * 2 // 3
    return Problem("small", (X[:cut], y[:cut]), (X[cut:], y[cut:]), 4, target, 2)


@pytest.mark.parametrize(("fewest", "critical"), [(50, 20), (1000, 300)])
def test_the_law_is_found_again(fewest, critical):
    sizes = [Size(n, 0.1, [fewest * (1 + critical / n)] * 3) for n in (8, 32, 128, 512)]
    assert law(sizes) == pytest.approx((fewest, critical), rel=0.01)


def test_a_target_that_is_not_reached_has_no_steps():
    assert steps_to(problem(), "SGD", 0.1, 16, 0, most=3) is None
    assert steps_to(problem(target=9.0), "SGD", 0.1, 16, 0, most=3) == 1


def test_the_rate_is_the_one_that_takes_the_fewest_steps(monkeypatch):
    monkeypatch.setattr(critical_batch, "RATES", {"SGD": (0.01, 0.5, 1e9)})
    found = steps_of(problem(), "SGD", 16, near=0.5)
    assert found.rate == 0.5
    assert len(found.steps) == 3
    monkeypatch.setattr(critical_batch, "RATES", {"SGD": (1e-9,)})
    monkeypatch.setattr(critical_batch, "MOST_STEPS", 9)
    assert steps_of(problem(), "SGD", 16, near=0.5) is None


def test_all_of_it_is_shown_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(critical_batch, "RATES", {"Adam": (0.05, 0.1)})
    monkeypatch.setattr(critical_batch, "SIZES", (8, 16, 32, 4096))
    monkeypatch.setattr(critical_batch, "problems", lambda folder, names: [problem()])
    given = ["--sets", "small", "--optimizers", "Adam", "--into", str(tmp_path)]
    assert critical_batch.main(given) == 0
    shown = capsys.readouterr().out
    assert "## small, Adam: steps to a training loss of 0.3" in shown
    assert "After 2 epochs:" in shown
    (text,), (saved,) = ([*Path(tmp_path).glob(f"*.{end}")] for end in ("md", "json"))
    assert text.read_text("utf-8") in shown
    (case,) = json.loads(saved.read_text("utf-8"))["cases"]
    assert [size["batch_size"] for size in case["sizes"]] == [8, 16, 32]
    assert [len(found["error"]) for found in case["reached"]] == [3] * len(case["reached"])
