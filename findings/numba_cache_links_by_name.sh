#!/usr/bin/env bash
# Numba (0.68.1) links a function from its cache with another one of the same name: wrong results.
#
# A program generates compiled loops: outer functions with names of their own and cache=True, each of
# which calls an inner function that differs, but has the same name in all. One process leaves the
# loop for 1 in the cache. The next one compiles that for 10 first, then takes that for 1 from the
# cache: its inner function is found by a name with a number that counts up in each process, so it
# is the one for 10 that runs. Nothing is said. With inner names of their own all are right.
#
# Touches us: xpnet's loops from its tables call functions whose names have a hash of their source.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check numba==0.68.1 numpy==2.4.6 2>pip ||
    { cat pip >&2; exit 2; }
cat > loops.py <<'E_PYTHON'
import numba
import numpy as np

# Large enough that LLVM calls it, and does not write it into the loop.
TERMS = "".join(f"        total += {{factor}}.0 * x[i] + np.sin(x[i] + {j})\n" for j in range(60))
INNER = f"def {{name}}(x):\n    total = 0.0\n    for i in range(len(x)):\n{TERMS}    return total\n"
OUTER = "def outer_{factor}(x):\n    return inner(x) + inner(x[::2].copy())\n"


def make(factor, name):
    found = {"np": np, "__name__": __name__}
    exec(compile(INNER.format(factor=factor, name=name), __file__, "exec"), found)
    found["inner"] = numba.njit(found[name])
    exec(compile(OUTER.format(factor=factor), __file__, "exec"), found)
    return numba.njit(cache=True)(found[f"outer_{factor}"])
E_PYTHON
cat > run.py <<'E_PYTHON'
import sys

import numpy as np
from loops import make

own, *factors = sys.argv[1:]
x = np.ones(4)
for factor in map(int, factors):
    loop = make(factor, f"inner_{factor}" if own == "own" else "inner")
    found, right = loop(x), 6 * sum(factor + np.sin(1.0 + j) for j in range(60))
    where = "from the cache" if sum(loop.stats.cache_hits.values()) else "compiled"
    told = "right" if abs(found - right) < 1e-6 else f"{found:.1f}, right is {right:.1f}"
    print(f"  {factor} {where}: {told}")
E_PYTHON
for names in same own; do
    export NUMBA_CACHE_DIR=$work/$names
    for factors in "1" "10 1"; do
        echo "$names inner names, a process for $factors"
        # shellcheck disable=SC2086
        venv/bin/python run.py $names $factors
    done
done | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
same inner names, a process for 1
  1 compiled: right
same inner names, a process for 10 1
  10 compiled: right
  1 from the cache: 3609.8, right is 369.8
own inner names, a process for 1
  1 compiled: right
own inner names, a process for 10 1
  10 compiled: right
  1 from the cache: right
E_EXPECTED
echo "as seen before"
