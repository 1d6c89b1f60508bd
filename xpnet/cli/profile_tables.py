"""What ``xpnet profile`` shows: a table for each sweep, one of the threads, and the advice."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ..analysis import thread_counts
from ..analysis.profile_result import Profile, Series
from ..backends.blas import threads_in_words

#: Of the columns of `profile_table`; that of the knee has none.
HEADINGS = ("batch", "ms", "quartiles", "samples/s", "host", "bound", "GFLOP/s", "of peak", "MB")


def profile_table(series: Series) -> Table:
    """Return a sweep over batch sizes as a table; the knee is marked."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in series.rows:
        quartiles = (row.seconds_q1, row.seconds, row.seconds_q3)
        low, middle, high = map(_milliseconds, quartiles)
        table.add_row(
            f"{row.batch_size:,}",
            middle,
            f"{low} to {high}",
            f"{row.samples_per_second:,.0f}",
            f"{row.host_share:.0%}",
            row.bound,
            f"{row.flops / 1e9:,.1f}",
            f"{row.product_share:.0%}",
            f"{row.memory / 1e6:,.1f}",
            "← knee" if row.batch_size == series.knee else "",
        )
    return table


def _milliseconds(seconds: float) -> str:
    """Return a time with three digits, in ms."""
    return f"{1e3 * seconds:,.0f}" if seconds >= 1 else f"{1e3 * seconds:.3g}"


#: Why a sweep has no larger batch.
ENDS = {"time": "time was up", "stopped": "it was stopped", "sizes": "all sizes were measured"}


def threads_table(group: Sequence[Series], chosen: Series) -> Table:
    """Return what each number of threads reaches; the one to use is marked."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("threads", "best samples/s", "at batch", "knee", "peak GFLOP/s"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for s in group:
        best = max(s.rows, key=lambda row: row.samples_per_second)
        figures = best.samples_per_second, best.batch_size, s.knee or 0, s.product_rate / 1e9
        texts = (f"{figure:,.0f}" for figure in figures)
        table.add_row(str(s.threads), *texts, "← use" if s is chosen else "")
    return table


def print_profile(console: Console, profile: Profile) -> None:
    """Show a profile: a table for each backend and mode, what the columns mean, and the advice.

    Of several numbers of threads there is one table for all, and one for those to use.
    """
    for mode in profile.modes():
        for group in thread_counts.by_device(profile.series, mode):
            _print_group(console, group)
    for sentence in profile.advice:
        console.print(f"{sentence[0].upper()}{sentence[1:]}.")


def _print_group(console: Console, group: Sequence[Series]) -> None:
    """Show the series of one device in one mode, of which one or several have measurements."""
    chosen, what = group[0], f"{group[0].mode} on {group[0].name}"
    if len(group) > 1:
        chosen = thread_counts.recommended(group)
        console.print(f"{what}, by threads")
        console.print(threads_table(group, chosen))
        console.print()
        what = f"{what}, {threads_in_words(chosen.threads)}"
    console.print(what)
    console.print(profile_table(chosen))
    end = ENDS.get(chosen.ended, f"there is no memory for {chosen.refused or 0:,}")
    held = "taken by the memory pool" if chosen.memory_of == "pool" else "of the arrays held"
    peak = f"{chosen.product_rate / 1e9:,.0f} GFLOP/s in large products"
    console.print(f"(no larger batch: {end}; peak: {peak}; MB: {held})")
    console.print()
