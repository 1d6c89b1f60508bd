#!/usr/bin/env bash
# pyarrow casts text of more digits than a decimal128 has to other numbers, now and then.
#
# pyarrow.compute.cast of text to decimal128(38, 0) works modulo 2**128, and looks at the precision
# of what is left: of 39, 40 and 60 digits some come out as 38 digits of another number, negative
# ones too, without an error, and others are refused. Where the remainder is too long it says that
# the value does not fit. decimal256 holds up to 76 digits rightly, and its casts beyond are refused;
# the CSV reader refuses 60 digits for a decimal128 as well.
#
# Touches us: whole numbers in text are held by what has their digits, which are counted first.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pyarrow==26.0.1 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import io

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

print("pyarrow", pa.__version__)


def tried(read):
    try:
        return read()
    except pa.ArrowInvalid as error:
        return f"refused: {str(error).splitlines()[0][-47:]}"


for name, kind in (("decimal128", pa.decimal128(38, 0)), ("decimal256", pa.decimal256(76, 0))):
    for digits in (38, 39, 40, 60, 77):
        for text in ("9" * digits, "1" + "0" * (digits - 1)):
            found = tried(lambda: str(pc.cast(pa.array([text]), kind)[0].as_py()))
            print(name, digits, text[:2], "right" if found == text else found)
table = io.BytesIO(("a\n" + "9" * 60 + "\n").encode())
options = csv.ConvertOptions(column_types={"a": pa.decimal128(38, 0)})
print("read_csv", tried(lambda: csv.read_csv(table, convert_options=options)["a"].to_pylist()))
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
pyarrow 26.0.1
decimal128 38 99 right
decimal128 38 10 right
decimal128 39 99 -20847100762815390390123822295304634369
decimal128 39 10 refused: Decimal value does not fit in precision 38
decimal128 40 99 refused: Decimal value does not fit in precision 38
decimal128 40 10 -20847100762815390390123822295304634368
decimal128 60 99 -53988160564045579057371199750308626433
decimal128 60 10 62657657327783134786937801511322779648
decimal128 77 99 refused: Decimal value does not fit in precision 38
decimal128 77 10 refused: Decimal value does not fit in precision 38
decimal256 38 99 right
decimal256 38 10 right
decimal256 39 99 right
decimal256 39 10 right
decimal256 40 99 right
decimal256 40 10 right
decimal256 60 99 right
decimal256 60 10 right
decimal256 77 99 refused: Decimal value does not fit in precision 76
decimal256 77 10 refused: Decimal value does not fit in precision 76
read_csv refused: mal128(38, 0): precision not supported by type.
E_EXPECTED
echo "as seen before"
