"""Parting a data set: sizes, completeness, strata, and where the arrays live."""

import tracemalloc

import numpy as np
import pytest

import xpnet as xn
from xpnet import Rows, partition
from xpnet.backends.select import select
from xpnet.data.batches import Batches, partition_indices, partition_sizes


@pytest.mark.parametrize(
    ("n", "ratios", "sizes"),
    [
        (150, "auto", [90, 30, 30]),
        (10_000, "auto", [6000, 2000, 2000]),
        (10_001, "auto", [9801, 100, 100]),
        (60_000, "auto", [58_800, 600, 600]),
        (7, "auto", [4, 2, 1]),
        (10, (0.5, 0.5), [5, 5]),
        (1000, (0.7, 0.1, 0.1, 0.1), [700, 100, 100, 100]),
    ],
)
def test_sizes(n, ratios, sizes):
    assert partition_sizes(n, ratios) == sizes


@pytest.mark.parametrize(
    ("n", "ratios", "message"),
    [
        (100, (0.6, 0.2), "add up to 1"),
        (100, (0.6, 0.6, -0.2), "above 0"),
        (100, (), "above 0"),
        (2, "auto", "leave a part empty"),
        (100, "some", "ratios is 'some'"),
    ],
)
def test_bad_ratios(n, ratios, message):
    with pytest.raises(ValueError, match=message):
        partition_sizes(n, ratios)


@pytest.mark.parametrize("stratify", [False, True])
def test_every_example_once(backend, stratify):
    X = np.arange(400.0).reshape(200, 2)
    y = np.arange(200) % 7
    parts = partition(
        backend.asarray(X), backend.asarray(y), (0.5, 0.3, 0.2), stratify, random_state=3
    )
    rows = [backend.to_host(part) for part, _ in parts]
    labels = [backend.to_host(part) for _, part in parts]
    assert [len(r) for r in rows] == [100, 60, 40]
    together = np.concatenate(rows)
    assert sorted(together[:, 0]) == sorted(X[:, 0])
    # Rows and labels stay together, and the order is not the old one.
    np.testing.assert_array_equal(np.concatenate(labels), (together[:, 0] / 2).astype(int) % 7)
    assert not np.array_equal(together, X)


def test_stays_where_the_arrays_live(backend):
    (X, y), *_ = partition(backend.asarray(np.ones((20, 3))), backend.asarray(np.arange(20)))
    assert backend.owns(X)
    assert backend.owns(y)


@pytest.mark.parametrize("seed", range(5))
def test_strata_have_their_shares(seed):
    # As many classes as the period of a systematic sample, to catch aliasing between the two.
    labels = np.repeat(np.arange(10), [180, 20, 100, 95, 5, 150, 150, 100, 100, 100])
    parts = partition_indices(1000, (0.6, 0.2, 0.2), labels, seed)
    for indices, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        counts = np.bincount(labels[indices], minlength=10)
        assert np.abs(counts - share * np.bincount(labels)).max() <= 1.0


def test_strata_are_random_within_a_class():
    # Of the first half of each class, the training part must hold about its share, not all or none.
    labels = np.tile(np.arange(5), 200)
    train, _, _ = partition_indices(1000, "auto", labels, 0)
    assert 0.5 < np.mean(np.isin(np.arange(500), train)) < 0.7


def test_seed_decides():
    X, y = np.arange(100)[:, None], np.arange(100)
    first, again, other = (partition(X, y, random_state=s)[0][1] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_lists_are_taken():
    (X, y), *_ = partition([[0, 1]] * 10, list("abcdefghij"))
    assert X.shape == (6, 2)
    assert set(y) <= set("abcdefghij")


def test_lengths_differ():
    with pytest.raises(ValueError, match="X has 10 rows and y has 9"):
        partition(np.zeros((10, 2)), np.zeros(9))


def test_a_series_is_taken_by_position():
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    y = pd.Series(range(10), index=range(9, -1, -1))
    for X, labels in partition(pd.DataFrame({"a": range(10)}), y):
        np.testing.assert_array_equal(X[:, 0], labels)


# -- memory-mapped files ----


@pytest.fixture
def mapped(tmp_path):
    """Return a memory-mapped data set, and what is in it."""
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    y = np.arange(300) % 3
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    return [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy"], (X, y)


@pytest.mark.parametrize("stratify", [False, True])
def test_the_parts_of_a_file_are_those_of_the_array(mapped, stratify):
    files, arrays = mapped
    for (X, y), (rows, labels) in zip(
        partition(*arrays, stratify=stratify), partition(*files, stratify=stratify), strict=True
    ):
        assert isinstance(rows, Rows)
        assert isinstance(labels, Rows)
        assert (rows.shape, rows.dtype, rows.ndim, rows.size) == (X.shape, X.dtype, 2, X.size)
        assert len(labels) == len(y)
        np.testing.assert_array_equal(rows, X)
        np.testing.assert_array_equal(labels, y)


def test_parting_a_file_reads_none_of_it(tmp_path):
    path = tmp_path / "large.npy"
    X = np.lib.format.open_memmap(path, "w+", np.float32, (20_000, 500))  # 40 MB, of zeros
    y = np.zeros(20_000, np.int8)
    tracemalloc.start()
    try:
        train, _, _ = partition(X, y)
        peak = tracemalloc.get_traced_memory()[1]
        first = train[0][:10]
    finally:
        tracemalloc.stop()
    assert peak < 2e6  # the row numbers, not the rows
    assert first.shape == (10, 500)


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        slice(10, 40, 7),
        slice(None),
        np.array([5, 5, 0, -1]),
        [2, 1],
        np.arange(180) % 11 == 0,
        (slice(2, 9), 1),
        (4, 2),
        (np.array([7, 3]), slice(1, 3)),
        (slice(0, 0),),
        Ellipsis,
    ],
    ids=str,
)
def test_rows_are_indexed_like_an_array(mapped, key):
    (files, _), (X, _) = mapped[0], mapped[1]
    chosen = partition_indices(300, (0.6, 0.4), None, 0)[0]
    found, expected = Rows(files, chosen)[key], X[chosen][key]
    np.testing.assert_array_equal(found, expected)
    assert not isinstance(found, Rows)


def test_rows_can_be_parted_again(mapped):
    (file, _), (X, _) = mapped
    whole, half = np.arange(300)[::-1], np.array([7, 0, 299])
    again = Rows(Rows(file, whole), half)
    assert again.array is file
    np.testing.assert_array_equal(again, X[::-1][half])
    parts = partition(Rows(file, whole), np.arange(300), (0.5, 0.5))
    for rows, numbers in parts:
        np.testing.assert_array_equal(rows, X[::-1][numbers])


def test_a_network_trains_on_the_parts_of_a_file(device, mapped):
    runs = []
    for X, y in mapped:
        train, dev, _ = partition(X, y)
        net = xn.Network([xn.Linear(3)], loss="softmax_cross_entropy", n_features=4, device=device)
        history = xn.Trainer(net).fit(*train, batch_size=20, epochs=2, validation_data=dev)
        runs.append((history["train_loss"], net.predict(dev[0]).tolist()))
    assert runs[0] == runs[1]


def test_rows_say_what_they_are(mapped):
    (file, _), _ = mapped
    assert repr(Rows(file, np.arange(2))) == "Rows(shape=(2, 4), dtype=float32, of memmap)"
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(Rows(file, np.arange(2)), copy=False)


def test_rows_may_be_chosen_by_truth_values(mapped):
    (file, _), (X, _) = mapped
    chosen = np.arange(300) % 7 == 0
    np.testing.assert_array_equal(Rows(file, chosen), X[chosen])


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        (np.array([0, 300]), IndexError, "indices from 0 to 300, of 300 rows"),
        (np.array([-301]), IndexError, "of 300 rows"),
        (np.array([0.0, 1.0]), TypeError, "give row numbers"),
        (np.array([[0, 1]]), TypeError, "2-D"),
    ],
)
def test_rows_that_are_not_there_are_refused(mapped, indices, error, message):
    (file, _), _ = mapped
    with pytest.raises(error, match=message):
        Rows(file, indices)


def test_members_in_epochs_of_their_own():
    """Each has the order that it has alone in that epoch, also with another seed from then on."""
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    backend = select("cpu")
    own = Batches(X, y, 4, backend=backend, seed=(3, 5))
    assert own.are_own

    def order(batches, epoch):
        starts = np.cumsum([0, *batches.sizes[:-1]])
        made = zip(starts, batches.epoch(epoch), strict=True)
        return [batches.gather(np.array([a]), *given)[1].copy() for a, given in made]

    def alone(seed, epoch):
        batches = Batches(X, y, 4, backend=backend, seed=seed)
        assert not batches.are_own
        return order(batches, epoch)

    for seeds, epochs in (((3, 5), (0, 7)), ((3, 9), (1, 0))):
        own.seeds = seeds
        assert own.seeds == seeds
        expected = [alone(seed, epoch) for seed, epoch in zip(seeds, epochs, strict=True)]
        for found, *parts in zip(order(own, epochs), *expected, strict=True):
            np.testing.assert_array_equal(found, parts)
