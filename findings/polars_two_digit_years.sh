#!/usr/bin/env bash
# Polars takes 31.12.99 for a day of the year 99, and version numbers for days of the year 3.
#
# try_parse_dates=True and str.to_date() without a format try %d.%m.%Y and its like, and there %Y is
# satisfied with one digit (polars#18791 has that for formats that are given). So two-digit years
# lie 1900 or 2000 years off, without a word: 31.12.99 is 0099-12-31, while DuckDB reads 1999-12-31;
# of 01.02.03 the one makes 1 February 3, the other 3 February 2001. And three small numbers with
# dots are a date: the versions 1.2.3 and 3.11.7 are 0003-02-01 and 0007-11-03, and version 1.10.0
# is a day of the year 0, which Python has no date for. One version that is no day, as 10.0.1, and
# the whole column stays text. pyarrow leaves them all as text.
#
# Touches us: columns of text are to be told from dates; a guess that asks for four digits of the
# year makes neither mistake.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check duckdb==2.0.1 numpy==2.4.6 polars==2.1.0 \
    pyarrow==26.0.1 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from pyarrow import csv

for module in (duckdb, pl, pa):
    print(module.__name__, module.__version__)
print(f"{'in the file':16} {'Polars':28} {'DuckDB':28} pyarrow")
DATES = ["31.12.99", "31/12/99", "1-2-03", "01.02.03", "31.12.1999"]
VERSIONS = ["1.2.3", "3.11.7", "1.10.0", "10.0.1"]
for text in [*DATES, *VERSIONS]:
    Path("t.csv").write_text(f"x,n\n{text},1\n{text},2\n")
    polars = pl.read_csv("t.csv", try_parse_dates=True)["x"]
    found = [f"{polars.dtype} {polars.cast(pl.String)[0]}"]
    rows = duckdb.sql("select typeof(x), x::varchar from 't.csv'").fetchall()
    found.append(" ".join(rows[0]))
    arrow = csv.read_csv("t.csv")["x"]
    found.append(f"{arrow.type} {arrow[0]}")
    print(f"{text:16} {found[0]:28} {found[1]:28} {found[2]}")
dates = pl.Series(["1.2.3", "3.11.7"]).str.to_date().cast(pl.String)
print("str.to_date() of 1.2.3 and 3.11.7:", *dates)
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
duckdb 2.0.1
polars 2.1.0
pyarrow 26.0.1
in the file      Polars                       DuckDB                       pyarrow
31.12.99         Date 0099-12-31              DATE 1999-12-31              string 31.12.99
31/12/99         Date 0099-12-31              DATE 1999-12-31              string 31/12/99
1-2-03           Date 0003-02-01              DATE 2003-02-01              string 1-2-03
01.02.03         Date 0003-02-01              DATE 2001-02-03              string 01.02.03
31.12.1999       Date 1999-12-31              DATE 1999-12-31              string 31.12.1999
1.2.3            Date 0003-02-01              VARCHAR 1.2.3                string 1.2.3
3.11.7           Date 0007-11-03              VARCHAR 3.11.7               string 3.11.7
1.10.0           Date 0000-10-01              VARCHAR 1.10.0               string 1.10.0
10.0.1           String 10.0.1                VARCHAR 10.0.1               string 10.0.1
str.to_date() of 1.2.3 and 3.11.7: 0003-02-01 0007-11-03
E_EXPECTED
echo "as seen before"
