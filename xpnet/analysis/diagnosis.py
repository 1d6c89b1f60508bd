"""What training and development error say together: bias or variance (notes, chapter 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..checks import check_not_negative, check_number

#: The notes call an error high from ten times the target on.
HIGH = 10.0


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, why, and what to try next.

    Attributes
    ----------
    verdict : {"high bias", "high variance", "high bias and high variance", "neither"}
        In the notes' words.
    reasons : str
        The errors that led to it, in words.
    advice : tuple of str
        What to try, in the notes' order; empty if there is nothing to do.
    """

    verdict: Literal["high bias", "high variance", "high bias and high variance", "neither"]
    reasons: str
    advice: tuple[str, ...]


def diagnose(
    train_error: float, dev_error: float, target: float = 0.01, optimal_error: float = 0.0
) -> Diagnosis:
    """Judge bias and variance from two errors, by the notes' thresholds.

    With ε the target, E(X) and E(D) the errors on the training and the development set above the
    optimal one (notes, chapter 4): E(X) < ε ≤ E(D) is high variance; E(X) ≥ 10 ε is high bias, and
    high variance as well if E(D) is far above it (here: at least twice); both below ε is neither.
    Between ε and 10 ε, where the notes say nothing of E(X), the bias counts as acceptable, and the
    variance as high if E(D) exceeds E(X) by ε or more.

    Parameters
    ----------
    train_error, dev_error : float
        E(X) and E(D), 0 or more; for classification shares of examples in [0, 1].
    target : float
        ε, the small error that would satisfy you, above 0.
    optimal_error : float
        The error that nobody can go below (Bayes), which the notes take as 0.

    Raises
    ------
    ValueError
        If an error is negative or not finite, or the target is not above 0.

    Examples
    --------
    >>> diagnose(0.001, 0.03).verdict
    'high variance'
    >>> diagnose(0.15, 0.16).verdict
    'high bias'
    """
    for name, value in (
        ("train_error", train_error),
        ("dev_error", dev_error),
        ("optimal_error", optimal_error),
    ):
        check_not_negative(value, name)
    if not 0 < check_number(target, "target") < math.inf:
        raise ValueError(f"target is {target}: give the error that would satisfy you, above 0")
    train, dev = max(train_error - optimal_error, 0.0), max(dev_error - optimal_error, 0.0)
    bias = train >= HIGH * target
    if bias:
        variance = dev >= 2 * train
    elif train < target:
        variance = dev >= target
    else:
        variance = dev - train >= target
    above = [
        f"{error:.2%}" + (f", {excess:.2%} above the optimal error," if optimal_error else "")
        for error, excess in ((train_error, train), (dev_error, dev))
    ]
    first, second = _positions(train, target, bias, variance)
    reasons = f"the training error {above[0]} {first}; the development error {above[1]} {second}"
    return Diagnosis(_verdict(bias, variance), reasons, _advice(bias, variance))


def _verdict(
    bias: bool, variance: bool
) -> Literal["high bias", "high variance", "high bias and high variance", "neither"]:
    if bias and variance:
        return "high bias and high variance"
    if bias:
        return "high bias"
    return "high variance" if variance else "neither"


def _positions(train: float, target: float, bias: bool, variance: bool) -> tuple[str, str]:
    """Return in words where the training and the development error stand."""
    goal = f"the target of {target:.2%}"
    if train < target:
        return f"is below {goal}", "is not" if variance else "is so too"
    between = f"is not below {goal}, but under ten times it"
    first = f"is ten times {goal} or more" if bias else between
    return first, "is far above it" if variance else "is not far above it"


def _advice(bias: bool, variance: bool) -> tuple[str, ...]:
    against_bias = ("a bigger network", "longer training", "another architecture")
    against_variance = (
        "more data",
        "regularisation (L2, dropout, augmentation, early stopping)",
        "another architecture",
    )
    # The notes' method: first the training error; only when that is right, the development error.
    return against_bias if bias else against_variance if variance else ()
