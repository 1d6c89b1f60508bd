#!/usr/bin/env bash
# Optuna: where trials are pruned, the hyper-parameter that matters most may come out as the least.
#
# get_param_importances, and the plot of that name, look at trials that ran to their end. With a
# pruner these are alike in what decides: a bad learning rate is pruned, so among those that are
# left it makes no difference any more, and what hardly matters is given the weight. Below, x counts
# 25 times as much as y, and y is found to matter more: after successive halving of random settings,
# and with the sampler and the pruner that create_study has by default. Pruned trials have a value
# too; in a study that has them as complete ones x has its place back.
#
# Touches us: successive halving stops most trials. What importances are computed from has to hold
# them.
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
from functools import partial

import optuna
from optuna.importance import get_param_importances
from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

print("optuna", optuna.__version__)
optuna.logging.set_verbosity(optuna.logging.WARNING)
HALVING = partial(SuccessiveHalvingPruner, min_resource=1, reduction_factor=3)


def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", -5, 5)
    value = x**2 + y**2 / 25
    for epoch in range(1, 28):
        trial.report(value, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


def search(sampler, pruner):
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=200)
    return study


def with_pruned(study):
    whole = optuna.create_study()
    for trial in study.trials:
        trial.state = TrialState.COMPLETE
        whole.add_trial(trial)
    return whole


def show(name, studies):
    complete = sum(t.state == TrialState.COMPLETE for study in studies for t in study.trials)
    found = [get_param_importances(study) for study in studies]
    first = sum(importance["x"] > importance["y"] for importance in found)
    print(f"    {name:23} {complete:5} of 1000 complete, x before y in {first} of 5 studies")


for sampler, pruners in {
    RandomSampler: (NopPruner, HALVING),
    TPESampler: (NopPruner, MedianPruner),
}.items():
    print(sampler.__name__)
    for make in pruners:
        studies = [search(sampler(seed=seed), make()) for seed in range(5)]
        show(type(studies[0].pruner).__name__, studies)
    show("pruned as complete", [with_pruned(study) for study in studies])
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
optuna 5.0.0
RandomSampler
    NopPruner                1000 of 1000 complete, x before y in 5 of 5 studies
    SuccessiveHalvingPruner    37 of 1000 complete, x before y in 0 of 5 studies
    pruned as complete       1000 of 1000 complete, x before y in 5 of 5 studies
TPESampler
    NopPruner                1000 of 1000 complete, x before y in 5 of 5 studies
    MedianPruner              383 of 1000 complete, x before y in 0 of 5 studies
    pruned as complete       1000 of 1000 complete, x before y in 5 of 5 studies
E_EXPECTED
echo "as seen before"
