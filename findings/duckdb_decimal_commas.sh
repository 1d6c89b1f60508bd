#!/usr/bin/env bash
# DuckDB parts a table of decimal commas at the commas, and loses its header, without a word.
#
# Where the decimal mark is a comma, CSV files part by semicolons. DuckDB's sniffer knows both, and
# reads such a file rightly as long as one column holds something else. In a file of nothing but
# numbers with a decimal, every row has the same number of commas: it takes the comma, makes three
# columns of two (1, "8;75", 5), and drops the line "height;weight", which does not fit. Neither
# decimal_separator=',' nor header=true helps: the one changes nothing, and by the other the first
# row of numbers becomes the names. One whole number, one empty cell or a column of text, and the
# same file is read rightly; so is the file with delim=';'. A file of one such column is parted too.
# pandas (sep=None) and Python's csv.Sniffer find the semicolon.
#
# Touches us: who reads tables of every kind is tempted to have the delimiter guessed. The header
# tells what the numbers can't.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check duckdb==2.0.1 numpy==2.4.6 pandas==3.1.1 \
    2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import csv
from pathlib import Path

import duckdb
import pandas as pd

print("duckdb", duckdb.__version__, "pandas", pd.__version__)
NUMBERS = "height;weight\n1,8;75,5\n1,7;61,0\n1,6;58,5\n"


def show(what, options=""):
    table = duckdb.sql(f"from read_csv('t.csv'{options})")
    print(f"  {what:32}", *table.columns, sep=" | ")
    print(f"  {'':32}", *table.fetchall()[0], sep=" | ")


def look(name, text):
    print(name)
    Path("t.csv").write_text(text)
    show("DuckDB")


look("two columns of decimals", NUMBERS)
show("DuckDB, decimal_separator=','", ", decimal_separator=','")
show("DuckDB, header=true", ", header=true")
show("DuckDB, delim=';'", ", delim=';'")
pandas = pd.read_csv("t.csv", sep=None, engine="python", decimal=",")
print(f"  {'pandas, sep=None':32}", *pandas.columns, sep=" | ")
print(f"  {'':32}", *pandas.iloc[0], sep=" | ")
print("  csv.Sniffer:", csv.Sniffer().sniff(NUMBERS).delimiter)
look("and a row with a whole number", NUMBERS + "2;90,0\n")
look("and a row with a gap", NUMBERS + ";90,0\n")
look("a column of text beside one", "name;height\nAnn;1,8\nBob;1,7\n")
look("one column of decimals", "height\n1,8\n1,7\n1,6\n")
look("a thousand rows", "a;b;c\n" + "".join(f"{i},5;{i},25;0,{i}\n" for i in range(1000)))
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
duckdb 2.0.1 pandas 3.1.1
two columns of decimals
  DuckDB                           | column0 | column1 | column2
                                   | 1 | 8;75 | 5
  DuckDB, decimal_separator=','    | column0 | column1 | column2
                                   | 1 | 8;75 | 5
  DuckDB, header=true              | 1 | 8;75 | 5
                                   | 1 | 7;61 | 0
  DuckDB, delim=';'                | height | weight
                                   | 1,8 | 75,5
  pandas, sep=None                 | height | weight
                                   | 1.8 | 75.5
  csv.Sniffer: ;
and a row with a whole number
  DuckDB                           | height | weight
                                   | 1,8 | 75,5
and a row with a gap
  DuckDB                           | height | weight
                                   | 1,8 | 75,5
a column of text beside one
  DuckDB                           | name | height
                                   | Ann | 1,8
one column of decimals
  DuckDB                           | column0 | column1
                                   | 1 | 8
a thousand rows
  DuckDB                           | column0 | column1 | column2 | column3
                                   | 0 | 5;0 | 25;0 | 0
E_EXPECTED
echo "as seen before"
