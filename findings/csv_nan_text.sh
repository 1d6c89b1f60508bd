#!/usr/bin/env bash
# One NaN, and a column of floats that DuckDB or pyarrow wrote as CSV is text for Polars.
#
# Both write it as nan. Polars writes NaN, knows no other spelling, and makes strings of the whole
# column; DuckDB reads either as a float. pyarrow takes nan, NaN, NA, null, … for gaps: its own NaN
# comes back as one, and where the other values are whole numbers the column is int64, as no value
# is a float. So of a column 1, nan, 3 the four readers make floats, text, integers and, in pandas,
# floats where NaN and gap are one. The infinities go through everywhere.
#
# Touches us: the same table must be the same columns by whatever it was written.
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


def show_readers():
    arrow, pandas, polars = csv.read_csv("t.csv")["x"], pd.read_csv("t.csv").x, pl.read_csv("t.csv")
    rows = duckdb.sql("select typeof(x), x from 't.csv'").fetchall()
    for name, dtype, values in (
        ("pyarrow", arrow.type, arrow.to_pylist()),
        ("pandas", pandas.dtype, pandas.to_list()),
        ("Polars", polars["x"].dtype, polars["x"].to_list()),
        ("DuckDB", rows[0][0], [value for _, value in rows]),
    ):
        print(f"    {name:8} {dtype!s:8} {values}")


table = pa.table({"i": [0, 1, 2, 3], "x": [0.5, float("nan"), None, float("inf")]})
for name, write in WRITE.items():
    write(table)
    print(f"0.5, NaN, a gap and infinity, written by {name}: {Path('t.csv').read_text()!r}")
    show_readers()
Path("t.csv").write_text("i,x\n0,1\n1,nan\n2,3\n")
print("1, nan, 3")
show_readers()
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
duckdb 2.0.1
pandas 3.1.1
polars 2.1.0
pyarrow 26.0.1
0.5, NaN, a gap and infinity, written by pyarrow: '"i","x"\n0,0.5\n1,nan\n2,\n3,inf\n'
    pyarrow  double   [0.5, None, None, inf]
    pandas   float64  [0.5, nan, nan, inf]
    Polars   String   ['0.5', 'nan', None, 'inf']
    DuckDB   DOUBLE   [0.5, nan, None, inf]
0.5, NaN, a gap and infinity, written by pandas: 'i,x\n0,0.5\n1,\n2,\n3,inf\n'
    pyarrow  double   [0.5, None, None, inf]
    pandas   float64  [0.5, nan, nan, inf]
    Polars   Float64  [0.5, None, None, inf]
    DuckDB   DOUBLE   [0.5, None, None, inf]
0.5, NaN, a gap and infinity, written by Polars: 'i,x\n0,0.5\n1,NaN\n2,\n3,inf\n'
    pyarrow  double   [0.5, None, None, inf]
    pandas   float64  [0.5, nan, nan, inf]
    Polars   Float64  [0.5, nan, None, inf]
    DuckDB   DOUBLE   [0.5, nan, None, inf]
0.5, NaN, a gap and infinity, written by DuckDB: 'i,x\n0,0.5\n1,nan\n2,\n3,inf\n'
    pyarrow  double   [0.5, None, None, inf]
    pandas   float64  [0.5, nan, nan, inf]
    Polars   String   ['0.5', 'nan', None, 'inf']
    DuckDB   DOUBLE   [0.5, nan, None, inf]
1, nan, 3
    pyarrow  int64    [1, None, 3]
    pandas   float64  [1.0, nan, 3.0]
    Polars   String   ['1', 'nan', '3']
    DuckDB   DOUBLE   [1.0, nan, 3.0]
E_EXPECTED
echo "as seen before"
