"""What is searched in if nobody says."""

import pytest

from xpnet.search.default_spaces import array_space, table_space, usual_batch_size
from xpnet.search.space import check_space, random_draws

NAMES = ["hidden", "learning_rate", "l2", "dropout", "batch_size"]


@pytest.mark.parametrize("make", [table_space, array_space])
@pytest.mark.parametrize("n", [10, 1_000, 5_001, 10**7])
def test_a_space_has_few_architectures(make, n):
    space = make(n)
    check_space(space)
    assert [*space] == NAMES
    settings = random_draws(space, 64)
    shared = {(setting["hidden"], setting["batch_size"]) for setting in settings}
    assert len(shared) == (4 if n > 5_000 else 3)
    assert all(1e-4 <= s["l2"] <= 10 and 0 <= s["dropout"] < 0.5 for s in settings)
    assert all(3e-4 <= s["learning_rate"] <= 3e-2 for s in settings)


def test_a_batch_grows_with_the_examples_and_is_never_more_than_all():
    sizes = [usual_batch_size(n) for n in (1, 31, 33, 2_001, 20_001, 100_001, 10**7)]
    assert sizes == [1, 31, 32, 64, 128, 256, 512]


@pytest.mark.parametrize("make", [table_space, array_space])
def test_a_number_of_examples_that_is_none_is_refused(make):
    with pytest.raises(ValueError, match="n_examples is 0"):
        make(0)
