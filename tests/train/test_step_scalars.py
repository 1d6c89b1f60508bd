"""What changes from step to step, and who advances to it."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.train.step_scalars import PLAN, StepScalars


@pytest.fixture
def optimizer():
    return xn.SGD(lambda step, epoch: 1.0 / (1 + step))


@pytest.fixture
def scalars(optimizer):
    net = xn.Network([xn.Linear(2)], loss="mean_squared_error", n_features=3, device="cpu")
    made = StepScalars(net, optimizer, [0])
    made.set_pace(0, 0, 3000, 10)
    return made


def take(scalars, optimizer, step):
    """Make a step's row the current one; return its rate and where its batch begins."""
    if scalars.alone != [optimizer]:
        scalars.take(optimizer)
    if step != scalars.next or step not in scalars.plan:
        scalars.seek(step)
    scalars._backend.kernels.advance(scalars.table)
    scalars.next = step + 1
    return scalars.scalars[0].item(), scalars.start.item()


def test_each_row_is_its_step_s_over_several_plans(scalars, optimizer):
    for step in range(2 * PLAN + 50):
        rate, start = take(scalars, optimizer, step)
        assert rate == np.float32(1 / (1 + step))
        assert start == 10 * step


def test_the_host_writes_no_row_while_the_device_advances(scalars, optimizer):
    for step in range(3):
        take(scalars, optimizer, step)
    scalars.table.cursor[...] = 6
    assert take(scalars, optimizer, 3) == (np.float32(1 / 7), 60)


def test_after_a_step_that_failed_the_row_is_looked_for(scalars, optimizer):
    take(scalars, optimizer, 0)
    scalars._backend.kernels.advance(scalars.table)  # and then there is no memory for the rest
    scalars.next = None
    assert take(scalars, optimizer, 1) == (0.5, 10)
    assert take(scalars, optimizer, 2) == (np.float32(1 / 3), 20)


def test_an_epoch_s_batches_come_later_by_the_steps_between(scalars):
    optimizer = xn.SGD(lambda step, epoch: 1.0 + epoch)
    scalars.set_pace(0, 0, 4, 10)
    assert take(scalars, optimizer, 0) == (1.0, 0)
    take(scalars, optimizer, 1)  # on other data
    scalars.shift(1)
    assert take(scalars, optimizer, 2) == (1.25, 10)
    assert take(scalars, optimizer, 3) == (1.5, 20)
    scalars.shift(1)
    assert take(scalars, optimizer, 4) == (1.75, 30)


def test_a_step_behind_the_epoch_s_last_asks_for_no_later_epoch(scalars):
    optimizer = xn.SGD(lambda step, epoch: [1.0, 0.5, None][int(epoch)])
    scalars.set_pace(0, 1, 2, 10)
    assert [take(scalars, optimizer, i)[0] for i in range(5)] == [0.5] * 5


def test_a_plan_that_is_broken_off_is_made_again(scalars, optimizer, monkeypatch):
    take(scalars, optimizer, 0)
    asarray, calls = scalars._backend.asarray, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise MemoryError
        return asarray(*arguments)

    backend = type("Full", (), {"asarray": staticmethod(full), "xp": np})
    monkeypatch.setattr(scalars, "_backend", backend)
    with pytest.raises(MemoryError):
        scalars.seek(50)
    monkeypatch.undo()
    assert take(scalars, optimizer, 1) == (0.5, 10)
    assert take(scalars, optimizer, 50) == (np.float32(1 / 51), 500)


def test_a_new_pace_makes_a_new_plan(scalars):
    optimizer = xn.SGD(lambda step, epoch: 1.0 + epoch)
    scalars.set_pace(0, 0, None)
    assert [take(scalars, optimizer, i)[0] for i in range(3)] == [1.0] * 3
    scalars.set_pace(3, 5, 2, 10)
    assert [take(scalars, optimizer, i) for i in (3, 4)] == [(6.0, 0), (6.5, 10)]


def test_a_function_is_asked_for_no_step_after_the_one_at_hand(scalars):
    table = [0.5, 0.25, 0.125]
    optimizer = xn.SGD(lambda step, epoch: table[step])
    scalars.set_pace(0, 0, None)
    assert [take(scalars, optimizer, i)[0] for i in range(3)] == table
