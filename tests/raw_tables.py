"""Raw tables of many kinds with labels, and estimators for them that are quickly fitted."""

import numpy as np
import pytest
from sklearn import datasets

from xpnet import TabularClassifier, TabularRegressor

BOTH = pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])

#: What makes a fit quick; the recipe's folds, calibration and the rest stay.
QUICK = {"hidden": 8, "epochs": 4, "members": 2, "folds": 2, "random_state": 0, "device": "cpu"}
PLAIN = {"recipe": "plain", "hidden": 8, "epochs": 4, "random_state": 0, "device": "cpu"}

IRIS, SPECIES = datasets.load_iris(return_X_y=True)
NAMES = datasets.load_iris().target_names
LENGTHS = IRIS[:, 0] * 2 + IRIS[:, 2]
LABELS = {TabularClassifier: SPECIES, TabularRegressor: LENGTHS}

N = 80
RAW = {
    "size": [None if i % 9 == 4 else i % 7 + 0.5 for i in range(N)],
    "colour": [["red", "green", "blue", None][i % 4] for i in range(N)],
    "day": [f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d}" for i in range(N)],
    "zip": [1000 + i % 3 for i in range(N)],
}
RED = ["yes" if colour == "red" else "no" for colour in RAW["colour"]]


def of_dicts(raw):
    return [dict(zip(raw, row, strict=True)) for row in zip(*raw.values(), strict=True)]


def of_objects(raw):
    return np.array([*raw.values()], object).T


def of_arrow(raw):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra 'files')")
    return pa.table(raw)


def of_pandas(raw):
    pd = pytest.importorskip("pandas", reason="pandas is not installed (extra 'openml')")
    return pd.DataFrame(raw)


def of_polars(raw):
    pl = pytest.importorskip("polars", reason="polars is not installed")
    return pl.DataFrame(raw)


def quick(kind=TabularClassifier, **options):
    return kind(**(QUICK | options))


def fitted(kind=TabularClassifier, **options):
    return quick(kind, **options).fit(IRIS, LABELS[kind])
