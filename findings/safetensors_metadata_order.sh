#!/usr/bin/env bash
# safetensors writes the entries of __metadata__ in another order in every process.
#
# The arrays of a file are sorted, so one expects that the same tensors and the same metadata give
# the same bytes. But the metadata pass through a hash map with a random seed: with three entries a
# file has one of six headers, whatever the order of the dict that was given, and PYTHONHASHSEED has
# no say. So hashes of model files, caches by content, reproducible builds and deduplicating stores
# see another file, though every value in it is equal. With one entry, or none, files are equal.
#
# Touches us: equal models must be equal bytes, and a run that goes on must write the file of one
# that was not cut off; so all that a model file says stands in one entry, as one JSON text.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6 \
    2>"$work/pip" || { cat "$work/pip" >&2; exit 2; }
cat > "$work/save.py" <<'E_PYTHON'
import hashlib
import sys

import numpy as np
from safetensors.numpy import save

names = "abc"[: int(sys.argv[1])]
data = save({"weight": np.zeros(2)}, {name: "1" for name in names} or None)
print(hashlib.sha256(data).hexdigest())
E_PYTHON
for entries in 0 1 3; do
    for _ in $(seq 30); do
        PYTHONHASHSEED=0 "$work/venv/bin/python" "$work/save.py" "$entries"
    done | sort -u | wc -l | awk -v n="$entries" '
        { print n " entries: " ($1 == 1 ? "one file" : "different files") }'
done | tee "$work/seen"

diff - "$work/seen" <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
0 entries: one file
1 entries: one file
3 entries: different files
E_EXPECTED
echo "as seen before"
