"""What a profile of throughput holds, and what it advises."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..backends.blas import threads_in_words
from ..throughput import timing
from ..throughput.contention import Contention
from ..throughput.timing import Timing
from . import plots, thread_counts

if TYPE_CHECKING:
    from .noise_result import GradientNoise

#: The version of what `Profile.as_dict` returns. In version 1 "seconds" was the median of rounds,
#: which is "seconds_median" now, and there were no "seconds_least", "seconds_most", "sure" and
#: "contention".
FORMAT = 2


@dataclass(frozen=True)
class Row:
    """What was measured at one batch size.

    Attributes
    ----------
    batch_size : int
        Examples in a batch.
    seconds : float
        What a step or a prediction takes undisturbed, in seconds: the fast decile of rounds,
        without the time for which others had the processor.
    seconds_q1, seconds_q3 : float
        Quartiles of the time that rounds took by the clock, disturbed or not.
    rounds : int
        How many rounds there were, each of several steps.
    samples_per_second : float
        The batch over ``seconds``.
    host_share : float
        The host's part of the time. On a CUDA device that until the host has issued the step; on
        the CPU, and at most, that of the shortest step of two examples or more: what each costs.
    bound : {"launch", "compute"}
        "launch" if that part is 75 % or more: then further examples are nearly free.
    flops : float
        Floating-point operations per second, of the matrix products alone.
    product_share : float
        The same over the machine's own rate of products; at most 1.
    memory : int
        Bytes; see `Series.memory_of`.
    seconds_least, seconds_most : float
        Between what ``seconds`` lies, in nine of ten cases.
    seconds_median : float
        The median of the time that rounds took by the clock.
    sure : bool
        Whether that interval is narrower than a quarter of ``seconds``, and no other batch size
        contradicts it: samples/s are at least half of the best that a smaller batch has, and no
        larger batch takes clearly less time.
    """

    batch_size: int
    seconds: float
    seconds_q1: float
    seconds_q3: float
    rounds: int
    samples_per_second: float
    host_share: float
    bound: str
    flops: float
    product_share: float
    memory: int
    seconds_least: float
    seconds_most: float
    seconds_median: float
    sure: bool


@dataclass(frozen=True)
class Series:
    """One sweep: a backend, in training or in prediction, with a number of threads.

    Attributes
    ----------
    device, name : str
        As ``"cuda:0"``, and in words.
    mode : {"training", "prediction"}
        What was timed: the gathering of a shuffled batch and `Trainer.step`, or `Network.predict`
        of rows on the device.
    rows : list of Row
        One for each batch size, rising.
    product_rate : float
        The machine's own rate of products in this dtype, in floating-point operations per second:
        of large ones, or of the quickest row where that is more.
    memory_of : {"pool", "arrays"}
        What the rows' memory is: all that the device's memory pool has taken, or the arrays that
        the network, its training and the batch hold.
    ended : {"sizes", "memory", "time", "stopped"}
        Why there is no larger batch.
    refused : int or None
        The first batch size for which memory did not suffice.
    knee : int or None
        The smallest batch with at least 90 % of the best samples/s; None if nothing was measured.
    threads : int or None
        How many threads BLAS had; None on a GPU, and where BLAS does not tell.
    contention : Contention or None
        What other processes took meanwhile; None if that was not looked at.
    """

    device: str
    name: str
    mode: str
    rows: list[Row]
    product_rate: float
    memory_of: str
    ended: str
    refused: int | None
    knee: int | None
    threads: int | None = None
    contention: Contention | None = None

    def row(self, batch_size: int | None) -> Row:
        """Return the row of a batch size."""
        return next(row for row in self.rows if row.batch_size == batch_size)

    def timings(self) -> list[Timing]:
        """Return the times as `throughput` judges them."""
        return [
            Timing(
                *(r.batch_size, r.seconds, r.seconds_least, r.seconds_most, r.seconds, r.rounds),
                (r.seconds_q1, r.seconds_median, r.seconds_q3),
            )
            for r in self.rows
        ]

    def sure(self) -> list[Timing]:
        """Return the times that neither contradict each other nor vary."""
        return [t for t, row in zip(self.timings(), self.rows, strict=True) if row.sure]


@dataclass(frozen=True)
class Profile:
    """What `profile` measured, and what it advises.

    Attributes
    ----------
    network : str
        The network in words.
    n_parameters : int
        Its parameters, of all members.
    dtype : str
        Its precision.
    series : list of Series
        One for each backend, mode and number of threads.
    crossovers : dict
        For each mode the smallest batch from which on the last backend is quicker than the CPU;
        None if it never is. Empty if there is one backend.
    advice : list of str
        Which batch size to use, how many threads and why, a sentence or two each; first of all,
        where other work on the machine disturbed, who it is and what to do about it.
    noise : GradientNoise or None
        The critical batch size, where `xpnet profile` has measured it.
    """

    network: str
    n_parameters: int
    dtype: str
    series: list[Series]
    crossovers: dict[str, int | None] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)
    noise: GradientNoise | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready, with "format", the version of this layout."""
        return {"format": FORMAT, **asdict(self)}

    def modes(self) -> list[str]:
        """Return what was timed: training, prediction or both."""
        return list(dict.fromkeys(s.mode for s in self.series))

    def recommended(self, mode: str) -> list[Series]:
        """Return of each device the series with the number of threads to use there."""
        return [thread_counts.recommended(g) for g in thread_counts.groups(self.series, mode)]

    def _drawn(self, mode: str) -> list[Series]:
        """Return the series of a mode that a picture has room for."""
        best = self.recommended(mode)
        groups = thread_counts.groups(self.series, mode)
        return [s for g in groups for s in g if s in (g[0], g[-1], *best)]

    def plot(self, path: str | os.PathLike[str], title: str = "") -> None:
        """Draw samples per second over the batch size into a file, as ``profile.png``.

        A line joins what is sure, and lies in the area around it in nine of ten cases; what is
        unsure is an open point, and a ring marks the knee. Of several numbers of threads there are
        the fewest, the most and those that are recommended.
        """
        drawn = [s for mode in self.modes() for s in self._drawn(mode)]
        plots.throughput([asdict(s) for s in drawn], self.crossovers, path, title or self.network)


def with_peak(series: Sequence[Series], measure: Callable[[], float]) -> list[Series]:
    """Return the series of one device with a rate of products that none of their rows exceeds.

    Parameters
    ----------
    series : sequence of Series
        All with the same rate.
    measure : function
        Measures the rate again, which is done if it is below a row's. If it still is, the row has
        shown what the machine can do.
    """
    best = max((row.flops for s in series for row in s.rows), default=0.0)
    peak = max((s.product_rate for s in series), default=0.0)
    if peak < best:
        peak = max(peak, measure(), best)
    return [
        replace(
            s,
            product_rate=peak,
            rows=[replace(row, product_share=row.flops / peak) for row in s.rows],
        )
        for s in series
    ]


def crossover(series: list[Series], mode: str) -> int | None:
    """Return the smallest batch from which on the last device is quicker than the first."""
    ours = [thread_counts.recommended(g) for g in thread_counts.groups(series, mode)]
    return timing.crossover(ours[0].sure(), ours[-1].sure()) if ours else None


def advise(profile: Profile) -> list[str]:
    """Return which batch sizes to use and why, in sentences."""
    advice = _disturbed(profile.series)
    for mode in profile.modes():
        measured, groups = profile.recommended(mode), thread_counts.groups(profile.series, mode)
        if not measured:
            advice.append(f"{mode}: not one batch size was measured")
            continue
        chosen = max(measured, key=lambda s: s.row(s.knee).samples_per_second)
        several = any(s.threads != chosen.threads for g in groups for s in g if chosen in g)
        advice.append(_which(chosen, several))
        advice += filter(None, map(thread_counts.in_words, groups))
        if mode in profile.crossovers:
            advice.append(_where(measured, profile.crossovers[mode]))
        advice += [_largest(s) for s in measured if s.ended == "memory"]
    if any(s.mode == "training" for s in profile.series):
        advice.append(
            "a larger batch also means fewer updates in an epoch: throughput is not accuracy, so "
            "take a smaller batch, or train for more epochs, if the error suffers"
        )
    return advice


def _disturbed(series: list[Series]) -> list[str]:
    """Return in a line who disturbed the measuring, by the series that lost most; [] if nobody."""
    told = [(s.contention, s.threads) for s in series if s.contention and s.contention.in_words()]
    if not told:
        return []
    worst, threads = max(told, key=lambda pair: pair[0].lost)
    return [worst.in_words(threads)]


def _which(s: Series, several: bool) -> str:
    """Return which batch size to use, of several numbers of threads also which, and why."""
    threads = f" and {threads_in_words(s.threads)}" if several else ""
    text = f"{s.mode}: use batches of {s.knee:,}{threads} on {s.device}"
    if len(s.rows) == 1:
        return f"{text}, the only size that was measured"
    timings = s.timings()
    chosen = next(t for t in timings if t.batch_size == s.knee)
    text += f", {timing.in_words(chosen, timing.fastest(timings))}"
    if s.knee == s.rows[-1].batch_size and s.ended != "memory":
        text += "; it is the largest that was tried, and a larger one may be quicker still"
    unsure = [f"{row.batch_size:,}" for row in s.rows if not row.sure]
    if unsure:
        text += f"; unsure, for the times contradict each other or vary: {', '.join(unsure)}"
    bound = [row.batch_size for row in s.rows if row.bound == "launch"]
    if len(bound) > 1:
        text += f"; up to {bound[-1]:,} it is launch-bound, and further examples are nearly free"
    return text


def _where(measured: list[Series], crossover: int | None) -> str:
    """Return from which batch on the other device is worth it."""
    first, last = measured[0], measured[-1]
    if first is last:
        return f"{first.mode}: {first.device} alone was measured"
    if crossover is None:
        return f"{first.mode}: {last.device} is never clearly quicker than {first.device}"
    common = min({r.batch_size for r in first.rows} & {r.batch_size for r in last.rows})
    if crossover == common:
        return f"{first.mode}: {last.device} is quicker than {first.device} at every batch size"
    return f"{first.mode}: {last.device} is quicker than {first.device} from {crossover:,} on"


def _largest(s: Series) -> str:
    """Return the largest batch that fits."""
    return (
        f"{s.mode}: batches of {s.rows[-1].batch_size:,} fit into the memory of {s.device}, "
        f"and {s.refused:,} don't"
    )
