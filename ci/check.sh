#!/usr/bin/env bash
# Checks the whole project in a fresh virtual environment: packaging, style, types, tests, and the
# README's commands. PYTHON names the interpreter to use, python3 if unset.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$work"' EXIT

# A caller's shell may bring another copy of the package, or an order to write in colour.
unset PYTHONPATH FORCE_COLOR PY_COLORS GITHUB_ACTIONS
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'check.sh: %s\n' "$*" >&2
    exit 1
}

say "install into a fresh virtual environment"
"${PYTHON:-python3}" -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
# PyTorch is what the tests compare with; it is not made for every Python and machine.
if ! pip install -qq '.[dev,oracle]'; then
    echo "check.sh: PyTorch can't be installed here: the live comparison with it is skipped"
    pip install -qq '.[dev]'
fi
# CuPy and NVRTC compile the CUDA kernels, for which they need no GPU.
if ! pip install -qq '.[cuda-check]'; then
    echo "check.sh: NVRTC can't be installed here: the CUDA kernels are not compiled for a GPU"
fi
python --version
pip list --format=freeze | grep -iE '^(xpnet|numpy|cupy|torch|scikit-learn|pytest|mypy|ruff)'

say "ruff"
ruff check
ruff format --check

say "mypy"
mypy

say "pytest"
python -m pytest  # as a module, for the source tree to come first: doctests want it

say "scikit-learn's own tests of its MLP, on ours"
python ci/sklearn_mlp.py

say "a training that is killed fifty times"
python ci/kills.py --kills 50

say "the benchmarks run (hardly measured)"
python bench/run.py --quick -o "$work/bench"

say "the commands, as installed, in an empty folder"
mkdir "$work/empty"
cd "$work/empty"
package=$(python -c 'import xpnet; print(xpnet.__file__)')
echo "$package"
[[ $package == "$work/venv/"* ]] || die "that is not the installed package"

# Their output goes through a pipe, where nothing may colour it or move the cursor.
run() {
    printf '$ %s\n' "$*"
    "$@" 2>&1 | tee -a "$work/output"
}
TIMEFORMAT='took %1R s'
time run xpnet train digits
run xpnet predict digits.safetensors digits -o out.csv
run xpnet evaluate digits.safetensors digits
run xpnet info
for file in digits.safetensors digits.png out.csv; do
    [[ -s $file ]] || die "the commands have not written $file"
done

status=0
run xpnet train nosuch.csv || status=$?
[[ $status -eq 2 ]] || die "a wrong command ended with status $status, not 2"
lines=$(xpnet train nosuch.csv 2>&1 >/dev/null | wc -l) || true
[[ $lines -eq 1 ]] || die "a wrong command gave $lines lines of error, not one"

output=$(<"$work/output")
LC_ALL=C
[[ ${output//[$'\n\t']/} != *[[:cntrl:]]* ]] || die "piped output holds control codes"

say "all is well"
