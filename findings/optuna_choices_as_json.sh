#!/usr/bin/env bash
# Optuna: in memory too, choices that are not JSON fail, from the eleventh trial on.
#
# Choices that are tuples, classes or functions call forth a warning about "persistent storage", so
# one expects that a study in memory takes them, as it did. Since 5.0 the sampler's default is
# constant_liar=True, for which what is drawn of a trial is put down as JSON, in memory as well. The
# first ten trials are drawn at random, without it. The eleventh raises TypeError for choices that
# JSON doesn't know. Tuples come back from it as lists: a trial that is drawn while another one has
# not asked for its tuple yet (two at once, by n_jobs or by ask and tell) raises ValueError.
#
# Touches us: trials are asked for many at once. What Optuna chooses among are names; what these
# stand for it never sees.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check numpy==2.4.6 optuna==5.0.0 2>pip ||
    { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import warnings

import optuna
from optuna.samplers import TPESampler

print("optuna", optuna.__version__)
optuna.logging.set_verbosity(optuna.logging.CRITICAL)
warnings.filterwarnings("ignore", "Choices for a categorical distribution")


def attempt(study, call):
    try:
        call()
    except Exception as error:
        print(f"    after {len(study.trials)} trials {type(error).__name__}: {error}")
    else:
        print(f"    {len(study.trials)} trials, no error")


def draw(trial, choices):
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("choice", choices)
    return x


def two_at_once(study):
    study.optimize(lambda trial: draw(trial, [(64,), (64, 64)]), n_trials=10)
    first, second = study.ask(), study.ask()
    first.suggest_float("x", 0, 1)
    second.suggest_float("x", 0, 1)


for options in ({}, {"constant_liar": False}):
    print(f"TPESampler({', '.join(f'{name}={value}' for name, value in options.items())})")
    study = optuna.create_study(sampler=TPESampler(seed=0, **options))
    print("  functions, one trial after the other")
    attempt(study, lambda: study.optimize(lambda trial: draw(trial, [min, max]), n_trials=30))
    print("  tuples, two trials at once")
    study = optuna.create_study(sampler=TPESampler(seed=0, **options))
    attempt(study, lambda: two_at_once(study))
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
optuna 5.0.0
TPESampler()
  functions, one trial after the other
    after 11 trials TypeError: Object of type builtin_function_or_method is not JSON serializable
  tuples, two trials at once
    after 12 trials ValueError: '[64, 64]' not in ((64,), (64, 64)).
TPESampler(constant_liar=False)
  functions, one trial after the other
    30 trials, no error
  tuples, two trials at once
    12 trials, no error
E_EXPECTED
echo "as seen before"
