#!/usr/bin/env bash
# A gap in a table of one column is an empty line, and half of the readers leave out the row.
#
# pyarrow, Polars and DuckDB write a missing value as nothing; where it is the only value of its
# row, the line is empty. Polars and DuckDB read that as a gap again; pyarrow and pandas skip empty
# lines, so pyarrow does not read back as many rows as it wrote. pandas alone writes two quotes.
# Beside a second column nothing of the kind happens, so a list of labels or predictions, written
# from a frame that is checked elsewhere, comes back shorter and out of step with its features: all
# that came after the gap belongs to another row.
#
# Touches us: predictions are made row by row for a table that may have one column.
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
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from pyarrow import csv

for module in (duckdb, pd, pl, pa):
    print(module.__name__, module.__version__)
WRITE = {
    "pyarrow": lambda t: csv.write_csv(t, "t.csv"),
    "pandas": lambda t: t.to_pandas().to_csv("t.csv", index=False),
    "Polars": lambda t: pl.from_arrow(t).write_csv("t.csv"),
    "DuckDB": lambda t: duckdb.from_arrow(t).write_csv("t.csv"),
}
READ = {
    "pyarrow": lambda: csv.read_csv("t.csv").num_rows,
    "pandas": lambda: len(pd.read_csv("t.csv")),
    "Polars": lambda: pl.read_csv("t.csv").height,
    "DuckDB": lambda: len(duckdb.read_csv("t.csv")),
}
labels = pa.array([1, None, 3, None])
for table in (pa.table({"y": labels}), pa.table({"y": labels, "x": [5, 6, 7, 8]})):
    print(f"rows read of the 4 of a table of {table.num_columns}")
    print(f"  {'written by':10}", *(f"{name:8}" for name in READ), "the file")
    for name, write in WRITE.items():
        write(table)
        rows = [f"{read():<8}" for read in READ.values()]
        print(f"  {name:10}", *rows, repr(Path("t.csv").read_text()))
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
duckdb 2.0.1
pandas 3.1.1
polars 2.1.0
pyarrow 26.0.1
rows read of the 4 of a table of 1
  written by pyarrow  pandas   Polars   DuckDB   the file
  pyarrow    2        2        4        4        '"y"\n1\n\n3\n\n'
  pandas     4        4        4        4        'y\n1.0\n""\n3.0\n""\n'
  Polars     2        2        4        4        'y\n1\n\n3\n\n'
  DuckDB     2        2        4        4        'y\n1\n\n3\n\n'
rows read of the 4 of a table of 2
  written by pyarrow  pandas   Polars   DuckDB   the file
  pyarrow    4        4        4        4        '"y","x"\n1,5\n,6\n3,7\n,8\n'
  pandas     4        4        4        4        'y,x\n1.0,5\n,6\n3.0,7\n,8\n'
  Polars     4        4        4        4        'y,x\n1,5\n,6\n3,7\n,8\n'
  DuckDB     4        4        4        4        'y,x\n1,5\n,6\n3,7\n,8\n'
E_EXPECTED
echo "as seen before"
