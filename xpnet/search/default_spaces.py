"""What is searched in if nobody says: few architectures, and the numbers that matter most.

The names are neutral; whoever searches has names of its own for them. Trials of one architecture
are trained many at a time, so there are three or four of them, and one batch size; all else is
numbers.
"""

from __future__ import annotations

from ..checks import check_count
from .distributions import Distribution, choice, log_uniform, uniform

#: Units of hidden layers; the last one is for more examples than `LARGE` alone.
TABLE_SHAPES = ((64,), (256,), (128, 128), (512, 256))
ARRAY_SHAPES = ((128,), (512,), (256, 128), (512, 256))
LARGE = 5_000

#: For up to how many examples which batch size.
BATCH_SIZES = ((2_000, 32), (20_000, 64), (100_000, 128), (1_000_000, 256))
LARGEST_BATCH = 512


def usual_batch_size(n_examples: int) -> int:
    """Return the batch size to search with, for so many training examples.

    Examples
    --------
    >>> [usual_batch_size(n) for n in (20, 1500, 50_000)]
    [20, 32, 128]
    """
    n = check_count(n_examples, "n_examples")
    return min(n, next((size for most, size in BATCH_SIZES if n <= most), LARGEST_BATCH))


def table_space(n_examples: int) -> dict[str, Distribution]:
    """Return what is searched in for a table whose columns have been prepared.

    Parameters
    ----------
    n_examples : int
        How many are trained on.

    Returns
    -------
    dict of str to Distribution
        "hidden", the units of the hidden layers; "learning_rate", of Adam and its kin; "l2", λ of
        λ/2n ‖W‖²; "dropout", after each hidden layer; "batch_size", a single one.

    Examples
    --------
    >>> table_space(1000)["hidden"].grid(1)
    [(64,), (256,), (128, 128)]
    """
    return _space(TABLE_SHAPES, n_examples)


def array_space(n_examples: int) -> dict[str, Distribution]:
    """Return what is searched in for arrays, as of images: as `table_space`, with wider layers.

    Examples
    --------
    >>> array_space(60_000)["hidden"].grid(1)
    [(128,), (512,), (256, 128), (512, 256)]
    """
    return _space(ARRAY_SHAPES, n_examples)


def _space(shapes: tuple[tuple[int, ...], ...], n_examples: int) -> dict[str, Distribution]:
    batch_size = usual_batch_size(n_examples)
    return {
        "hidden": choice(shapes if n_examples > LARGE else shapes[:-1]),
        "learning_rate": log_uniform(3e-4, 3e-2),
        "l2": log_uniform(1e-4, 10),
        "dropout": uniform(0, 0.5),
        "batch_size": choice([batch_size]),
    }
