#!/usr/bin/env bash
# What type a key of partitioned Parquet files has depends on who reads it, and on its neighbours.
#
# A key lies in the folders' names alone (k=01/…), so its type is guessed, by four readers in three
# ways. Codes 01 and 02, written as text, are integers for pyarrow, pandas and Polars, so that the
# folders 01 and 1 become one; DuckDB keeps them. Floats and booleans are numbers and booleans for
# Polars, and text for the three others: 9.5 sorts after 10.5. Dates are dates for Polars and
# DuckDB. pyarrow knows integers of 32 bits and text, nothing else: one more folder, k=3000000000,
# and all the keys that were integers are text.
#
# Polars writes the key into the files as well, with its type. DuckDB then takes the folder's name
# all the same: of a BOOLEAN in the file it makes text (pandas refuses such files, polars#24793).
#
# Touches us: a column of a table is a category or a number by its type.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check duckdb==2.0.1 numpy==2.4.6 pandas==3.1.1 \
    polars==2.1.0 pyarrow==26.0.1 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import datetime as dt

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from pyarrow import dataset, parquet

for module in (duckdb, pd, pl, pa):
    print(module.__name__, module.__version__)


def read(folder):
    """Return for each reader the type of the key and its values, in the order of the rows."""
    arrow = dataset.dataset(folder, partitioning="hive").to_table().sort_by("i")["k"]
    yield "pyarrow", arrow.type, arrow.to_pylist()
    if folder != "twins":  # which pandas refuses: its categories must differ
        pandas = pd.read_parquet(folder).sort_values("i").k
        yield "pandas", pandas.cat.categories.dtype, pandas.to_list()
    polars = pl.scan_parquet(folder).sort("i").collect()["k"]
    yield "Polars", polars.dtype, polars.to_list()
    yield from read_by_duckdb(folder)


def read_by_duckdb(folder):
    rows = duckdb.sql(f"select typeof(k), k from '{folder}/*/*.parquet' order by i").fetchall()
    yield "DuckDB", rows[0][0], [value for _, value in rows]


def text_of(value):
    return repr(value) if isinstance(value, str) else str(value)


def show(found):
    for name, dtype, values in found:
        print(f"    {name:8} {dtype!s:8}", ", ".join(map(text_of, values)))


KEYS = {
    "codes": ["01", "02"],
    "twins": ["1", "01"],
    "floats": [9.5, 10.5],
    "booleans": [True, False],
    "dates": [dt.date(2020, 1, 2), dt.date(2020, 1, 3)],
    "integers": [1, 2],
    "longer": [1, 2, 3_000_000_000],
}
for folder, keys in KEYS.items():
    print("the key", *keys)
    table = pa.table({"i": range(len(keys)), "k": keys})
    parquet.write_to_dataset(table, folder, partition_cols=["k"])
    show(read(folder))
print("the key True False, written by Polars")
pl.DataFrame({"i": [0, 1], "k": [True, False]}).write_parquet("own", partition_by="k")
inside = parquet.read_schema("own/k=true/00000000.parquet").field("k").type
print(f"    in the file: {inside}")
show(read_by_duckdb("own"))
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
duckdb 2.0.1
pandas 3.1.1
polars 2.1.0
pyarrow 26.0.1
the key 01 02
    pyarrow  int32    1, 2
    pandas   int32    1, 2
    Polars   Int64    1, 2
    DuckDB   VARCHAR  '01', '02'
the key 1 01
    pyarrow  int32    1, 1
    Polars   Int64    1, 1
    DuckDB   VARCHAR  '1', '01'
the key 9.5 10.5
    pyarrow  string   '9.5', '10.5'
    pandas   str      '9.5', '10.5'
    Polars   Float64  9.5, 10.5
    DuckDB   VARCHAR  '9.5', '10.5'
the key True False
    pyarrow  string   'true', 'false'
    pandas   str      'true', 'false'
    Polars   Boolean  True, False
    DuckDB   VARCHAR  'true', 'false'
the key 2020-01-02 2020-01-03
    pyarrow  string   '2020-01-02', '2020-01-03'
    pandas   str      '2020-01-02', '2020-01-03'
    Polars   Date     2020-01-02, 2020-01-03
    DuckDB   DATE     2020-01-02, 2020-01-03
the key 1 2
    pyarrow  int32    1, 2
    pandas   int32    1, 2
    Polars   Int64    1, 2
    DuckDB   BIGINT   1, 2
the key 1 2 3000000000
    pyarrow  string   '1', '2', '3000000000'
    pandas   str      '1', '2', '3000000000'
    Polars   Int64    1, 2, 3000000000
    DuckDB   BIGINT   1, 2, 3000000000
the key True False, written by Polars
    in the file: bool
    DuckDB   VARCHAR  'true', 'false'
E_EXPECTED
echo "as seen before"
