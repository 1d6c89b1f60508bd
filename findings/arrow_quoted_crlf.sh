#!/usr/bin/env bash
# pyarrow's CSV readers drop the "\n" of a "\r\n" within quotes where two blocks part it.
#
# With newlines_in_values, text in quotes may hold lines that end in "\r\n". Where the "\r" is the
# last byte of a block and the "\n" the first of the next, read_csv and open_csv give the field one
# byte short, at the default block size (1 MiB), with threads and without, and without an error.
# Known: https://github.com/apache/arrow/issues/51368, open; seen in 16.1.0 as well.
#
# Touches us: the field of such text is looked for, and read again by blocks of another size.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pyarrow==26.0.1 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import csv
import io

import pyarrow as pa
from pyarrow import csv as arrow

BLOCK = arrow.ReadOptions().block_size
PARSE = arrow.ParseOptions(newlines_in_values=True)
print("pyarrow", pa.__version__)
print("blocks of", BLOCK)


def serial(file):
    return arrow.read_csv(file, arrow.ReadOptions(use_threads=False), PARSE)


READ = {
    "read_csv": lambda file: arrow.read_csv(file, parse_options=PARSE),
    "read_csv, one thread": serial,
    "open_csv": lambda file: arrow.open_csv(file, parse_options=PARSE).read_all(),
}
start = b'id,text\r\n1,"'
for place in (-2, -1, 0):
    filler = b"x" * (BLOCK + place - len(start))
    content = start + filler + b'\r\ny"\r\n2,z\r\n'
    with io.StringIO(content.decode(), newline="") as file:
        csv.field_size_limit(len(content))
        expected = [row["text"] for row in csv.DictReader(file)]
    for name, read in READ.items():
        found = read(io.BytesIO(content))["text"].to_pylist()
        print(
            f"\\r at byte {content.index(13, len(start))}, {name}:",
            "right" if found == expected else f"{found[0][-2:]!r} for {expected[0][-3:]!r}",
        )
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
pyarrow 26.0.1
blocks of 1048576
\r at byte 1048574, read_csv: right
\r at byte 1048574, read_csv, one thread: right
\r at byte 1048574, open_csv: right
\r at byte 1048575, read_csv: '\ry' for '\r\ny'
\r at byte 1048575, read_csv, one thread: '\ry' for '\r\ny'
\r at byte 1048575, open_csv: '\ry' for '\r\ny'
\r at byte 1048576, read_csv: right
\r at byte 1048576, read_csv, one thread: right
\r at byte 1048576, open_csv: right
E_EXPECTED
echo "as seen before"
