"""Dropout whose probability is a schedule: each step's masks, files, and what is refused."""

import pickle
import warnings

import numpy as np
import pytest

import xpnet as xn
from xpnet.randomness import GAMMA, Purpose, step_keys, word

M, STEPS = 32, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((38, M))  # batches of 10, 10, 10 and 8
Y = RNG.standard_normal((38, M))


def threshold(p):
    return round(p * 65536)


class Look(xn.Callback):
    """Draws the masks of each step once more, at 400 examples of ones."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, trainer, n):
        net = trainer.network
        ones = net.backend.asarray(np.ones((400, M)), net.dtype)
        self.seen.append(np.array(net.backend.to_host(net.forward(ones, training=True))))


def network(device, p, *, fused=False, seed=5, members=None, dtype="float64"):
    """Return a network that shows the mask of its dropout, at the input or behind a ReLU."""
    dropout = [xn.Linear(M), xn.ReLU(), xn.Dropout(p)] if fused else [xn.Dropout(p)]
    net = xn.Network(
        [*dropout, xn.Linear(M)],
        loss="mean_squared_error",
        n_features=M,
        device=device,
        dtype=dtype,
        random_state=seed,
        members=members,
    )
    with net.backend.active():
        for name, array in net.buffers.named.items():
            array[...] = net.backend.asarray(np.eye(M) if "weight" in name else np.zeros(M), dtype)
    return net


def masks(device, p, *, epochs=3, **options):
    """Return the masks of each step of a fit that changes nothing else."""
    look, net = Look(), network(device, p, **options)
    trainer = xn.Trainer(net, xn.SGD(xn.Constant(0.0)))
    trainer.fit(X, Y, batch_size=10, epochs=epochs, callbacks=[look])
    assert len(look.seen) == STEPS * epochs
    return look.seen, trainer


def check_mask(mask, p):
    """See that a mask is of a probability: by its scale exactly, by how many live to 5 σ."""
    alive = mask != 0
    np.testing.assert_allclose(mask[alive], 65536 / (65536 - threshold(p)), rtol=1e-6)
    assert abs(alive.mean() - (1 - p)) <= 5 * np.sqrt(p * (1 - p) / mask.size) + 1e-5


#: Schedules of p, and what it is at each of 12 steps, 4 an epoch.
SCHEDULES = {
    "by epoch": (xn.Piecewise(0.5, (1, 2), (0.1, 0.0)), lambda i: (0.5, 0.1, 0.0)[i // 4]),
    "within epochs": (xn.Cosine(0.6, total=3), lambda i: 0.3 * (1 + np.cos(np.pi * i / 12))),
    "by step": (xn.Exponential(0.6, 0.8, per="step"), lambda i: 0.6 * 0.8**i),
    "a function": (lambda step, epoch: 0.05 * step, lambda i: 0.05 * i),
    "log-cosine": (
        xn.LogCosine(0.5, total=3, cycles=2),
        lambda i: 0.25 * (1 - np.cos(2 * np.pi * np.log2(1 + i / 4))),
    ),
}


@pytest.mark.parametrize(("p", "expected"), SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("fused", [False, True], ids=["alone", "behind ReLU"])
def test_each_step_s_mask_is_of_the_schedule_s_probability(device, p, expected, fused):
    found, trainer = masks(device, p, fused=fused)
    for i, mask in enumerate(found):
        check_mask(mask, expected(i))
    with trainer.backend.active():
        last = trainer.backend.to_host(trainer.network.scheduled.array)
    np.testing.assert_array_equal(last, [[threshold(expected(11))]])


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "behind ReLU"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_schedule_that_says_one_number_makes_the_masks_of_that_number(device, fused, dtype):
    options = {"fused": fused, "dtype": dtype, "epochs": 2}
    constant, scheduled = (masks(device, p, **options)[0] for p in (0.3, xn.Constant(0.3)))
    for a, b in zip(constant, scheduled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("fused", [False, True], ids=["alone", "behind ReLU"])
def test_members_have_each_a_schedule_of_its_own_and_the_masks_of_the_network_alone(device, fused):
    several = [xn.Exponential(p, 0.8, per="step") for p in (0.6, 0.3, 0.0)]
    together, _ = masks(device, several, members=3, fused=fused)
    for i, p in enumerate(several):
        alone, _ = masks(device, p, seed=5 + i, fused=fused)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-6)


def test_masks_are_those_of_the_formula(backend):
    found, _ = masks(backend, xn.Exponential(0.5, 0.5, per="step"), epochs=1)
    keys = step_keys([5], range(STEPS))
    for step, mask in enumerate(found):
        words = np.arange(400 * M // 4, dtype=np.uint64) * np.uint64(GAMMA)
        words += np.uint64(word(5, Purpose.DROPOUT, 0)) + keys[step]
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        lanes = (words ^ (words >> np.uint64(31))).view(np.uint16).reshape(400, M)
        np.testing.assert_array_equal(mask != 0, lanes >= threshold(0.5 * 0.5**step))


# -- who is asked, and when ----


def test_without_a_schedule_nothing_of_it_is_there(backend):
    for p, members in ((0.3, None), (0.3, 2), ([0.1, 0.3], 2)):
        _, trainer = masks(backend, p, members=members, epochs=1)
        scalars, net = trainer.update_step.scalars, trainer.network
        assert (net.scheduled.layers, net.scheduled.array.size) == ([], 0)
        assert (scalars.table.thresholds, scalars.table.threshold) == (None, None)
        assert len(scalars.found) == 2


def test_outside_a_fit_it_is_asked_for_the_step_at_hand_and_the_epochs_made(backend):
    asked = []

    def p(step, epoch):
        asked.append((step, epoch))
        return 0.1 * (step + 1)

    net = network(backend, p)
    assert asked == [(0, 0.0)]
    assert net.backend.to_host(net.scheduled.array).item() == threshold(0.1)
    trainer = xn.Trainer(net, xn.SGD(xn.Constant(0.0)))
    for step in range(4):
        trainer.step(X[:10], Y[:10])
        assert asked[-1] == (step, 0.0)
        assert net.backend.to_host(net.scheduled.array).item() == threshold(0.1 * (step + 1))
    assert len(asked) == 5
    trainer.fit(X, Y, batch_size=19, epochs=2)
    trainer.step(X[:10], Y[:10])
    assert asked[-1] == (8, 2.0)


def test_a_fit_asks_for_no_step_behind_the_epoch_s_last(backend):
    asked = set()

    def p(step, epoch):
        asked.add((step, round(epoch, 9)))
        return 0.5 * 0.9**step

    masks(backend, p, epochs=2)
    assert asked == {(step, step / 4) for step in range(8)}


@pytest.mark.parametrize("wrong", [1.0, -0.1, float("nan"), "much", None])
def test_what_is_no_probability_is_told(backend, wrong):
    given = r"gives the probability of dropping .* at step {}, epoch {}: give numbers in \[0, 1\)"
    with pytest.raises(ValueError, match=given.format(0, 0)):
        network(backend, lambda step, epoch: wrong)
    net = network(backend, lambda step, epoch: 0.5 if step < 5 else wrong)
    with pytest.raises(ValueError, match=given.format(5, "1.25")):
        xn.Trainer(net).fit(X, Y, batch_size=10, epochs=2)


def test_members_have_numbers_or_schedules_of_one_kind(backend):
    with pytest.raises(ValueError, match=r"p holds 0.1 and Cosine\(.*: give all members numbers"):
        xn.Dropout([0.1, xn.Cosine(0.5)])
    with pytest.raises(ValueError, match="p of Dropout has 2 values and there are 3 members"):
        network(backend, [xn.Cosine(0.5), xn.Cosine(0.4)], members=3)


def test_a_constant_takes_no_schedule_s_place(backend):
    falling, constant = xn.Cosine(0.5), 0.5
    for mine, its in ((falling, constant), (constant, falling)):
        for members in (1, 2):
            trainer = xn.Trainer(network(backend, mine, members=members))
            other = xn.Trainer(network(backend, its))
            with pytest.raises(ValueError, match=r"layer 0 is .*: members have numbers, or sched"):
                trainer.replace(0, other)
    trainer = xn.Trainer(network(backend, falling, members=2))
    with pytest.raises(
        ValueError, match=r"p of layer 0 holds .*: give all members numbers, or sch"
    ):
        trainer.replace(0, xn.Trainer(network(backend, xn.Constant(0.5))))


def test_a_schedule_is_put_in_a_member_s_place_and_taken_out(backend):
    own = [xn.Exponential(p, 0.9, per="step") for p in (0.6, 0.3)]
    trainer = xn.Trainer(network(backend, own, members=2))
    trainer.fit(X, Y, batch_size=10, epochs=1)
    new = xn.Trainer(network(backend, xn.Exponential(0.8, 0.5, per="step"), seed=9))
    passes = trainer.network.passes.generation
    trainer.replace(1, new)
    assert trainer.network.passes.generation == passes  # nothing is made anew
    trainer.fit(X, Y, batch_size=10, epochs=1)
    found = trainer.backend.to_host(trainer.network.scheduled.array).reshape(-1)
    np.testing.assert_array_equal(found, [threshold(0.6 * 0.9**7), threshold(0.8 * 0.5**3)])
    taken = trainer.member(1)
    assert taken.network.layers[0].p == xn.Exponential(0.8, 0.5, per="step")
    taken.step(X[:10], Y[:10])
    held = taken.backend.to_host(taken.network.scheduled.array)
    np.testing.assert_array_equal(held, [[threshold(0.8 * 0.5**4)]])


# -- files ----


@pytest.mark.parametrize(
    "p", [xn.Cosine(0.5, total=7), [xn.Cosine(0.5, total=7), xn.Cosine(0.4)], xn.LogCosine(0.5)]
)
def test_a_file_and_a_pickle_hold_a_schedule(tmp_path, p):
    members = 2 if isinstance(p, list) else None
    net = network("cpu", p, members=members)
    net.save(tmp_path / "net.safetensors")
    loaded = xn.load(tmp_path / "net.safetensors", device="cpu")
    for again in (loaded, pickle.loads(pickle.dumps(net))):
        assert again.layers[0].p == (tuple(p) if members else p)
        np.testing.assert_array_equal(again.predict(X), net.predict(X))
        trainers = [xn.Trainer(each) for each in (net.clone(), again)]
        trainers[0].network.load_state(again.state())
        for trainer in trainers:
            trainer.fit(X, Y, batch_size=10, epochs=1)
        one, other = (trainer.network.state() for trainer in trainers)
        assert all((one[name] == other[name]).all() for name in one)


def halving(step, epoch):
    return 0.5 / 2**epoch


def test_a_function_is_in_no_file(tmp_path):
    net = network("cpu", halving)
    with pytest.raises(TypeError, match=r"a file can't hold p of Dropout, <function halv.*Cosine"):
        net.save(tmp_path / "net.safetensors")
    assert [*tmp_path.iterdir()] == []
    again = pickle.loads(pickle.dumps(net))
    assert again.layers[0].p is halving


def test_a_file_s_schedule_is_checked(tmp_path):
    config = xn.Dropout(xn.Cosine(0.5)).config()
    assert xn.Layer.registry.build(config).p == xn.Cosine(0.5)
    for wrong in ({"initial": 0.5}, config["p"] | {"type": "Adam"}, config["p"] | {"total": "x"}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            xn.Layer.registry.build(config | {"p": wrong})


def test_an_estimator_s_file_holds_schedules_of_its_optimiser(tmp_path):
    solver = xn.AdamW(xn.Cosine(0.01, total=9), weight_decay=xn.FlatCosine(0.1, total=9))
    y = (Y[:, 0] > 0) * 1
    kwargs = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, "device": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = xn.MLPClassifier(solver=solver, **kwargs).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    assert xn.MLPClassifier.load(tmp_path / "model.safetensors").solver == solver
    model.set_params(solver=xn.AdamW(weight_decay=halving))
    with pytest.warns(UserWarning, match=r"^solver is .* which can't be written: it is left out"):
        model.save(tmp_path / "model.safetensors")
