"""Who races at accuracy: each with its defaults, prepared as its own documentation recommends.

A rival is a class with ``packages``, whose versions are told; ``why_not()``, which says in a few
words why it can't run here, or nothing; and, made of a `Task`, ``fit(X, y)``, ``predict(X)`` and,
for classes, ``predict_proba(X)`` with ``classes``. X is a pandas frame as the file has it: text,
gaps, dates as text. As a script this is one of them in a process of its own, for bench/accuracy.py:
``accuracy_rivals.py NAME LIMIT`` takes jobs as lines. Its interpreter needs none of the others'
packages.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

#: Predictions are timed on so many rows, the best of so many times.
ROWS, TIMES = 1000, 3


@dataclass(frozen=True)
class Task:
    """What is asked of a rival: "classes" or "values", from which seed."""

    kind: str
    seed: int

    @property
    def of_classes(self) -> bool:
        """Whether probabilities are asked for."""
        return self.kind == "classes"


# -- columns as they suit those that know nothing of dates and text ----


class Columns:
    """A frame's columns as numbers and categories, learnt from the training rows.

    A date becomes its day since 1970, year, month, day of the week and, with a time, the hour: a
    reader's usual choice, for none of the rivals has one. Other text is a category; one that
    training did not have is a gap.
    """

    def fit(self, X: Any) -> Columns:  # noqa: D102
        from pandas.api.types import is_numeric_dtype

        text = [name for name in X if not is_numeric_dtype(X[name])]
        self.dates = [name for name in text if _is_date(X[name])]
        self.levels = {
            name: sorted(X[name].dropna().unique()) for name in text if name not in self.dates
        }
        X = self.transform(X)
        self.numbers = [name for name in X if name not in self.levels]
        self.with_gaps = [name for name in self.numbers if X[name].isna().any()]
        self.medians = X[self.numbers].median().fillna(0.0)
        return self

    def transform(self, X: Any) -> Any:
        """Return numbers as float64, categories as such; gaps stay."""
        import pandas as pd

        found: dict[str, Any] = {}
        for name in X:
            if name in self.dates:
                times = pd.to_datetime(X[name], errors="coerce", utc=True)
                found |= _calendar(name, times.dt.tz_localize(None))
            elif name in self.levels:
                known = X[name].where(X[name].isin(self.levels[name]))
                found[name] = pd.Categorical(known, categories=self.levels[name])
            else:
                found[name] = pd.to_numeric(X[name]).to_numpy(float)
        return pd.DataFrame(found, index=X.index)

    def filled(self, X: Any) -> Any:
        """Return the same with medians for gaps in numbers, and a column that says where."""
        X = self.transform(X)
        gaps = {f"{name} missing": X[name].isna().to_numpy(float) for name in self.with_gaps}
        return X.fillna(self.medians).assign(**gaps)


def _is_date(column: Any) -> bool:
    values = column.dropna().astype("str")
    return bool(len(values)) and bool(values.str.match(r"\d{4}-\d\d-\d\d( |T|$)").all())


def _calendar(name: str, times: Any) -> dict[str, Any]:
    import pandas as pd

    days = (times - pd.Timestamp("1970-01-01")) / pd.Timedelta("1D")
    parts = {"day": days, "year": times.dt.year, "month": times.dt.month}
    parts |= {"weekday": times.dt.day_of_week, "hour": times.dt.hour}
    return {f"{name} {part}": values.to_numpy(float) for part, values in parts.items()}


# -- ours ----


class Ours:
    """What ``xpnet train`` does by default, given all rows of the training file.

    A fifth of them (a hundredth above 10⁴) is held out as the development set, as the command does;
    ``dev=False`` trains on all.
    """

    packages: ClassVar[tuple[str, ...]] = ("xpnet", "numpy", "numba", "pyarrow")

    @classmethod
    def why_not(cls) -> str | None:  # noqa: D102
        return _missing("xpnet", "pyarrow")

    def __init__(self, task: Task, dev: bool = True) -> None:
        self.task, self.dev = task, dev

    def fit(self, X: Any, y: Any) -> None:  # noqa: D102
        from xpnet.recipes.settings import Settings
        from xpnet.tabular.dataset import Dataset
        from xpnet.tabular.experiment import Experiment

        kind = None if self.task.of_classes else "regression"
        # A test set that is kept apart keeps the rest together. What it holds is used for nothing:
        # columns are learnt from the training file alone.
        some = _varied(y)
        dataset = Dataset("train", X, y, test_rows=X.iloc[some], test_target=y[some])
        settings = Settings(seed=self.task.seed, task=kind)
        experiment = Experiment.prepare(dataset, settings, "cpu", dev=self.dev)
        experiment.run()
        self.model = experiment.model
        self.classes = self.model.target.classes

    def predict(self, X: Any) -> Any:  # noqa: D102
        return np.ravel(self.model.predict(X))

    def predict_proba(self, X: Any) -> Any:  # noqa: D102
        return self.model.predict_proba(X)


def _varied(y: Any) -> Any:
    """Return a few rows that do not all have the same label."""
    other = int(np.argmax(np.asarray(y != y[0])))
    return [0, other]


class Recipe:
    """`xpnet.TabularClassifier` or `xpnet.TabularRegressor` with a recipe of that name.

    ``auto:1`` is the recipe with one network.
    """

    packages: ClassVar[tuple[str, ...]] = Ours.packages

    @classmethod
    def why_not(cls) -> str | None:  # noqa: D102
        if find_spec("xpnet") is None:
            return _missing("xpnet")
        import xpnet

        there = hasattr(xpnet, "TabularClassifier")
        return None if there else f"xpnet {xpnet.__version__} has no TabularClassifier"

    def __init__(self, task: Task, name: str) -> None:
        import xpnet

        kind = "TabularClassifier" if task.of_classes else "TabularRegressor"
        recipe, _, members = name.partition(":")
        given = {"members": int(members)} if members else {}
        self.model = getattr(xpnet, kind)(recipe=recipe, random_state=task.seed, **given)

    def fit(self, X: Any, y: Any) -> None:  # noqa: D102
        self.model.fit(X, y)
        self.classes = getattr(self.model, "classes_", None)

    def predict(self, X: Any) -> Any:  # noqa: D102
        return np.ravel(self.model.predict(X))

    def predict_proba(self, X: Any) -> Any:  # noqa: D102
        return self.model.predict_proba(X)


# -- scikit-learn ----


class ScikitLearn:
    """An estimator of scikit-learn behind what it needs of preprocessing."""

    packages: ClassVar[tuple[str, ...]] = ("scikit-learn", "numpy", "scipy")

    @classmethod
    def why_not(cls) -> str | None:  # noqa: D102
        return _missing("sklearn", "pandas")

    def __init__(self, task: Task) -> None:
        self.task, self.columns = task, Columns()

    def fit(self, X: Any, y: Any) -> None:  # noqa: D102
        self.columns.fit(X)
        self.model = self.make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its iterations, which are its default
            self.model.fit(self.given(X), y)
        self.classes = getattr(self.model, "classes_", None)

    def predict(self, X: Any) -> Any:  # noqa: D102
        return self.model.predict(self.given(X))

    def predict_proba(self, X: Any) -> Any:  # noqa: D102
        return self.model.predict_proba(self.given(X))

    def given(self, X: Any) -> Any:
        """Return the columns as the estimator takes them."""
        return self.columns.filled(X)

    def make(self) -> Any:
        """Return the estimator."""
        raise NotImplementedError

    def behind_scaling(self, classifier: Any, regressor: Any) -> Any:
        """Return an estimator of standardised numbers and one-hot categories.

        Values are standardised as well: the squared error of raw ones has no fitting step size.
        """
        from sklearn.compose import TransformedTargetRegressor, make_column_selector
        from sklearn.compose import make_column_transformer as transformer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        text = make_column_selector(dtype_include="category")
        numbers = make_column_selector(dtype_exclude="category")
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        prepared = transformer((StandardScaler(), numbers), (one_hot, text))
        if self.task.of_classes:
            return make_pipeline(prepared, classifier)
        inner = make_pipeline(prepared, regressor)
        return TransformedTargetRegressor(inner, transformer=StandardScaler())


class Linear(ScikitLearn):
    """Logistic regression, or ridge regression."""

    def make(self) -> Any:  # noqa: D102
        from sklearn.linear_model import LogisticRegression, Ridge

        return self.behind_scaling(LogisticRegression(max_iter=1000), Ridge())


class Mlp(ScikitLearn):
    """`MLPClassifier` or `MLPRegressor`."""

    def make(self) -> Any:  # noqa: D102
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        seed = self.task.seed
        return self.behind_scaling(
            MLPClassifier(random_state=seed), MLPRegressor(random_state=seed)
        )


class Boosting(ScikitLearn):
    """`HistGradientBoostingClassifier` or `…Regressor`, which take gaps and categories."""

    def given(self, X: Any) -> Any:  # noqa: D102
        return self.columns.transform(X)

    def make(self) -> Any:  # noqa: D102
        from sklearn.ensemble import (
            HistGradientBoostingClassifier,
            HistGradientBoostingRegressor,
        )

        of_classes = self.task.of_classes
        kind = HistGradientBoostingClassifier if of_classes else HistGradientBoostingRegressor
        return kind(categorical_features="from_dtype", random_state=self.task.seed)


# -- on PyTorch ----


class Pytabkit(ScikitLearn):
    """An estimator of pytabkit, which prepares columns itself, but for gaps in numbers."""

    packages: ClassVar[tuple[str, ...]] = ("pytabkit", "torch", "numpy")

    @classmethod
    def why_not(cls) -> str | None:  # noqa: D102
        return _missing("pytabkit")

    def __init__(self, task: Task, name: str, **options: Any) -> None:
        super().__init__(task)
        self.name, self.options = name, options

    def make(self) -> Any:  # noqa: D102
        import pytabkit

        kind = "Classifier" if self.task.of_classes else "Regressor"
        return getattr(pytabkit, f"{self.name}_{kind}")(
            device="cpu", n_threads=1, random_state=self.task.seed, **self.options
        )

    def predict(self, X: Any) -> Any:  # noqa: D102
        return np.ravel(super().predict(X))


#: AdamW's decay as TabM's authors have it; pytabkit's default is none.
TABM: dict[str, Any] = {"weight_decay": 3e-4}

RIVALS: dict[str, Callable[[Task], Any]] = {
    "plain": Ours,
    "plain-all": partial(Ours, dev=False),
    "linear": Linear,
    "mlp": Mlp,
    "boosting": Boosting,
    "realmlp-td-s": partial(Pytabkit, name="RealMLP_TD_S"),
    "realmlp-td": partial(Pytabkit, name="RealMLP_TD"),
    "tabm": partial(Pytabkit, name="TabM_D", **TABM),
    "tabm-ple": partial(Pytabkit, name="TabM_D", num_emb_type="pwl", **TABM),
}
#: Those that run in the interpreter that has PyTorch and their packages.
ELSEWHERE = ("realmlp-td-s", "realmlp-td", "tabm", "tabm-ple")
RECIPE = "recipe:"


def named(name: str) -> Callable[[Task], Any]:
    """Return what makes a rival; ``recipe:NAME`` is one of xpnet's recipes.

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    if name.startswith(RECIPE):
        return partial(Recipe, name=name.removeprefix(RECIPE))
    return RIVALS[name]


def kind_of(make: Any) -> Any:
    """Return a rival's class."""
    return make.func if isinstance(make, partial) else make


def _missing(*packages: str) -> str | None:
    absent = [package for package in packages if find_spec(package) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {"python": sys.version.split()[0]}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if "xpnet" in packages:
        import xpnet

        found["xpnet"] = xpnet.__version__
    return found


# -- one run ----


@dataclass
class Answers:
    """What a rival says of the test rows, and what it took."""

    predicted: Any
    probabilities: Any
    classes: Any
    fit: float
    predict: float


def race(make: Callable[[Task], Any], task: Task, X: Any, y: Any, others: Any) -> Answers:
    """Fit, then predict other rows; time both, the second on a thousand of them.

    The seconds are the processor's: on one thread they are those of the clock where nothing else
    runs, and nearly the same where something does.
    """
    rival, start = make(task), time.process_time()
    rival.fit(X, y)
    fit = time.process_time() - start
    predict = rival.predict_proba if task.of_classes else rival.predict
    some = others.iloc[np.resize(np.arange(len(others)), ROWS)].reset_index(drop=True)
    took = []
    for _ in range(TIMES):
        start = time.process_time()
        predict(some)
        took.append(time.process_time() - start)
    p = rival.predict_proba(others) if task.of_classes else np.empty(0)
    classes = np.asarray(rival.classes, "U") if task.of_classes else np.empty(0, "U1")
    predicted = np.asarray(rival.predict(others), "U" if task.of_classes else float)
    return Answers(predicted, np.asarray(p, float), classes, fit, min(took))


def warm_up(make: Callable[[Task], Any], task: Task) -> None:
    """Fit a few rows, so that what is imported and compiled once is."""
    import pandas as pd

    draw = np.random.default_rng(0)
    X = pd.DataFrame({"a": draw.standard_normal(64), "b": draw.choice(["x", "y"], 64)})
    y = np.where(X["b"] == "x", "yes", "no") if task.of_classes else X["a"].to_numpy()
    rival = make(task)
    rival.fit(X, y)
    rival.predict(X)


def do(job: dict[str, Any], make: Callable[[Task], Any]) -> dict[str, Any]:
    """Do a job: fit on a file, predict another one, write the answers; return what to tell.

    A job has the files "train", "test" and "out", and "task", "target" and "seed".
    """
    import pandas as pd

    X, others = (
        pd.read_csv(job[name], keep_default_na=False, na_values=[""]) for name in ("train", "test")
    )
    y = X.pop(job["target"])
    y = y.astype("str").to_numpy(object) if job["task"] == "classes" else y.to_numpy(float)
    task, others = Task(job["task"], job["seed"]), others.drop(columns=job["target"])
    found = race(make, task, X, y, others)
    kept = {"predicted": found.predicted, "probabilities": found.probabilities}
    np.savez(Path(job["out"]), classes=found.classes, **kept)
    seconds = {"fit": found.fit, "predict": found.predict}
    return {"seconds": seconds, "versions": versions(kind_of(make).packages)}


def serve(name: str, jobs: Iterable[str], answers: TextIO, limit: float = 0.0) -> None:
    """Do jobs that come as lines of JSON, and answer each by one; a failed one says why.

    A job that takes longer than a limit is given up, as soon as Python comes to a next line.
    """
    make = named(name)
    reason, warm = kind_of(make).why_not(), set()
    for line in jobs:
        job = json.loads(line)
        try:
            if reason is not None:
                raise RuntimeError(reason)
            if job["task"] not in warm:
                warm_up(make, Task(job["task"], 0))
                warm.add(job["task"])
            with _limited(limit):
                said = do(job, make)
        except Exception as error:
            said = {"failed": f"{type(error).__name__}: {error}".partition("\n")[0]}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    """Serve on standard input and output; what libraries print goes where errors go."""
    name, limit = sys.argv[1:]
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        serve(name, sys.stdin, answers, float(limit))


if __name__ == "__main__":
    main()
