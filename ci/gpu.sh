#!/usr/bin/env bash
# For a machine with CuPy and a CUDA GPU.
#
# `ci/gpu.sh quick` tries in four minutes what the library claims of a GPU, and writes a table:
# see `ci/gpu.sh quick --help`. Otherwise it runs the tests on both backends, then the benchmarks on
# both, rivals last, and keeps their results as JSON and Markdown in bench/results/, or $OUT if set.
# Arguments go to bench/run.py: `ci/gpu.sh --device cuda --only ceilings,step` takes a few minutes,
# `ci/gpu.sh --device cuda --only rivals -k 4096` the races of one net.
# Of the tests those that need a GPU run; with TESTS=all every one, with TESTS=none none.
# PYTEST_OPTIONS goes to the tests alone: "-n 8 --timeout=120", where there are such plugins.
# With LIMIT=560 all is broken off after so many seconds, as by Ctrl-C: what is measured is kept.
# Installs nothing: python3 (or $PYTHON) has to bring pytest, pytest-benchmark and CuPy, and may
# bring PyTorch and JAX.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
python=${PYTHON:-python3}
if [ "${1:-}" = quick ]; then
    exec "$python" ci/gpu/quick.py "${@:2}"
fi
results=${OUT:-bench/results}
tests=$(mktemp)
trap 'rm -f "$tests"' EXIT

# Run Python for as long as is left.
run() {
    if [ -z "${LIMIT:-}" ]; then
        "$python" "$@"
    elif [ "$SECONDS" -lt "$LIMIT" ]; then
        timeout --signal=INT --kill-after=20 $((LIMIT - SECONDS)) "$python" "$@"
    else
        echo "gpu.sh: there is no time left for $*" >&2
        return 124
    fi
}

"$python" - <<'E_PYTHON'
import sys

from xpnet.backends.select import info

cuda = info()
if not cuda["devices"]:
    sys.exit(f"gpu.sh: CuPy and a CUDA GPU are needed, but: {cuda['cuda']}")
E_PYTHON

# A failing test is no reason to lose the measurements: the exit status tells of it.
status=0
if [ "${TESTS:-}" != none ]; then
    chosen=(-k "cupy or gpu or tf32")
    [ "${TESTS:-}" = all ] && chosen=()
    # Nor is a module that can't be imported one to lose the other tests.
    read -ra options <<< "${PYTEST_OPTIONS:-}"
    run -m pytest -m "" --junitxml="$tests" --continue-on-collection-errors \
        ${chosen[@]+"${chosen[@]}"} ${options[@]+"${options[@]}"} || status=$?
    [ -z "${OUT:-}" ] || cp "$tests" "$OUT/tests.xml"
    "$python" - "$tests" <<'E_PYTHON' || status=1
import sys
from pathlib import Path
from xml.etree import ElementTree

if not Path(sys.argv[1]).stat().st_size:
    sys.exit("gpu.sh: the tests were broken off, and say nothing")
cases = [c for c in ElementTree.parse(sys.argv[1]).iter("testcase") if "cupy" in c.get("name", "")]
ran = [case for case in cases if case.find("skipped") is None]
failed = [c for c in ran if c.find("failure") is not None or c.find("error") is not None]
skipped = len(cases) - len(ran)
print(f"\ntests on CuPy: {len(ran)} ran, {len(failed)} of them failed, {skipped} skipped\n")
sys.exit(None if ran else "gpu.sh: no test ran on CuPy")
E_PYTHON
fi

run bench/run.py --threads "$OPENBLAS_NUM_THREADS" -o "$results" "$@" || status=$?
exit "$status"
