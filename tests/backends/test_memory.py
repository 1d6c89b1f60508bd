"""Running out of memory: what is told, and that all goes on after it."""

import numpy as np
import pytest
from strict import StrictBackend

import xpnet as xn
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.backends.select import select, why_no_cuda

X = np.random.default_rng(0).standard_normal((4000, 12)).astype(np.float32)
Y = (X[:, 0] > 0) * 1


def trainer(backend, width=64):
    layers = [xn.Linear(width), xn.ReLU(), xn.Linear(1)]
    net = xn.Network(layers, loss="sigmoid_cross_entropy", n_features=12, device=backend)
    return xn.Trainer(net)


def test_a_batch_that_does_not_fit_is_told_and_a_smaller_one_trains():
    small = StrictBackend(memory=800_000)
    ours = trainer(small)
    before = np.array(small.to_host(ours.network.parameters))
    taken = small.taken
    message = (
        r"cuda:0 ran out of memory in training on batches of 4,000 examples "
        r"\(897 parameters, float32\): out of memory allocating [\d,]+ bytes. "
        r"Try a smaller batch_size or micro_batches='auto'$"
    )
    with pytest.raises(xn.OutOfMemoryError, match=message) as raised:
        ours.fit(X, Y, batch_size=4000, epochs=1)
    assert isinstance(raised.value, MemoryError)
    np.testing.assert_array_equal(small.to_host(ours.network.parameters), before)
    assert ours.steps == 0
    assert small.taken < taken + X.nbytes + 100_000
    ours.fit(X, Y, batch_size=100, epochs=1, monitor=0)
    assert ours.steps == 40


def test_a_single_step_that_does_not_fit():
    small = StrictBackend(memory=600_000)
    ours = trainer(small)
    with pytest.raises(xn.OutOfMemoryError, match="training on batches of 4,000 examples"):
        ours.step(X, Y)
    assert ours.steps == 0
    assert np.isfinite(float(ours.step(X[:50], Y[:50])))


def test_a_prediction_that_does_not_fit():
    small = StrictBackend(memory=300_000)
    net = trainer(small).network
    with pytest.raises(xn.OutOfMemoryError, match=r"memory in prediction: .* Try fewer examples"):
        net.predict(X)
    assert net.predict(X[:100]).shape == (100,)


def test_other_errors_are_as_they_were():
    ours = trainer(select("cpu"))

    def broken(trainer, row):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ours.fit(X, Y, epochs=1, callbacks=[broken])


@pytest.mark.skipif(why_no_cuda() is not None, reason=f"CUDA: {why_no_cuda()}")
def test_a_gpu_that_is_full():
    backend = select("cuda")
    ours = trainer(backend, width=2**20)
    x = np.zeros((2**20, 12), np.float32)  # a hidden layer would take 4 TB
    with pytest.raises(xn.OutOfMemoryError, match=r"batches of 1,048,576 examples .* allocating"):
        ours.step(x, np.arange(len(x)) % 2)
    assert np.isfinite(float(ours.step(X[:50], Y[:50])))


# -- a batch in parts ----


def fitted(device, parts, layers=None, **options):
    layers = layers or [xn.Linear(16), xn.Tanh(), xn.Linear(3)]
    net = xn.Network(
        layers, loss="softmax_cross_entropy", n_features=12, device=device, dtype="float64"
    )
    ours = xn.Trainer(net, xn.Adam(0.01), l2=0.3, clip_norm=0.5)
    labels = (X[:, 0] > 0) + 1 * (X[:, 1] > 0)
    options = {"batch_size": 64, "epochs": 3, "monitor": 0, **options}
    ours.fit(X[:300], labels[:300], micro_batches=parts, **options)
    state = net.parameters, net.statistics, *ours.moments
    return ours, [np.array(device.to_host(array)) for array in state]


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 2, 300)], ids=["", "weighted"])
@pytest.mark.parametrize("parts", [2, 3, 64, 1000])
def test_parts_make_the_update_of_the_whole(device, parts, weights):
    whole, state = fitted(device, 1, sample_weight=weights)
    cut, same = fitted(device, parts, sample_weight=weights)
    for a, b in zip(state, same, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10)
    losses = (trainer.history["train_loss"] for trainer in (whole, cut))
    np.testing.assert_allclose(*losses, rtol=1e-10)
    assert cut.update_step.accumulation.count == 1  # for the next fit


def test_parts_of_several_networks(device):
    nets = [
        xn.Network(
            [xn.Linear(1)], loss="mean_squared_error", n_features=12, device=device, members=3
        )
        for _ in range(2)
    ]
    for net, count in zip(nets, (1, 4), strict=True):
        ours = xn.Trainer(net, xn.SGD(0.01))
        ours.update_step.accumulation.count = count
        loss = device.to_host(ours.step(X[:50], Y[:50] * 1.0))
        assert loss.shape == (3,)
    found = [device.to_host(net.parameters) for net in nets]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-7)


def test_parts_under_batch_norm_have_two_examples_at_least(device):
    layers = [xn.Linear(16), xn.BatchNorm(), xn.ReLU(), xn.Linear(3)]
    ours, state = fitted(device, 1000, layers)
    ours.update_step.accumulation.count = 1000
    assert ours.update_step.accumulation.size(64) == 2
    assert ours.update_step.accumulation.size(65) == 3
    assert all(np.isfinite(array).all() for array in state)


def test_each_part_has_masks_of_its_own(device):
    ours, _ = fitted(device, 4, [xn.Dropout(0.5), xn.Linear(3)], epochs=1)
    net, rows = ours.network, np.ones((8, 12))
    ours.update_step.accumulation.count = 2
    keys = set()
    original = net.passes.loss_and_gradient
    net.passes.loss_and_gradient = lambda *a: (
        keys.add(int(device.to_host(net.step_key)[0])),
        original(*a),
    )[1]
    ours.step(rows, np.arange(8) % 3)
    assert len(keys) == 2


@pytest.mark.parametrize("parts", [4, "auto"])
def test_a_fit_that_is_refused_leaves_no_parts(parts):
    ours = trainer(StrictBackend())
    with pytest.raises(ValueError, match="batch_size"):
        ours.fit(X, Y, batch_size=0, micro_batches=parts)
    assert (ours.update_step.accumulation.count, ours.update_step.accumulation.splits) == (1, False)


@pytest.mark.filterwarnings("ignore:batches of 50 examples")
def test_a_step_that_is_broken_off_and_made_in_parts_counts_once(strict):
    """Batch norm's averages have taken the batch when the product finds no memory."""
    layers, labels = [xn.BatchNorm(), xn.Linear(3)], np.arange(50) % 3
    product, calls = strict.kernels.product, []

    def full_at_first(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise MemoryError("no room for a workspace")
        product(*arguments)

    states = []
    for parts in (2, "auto"):
        net = xn.Network(layers, loss="softmax_cross_entropy", n_features=12, device=strict)
        strict.kernels.product = product if parts == 2 else full_at_first
        xn.Trainer(net).fit(X[:50], labels, batch_size=50, epochs=1, monitor=0, micro_batches=parts)
        states.append(net.state())
    assert len(calls) > 1
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])


def test_memory_that_does_not_suffice_is_met_with_parts():
    small = StrictBackend(memory=1_000_000)
    ours = trainer(small)
    with pytest.warns(UserWarning, match="batches of 4,000 examples don't fit: in") as told:
        ours.fit(X, Y, batch_size=4000, epochs=3, monitor=0, micro_batches="auto")
    assert ours.steps == 3
    same = trainer(StrictBackend())
    same.fit(X, Y, batch_size=4000, epochs=3, monitor=0)
    np.testing.assert_allclose(
        small.to_host(ours.network.parameters),
        same.backend.to_host(same.network.parameters),
        rtol=1e-4,
        atol=1e-6,
    )
    assert [str(w.message).split()[7] for w in told] == [str(2**i) for i in range(1, len(told) + 1)]


def test_batch_norm_s_change_of_meaning_is_said():
    small = StrictBackend(memory=900_000)
    layers = [xn.Linear(64), xn.BatchNorm(), xn.ReLU(), xn.Linear(1)]
    net = xn.Network(layers, loss="sigmoid_cross_entropy", n_features=12, device=small)
    with pytest.warns(UserWarning, match="Batch norm then takes each micro-batch's statistics"):
        xn.Trainer(net).fit(X, Y, batch_size=4000, epochs=1, monitor=0, micro_batches="auto")


@pytest.mark.slow
def test_where_even_parts_do_not_help_it_is_told():
    small = StrictBackend()
    ours = trainer(small, width=3000)
    small.memory = small.taken + 30_000  # the data fit, and not even one example's units
    with (
        pytest.raises(xn.OutOfMemoryError),
        pytest.warns(UserWarning, match="micro-batches from now on"),
    ):
        ours.fit(X[:40], Y[:40], batch_size=40, epochs=1, monitor=0, micro_batches="auto")


@pytest.mark.parametrize("parts", [0, -1, 1.5, "some", None])
def test_parts_that_are_none_are_refused(parts):
    with pytest.raises((TypeError, ValueError), match="micro_batches is"):
        trainer(select("cpu")).fit(X, Y, micro_batches=parts)


class Small(NumpyBackend):
    """A host that says how little memory is left."""

    def memory_free(self):
        return 2**29


@pytest.mark.parametrize("members", [None, 500])
def test_a_network_that_can_t_fit_is_refused_before_anything_is_taken(members):
    layers = [xn.Linear(400_000 if members is None else 800)]
    options = {"loss": "mean_squared_error", "n_features": 999, "device": Small()}
    message = r"the network would take 3\.2 GB and cpu has 0\.5 GB left\. Give fewer members"
    with pytest.raises(xn.OutOfMemoryError, match=message):
        xn.Network(layers, members=members, **options)


def test_a_training_that_can_t_fit_is_refused():
    layers = [xn.Linear(40_000)]
    options = {"loss": "mean_squared_error", "n_features": 1499, "device": Small()}
    net = xn.Network(layers, **options)
    message = r"the training would take 1\.7 GB and cpu has 0\.5 GB left\."
    with pytest.raises(xn.OutOfMemoryError, match=message):
        xn.Trainer(net)
