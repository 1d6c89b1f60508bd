#!/usr/bin/env bash
# A time before 1677 in a Parquet file of Spark's is the latest time there is, 2262, for Polars.
#
# Spark writes times as INT96 (a day and the nanoseconds in it), which holds every year. pyarrow
# turns them into nanoseconds since 1970, which end in 2262, and wraps: 1600 is 2185 and 3000 is
# 1831, in pandas by either engine. Polars does not wrap, it stops at the end, but at one end for
# both sides: 1600 and 9999 are both 2262-04-11, so the oldest rows sort as the newest, and a filter
# for times before 1700 finds none. DuckDB reads them all rightly. Nobody warns.
#
# Where pyarrow wrote the file, Polars is right too: it finds a note of pyarrow's in the metadata
# (ARROW:schema) that says microseconds. So a test with a file of one's own passes, and the same
# bytes from Spark, which leaves no such note, do not.
#
# What helps: coerce_int96_timestamp_unit="us" for pyarrow, schema={"t": pl.Datetime("us")} for
# Polars' scan_parquet (polars#29184 was of that).
#
# Touches us: Parquet tables are read by pandas and pyarrow. Columns of times are refused, so no
# such time is learnt from; who takes them must ask for microseconds.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check duckdb==2.0.1 fastparquet==2026.9.0 \
    numpy==2.4.6 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import datetime as dt
import warnings

import duckdb
import fastparquet
import pandas as pd
import polars as pl
import pyarrow as pa
from pyarrow import parquet

warnings.simplefilter("ignore", DeprecationWarning)  # pandas says that fastparquet will go
for module in (duckdb, fastparquet, pd, pl, pa):
    print(module.__name__, module.__version__)
YEARS = (1600, 2000, 2262, 3000, 9999)
times = pa.array([dt.datetime(year, 12, 31) for year in YEARS], pa.timestamp("us"))
print(f"{'':32}", *YEARS, sep="  ")


def show(who, years):
    print(f"{who:32}", *years, sep="  ")


for note in (True, False):
    parquet.write_table(
        pa.table({"t": times}), "t", use_deprecated_int96_timestamps=True, store_schema=note
    )
    assert parquet.ParquetFile("t").schema.column(0).physical_type == "INT96"
    print("with pyarrow's note in the file" if note else "without it, as Spark's")
    show("  pandas, engine pyarrow", pd.read_parquet("t").t.dt.year)
    show("  pandas, engine fastparquet", pd.read_parquet("t", engine="fastparquet").t.dt.year)
    show("  Polars", pl.read_parquet("t")["t"].dt.year())
    rows = duckdb.sql("select year(t) from read_parquet('t')").fetchall()
    show("  DuckDB", (year for (year,) in rows))
    unit = parquet.read_table("t", coerce_int96_timestamp_unit="us")["t"]
    show("  pyarrow, asked for us", (t.year for t in unit.to_pylist()))
    unit = pl.scan_parquet("t", schema={"t": pl.Datetime("us")}).collect()["t"]
    show("  Polars, asked for us", unit.dt.year())
    early = pl.scan_parquet("t").filter(pl.col("t") < dt.datetime(1700, 1, 1)).collect()
    print(f"  Polars, rows before 1700: {len(early)}")
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
duckdb 2.0.1
fastparquet 2026.9.0
pandas 3.1.1
polars 2.1.0
pyarrow 26.0.1
                                  1600  2000  2262  3000  9999
with pyarrow's note in the file
  pandas, engine pyarrow          2185  2000  1678  1831  1816
  pandas, engine fastparquet      2185  2000  1678  1831  1816
  Polars                          1600  2000  2262  3000  9999
  DuckDB                          1600  2000  2262  3000  9999
  pyarrow, asked for us           1600  2000  2262  3000  9999
  Polars, asked for us            1600  2000  2262  3000  9999
  Polars, rows before 1700: 1
without it, as Spark's
  pandas, engine pyarrow          2185  2000  1678  1831  1816
  pandas, engine fastparquet      2185  2000  1678  1831  1816
  Polars                          2262  2000  2262  2262  2262
  DuckDB                          1600  2000  2262  3000  9999
  pyarrow, asked for us           1600  2000  2262  3000  9999
  Polars, asked for us            1600  2000  2262  3000  9999
  Polars, rows before 1700: 0
E_EXPECTED
echo "as seen before"
