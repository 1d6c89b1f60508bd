"""Moving averages against their sums written out, on every backend."""

import numpy as np
import pytest

from xpnet import ExponentialMovingAverage, SimpleMovingAverage

VALUES = np.random.default_rng(0).normal(5.0, 1.0, (7, 3, 2))


def after(average, values, backend):
    for x in values:
        average.update(backend.asarray(x))
    return backend.to_host(average.value)


@pytest.mark.parametrize("window", [1, 3, 7, 20])
def test_a_simple_average_is_the_mean_of_the_last_ones(backend, window):
    found = after(SimpleMovingAverage(window), VALUES, backend)
    np.testing.assert_allclose(found, VALUES[-window:].mean(axis=0), rtol=1e-14)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("t", [1, 2, 7])
def test_an_exponential_average_weighs_by_powers_of_beta(backend, beta, t):
    weights = (1 - beta) * beta ** np.arange(t, dtype=float)[::-1]
    total = np.tensordot(weights, VALUES[:t], axes=1)
    average = ExponentialMovingAverage(beta)
    np.testing.assert_allclose(
        after(average, VALUES[:t], backend), total / weights.sum(), rtol=1e-12
    )
    np.testing.assert_allclose(backend.to_host(average.raw), total, rtol=1e-12)
    plain = ExponentialMovingAverage(beta, bias_correction=False)
    np.testing.assert_allclose(after(plain, VALUES[:t], backend), total, rtol=1e-12)


@pytest.mark.parametrize("make", [lambda: SimpleMovingAverage(3), ExponentialMovingAverage])
class TestBoth:
    def test_of_a_constant_it_is_the_constant(self, backend, make):
        found = after(make(), np.full((5, 4), 2.5), backend)
        np.testing.assert_allclose(found, 2.5, rtol=1e-15)

    def test_it_keeps_the_type_and_stays_on_the_device(self, backend, make):
        average = make()
        for _ in range(3):
            average.update(backend.asarray(np.ones(2, np.float32)))
        assert backend.owns(average.value)
        assert average.value.dtype == np.float32

    def test_whole_numbers_have_broken_averages(self, backend, make):
        average = make()
        for x in (1, 2):
            average.update(backend.asarray(np.array([x])))
        assert 1.0 < float(average.value[0]) < 2.0

    def test_what_it_took_in_may_change(self, backend, make):
        average, x = make(), backend.asarray(np.ones(2))
        for _ in range(2):
            average.update(x)
            x[...] = 1.0
        x[...] = 100.0
        first = average.value
        np.testing.assert_allclose(backend.to_host(first), 1.0, rtol=1e-15)
        first[...] = -1.0  # what it gave out is the caller's
        np.testing.assert_allclose(backend.to_host(average.value), 1.0, rtol=1e-15)

    def test_numbers_are_taken(self, make):
        average = make()
        for x in (2, 2.0, np.float32(2.0)):
            average.update(x)
        assert average.count == 3
        assert float(average.value) == pytest.approx(2.0, rel=1e-15)

    def test_nothing_has_no_average(self, make):
        with pytest.raises(ValueError, match="call update first"):
            _ = make().value

    def test_another_shape_is_refused(self, make):
        average = make()
        average.update(np.zeros(3))
        with pytest.raises(ValueError, match=r"shape \(1, 3\): the values before had \(3,\)"):
            average.update(np.zeros((1, 3)))
        assert average.count == 1


def test_a_warm_exponential_average_allocates_nothing(strict):
    with strict.active():
        average, x = ExponentialMovingAverage(0.9), strict.asarray(np.ones(10, np.float32))
        for _ in range(2):
            average.update(x)
        before = strict.allocations, strict.transfers, strict.uploads, strict.hidden_copies
        average.update(x)
    assert (
        strict.allocations,
        strict.transfers,
        strict.uploads,
        strict.hidden_copies,
    ) == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SimpleMovingAverage(0), ValueError, "window is 0"),
        (lambda: SimpleMovingAverage(2.0), TypeError, "whole number"),
        (lambda: SimpleMovingAverage(True), TypeError, "whole number"),
        (lambda: ExponentialMovingAverage(1.0), ValueError, r"beta is 1.0: .* \[0, 1\)"),
        (lambda: ExponentialMovingAverage(-0.1), ValueError, "beta is -0.1"),
        (lambda: ExponentialMovingAverage(float("nan")), ValueError, "beta is nan"),
    ],
)
def test_bad_options(make, error, message):
    with pytest.raises(error, match=message):
        make()
