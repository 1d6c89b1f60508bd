"""The recipes: which settings a training has that nobody sets, and why.

Each is a table of steps, a setting with its value and the reason. What is set by hand takes the
place of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from ..checks import check_name
from .facts import Facts
from .settings import Settings
from .showing import text_of

#: Members of the "auto" recipe, up to so many rows; of more rows there is one.
MEMBERS = ((50_000, 5), (200_000, 3), (1_000_000, 2))

#: Folds, where there are no more members.
FOLDS = 5

#: Their epochs, and the fewest updates: with fewer a network has hardly begun to learn.
EPOCHS, UPDATES = 20, 320

#: What is made for Adam, and is left out with another optimiser.
OF_ADAM = ("learning_rate", "parametrization", "bias_rate", "input_scale_rate")

#: With fewer rows bins of numbers tell classes worse apart than the numbers alone; of more, so many
#: rows make a bin more.
FEW, ROWS_PER_BIN = 1000, 64

#: With fewer rows in a fold it says nothing.
LEAST_IN_FOLD = 8


@dataclass(frozen=True)
class Step:
    """A setting of a recipe.

    Attributes
    ----------
    name : str
        Of the setting, as `Settings` has it.
    value : object
        What it is set to.
    why : str
        The reason, in words.
    """

    name: str
    value: Any
    why: str


@dataclass(frozen=True)
class Plan:
    """What a training will do: its settings, and which of them come from where.

    Attributes
    ----------
    settings : Settings
        All of them.
    steps : tuple of Step
        Those that the recipe has set.
    given : tuple of str
        Those that were set by hand.
    """

    settings: Settings
    steps: tuple[Step, ...]
    given: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as a table."""
        return text_of(self)

    def at(self, settings: Settings, why: str | None = None) -> Plan:
        """Return the plan of a training whose settings have become others.

        Parameters
        ----------
        settings : Settings
            As they are now.
        why : str or None
            The reason of what is other than before, if it is not the one that there was.

        Examples
        --------
        >>> plan = Asked("realmlp").plan(Facts("binary", n=1000, n_columns=8), Settings())
        >>> plan.at(replace(plan.settings, epochs=9), "for the time that there is").steps[-1]
        Step(name='epochs', value=9, why='for the time that there is')
        """
        steps = [replace(step, value=getattr(settings, step.name)) for step in self.steps]
        names = [field.name for field in fields(settings)]
        others = [n for n in names if getattr(settings, n) != getattr(self.settings, n)]
        if why is None:
            return Plan(settings, tuple(steps), self.given)
        kept = [step for step in steps if step.name not in others]
        new = [Step(name, getattr(settings, name), why) for name in others]
        return Plan(settings, (*kept, *new), tuple(n for n in self.given if n not in others))


def plain(facts: Facts) -> Iterable[Step]:
    """Nothing but what `Settings` has: ReLU, Adam, and a development set that only measures."""
    return ()


def realmlp(facts: Facts) -> Iterable[Step]:
    """RealMLP-TD-S, of Holzmüller, Grinsztajn & Steinwart, "Better by default", NeurIPS 2024."""
    of_classes = facts.of_classes
    yield Step("scaling", "median", "quartiles: far values have no part in the scale")
    yield Step("clip", 3.0, "a smooth clip, x/√(1 + (x/3)²): nor do they reach far")
    yield Step("input_scale", True, "a learnt factor of each input finds out which count")
    yield Step("input_scale_rate", 6.0, "and finds it out quickly")
    yield Step("hidden", (256, 256, 256), "as RealMLP has it")
    yield Step("parametrization", "ntk", "steps of layers of any width are alike")
    yield Step("bias_std", 1.0, "units begin in different places")
    yield Step("bias_rate", 0.1, "biases move slowly")
    yield Step("activation", "selu" if of_classes else "mish", "SELU for classes, Mish for values")
    yield Step("last_init", "zeros", "it begins by predicting the mean")
    yield Step("optimizer", "adam:beta_2=0.95", "squares of the last 20 steps")
    yield Step("learning_rate", 0.04 if of_classes else 0.07, "0.04 for classes, 0.07 for values")
    yield Step("schedule", "log-cosine", "four ever longer cosines, to find good epochs among")
    yield Step("batch_size", 256, "as published")
    yield Step("epochs", 256, "as published")
    yield Step("keep_best", True, "the best epoch's weights are kept")
    if of_classes:
        loss = "softmax_cross_entropy:label_smoothing=0.1"
        yield Step("loss", loss, "labels are smoothed, against too much certainty")
        yield Step("monitor", "error", "the best epoch is that of the least error")
    else:
        yield Step("clamp", True, "no value outside the range seen is predicted")


def tabm(facts: Facts) -> Iterable[Step]:
    """TabM, of Gorishniy, Kotelnikov & Babenko, ICLR 2025, with piecewise-linear embeddings."""
    yield Step("scaling", "median", "quartiles: far values have no part in the scale")
    yield Step("clip", 3.0, "a smooth clip, x/√(1 + (x/3)²): nor do they reach far")
    if not facts.pixels:
        text = "piecewise:n_bins=48,by_target=false,n_dims=16"
        yield Step("embedding", text, "numbers as their places among bins")
    yield Step("ensemble", 32, "32 members that share their weights but for two vectors each")
    yield Step("hidden", (512, 512, 512), "as TabM has it")
    yield Step("dropout", (0.1,), "as published")
    yield Step("optimizer", "adamw:weight_decay=0.0003", "as published")
    yield Step("learning_rate", 0.002, "as published")
    yield Step("batch_size", 256, "as published")
    yield Step("epochs", 500, "at most")
    yield Step("patience", 16, "it ends when the development set says so")
    yield Step("monitor", "error" if facts.of_classes else "loss", "by its error")


def auto(facts: Facts) -> Iterable[Step]:
    """Ours: RealMLP's network on numbers and their bins, trained on folds; the mean predicts."""
    own = {"bias_std", "monitor", "batch_size", "epochs"}
    yield from (step for step in realmlp(facts) if step.name not in own)
    if not facts.pixels and not (facts.of_classes and facts.n < FEW):
        bins = min(48, max(8, facts.n // ROWS_PER_BIN))
        text = f"piecewise:n_bins={bins},n_dims=4"
        yield Step("embedding", text, "thresholds that one number hides become visible")
    if facts.of_classes:
        yield Step("calibrate", True, "probabilities are set right on what was held out")
    members = facts.members or next((k for n, k in MEMBERS if facts.n <= n), 1)
    if not (facts.own_dev or facts.one_training or members == 1):
        folds = min(max(members, FOLDS), 10, max(facts.n // LEAST_IN_FOLD, 2))
        yield Step("folds", folds, "every row is held out in turn, and trains the other networks")
    if not facts.one_training and members > 1:
        yield Step("members", members, "the mean of several networks errs less than each")
    batch_size = min(256, 2 ** max(4, round(math.log2(facts.n / 16))))
    yield Step("batch_size", batch_size, "some 16 updates in an epoch, and 256 rows at most")
    batches = math.ceil(facts.n / batch_size)
    epochs = max(EPOCHS, math.ceil(UPDATES / batches))
    yield Step("epochs", epochs, f"{EPOCHS}, and {UPDATES} updates at least")


#: The recipes by name: each returns its steps for data.
RECIPES: dict[str, Callable[[Facts], Iterable[Step]]] = {
    "plain": plain,
    "realmlp": realmlp,
    "tabm": tabm,
    "auto": auto,
}


@dataclass(frozen=True)
class Asked:
    """A recipe that is asked for, beside what is set by hand.

    Attributes
    ----------
    recipe : str
        Its name.
    given : collection of str
        The settings that are set by hand, which the recipe leaves as they are; what else is among
        them, as other options of a command, is no matter.
    one_training : bool
        Whether the network is to be trained once, on one training set: for a choice of λ or a
        learning curve.

    Raises
    ------
    ValueError
        If there is no such recipe.
    """

    recipe: str
    given: Collection[str] = ()
    one_training: bool = False

    def __post_init__(self) -> None:
        check_name(self.recipe, RECIPES, "recipe")

    def plan(self, facts: Facts, settings: Settings) -> Plan:
        """Return what a training on data will do.

        Parameters
        ----------
        facts : Facts
            What is known of the data.
        settings : Settings
            What holds for all that the recipe does not set.

        Examples
        --------
        >>> found = Asked("auto", ["hidden"]).plan(
        ...     Facts("binary", n=1000, n_columns=8), Settings(hidden=(64,)))
        >>> found.settings.hidden, found.settings.members, found.settings.batch_size
        ((64,), 5, 64)
        >>> found.steps[0]
        Step(name='scaling', value='median', why='quartiles: far values have no part in the scale')
        """
        members = settings.members or 1 if "members" in self.given else None
        facts = replace(facts, one_training=self.one_training, members=members)
        left = {*self.given, *(OF_ADAM if self._has_another_optimizer(settings) else ())}
        steps = [s for s in RECIPES[self.recipe](facts) if s.name not in left]
        values = {step.name: step.value for step in steps}
        settings = replace(settings, recipe=self.recipe, **values)
        known = [f.name for f in fields(settings) if f.name in self.given and f.name != "recipe"]
        return Plan(settings, tuple(steps), tuple(known))

    def _has_another_optimizer(self, settings: Settings) -> bool:
        name = settings.optimizer.partition(":")[0]
        return "optimizer" in self.given and name not in ("adam", "adamw", "nadam")
