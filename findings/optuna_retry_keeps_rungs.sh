#!/usr/bin/env bash
# Optuna: a killed trial's retry keeps its rungs of successive halving, and counts twice in them.
#
# RetryHeartbeatStaleTrialCallback has what a killed process was at tried again from the start. Of
# the old trial it leaves intermediate values behind, by its documentation, but copies the system
# attributes, and there SuccessiveHalvingPruner keeps which rungs a trial has come to, and with what
# value. So the retry is not judged at these, however bad it is now, and in the rungs stand both
# values of the dead: two places are taken from the living.
#
# Below, half of the trials go on from each rung (after 1, 2, 4 steps). The one with 0.1 is killed
# after its first step; its retry has 0.7 there, worst of all, and goes on. The next has 0.2 and is
# pruned, though the others that were not killed had 0.5, 0.6 and 0.7.
#
# Touches us: what a killed process had asked for is asked again, and halving compares with what was
# reported.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON), on Linux or macOS. Fails if what is seen
# differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check numpy==2.4.6 optuna==5.0.0 \
    sqlalchemy==2.1.9 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import os
import signal
import sys
import time
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
study = optuna.create_study(
    study_name="rungs",
    storage=optuna.storages.RDBStorage(
        "sqlite:///rungs.db",
        heartbeat_interval=1,
        grace_period=2,
        heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
    ),
    pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    load_if_exists=True,
)


def run(value, killed=False):
    def objective(trial):
        trial.suggest_float("x", 0, 1)
        for step in range(1, 5):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
        return value

    study.optimize(objective, n_trials=1)


if sys.argv[1:] == ["killed"]:
    run(0.1, killed=True)
for value in (0.5, 0.6):
    run(value)
os.spawnl(os.P_WAIT, sys.executable, sys.executable, __file__, "killed")
time.sleep(5)  # its heartbeat is older than the grace period by then
run(0.7)
run(0.2)
print("optuna", optuna.__version__)
for trial in study.trials:
    steps = [f"{value} after {step}" for step, value in trial.intermediate_values.items()]
    rungs = [v for name, v in trial.system_attrs.items() if name.startswith("completed_rung")]
    again = "retry of 2, " if "failed_trial" in trial.system_attrs else ""
    print(f"{trial.number}: {again}{', '.join(steps)}, {trial.state.name}; rungs {rungs}")
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
optuna 5.0.0
0: 0.5 after 1, 0.5 after 2, 0.5 after 3, 0.5 after 4, COMPLETE; rungs [0.5, 0.5, 0.5]
1: 0.6 after 1, PRUNED; rungs [0.6]
2: 0.1 after 1, FAIL; rungs [0.1]
3: retry of 2, 0.7 after 1, 0.7 after 2, PRUNED; rungs [0.1, 0.7]
4: 0.2 after 1, PRUNED; rungs [0.2]
E_EXPECTED
echo "as seen before"
