"""Batches of each member's own: those that it has alone."""

import numpy as np
import pytest

from xpnet import Augmentation, GaussianNoise
from xpnet.data.batches import Batches
from xpnet.data.streaming import Streamed

N, SEEDS = 75, (3, 8, 5)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 4)), RNG.integers(0, 3, N).astype(np.int32)
WEIGHTS = RNG.uniform(size=(3, N, 1))
UNEQUAL = [RNG.permutation(N)[:n] for n in (64, 65, 32)]
KINDS = {
    "all": {},
    "alike": {"subsets": [RNG.permutation(N)[:50] for _ in SEEDS]},
    "unequal": {"subsets": UNEQUAL},
    "weights": {"weights": WEIGHTS},
    "weights of all": {"weights": WEIGHTS[0], "subsets": UNEQUAL},
    "weights, unequal": {"weights": WEIGHTS, "subsets": UNEQUAL},
    "in order": {"shuffle": False, "subsets": UNEQUAL},
    "noise": {"augmentation": Augmentation([GaussianNoise(0.5)])},
    "noise, unequal": {"augmentation": Augmentation([GaussianNoise(0.5)]), "subsets": UNEQUAL},
}


def drawn(batches, epoch=2, first=0):
    """Return the batches of an epoch, as copies on the host."""
    backend, host, found = batches.backend, batches.backend.to_host, []
    for place, (n, *arrays) in enumerate(batches.epoch(epoch, first), first):
        start = backend.asarray(np.array([place * batches.batch_size]))
        parts = batches.gather(start, n, *arrays)
        if isinstance(n, tuple):
            found.append(
                [
                    tuple(None if own is None else host(own).copy() for own in member)
                    for member in zip(*parts, strict=True)
                ]
            )
            continue
        x, y, weights = (None if a is None else host(a).copy() for a in parts)
        none = [None] * len(SEEDS)
        if batches.augmentation is None:
            assert parts[0].flags.c_contiguous
        found.append([*zip(x, y, none if weights is None else weights, strict=True)])
    return found


def alone(backend, i, subsets=None, weights=None, **options):
    """Return the batches of member i alone."""
    rows = np.arange(N) if subsets is None else subsets[i]
    if weights is not None:
        weights = weights[i] if weights.ndim == 3 else weights
        weights = backend.asarray(weights[rows])
    x, y = backend.asarray(X[rows]), backend.asarray(Y[rows])
    return Batches(
        x, y, 32, backend=backend, seed=SEEDS[i], min_batch=2, weights=weights, **options
    )


def together(backend, x=None, weights=None, **options):
    x = backend.asarray(X) if x is None else x
    weights = None if weights is None else backend.asarray(weights)
    y = backend.asarray(Y)
    return Batches(x, y, 32, backend=backend, seed=SEEDS, min_batch=2, weights=weights, **options)


def same(found, expected):
    assert (found is None) == (expected is None)
    if found is not None:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("streamed", [False, True], ids=["", "streamed"])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_each_member_has_the_batches_that_it_has_alone(backend, options, streamed):
    x = Streamed(X, backend, X.dtype) if streamed else None
    batches = together(backend, x, **options)
    found = drawn(batches)
    assert len(found) == len(batches)
    for i in range(3):
        own = alone(backend, i, **options)
        expected = []
        for place, (n, *arrays) in enumerate(own.epoch(2)):
            start = backend.asarray(np.array([place * 32]))
            parts = own.gather(start, n, *arrays)
            expected.append([None if a is None else backend.to_host(a).copy() for a in parts])
        for batch, mine in zip(found, expected, strict=False):
            for array, other in zip(batch[i], mine, strict=True):
                same(array, other)
        for batch in found[len(expected) :]:
            assert not len(batch[i][0])


def test_sizes_are_those_of_each_member(backend):
    batches = together(backend, subsets=UNEQUAL)
    assert batches.sizes == [32, (32, 33, 0)]
    assert (batches.n, batches.largest, batches.per_epoch) == (65, 33, (2, 2, 1))
    assert [batches.seen(n) for n in range(3)] == [[0, 0, 0], [32, 32, 32], [64, 65, 32]]
    alike = together(backend)
    assert (alike.sizes, alike.per_epoch, alike.seen(2)) == ([32, 32, 11], 3, [64, 64, 64])
    shared = alone(backend, 0)
    assert (shared.sizes, shared.per_epoch, shared.seen(2)) == ([32, 32, 11], 3, 64)


def test_the_first_batches_may_be_left_out(backend):
    batches = together(backend, subsets=UNEQUAL)
    whole, rest = drawn(batches), drawn(batches, first=1)
    assert len(rest) == 1
    for found, expected in zip(rest[0], whole[1], strict=True):
        same(found[0], expected[0])


def test_a_subset_too_small_for_batch_norm_is_refused(backend):
    with pytest.raises(ValueError, match="member 1 has 1 example, 1 sample alone: batch norm"):
        together(backend, subsets=[UNEQUAL[0], UNEQUAL[1][:1], UNEQUAL[2]])
