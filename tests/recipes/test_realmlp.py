"""The recipe "realmlp" against its authors' package: the same steps from the same weights."""

import numpy as np
import pytest
import realmlp_oracle as oracle

from xpnet.recipes.recipes import Asked
from xpnet.recipes.settings import Settings
from xpnet.tabular.dataset import Dataset
from xpnet.tabular.experiment import Experiment
from xpnet.train.callback import Callback

each_task = pytest.mark.parametrize("task", oracle.TASKS)


class States(Callback):
    """Keeps the weights after each epoch."""

    def __init__(self):
        self.found = []

    def on_epoch_end(self, trainer, row):
        self.found.append(trainer.network.state())


def by_xpnet(task, start):
    X, y = oracle.data(task)
    n = oracle.N - oracle.N_DEV
    given = {"epochs": oracle.EPOCHS, "hidden": oracle.HIDDEN, "dtype": "float64", "task": task}
    rows = Dataset("d", X[:n], y[:n], dev_rows=X[n:], dev_target=y[n:])
    asked = Asked("realmlp", [*given])
    experiment = Experiment.prepare(rows, Settings(**given), "cpu", test=False, recipe=asked)
    assert experiment.batches == 1
    experiment.trainer.network.load_state(start)
    states = States()
    experiment.run([states])
    return [start, *states.found]


def assert_agree(task, theirs):
    ours = by_xpnet(task, theirs[0])
    assert len(ours) == len(theirs) == oracle.EPOCHS + 1
    for epoch, (own, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert own.keys() == expected.keys()
        for name, array in expected.items():
            near = 2e-5 * max(1, np.abs(array).max())  # theirs is computed in float32
            np.testing.assert_allclose(own[name], array, atol=near, err_msg=f"{name}, {epoch}")
    moved = [np.abs(theirs[-1][name] - array).max() for name, array in theirs[0].items()]
    assert min(moved) > 1e-4


@each_task
def test_it_takes_the_same_steps(task):
    assert_agree(task, oracle.read(task))


@pytest.mark.slow
@each_task
def test_so_does_the_package_that_is_installed(task):
    pytest.importorskip("pytabkit")
    assert_agree(task, oracle.by_pytabkit(task))


@each_task
def test_it_begins_as_the_package_does(task):
    """Factors of inputs are 1, the last layer is 0, all else N(0, 1) before W is divided by √m."""
    X, y = oracle.data(task)
    made = Settings(task=task)
    asked = Asked("realmlp", ["task"])
    experiment = Experiment.prepare(Dataset("d", X, y), made, "cpu", recipe=asked)
    state = experiment.model.network.state()
    first, *hidden, last = sorted({name.partition(".")[0] for name in state}, key=int)
    assert (state[f"{first}.weight"] == 1).all()
    assert not state[f"{last}.weight"].any()
    assert not state[f"{last}.bias"].any()
    assert len(hidden) == 3
    for i in hidden:
        weight, bias = state[f"{i}.weight"], state[f"{i}.bias"]
        assert np.std(weight) * np.sqrt(weight.shape[1]) == pytest.approx(1, abs=0.15)
        assert np.std(bias) == pytest.approx(1, abs=0.15)
