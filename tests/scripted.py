"""A study whose settings are given, and networks on a small data set, for tests of the search."""

from collections import deque

import numpy as np

import xpnet as xn
from xpnet.search.candidates import Candidate, Data
from xpnet.search.study import Study


class Scripted(Study):
    """Asks for given settings, one after the other; what is given back comes again first."""

    def __init__(self, space, settings, minimize=True):
        self.space, self.minimize, self.limit, self.where = space, minimize, len(settings), "a list"
        self._left, self._trials, self._back = deque(settings), [], deque()
        self.fixed, self.events = [], []

    def ask(self, fixed=None):
        self.fixed.append(fixed)
        if self._back:
            return self._back.popleft()
        if not self._left:
            return None
        setting = self._left.popleft() | (fixed or {})
        self._trials.append(xn.search.trials.Trial(len(self._trials), setting))
        return self._trials[-1]

    def report(self, trial, epochs, value):
        trial.reports[epochs] = value
        self.events.append(("report", trial.number, epochs))

    def reports_at(self, epochs):
        return [t.reports[epochs] for t in self._trials if epochs in t.reports]

    def end(self, trial):
        self.events.append((str(trial.state), trial.number, trial.epochs))

    def reopen(self, trial):
        self.events.append(("reopen", trial.number, trial.epochs))
        trial.state = xn.search.trials.State.RUNNING
        return True

    def give_back(self, trial):
        self.events.append(("back", trial.number, trial.epochs))
        self._back.append(trial)

    def trials(self):
        return self._trials

    def close(self):
        pass


class Blobs:
    """Makes networks of settings: "units" (else 8), "rate", "p", "l2", "epochs", "batch_size".

    With folds each is a part of the data that is held out.
    """

    def __init__(self, device="cpu", folds=1, epochs=6, n=120, dtype="float64"):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(n, 5)), rng.integers(0, 3, n)
        X[np.arange(n), y] += 1.5
        self.n_folds, self._epochs, self._device, self._dtype = folds, epochs, device, dtype
        parts = None
        if folds > 1:
            fold = np.arange(n) % folds
            parts = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(folds)]
        cut = n * 2 // 3 if folds == 1 else n
        dev = (X[cut:], y[cut:]) if folds == 1 else (X, y)
        self.data = Data((X[:cut], y[:cut]), dev, folds=parts)
        self.asked = []

    def candidate(self, setting, repeat=0):
        self.asked.append((setting, repeat))
        layers = [xn.Linear(setting.get("units", 8)), xn.Tanh(), xn.Dropout(setting.get("p", 0.1))]
        net = xn.Network(
            [*layers, xn.Linear(3)],
            loss="softmax_cross_entropy",
            n_features=5,
            device=self._device,
            dtype=self._dtype,
            random_state=repeat,
        )
        trainer = xn.Trainer(net, xn.Adam(setting.get("rate", 0.01)), l2=setting.get("l2", 0.0))
        epochs, size = setting.get("epochs", self._epochs), setting.get("batch_size", 16)
        return Candidate(trainer, self.data, size, epochs)
