"""The race in bench/ is fair: from the same weights all train alike."""

import warnings

import harness
import numpy as np
import predict_rivals
import pytest
import rivals

#: What the rivals' own code does, as it is imported or runs, is no concern of ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WIDTHS, EXAMPLES, STEPS = (7, 9, 8, 5), 20, 5


def _losses(contestant):
    losses = [float(contestant.step()) for _ in range(STEPS)]
    contestant.synchronize()
    return losses


def _task(norm, dtype="float64"):
    network = harness.make_network(WIDTHS, norm, dtype, harness.open_backend("cpu"))
    data = harness.make_data(WIDTHS, EXAMPLES, dtype)
    return network, rivals.make_task(network, norm, *data, rate=0.01)


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind is rivals.TorchCompiled else ())
        for kind in rivals.KINDS
        if kind is not rivals.Products
    ],
    ids=lambda kind: kind.name,
)
def test_a_rival_trains_as_we_do(kind, norm):
    network, task = _task(norm)
    if (why := kind.why_not(task)) is not None:
        pytest.skip(f"{kind.name}: {why}")
    ours = _losses(rivals.Ours(network, task))
    assert ours[-1] < 0.97 * ours[0]  # else to agree would mean little
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = _losses(kind(task))
    # Some put Adam's ε beside another root: that is as much as they may differ.
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)


def test_the_products_are_those_of_a_step():
    network, task = _task(norm=False)
    products = rivals.Products(task, network.backend)
    products.step()
    n, (a, b, c, d) = EXAMPLES, WIDTHS
    shapes = [(left.shape, right.shape) for left, right, _ in products.products]
    assert shapes == [
        ((n, a), (a, b)),
        ((b, n), (n, a)),
        ((n, b), (b, c)),
        ((c, n), (n, b)),
        ((n, c), (c, b)),
        ((n, c), (c, d)),
        ((d, n), (n, c)),
        ((n, d), (d, c)),
    ]
    for left, right, out in products.products:
        np.testing.assert_allclose(out, left @ right)


@pytest.mark.parametrize("where", ["made", "step", "synchronize"])
def test_one_that_fails_does_not_end_the_race(where):
    class Failing(rivals.TheNotes):
        name = "failing"

        def __init__(self, task):
            super().__init__(task)
            self.fail("made")

        def step(self):
            self.fail("step")

        def synchronize(self):
            self.fail("synchronize")

        def fail(self, place):
            if place == where:
                raise RuntimeError("no\n  memory")

    kinds = Failing, rivals.TheNotes, rivals.Products
    runners, absent = rivals.try_out(*_task(norm=False), kinds)
    assert list(runners) == ["notes", "products"]
    assert absent == {"failing": "failed: RuntimeError: no memory"}


def test_who_is_left_out_is_named():
    network, task = _task(norm=True)
    runners, absent = rivals.line_up(network, task)
    assert set(runners) | set(absent) == {kind.name for kind in rivals.KINDS}
    assert absent["notes"] == absent["scikit-learn"] == "no batch norm"
    assert "products" in runners


def _task_of_members(members=3):
    network = harness.make_network(WIDTHS, False, "float64", harness.open_backend("cpu"), members)
    data = harness.make_data(WIDTHS, EXAMPLES, "float64")
    return network, rivals.make_task(network, False, *data, rate=0.01)


def test_jax_trains_members_as_we_do():
    network, task = _task_of_members()
    assert (task.members, task.widths) == (3, WIDTHS)
    if (why := rivals.Jax.why_not(task)) is not None:
        pytest.skip(f"jax: {why}")
    ours, theirs = rivals.Ours(network, task), rivals.Jax(task)
    for _ in range(STEPS):
        np.testing.assert_allclose(theirs.step(), ours.step(), rtol=1e-5)


def test_one_by_one_makes_a_step_for_each_member():
    rival = rivals.OneByOne(_task_of_members()[1])
    rival.step()
    assert rival.one.trainer.update_step.count == 3
    assert rival.one.trainer.network.members is None


def test_the_products_of_members_are_those_of_their_step():
    network, task = _task_of_members()
    products = rivals.Products(task, network.backend)
    products.step()
    assert len(products.products) == 8
    for left, right, out in products.products:
        assert out.shape[0] == 3
        np.testing.assert_allclose(out, left @ right)


def test_who_trains_members():
    network, task = _task_of_members()
    runners, absent = rivals.try_out(network, task, rivals.OF_MEMBERS)
    assert {"one by one", "products"} <= set(runners)
    assert set(absent) <= {"jax"}


def test_torch_answers_as_we_do():
    if (why := predict_rivals.Torch.why_not("cpu")) is not None:
        pytest.skip(why)
    network = harness.make_network(WIDTHS, False, "float32", harness.open_backend("cpu"))
    x = harness.make_data(WIDTHS, EXAMPLES, "float32")[0]
    theirs = predict_rivals.Torch(network, x, "cpu")
    found = theirs.step().numpy()
    theirs.synchronize()
    np.testing.assert_allclose(found, predict_rivals.Ours(network, x).step(), rtol=1e-5)
