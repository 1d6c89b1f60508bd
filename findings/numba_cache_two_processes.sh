#!/usr/bin/env bash
# Numba: two processes that fill one cache at once may leave the machine code of one type where that
# of another is looked for, and a later process computes a wrong result without a word.
#
# With cache=True one expects that processes share a cache safely: each file is written beside and
# renamed. But a function's index and its code are two files, and the number in the name of the code
# is chosen from the index that was read before compiling. Two processes that start with an empty
# cache, one with int64 and one with float64, both choose number 1. If A writes its index, B its
# index, B its code and then A its code, the index says "number 1 is for float64", and number 1 is
# the code for int64. The next process that adds 1 to 2.5 loads that and returns 3.
#
# What makes the order certain here is a wait before each write; nothing else of Numba is touched,
# and the order is one that two processes on two cores may have. (numba#10128 is about gufuncs.)
#
# Touches us: kernels are kept for float32 and float64, and trainings are started side by side. Each
# file of our cache holds the types that its code is for, and a checksum.
#
# Needs Python 3.11 to 3.13 as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check numba==0.68.1 numpy==2.4.6 \
    2>"$work/pip" || { cat "$work/pip" >&2; exit 2; }

cat > "$work/plus.py" <<'E_PYTHON'
import numba


@numba.njit(cache=True)
def add_one(x):
    return x + 1
E_PYTHON
cat > "$work/call.py" <<'E_PYTHON'
"""Call the function; before each write say so and wait: method, what to say, what to wait for."""
import sys
import time
from pathlib import Path

import numba
from numba.core.caching import IndexDataCacheFile
from plus import add_one

signs = Path(sys.argv[1])


def delay(method, say, wait_for):
    original = getattr(IndexDataCacheFile, method)

    def delayed(self, *arguments):
        (signs / say).touch()
        while not (signs / wait_for).exists():
            time.sleep(0.01)
        original(self, *arguments)

    setattr(IndexDataCacheFile, method, delayed)


for order in sys.argv[3:]:
    delay(*order.split(","))
value = float(sys.argv[2]) if "." in sys.argv[2] else int(sys.argv[2])
result = add_one(value)
where = "from the cache" if add_one.stats.cache_hits else "compiled"
print(f"numba {numba.__version__}: {value} + 1 = {result} ({where})", flush=True)
E_PYTHON

mkdir "$work/signs" "$work/cache"
export NUMBA_CACHE_DIR=$work/cache
call() { "$work/venv/bin/python" "$work/call.py" "$work/signs" "$@"; }
{
    call 2 _save_index,a-read,b-read _save_data,a-index,b-done >"$work/a" &
    call 2.5 _save_index,b-read,a-index >"$work/b"
    touch "$work/signs/b-done"
    wait
    cat "$work/a" "$work/b"
    call 2.5
} | tee "$work/seen"

diff - "$work/seen" <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
numba 0.68.1: 2 + 1 = 3 (compiled)
numba 0.68.1: 2.5 + 1 = 3.5 (compiled)
numba 0.68.1: 2.5 + 1 = 3 (from the cache)
E_EXPECTED
echo "as seen before"
