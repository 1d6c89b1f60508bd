#!/usr/bin/env bash
# pyarrow: a table without columns is sliced to more rows than it has, and joined to none.
#
# A table of ten rows from which all columns are taken away still has ten rows. Its slice(8) has all
# ten and its slice(8, 4) four, where those of one with columns have two; two such tables joined by
# concat_tables have none. So rows that are counted piece by piece are wrong in either direction,
# without an error.
#
# Touches us: pieces of a table of which no column is asked for are cut by exact lengths.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pyarrow==26.0.1 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import pyarrow as pa

print("pyarrow", pa.__version__)
whole = pa.table({"a": range(10)})
for table in (whole, whole.select([])):
    print(
        f"{table.num_columns} columns: {table.num_rows} rows,",
        f"slice(8, 4) has {table.slice(8, 4).num_rows},",
        f"slice(8) has {table.slice(8).num_rows},",
        f"two joined have {pa.concat_tables([table, table]).num_rows}",
    )
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
pyarrow 26.0.1
1 columns: 10 rows, slice(8, 4) has 2, slice(8) has 2, two joined have 20
0 columns: 10 rows, slice(8, 4) has 4, slice(8) has 10, two joined have 0
E_EXPECTED
echo "as seen before"
