"""Schedules: each against its formula, at its beginning and its boundaries."""

import inspect
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from oracle import draw_state, on_host

import xpnet as xn

#: Name: a schedule for a unit, and the formula of the count i.
COUNTED = {
    "constant": (lambda per: xn.Constant(0.1), lambda i: 0.1),
    "inverse_time": (
        lambda per: xn.InverseTime(0.1, decay=0.5, per=per),
        lambda i: 0.1 / (1 + 0.5 * i),
    ),
    "exponential": (
        lambda per: xn.Exponential(0.1, decay=0.9, per=per),
        lambda i: 0.1 * 0.9**i,
    ),
    # The notes' η/√i has no value at i = 0; the count is shifted by one.
    "inverse_square_root": (
        lambda per: xn.InverseSquareRoot(0.1, scale=2.0, per=per),
        lambda i: 0.1 * 2.0 / math.sqrt(i + 1),
    ),
    "piecewise": (
        lambda per: xn.Piecewise(0.1, boundaries=(3, 7), rates=(0.2, 0.05), per=per),
        lambda i: 0.1 if i < 3 else 0.2 if i < 7 else 0.05,
    ),
}

each_counted = pytest.mark.parametrize(("make", "formula"), COUNTED.values(), ids=COUNTED)

WITH_A_UNIT = {
    "inverse_time": xn.InverseTime,
    "exponential": xn.Exponential,
    "inverse_square_root": xn.InverseSquareRoot,
    "piecewise": xn.Piecewise,
    "cosine": xn.Cosine,
    "log_cosine": xn.LogCosine,
    "one_cycle": xn.OneCycle,
    "flat_cosine": xn.FlatCosine,
}


@each_counted
def test_per_step(make, formula):
    schedule = make("step")
    for i in [*range(12), 1000]:
        # Whatever the epoch is.
        assert schedule(i, 5.5) == schedule(i, 0.0) == pytest.approx(formula(i), rel=1e-14)


@each_counted
def test_per_epoch(make, formula):
    schedule = make("epoch")
    for i in [*range(12), 1000]:
        # Whole epochs count: the rate stays the same throughout an epoch.
        for part in (0.0, 0.5, 0.999):
            assert schedule(17 * i, i + part) == pytest.approx(formula(i), rel=1e-14)


@each_counted
def test_begins_at_a_finite_rate(make, formula):
    for per in ("step", "epoch"):
        assert make(per)(0, 0.0) == pytest.approx(formula(0))
        assert 0 < make(per)(0, 0.0) < math.inf


@pytest.mark.parametrize("kind", WITH_A_UNIT.values(), ids=WITH_A_UNIT)
def test_epochs_are_the_unit_unless_told(kind):
    assert kind(0.1).per == "epoch"


@pytest.mark.parametrize(
    ("schedule", "limit"),
    [
        (xn.InverseTime(0.1, decay=1.0), 0.0),
        (xn.Exponential(0.1, decay=0.5), 0.0),
        (xn.InverseSquareRoot(0.1), 0.0),
        (xn.Cosine(0.1, total=10, final=0.02), 0.02),
        (xn.Exponential(0.1, decay=1.0), 0.1),
        (xn.InverseTime(0.1, decay=0.0), 0.1),
        (xn.FlatCosine(0.1, total=10, final=0.02), 0.02),
        (xn.OneCycle(0.1, total=10, warm_up=0.0, final=0.5), 0.002),
    ],
)
def test_never_rises_and_ends_at_its_limit(schedule, limit):
    rates = [schedule(0, float(i)) for i in range(200)]
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert schedule(0, 1e15) == pytest.approx(limit, abs=1e-6)


def test_piecewise_changes_at_its_boundaries():
    by_hand = xn.Piecewise(1.0, boundaries=(10, 20), rates=(0.1, 0.01))
    at = {0: 1.0, 9.999: 1.0, 10: 0.1, 19.999: 0.1, 20: 0.01, 1e9: 0.01}
    assert {epoch: by_hand(0, epoch) for epoch in at} == at
    by_step = xn.Piecewise(1.0, boundaries=[10], rates=[0.1], per="step")
    assert [by_step(step, 99.0) for step in (9, 10, 11)] == [1.0, 0.1, 0.1]
    assert xn.Piecewise(1.0)(5, 5.0) == 1.0


def test_cosine_with_warm_up():
    cosine = xn.Cosine(0.4, total=12, warm_up=4, final=0.1)
    # A straight line up to the top, half a cosine down, then flat.
    for epoch, rate in {0: 0.0, 1: 0.1, 3.5: 0.35, 4: 0.4, 8: 0.25, 12: 0.1, 13: 0.1}.items():
        assert cosine(0, epoch) == pytest.approx(rate, abs=1e-15), epoch
    for epoch in np.linspace(4, 12, 9):
        expected = 0.1 + 0.3 * (1 + math.cos(math.pi * (epoch - 4) / 8)) / 2
        assert cosine(0, epoch) == pytest.approx(expected, abs=1e-15)
    # No jump where one part ends and the next begins.
    for edge in (4.0, 12.0):
        assert cosine(0, edge - 1e-9) == pytest.approx(cosine(0, edge), abs=1e-9)


def test_cosine_without_warm_up_begins_at_the_top():
    assert xn.Cosine(0.4, total=12)(0, 0.0) == 0.4
    assert xn.Cosine(0.4, total=12)(0, 12.0) == 0.0


#: Name: a schedule over 10 epochs from 0.4 on, and its formula of the share t of the run.
OVER_A_RUN = {
    "log_cosine": (
        xn.LogCosine(0.4, total=10),
        lambda t: 0.4 * 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * t))),
    ),
    "log_cosine_of_two": (
        xn.LogCosine(0.4, total=10, cycles=2),
        lambda t: 0.4 * 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 3 * t))),
    ),
    "one_cycle": (
        xn.OneCycle(0.4, total=10, warm_up=0.25, start=0.5, final=0.1),
        lambda t: (
            0.2 + 0.2 * math.sin(math.pi * t / 0.5) ** 2
            if t < 0.25
            else 0.02 + 0.38 * math.cos(math.pi * (t - 0.25) / 1.5) ** 2
        ),
    ),
    "flat_cosine": (
        xn.FlatCosine(0.4, total=10, flat=0.2, final=0.1),
        lambda t: 0.4 if t < 0.2 else 0.1 + 0.3 * math.cos(math.pi * (t - 0.2) / 1.6) ** 2,
    ),
}


@pytest.mark.parametrize(("schedule", "formula"), OVER_A_RUN.values(), ids=OVER_A_RUN)
def test_over_a_run(schedule, formula):
    by_step = replace(schedule, total=1000, per="step")
    for t in np.linspace(0, 1, 101):
        assert schedule(7, 10 * t) == pytest.approx(formula(t), abs=1e-14)
        step = round(1000 * t)
        assert by_step(step, 99.0) == pytest.approx(formula(step / 1000), abs=1e-14)
    # Nothing changes any more behind the end.
    assert schedule(0, 10.0) == schedule(0, 1e9) == pytest.approx(formula(1.0), abs=1e-14)
    # Finely seen, the highest rate is the one it was made with.
    fine = [schedule(0, epoch) for epoch in np.linspace(0, 10, 10_001)]
    assert max(fine) == pytest.approx(0.4, abs=1e-6)
    assert min(fine) >= 0


def test_log_cosine_has_its_cycles_each_about_twice_as_long():
    schedule = xn.LogCosine(1.0, total=15)
    ends = [epoch for epoch in range(16) if schedule(0, epoch) < 1e-12]
    assert ends == [0, 1, 3, 7, 15]
    tops = [2 ** (i + 0.5) - 1 for i in range(4)]
    assert [schedule(0, epoch) for epoch in tops] == pytest.approx([1.0] * 4)
    assert xn.LogCosine(1.0, total=1, cycles=50)(0, 1e-14) > 0


def test_which_schedules_take_their_end_from_the_run():
    known = xn.Schedule.registry.own
    spanning = {name for name, kind in known.items() if kind.spans_run}
    assert spanning == {"Cosine", "LogCosine", "OneCycle", "FlatCosine"}
    assert all("total" in inspect.signature(known[name]).parameters for name in spanning)


def test_cosine_counts_fractions_of_epochs_and_whole_steps():
    per_epoch, per_step = xn.Cosine(0.4, total=10), xn.Cosine(0.4, total=10, per="step")
    assert per_epoch(0, 2.5) < per_epoch(0, 2.25) < per_epoch(0, 2.0)
    assert per_step(3, 99.0) == per_epoch(99, 3.0)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: xn.Constant(-0.1), "initial is -0.1: give a finite number, 0 or more"),
        (lambda: xn.Constant(NAN), "initial is nan"),
        (lambda: xn.InverseTime(INF), "initial is inf"),
        (lambda: xn.InverseTime(0.1, decay=-1.0), "decay is -1.0: give a finite number, 0 or more"),
        (lambda: xn.Exponential(-1.0), "initial is -1.0"),
        (lambda: xn.Exponential(0.1, decay=0.0), r"decay is 0.0: give a number in \(0, 1\]"),
        (lambda: xn.Exponential(0.1, decay=1.1), "decay is 1.1"),
        (lambda: xn.Exponential(0.1, decay=NAN), "decay is nan"),
        (lambda: xn.InverseSquareRoot(0.1, scale=-1.0), "scale is -1.0"),
        (lambda: xn.InverseSquareRoot(-0.1), "initial is -0.1"),
        (lambda: xn.Piecewise(-0.1), "is -0.1: give a finite number, 0 or more"),
        (lambda: xn.Piecewise(0.1, (5,), (-0.2,)), "a rate is -0.2"),
        (lambda: xn.Piecewise(0.1, (5,), ()), "1 boundaries and 0 rates: give one rate for each"),
        (lambda: xn.Piecewise(0.1, (7, 5), (1.0, 2.0)), r"boundaries are \(7, 5\): .* rising"),
        (lambda: xn.Piecewise(0.1, (5, 5), (1.0, 2.0)), r"boundaries are \(5, 5\): .* rising"),
        (lambda: xn.Cosine(0.1, total=5, warm_up=5), "total is 5, warm_up 5: give a total above"),
        (lambda: xn.Cosine(0.1, total=0), "total is 0"),
        (lambda: xn.Cosine(0.1, total=NAN), "total is nan"),
        (lambda: xn.Cosine(0.1, total=5, warm_up=-1), "warm_up is -1"),
        (lambda: xn.Cosine(0.1, total=5, final=-0.1), "final is -0.1"),
        (lambda: xn.Cosine(NAN, total=5), "initial is nan"),
        (lambda: xn.Cosine(0.1, total=INF), "total is inf: give a finite number above 0"),
        (lambda: xn.LogCosine(0.1, total=0), "total is 0: give a finite number above 0"),
        (lambda: xn.LogCosine(0.1, total=5, cycles=0), "cycles is 0: give"),
        (lambda: xn.LogCosine(0.1, total=5, cycles=51), "cycles is 51: give at most 50"),
        (lambda: xn.OneCycle(0.1, total=-1), "total is -1"),
        (lambda: xn.OneCycle(0.1, total=5, warm_up=1.0), r"warm_up is 1.0: give .* in \[0, 1\)"),
        (lambda: xn.OneCycle(0.1, total=5, start=25.0), r"start is 25.0: give .* in \[0, 1\]"),
        (lambda: xn.OneCycle(0.1, total=5, final=1e4), r"final is 10000.0: give .* in \[0, 1\]"),
        (lambda: xn.FlatCosine(0.1, total=5, flat=1.0), r"flat is 1.0: give .* in \[0, 1\)"),
        (lambda: xn.FlatCosine(0.1, total=5, final=-0.1), "final is -0.1"),
    ],
)
def test_a_bad_value_is_refused_with_what_to_give(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", WITH_A_UNIT.values(), ids=WITH_A_UNIT)
@pytest.mark.parametrize("per", ["batch", "epochs", None])
def test_an_unknown_unit_is_refused(kind, per):
    with pytest.raises(ValueError, match=r"per is .*: give 'epoch' or 'step'"):
        kind(0.1, per=per)(0, 0.0)


# -- in training ----


def prepare(backend):
    """Return a network with fixed weights, and 11 examples: batches of 4, 4 and 3."""
    net = xn.Network(
        [xn.Linear(2)], loss="mean_squared_error", n_features=3, device=backend, dtype="float64"
    )
    net.load_state(draw_state(net, 0))
    rng = np.random.default_rng(0)
    return net, rng.standard_normal((11, 3)), rng.standard_normal((11, 2))


def train(backend, rate, epochs=3):
    """Return the history of a fit at a rate, and where it leads."""
    net, X, Y = prepare(backend)
    trainer = xn.Trainer(net, xn.SGD(rate))
    history = trainer.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False)
    return history, on_host(backend, net.parameters)


def train_by_hand(backend, rates):
    """Return where updates at the given rates lead, three an epoch."""
    net, X, Y = prepare(backend)
    for i, rate in enumerate(rates):
        batch = (slice(0, 4), slice(4, 8), slice(8, 11))[i % 3]
        net.passes.loss_and_gradient(*net.prepare(X[batch], Y[batch]))
        net.parameters[...] -= rate * net.gradients
    return on_host(backend, net.parameters)


def test_a_fit_hands_a_schedule_steps_and_epochs_with_their_fraction(backend):
    """Any function of (step, epoch) will do."""
    seen = set()

    def rate(step, epoch):
        seen.add((step, round(epoch, 9)))
        return 0.1

    train(backend, rate)
    # Three batches an epoch. What is planned beyond an epoch's end is not used.
    assert {(step, round(step / 3, 9)) for step in range(9)} <= seen


#: Name: a rate and the rates of nine updates. The middle epoch's are far from its neighbours'.
FITTED = {
    "function_of_steps": (
        lambda step, epoch: (0.3, 0.01, 0.2, 0.0, 0.1, 0.02, 0.15, 0.05, 0.25)[min(step, 8)],
        [0.3, 0.01, 0.2, 0.0, 0.1, 0.02, 0.15, 0.05, 0.25],
    ),
    "function_of_epochs": (
        lambda step, epoch: 0.1 * (1 + epoch),
        [0.1 * (1 + i / 3) for i in range(9)],
    ),
    "exponential_per_epoch": (
        xn.Exponential(0.4, decay=0.25),
        [0.4] * 3 + [0.1] * 3 + [0.025] * 3,
    ),
    "exponential_per_step": (
        xn.Exponential(0.4, decay=0.5, per="step"),
        [0.4 * 0.5**i for i in range(9)],
    ),
    "cosine": (
        xn.Cosine(0.3, total=2, warm_up=1),
        [0.0, 0.1, 0.2, 0.3, 0.225, 0.075, 0.0, 0.0, 0.0],
    ),
    "flat_cosine": (
        xn.FlatCosine(0.3, total=2),
        [0.3, 0.3, 0.3, 0.3, 0.225, 0.075, 0.0, 0.0, 0.0],
    ),
}


@pytest.mark.parametrize(("rate", "rates"), FITTED.values(), ids=FITTED)
def test_a_fit_updates_at_the_schedule_s_rate(backend, rate, rates):
    history, end = train(backend, rate)
    np.testing.assert_allclose(end, train_by_hand(backend, rates), rtol=0, atol=1e-13)
    # An epoch's row has the rate of its last update.
    assert history["learning_rate"] == pytest.approx(rates[2::3], abs=1e-15)


def test_a_rate_of_zero_changes_nothing(backend):
    history, end = train(backend, xn.Constant(0.0))
    np.testing.assert_array_equal(end, on_host(backend, prepare(backend)[0].parameters))
    assert history["learning_rate"] == [0.0, 0.0, 0.0]


# -- weight decay ----


def decayed(backend, optimizer, members=None, epochs=3):
    """Return the share of the weights that is left after each epoch, without any gradient."""
    net = xn.Network(
        [xn.Linear(2)],
        loss="mean_squared_error",
        n_features=3,
        device=backend,
        dtype="float64",
        members=members,
    )
    net.parameters[...] = 1.0
    found = []
    look = xn.Callback()
    look.on_epoch_end = lambda trainer, row: found.append(on_host(backend, net.parameters).copy())
    trainer = xn.Trainer(net, optimizer)
    X, Y = np.zeros((11, 3)), np.arange(22.0).reshape(11, 2)
    trainer.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, callbacks=[look])
    return np.array(found)[..., 0]


#: What makes weight decay of a highest one, and what it is in nine updates, three an epoch.
DECAYS = {
    "a number": (lambda top: top, lambda step: 1.0),
    "exponential": (
        lambda top: xn.Exponential(top, 0.5, per="step"),
        lambda step: 0.5**step,
    ),
    "flat_cosine": (
        lambda top: xn.FlatCosine(top, total=2),
        lambda step: (1, 1, 1, 1, 0.75, 0.25, 0, 0, 0)[step],
    ),
    "a function": (
        lambda top: lambda step, epoch: top / (1 + epoch),
        lambda step: 1 / (1 + step / 3),
    ),
}

each_decay = pytest.mark.parametrize(("decay", "share"), DECAYS.values(), ids=DECAYS)


def left(rate, top, share):
    kept = np.cumprod([1 - rate(i) * top * share(i) for i in range(9)])
    return kept[2::3]


@each_decay
@pytest.mark.parametrize("kind", [xn.AdamW, xn.Lion])
def test_weights_decay_by_a_schedule(backend, kind, decay, share):
    found = decayed(backend, kind(0.1, weight_decay=decay(2.0)))
    np.testing.assert_allclose(found, left(lambda step: 0.1, 2.0, share), rtol=1e-12)
    falling = kind(xn.Exponential(0.1, 0.9, per="step"), weight_decay=decay(2.0))
    expected = left(lambda step: 0.1 * 0.9**step, 2.0, share)
    np.testing.assert_allclose(decayed(backend, falling), expected, rtol=1e-12)


@each_decay
def test_weights_of_each_member_decay_by_a_schedule_of_its_own(backend, decay, share):
    tops = (0.5, 2.0, 0.0)
    found = decayed(backend, xn.AdamW(0.1, weight_decay=[decay(top) for top in tops]), members=3)
    for i, top in enumerate(tops):
        expected = left(lambda step: 0.1, top, share)
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-12)


@pytest.mark.parametrize("wrong", [-0.1, NAN, INF, "much", None])
def test_a_schedule_that_gives_no_weight_decay_is_told(backend, wrong):
    given = r"the schedule .* gives the weight decay .* at step 0, epoch 0: give finite numbers, 0"
    with pytest.raises(ValueError, match=given):
        decayed(backend, xn.AdamW(0.1, weight_decay=lambda step, epoch: wrong))


def test_weight_decay_of_members_is_numbers_or_schedules_of_one_kind():
    with pytest.raises(ValueError, match=r"weight_decay holds 0.1 and Cosine\(.*of one kind"):
        xn.AdamW(0.1, weight_decay=[0.1, xn.Cosine(0.1)])
    with pytest.raises(ValueError, match=r"weight_decay holds Constant\(.*of one kind"):
        xn.Lion(0.1, weight_decay=[xn.Constant(0.1), xn.Cosine(0.1)])
