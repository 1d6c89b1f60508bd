"""What changes from step to step, and who turns its pages."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.step_numbers import PLAN, StepNumbers


@pytest.fixture
def optimizer():
    return xn.SGD(lambda step, epoch: 1.0 / (1 + step))


@pytest.fixture
def numbers(optimizer):
    net = xn.Network([xn.Linear(2)], loss="mean_squared_error", n_features=3, device="cpu")
    made = StepNumbers(net, optimizer)
    made.set_pace(0, 0, 3000, 10)
    return made


def take(numbers, optimizer, step, start):
    """Make a step's page the open one; return its rate and where its batch begins."""
    numbers.seek(step, start, optimizer)
    numbers.turn()
    numbers.turned(step)
    return numbers.numbers[0].item(), numbers.start.item()


def test_each_page_is_its_step_s_over_several_plans(numbers, optimizer):
    for step in range(2 * PLAN + 50):
        rate, start = take(numbers, optimizer, step, 10 * step)
        assert rate == np.float32(1 / (1 + step))
        assert start == 10 * step


def test_the_host_writes_no_page_while_the_device_turns_them(numbers, optimizer):
    for step in range(3):
        take(numbers, optimizer, step, 10 * step)
    numbers._book.page[...] = 6
    assert take(numbers, optimizer, 3, 30) == (np.float32(1 / 7), 60)


def test_after_a_step_that_failed_the_page_is_looked_for(numbers, optimizer):
    take(numbers, optimizer, 0, 0)
    numbers.seek(1, 10, optimizer)
    numbers.turn()  # and then there is no memory for the rest
    assert take(numbers, optimizer, 1, 10) == (0.5, 10)
    assert take(numbers, optimizer, 2, 20) == (np.float32(1 / 3), 20)


def test_a_batch_may_begin_elsewhere_than_planned(numbers, optimizer):
    take(numbers, optimizer, 0, 0)
    assert take(numbers, optimizer, 1, 0) == (0.5, 0)
    assert take(numbers, optimizer, 2, 10) == (np.float32(1 / 3), 10)
    assert take(numbers, optimizer, 3, 30) == (0.25, 30)


def test_a_plan_that_is_broken_off_is_made_again(numbers, optimizer, monkeypatch):
    take(numbers, optimizer, 0, 0)
    asarray, calls = numbers._backend.asarray, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise MemoryError
        return asarray(*arguments)

    backend = type("Full", (), {"asarray": staticmethod(full), "xp": np})
    monkeypatch.setattr(numbers, "_backend", backend)
    with pytest.raises(MemoryError):
        numbers.seek(50, 500, optimizer)
    monkeypatch.undo()
    assert take(numbers, optimizer, 1, 10) == (0.5, 10)
    assert take(numbers, optimizer, 50, 500) == (np.float32(1 / 51), 500)
