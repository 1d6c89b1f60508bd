#!/usr/bin/env bash
# Optuna: among the choices 1 and 1.0 the best one may be reported, and refitted, as the other.
#
# For scikit-learn max_features=1 is one feature and max_features=1.0 all of them, and GridSearchCV
# tells them apart. A study keeps the number of a choice, and finds it by ==, so that 1.0, and True,
# are kept as the 1 that stands before them. The trial itself is made with 1.0: its score stands
# under best_score_, best_params_ says 1, and what OptunaSearchCV refits with that is a forest that
# never had this score. (A comment in CategoricalDistribution's source knows of it, its
# documentation doesn't.)
#
# Touches us: choices are names for Optuna, and two of one name are refused.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check numpy==2.4.6 optuna==5.0.0 \
    optuna-integration==5.0.0 pandas==3.1.1 scikit-learn==1.9.1 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
import warnings

import optuna
import optuna_integration
import sklearn
from sklearn.datasets import make_regression
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score

for module in (optuna, optuna_integration, sklearn):
    print(module.__name__, module.__version__)
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore")  # of what is experimental, and to be removed

X, y = make_regression(300, 20, n_informative=3, random_state=0)
forest = RandomForestRegressor(20, random_state=0)
choices = [1, 1.0]
searches = {
    "GridSearchCV": GridSearchCV(forest, {"max_features": choices}),
    "OptunaSearchCV": optuna_integration.OptunaSearchCV(
        forest,
        {"max_features": optuna.distributions.CategoricalDistribution(choices)},
        random_state=0,
    ),
}
for name, search in searches.items():
    search.fit(X, y)
    again = cross_val_score(search.best_estimator_, X, y).mean()
    print(
        f"{name:14} best_params_ {search.best_params_}, best_score_ {search.best_score_:.2f};",
        f"that of best_estimator_ {again:.2f}",
    )
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
optuna 5.0.0
optuna_integration 5.0.0
sklearn 1.9.1
GridSearchCV   best_params_ {'max_features': 1.0}, best_score_ 0.87; that of best_estimator_ 0.87
OptunaSearchCV best_params_ {'max_features': 1}, best_score_ 0.87; that of best_estimator_ 0.34
E_EXPECTED
echo "as seen before"
