#!/usr/bin/env bash
# Checks the whole project in fresh virtual environments: the README's first commands as they stand
# there, then packaging, style, types, tests, the other commands, and the tests once more with the
# oldest and the newest versions that the project is for. PYTHON names the interpreter to use,
# python3 if unset.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
work=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$work"' EXIT

# A caller's shell may bring another copy of the package, other options, or an order for colours.
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS FORCE_COLOR PY_COLORS GITHUB_ACTIONS
export PIP_DISABLE_PIP_VERSION_CHECK=1
TIMEFORMAT='took %1R s, %1U s of it on a processor'
python=${PYTHON:-python3}

say() { printf '\n== %s\n' "$*"; }
die() {
    printf 'check.sh: %s\n' "$*" >&2
    exit 1
}

show_versions() {
    python --version
    pip list --format=freeze | grep -iE '^(xpnet|numpy|numba|cupy|torch|scipy|scikit-learn|pandas|pyarrow|pytest|mypy|ruff)'
}

# Make a virtual environment and a copy of what is tracked; name them, and the interpreter.
fresh() {
    "$2" -m venv "$work/$1/venv"
    mkdir "$work/$1/copy"
    git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$work/$1/copy"
}
# Run a command of a fresh environment, in its copy.
within() (
    cd "$work/$1/copy"
    PATH=$work/$1/venv/bin:$PATH "${@:2}"
)

# The lines of the README's first block of commands.
mapfile -t commands < <(awk '/^```/ { if (inside) exit; inside = /sh$/; next } inside' README.md)
[[ ${#commands[@]} -eq 2 ]] || die "the README begins with ${#commands[@]} commands, not two"
for i in 0 1; do
    say "README: ${commands[i]}"
    fresh "readme-$i" "$python"
    time within "readme-$i" bash -euc "${commands[i]}"
done
for file in digits.safetensors digits.png; do
    [[ -s $work/readme-0/copy/$file ]] || die "the README's first command has not written $file"
done

say "the same tests twice in one process"
within readme-1 python -c 'import pytest; assert pytest.main(["-q"]) == pytest.main(["-q"]) == 0'

say "install into a fresh virtual environment"
"$python" -m venv "$work/venv"
PATH=$work/venv/bin:$PATH
# PyTorch is what the tests compare with; it is not made for every Python and machine.
left_out=()
if ! pip install -qq '.[dev,oracle]'; then
    left_out+=("the live comparison with PyTorch, which can't be installed here")
    pip install -qq '.[dev]'
fi
# CuPy and NVRTC compile the CUDA kernels, for which they need no GPU.
if ! pip install -qq '.[cuda-check]'; then
    left_out+=("compiling the CUDA kernels for a GPU: NVRTC can't be installed here")
fi
show_versions

say "ruff"
ruff check
ruff format --check

say "mypy"
mypy

say "all tests, in random order"
# As a module, for the source tree to come first: doctests want it.
time python -m pytest -q -m "" -n auto --maxprocesses 4

say "scikit-learn's own tests of its MLP, on ours"
python ci/sklearn_mlp.py

say "a training that is killed fifty times, and two in one folder fifty times"
python ci/kills.py --kills 50 --rivals 50

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
(LC_ALL=C && [[ ${output//[$'\n\t']/} != *[[:cntrl:]]* ]]) || die "piped output holds control codes"
cd "$root"

# Print the first of some interpreters that runs: one on the PATH, or one that pyenv has.
interpreter() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            if "$candidate" --version >/dev/null 2>&1; then
                printf '%s\n' "$candidate"
                return
            fi
        done
    done
    return 1
}
# Run tests with some versions, of an interpreter and of what pip installs with options.
with_versions() (
    say "the tests with the $1 versions"
    "$2" -m venv "$work/$1"
    PATH=$work/$1/bin:$PATH
    pip install -qq "${@:3}" '.[dev]'
    show_versions
    time python -m pytest -q -n auto --maxprocesses 4 "${pytest_options[@]}"
)

python ci/oldest.py >"$work/oldest.txt"
if found=$(interpreter 3.11); then
    # What they depend on is the newest, and may deprecate how they use it.
    pytest_options=(-W "ignore::DeprecationWarning")
    with_versions oldest "$found" -c "$work/oldest.txt"
else
    left_out+=("the tests with the oldest versions: no Python 3.11 runs here")
fi
if found=$(interpreter 3.13 3.12); then
    pytest_options=(-m "")
    with_versions newest "$found"
else
    left_out+=("the tests with the newest versions: no Python 3.13 or 3.12 runs here")
fi

say "all is well"
[[ ${#left_out[@]} -eq 0 ]] || printf 'but left out: %s\n' "${left_out[@]}"
