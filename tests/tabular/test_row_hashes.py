"""Numbers that tell rows apart."""

import datetime
from decimal import Decimal

import numpy as np
import pytest

from xpnet.tabular.row_hashes import ROWS, row_hashes


def test_rows_are_equal_where_their_values_are():
    rows = np.array([[0.0, np.nan, 1.0], [-0.0, -np.nan, 1.0], [1.0, np.nan, 0.0]])
    found = row_hashes(rows)
    assert found[0] == found[1] != found[2]


def test_all_pairs_of_whole_numbers_differ():
    grid = np.stack(np.meshgrid(np.arange(300), np.arange(300)), axis=-1).reshape(-1, 2)
    found = row_hashes(grid)
    assert len(found) > 8 * ROWS
    assert len(np.unique(found)) == len(grid)
    np.testing.assert_array_equal(row_hashes(grid.astype(np.float32)[-7:]), found[-7:])


DAY = datetime.datetime(2024, 1, 31)


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ([1, 2, None], [1.0, 2.0, None]),
        ([Decimal("0.5"), Decimal(2), None], [0.5, 2.0, None]),
        (["u", "v", None], ["u", "v", None]),
        ([True, False, None], [1, 0, None]),
        ([DAY, DAY + datetime.timedelta(1), None], [DAY, DAY + datetime.timedelta(1), None]),
        ([datetime.time(1), datetime.time(2), None], [datetime.time(1), datetime.time(2), None]),
    ],
)
def test_columns_of_tables_by_what_they_hold(pa, values, others):
    table = pa.table({"a": pa.array(values), "b": [7] * 3})
    other = pa.table({"a": pa.array(others)[::-1], "b": [7] * 3})
    if isinstance(values[0], str):
        column = other["a"].combine_chunks().dictionary_encode()
        other = other.set_column(0, "a", column)
    found = row_hashes(table)
    assert len({*found.tolist()}) == 3
    np.testing.assert_array_equal(row_hashes(other)[::-1], found)
