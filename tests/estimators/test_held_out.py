"""What a search holds out of its examples."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import KFold, StratifiedKFold

from xpnet.estimators.held_out import hold_out, joined, taken

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def counts(rows):
    return np.bincount(LABELS[rows], minlength=3).tolist()


def test_a_part_is_held_out_with_its_share_of_each_class():
    found = hold_out(100, LABELS, fraction=0.2, seed=1)
    ((examples, held_out),) = found.pairs
    assert sorted([*examples, *held_out]) == [*range(100)]
    assert counts(held_out) == [12, 6, 2]
    assert not found.by_folds
    assert found.n_examples == 80
    (_, again), (_, other) = (hold_out(100, LABELS, seed=seed).pairs[0] for seed in (1, 2))
    assert again.tolist() == held_out.tolist()
    assert other.tolist() != held_out.tolist()


def test_a_set_of_ones_own_is_what_is_held_out():
    ((examples, held_out),) = hold_out(10, None, given=3).pairs
    assert examples.tolist() == [*range(7)]
    assert held_out.tolist() == [7, 8, 9]


def test_folds_hold_each_example_out_once():
    found = hold_out(100, LABELS, folds=5)
    assert found.by_folds
    assert sorted(np.concatenate([held_out for _, held_out in found.pairs])) == [*range(100)]
    for examples, held_out in found.pairs:
        assert sorted([*examples, *held_out]) == [*range(100)]
        assert counts(held_out) == [12, 6, 2]


@pytest.mark.parametrize("splitter", [KFold(4), StratifiedKFold(4, shuffle=True, random_state=0)])
def test_folds_may_be_those_of_a_splitter_or_given(splitter):
    expected = [*splitter.split(np.zeros((100, 1)), LABELS)]
    masks = [(np.isin(range(100), e), np.isin(range(100), h)) for e, h in expected]
    for folds in (splitter, expected, iter(expected), masks):
        found = hold_out(100, LABELS, folds=folds)
        for pair, own in zip(found.pairs, expected, strict=True):
            assert [rows.tolist() for rows in pair] == [rows.tolist() for rows in own]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fraction": 0}, ValueError, "validation_fraction is 0"),
        ({"fraction": 1.5}, ValueError, "validation_fraction is 1.5"),
        ({"fraction": "half"}, TypeError, "validation_fraction is 'half'"),
        ({"fraction": 0.001}, ValueError, "leave a part empty"),
        ({"folds": 1}, ValueError, "folds is 1"),
        ({"folds": 11}, ValueError, "folds is 11 and class 2 has 10 examples"),
        ({"folds": 2.5}, TypeError, "folds is 2.5: give how many, a list"),
        ({"folds": "five"}, TypeError, "folds is 'five'"),
        ({"folds": [([0], [1])]}, ValueError, "folds has 1 parts"),
        ({"folds": [([0], [1]), ([0], [100])]}, ValueError, "fold 1 has rows from 100 to 100"),
        ({"folds": [([0], [1]), ([0.5], [1])]}, ValueError, "fold 1 has rows"),
        ({"folds": [([0], [1]), ([0], [])]}, ValueError, "fold 1 has rows"),
        ({"folds": 3, "given": 10}, ValueError, "X_val and folds are given"),
    ],
)
def test_what_can_not_be_held_out_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        hold_out(100, LABELS, **options)


def test_rows_are_taken_from_and_joined_in_whatever_they_come():
    pandas = pytest.importorskip("pandas")
    array = np.arange(12.0).reshape(6, 2)
    rows = np.array([4, 0])
    kinds = {
        "array": (array, lambda x: x),
        "list": (array.tolist(), np.array),
        "sparse": (sparse.csr_array(array), lambda x: x.toarray()),
        "frame": (pandas.DataFrame(array, columns=["a", "b"]), lambda x: x.to_numpy()),
    }
    for X, plain in kinds.values():
        assert plain(taken(X, rows)).tolist() == array[rows].tolist()
        both = joined([X, taken(X, rows)])
        assert type(both) is type(X)
        assert plain(both).tolist() == np.concatenate([array, array[rows]]).tolist()
