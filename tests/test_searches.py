"""bench/searches.py: the race is fair, and its tables say what was measured."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import search_rivals
import searches
from run import THREADS
from search_rivals import BATCH_SIZE, Budget, Found, Task, TorchNet
from searches import HALVING, OURS, Measured

import xpnet as xn

ROOT = Path(__file__).resolve().parent.parent
SETTING = {"hidden": (16, 12), "learning_rate": 0.01, "l2": 0.5, "dropout": 0.0}


def task(classes: int | None, n: int = BATCH_SIZE) -> Task:
    """Return a small task of one batch, the order of which does not matter."""
    draw = np.random.default_rng(0)
    X, X_dev = (draw.standard_normal((n, 4)).astype("float32") for _ in range(2))
    if classes is None:
        y, y_dev = (draw.standard_normal(n).astype("float32") for _ in range(2))
    else:
        y, y_dev = (draw.integers(0, classes, n).astype("int32") for _ in range(2))
    return Task("small", (X, y), (X_dev, y_dev), classes, epochs=9)


# -- the race ----


@pytest.mark.parametrize("classes", [3, None])
def test_pytorch_trains_as_we_do(classes):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    given = task(classes)
    net, trainer = TorchNet(given, SETTING), search_rivals.make_trainer(given, SETTING)
    ours = [layer for layer in trainer.network.layers if isinstance(layer, xn.Linear)]
    for layer, linear in zip(ours, net.linear, strict=True):
        linear.weight.data = torch.from_numpy(np.array(layer.parameters["weight"]))
    history = trainer.fit(
        *given.train, batch_size=BATCH_SIZE, epochs=20, validation_data=given.dev, monitor=0
    )
    errors, losses = [], []
    for _ in range(20):
        net.epoch()
        errors.append(net.error())
        losses.append(net.cost(*net.dev).item())
    assert abs(losses[-1] - losses[0]) > 0.01
    np.testing.assert_allclose(losses, history["dev_loss"], rtol=1e-4)
    np.testing.assert_allclose(errors, history["dev_error"], rtol=1e-4)


def test_pytorch_begins_as_we_do():
    pytest.importorskip("torch", reason="torch is not installed")
    setting = SETTING | {"hidden": (400, 300)}
    ours = search_rivals.make_trainer(task(3), setting).network
    linear = [layer for layer in ours.layers if isinstance(layer, xn.Linear)]
    for layer, theirs in zip(linear, TorchNet(task(3), setting).linear, strict=True):
        weight = np.array(layer.parameters["weight"])
        assert theirs.weight.std().item() == pytest.approx(weight.std(), rel=0.1)
        assert not theirs.bias.any()


def test_what_optuna_proposes_is_of_the_space():
    optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra 'tune')")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [
        search_rivals.suggest(study.ask(), search_rivals.load("wine").space) for _ in range(50)
    ]
    assert {setting["hidden"] for setting in drawn} == {(128,), (512,), (256, 128)}
    rates = [setting["learning_rate"] for setting in drawn]
    assert all(3e-4 <= rate <= 3e-2 for rate in rates)
    assert sum(rate < 3e-3 for rate in rates) > 15  # half of them: on a log scale


def curves(n: int, epochs: int) -> Any:
    """Return development errors after each epoch, with ties."""
    return np.random.default_rng(0).integers(0, 30, (n, epochs)) / 100


def test_optunas_halving_decides_at_our_rungs():
    pytest.importorskip("optuna", reason="optuna is not installed (extra 'tune')")
    given = [list(curve) for curve in curves(60, searches.EPOCHS)]
    reports: dict[int, list[float]] = {rung: [] for rung in HALVING.rungs}
    left, found = [*given], []

    def expected(curve: list[float]) -> int:
        """Return when a trial is stopped: a third of those at a rung go on, and the best."""
        for rung in HALVING.rungs:
            reports[rung].append(min(curve[:rung]))
            kept = sorted(reports[rung])[: max(1, len(reports[rung]) // HALVING.eta)]
            if reports[rung][-1] > kept[-1]:
                return rung
        return len(curve)

    def fit(task: Task, setting: Any, after_epoch: Any) -> None:
        found.append(next((i for i, v in enumerate(left.pop(0), 1) if not after_epoch(v)), 27))

    loop = search_rivals.loop(fit, Budget(task(3), trials=60, halving=HALVING))
    assert found == [expected(curve) for curve in given]
    assert set(found) == {*HALVING.rungs, 27}
    assert loop.epochs == sum(found)
    assert loop.best == min(min(curve[:n]) for curve, n in zip(given, found, strict=True))


def test_what_comes_after_the_deadline_does_not_count(monkeypatch):
    pytest.importorskip("optuna", reason="optuna is not installed (extra 'tune')")
    clock = [0.0]
    monkeypatch.setattr(search_rivals.time, "perf_counter", lambda: clock[0])

    def fit(task: Task, setting: Any, after_epoch: Any) -> None:
        for value in (0.5, 0.4, 0.3, 0.2):
            clock[0] += 1.0
            if not after_epoch(value):
                return

    found = search_rivals.loop(fit, Budget(task(3), trials=1, seconds=2.5))
    assert (found.best, found.epochs, found.trials, found.seconds) == (0.4, 2, 1, 3.0)


def test_products_are_those_of_all_layers_and_examples():
    assert task(3).products(SETTING, epochs=2) == 2 * BATCH_SIZE * (4 * 16 + 16 * 12 + 12 * 3)
    assert task(None).products({"hidden": (9,)}, epochs=1) == BATCH_SIZE * (4 * 9 + 9 * 1)


def test_a_package_that_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(search_rivals, "find_spec", lambda name: None)
    there, absent = search_rivals.line_up()
    assert [*there] == [OURS]
    assert absent == {
        "Optuna, xpnet": "optuna not installed",
        "Optuna, torch": "optuna and torch not installed",
    }


def test_a_data_set_is_standardised():
    wine = search_rivals.load("wine")
    assert (wine.classes, wine.train[0].shape, len(wine.dev[1])) == (3, (142, 13), 36)
    np.testing.assert_allclose(wine.train[0].std(axis=0), 1.0, rtol=1e-5)
    diabetes = search_rivals.load("diabetes")
    assert diabetes.classes is None
    assert diabetes.train[1].std() == pytest.approx(1.0, rel=1e-5)


def test_a_replay_stops_where_the_pruner_says():
    optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra 'tune')")
    given = [[0.1] * 5, [0.3] * 5, [0.05, 0.04, 0.03, 0.3, 0.3]]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3)
    assert searches.replay(given, pruner) == [5, 3, 5]


# -- what is shown ----


def _measured(name: str, seconds: list[float], **about: Any) -> list[Measured]:
    halving, data = about.pop("halving", False), about.pop("data", "digits")
    return [
        Measured(name, halving, data, seed, Found(s, **about)) for seed, s in enumerate(seconds)
    ]


def test_the_table_of_speed_has_ratios_round_by_round():
    other = {"best": 0.0175, "trials": 64, "epochs": 1728, "products": 3e9}
    ours = _measured(OURS, [1.0, 2.0, 4.0], **other)
    halved = _measured(OURS, [0.5, 0.5, 0.5], halving=True, **other | {"epochs": 600})
    torch = _measured("Optuna, torch", [5.0, 8.0, 24.0], **other | {"products": 6e9})
    assert searches.show_speed([*ours, *halved, *torch]).splitlines()[2:] == [
        "| xpnet.tune | 2.00 | 1.00 (1.00–1.00) | 4.00 (3.00–6.00) | 1,728 | 1.00 | 1.75% |",
        "| xpnet.tune, halving | 0.50 | 0.25 (0.19–0.38) | 1.00 (1.00–1.00) | 600 | 1.00 | 1.75% |",
        "| Optuna, torch | 8.00 | 5.00 (4.50–5.50) | 16.0 (13.0–32.0) | 1,728 | 2.00 | 1.75% |",
    ]


def test_the_table_of_quality_keeps_data_sets_apart():
    of = {"trials": 9, "epochs": 81}
    measured = _measured(OURS, [1.0], best=0.02, **of)
    measured += _measured(OURS, [1.0], data="wine", best=0.0, **of)
    assert searches.show_quality(measured).splitlines()[2:] == [
        "| digits | xpnet.tune | 2.00% | 2.00%–2.00% | 9 | 81 |",
        "| wine | xpnet.tune | 0.00% | 0.00%–0.00% | 9 | 81 |",
    ]


def test_the_tables_of_pruners_and_workers():
    pruned = [searches.Pruned("ours", seed, 0.25, 0.03, 0.02) for seed in range(2)]
    assert searches.show_pruners(pruned).splitlines()[2:] == ["| ours | 25% | 3.00% | 1.00% |"]
    shared = [searches.Shared(1, 64, 32.0), searches.Shared(4, 64, 10.0)]
    assert searches.show_workers(shared).splitlines()[2:] == [
        "| 1 | 64 | 32.0 | 2.00 | 1.00 |",
        "| 4 | 64 | 10.0 | 6.40 | 3.20 |",
    ]


# -- the command ----


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["fast"], "invalid choice: 'fast'"),
        (["speed", "--trials", "0"], "'0' is no number from 1 up"),
        (["workers", "--workers", "1,x"], "'x' is no number from 1 up"),
        (["quality", "--seconds", "inf"], "'inf' is no number of seconds"),
        (["quality", "--seconds", "-1"], "'-1' is no number of seconds"),
        (["quality", "--data", "wine,beer"], "'beer' is none of digits, breast_cancer"),
    ],
)
def test_wrong_options_are_told(capsys, wrong, message):
    with pytest.raises(SystemExit) as ended:
        searches.main(wrong)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_it_starts_anew_where_libraries_were_told_another_number_of_threads(monkeypatch):
    for name in THREADS:
        monkeypatch.setenv(name, "1")
    started: list[Any] = []
    monkeypatch.setattr(searches.os, "execve", lambda *given: started.append(given))
    searches.hold_to(1)
    assert started == []
    searches.hold_to(2)
    ((_, _, environment),) = started
    assert {environment[name] for name in THREADS} == {"2"}


@pytest.mark.slow
@pytest.mark.parametrize("part", [*searches.PARTS])
def test_all_parts_run(tmp_path: Path, part: str) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed (extra 'tune')")
    out = tmp_path / "out.json"
    command = [sys.executable, "bench/searches.py", part, "--quick", "--trials", "4"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [*command, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| ")
    saved = json.loads(out.read_text())
    assert (saved["part"], saved["threads"]) == (part, 1)
    for measured in saved["measured"]:
        found = measured.get("found", measured)
        assert 0 <= found.get("best", 0) < math.inf
        assert found.get("seconds", 1) > 0
