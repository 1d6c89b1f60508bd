#!/usr/bin/env bash
# For a machine with CuPy and a CUDA GPU: runs the tests on both backends, then the benchmarks on
# both, rivals last, and keeps their results as JSON and Markdown in bench/results/, or $OUT if set.
# Arguments go to bench/run.py: `ci/gpu.sh --device cuda --only ceilings,step` takes a few minutes,
# `ci/gpu.sh --device cuda --only rivals -k 4096` the races of one net.
# Of the tests those that need a GPU run; with TESTS=all every one.
# Installs nothing: python3 (or $PYTHON) has to bring pytest, pytest-benchmark and CuPy, and may
# bring PyTorch and JAX.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
python=${PYTHON:-python3}
results=${OUT:-bench/results}
tests=$(mktemp)
trap 'rm -f "$tests"' EXIT

"$python" - <<'E_PYTHON'
import sys

from xpnet.backend import info

cuda = info()
if not cuda["devices"]:
    sys.exit(f"gpu.sh: CuPy and a CUDA GPU are needed, but: {cuda['cuda']}")
E_PYTHON

# A failing test is no reason to lose the measurements: the exit status tells of it.
status=0
chosen=(-k "cupy or gpu or tf32")
[ "${TESTS:-}" = all ] && chosen=()
"$python" -m pytest --junitxml="$tests" ${chosen[@]+"${chosen[@]}"} || status=$?
"$python" - "$tests" <<'E_PYTHON' || status=1
import sys
from xml.etree import ElementTree

cases = [c for c in ElementTree.parse(sys.argv[1]).iter("testcase") if "cupy" in c.get("name", "")]
ran = [case for case in cases if case.find("skipped") is None]
failed = [c for c in ran if c.find("failure") is not None or c.find("error") is not None]
skipped = len(cases) - len(ran)
print(f"\ntests on CuPy: {len(ran)} ran, {len(failed)} of them failed, {skipped} skipped\n")
sys.exit(None if ran else "gpu.sh: no test ran on CuPy")
E_PYTHON

"$python" bench/run.py --threads "$OPENBLAS_NUM_THREADS" -o "$results" "$@" || status=$?
exit "$status"
