#!/usr/bin/env bash
# For a machine with CuPy and a CUDA GPU: runs the tests on both backends, then the throughput
# suite, and keeps its results as JSON and as a Markdown table in bench/results/, or $OUT if set.
# Installs nothing: python3 (or $PYTHON) has to bring pytest, pytest-benchmark and CuPy.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
python=${PYTHON:-python3}
results=${OUT:-bench/results}
tests=$(mktemp)
trap 'rm -f "$tests"' EXIT

# Prints the first device's name, as part of a file's name.
name=$("$python" - <<'E_PYTHON'
import re
import sys

from xpnet.backend import info

cuda = info()
if not cuda["devices"]:
    sys.exit(f"gpu.sh: CuPy and a CUDA GPU are needed, but: {cuda['cuda']}")
print(re.sub(r"[^a-z0-9]+", "-", cuda["devices"][0]["name"].lower()).strip("-"))
E_PYTHON
)

# A failing test is no reason to lose the measurements: the exit status tells of it.
status=0
"$python" -m pytest --junitxml="$tests" || status=$?
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

mkdir -p "$results"
json=$results/step-$name.json
"$python" -m pytest bench --benchmark-json="$json"
"$python" bench/report.py "$json" | tee "${json%.json}.md"
exit "$status"
