#!/usr/bin/env bash
# NumPy's take(out=) and compress(out=) turned the direction of their cast check round in 2.5.
#
# Up to 2.4 they ask whether `out` can be cast safely to the source: int32 taken into int64 is a
# TypeError, while float64 into float32, float64 into int32 and int64 into int8 pass without a word,
# the last with the high bits cut off. From 2.5 on they ask whether the source can be cast to `out`
# by the same-kind rule, and only warn if not: what was refused passes, what changes the kind gives
# a DeprecationWarning, and int64 into int8 still passes without a word (release notes of NumPy
# 2.5.0, gh-30615). So a TypeError that code relied on to catch a wrong dtype is gone, and CuPy,
# which refuses every other dtype ("Output dtype mismatch"), agrees with neither.
#
# Touches us: gathering a batch took it for granted that a wrong dtype raises; it compares dtypes
# itself now.
#
# Needs Python 3.12 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/take.py" <<'E_PYTHON'
import warnings

import numpy as np

print("numpy", np.__version__)
CASES = [("int32", "int64", 7), ("float32", "float64", 7), ("float64", "float32", 0.1)]
CASES += [("float64", "int32", 1.7), ("int64", "int8", 300)]
for source, target, value in CASES:
    for name in ("take", "compress"):
        out = np.zeros(1, target)
        x = np.array([value], source)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                x.take([0], out=out) if name == "take" else x.compress([True], out=out)
                found = f"{out[0]}"
            except TypeError:
                found = "TypeError"
        warned = {w.category.__name__ for w in caught}
        print(f"{name:8} {source:>7} {value:<3} into {target:7}", found, *warned)
E_PYTHON
"${PYTHON:-python3}" -m venv "$work/venv"
for version in 2.4.6 2.5.2; do
    "$work/venv/bin/pip" install -qq --disable-pip-version-check "numpy==$version" 2>"$work/pip" ||
        { cat "$work/pip" >&2; exit 2; }
    "$work/venv/bin/python" "$work/take.py"
done | tee "$work/seen"

diff - "$work/seen" <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
numpy 2.4.6
take       int32 7   into int64   TypeError
compress   int32 7   into int64   TypeError
take     float32 7   into float64 TypeError
compress float32 7   into float64 TypeError
take     float64 0.1 into float32 0.10000000149011612
compress float64 0.1 into float32 0.10000000149011612
take     float64 1.7 into int32   1
compress float64 1.7 into int32   1
take       int64 300 into int8    44
compress   int64 300 into int8    44
numpy 2.5.2
take       int32 7   into int64   7
compress   int32 7   into int64   7
take     float32 7   into float64 7.0
compress float32 7   into float64 7.0
take     float64 0.1 into float32 0.10000000149011612
compress float64 0.1 into float32 0.10000000149011612
take     float64 1.7 into int32   1 DeprecationWarning
compress float64 1.7 into int32   1 DeprecationWarning
take       int64 300 into int8    44
compress   int64 300 into int8    44
E_EXPECTED
echo "as seen before"
