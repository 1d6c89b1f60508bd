"""A study that draws at random, in memory or in a file of its own."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._typing import Tree
from ..checks import check_count, check_flag
from ..files import json_tree
from ..files.append_log import AppendLog
from ..files.file_lock import NamedLock
from ..warning import warn
from .about import check_about
from .space import Space, check_setting, check_space, decode, describe, draw, encode
from .study import Study, check_end
from .trials import State, Trial

#: What its file says that it is, and the newest version that can be read.
FORMAT, VERSION = "xpnet random study", 1

#: How SQLite's databases begin.
SQLITE = b"SQLite format 3\0"

#: More records than a study has.
ALL = 2**31


class RandomStudy(Study):
    """A study whose settings are those of `random_draws`: setting i is trial i.

    One process has it at a time. In its file there is a line of JSON for each trial that was asked
    for, and one for each that has ended. What was asked for and has not ended, however its process
    ended, is asked again when another one goes on with the file.

    Parameters
    ----------
    space : dict of str to Distribution
        What is searched in.
    limit : int
        How many trials it has in all.
    minimize : bool
        Whether less of the objective is better.
    seed : int
        Of the draws.
    file : path or None
        Where to keep it; None: in memory.
    about : dict or None
        What else must be the same when the study is gone on with, as JSON: of the data and the
        objective.
    resume : bool or "auto"
        Whether to go on with the study in the file. "auto": if it is there.

    Raises
    ------
    TypeError, ValueError
        If an argument is none, or the file is no study, is damaged or that of another one: of
        another space, say. Nothing has been changed then.
    FileExistsError, FileNotFoundError
        If the file is there and should not be, or the other way round.
    BlockingIOError
        If another study has the file open.
    OSError
        If the file can't be written.

    Examples
    --------
    >>> from xpnet import log_uniform
    >>> study = RandomStudy({"learning_rate": log_uniform(1e-4, 1)}, limit=2, minimize=True, seed=0)
    >>> trial = study.ask()
    >>> trial.state, trial.value = State.COMPLETE, 0.25
    >>> study.end(trial)
    >>> study.ask().number, study.ask(), study.best()[0].value
    (1, None, 0.25)
    """

    def __init__(
        self,
        space: Space,
        limit: int,
        minimize: bool,
        seed: int,
        file: str | os.PathLike[str] | None = None,
        *,
        about: Tree | None = None,
        resume: bool | str = False,
    ) -> None:
        check_space(space)
        self.space = dict(space)
        self.limit, self.minimize = check_count(limit, "limit"), check_flag(minimize, "minimize")
        self.seed = check_count(seed, "seed", 0)
        self.where = "memory" if file is None else str(Path(file))
        self._about = {"space": describe(space), "minimize": self.minimize, "seed": self.seed}
        told = json_tree.encode({} if about is None else about, name="about")
        self._about |= json_tree.decode(told, {})
        self._trials: dict[int, Trial] = {}
        self._running: set[int] = set()  # here and now; all others have ended or are asked again
        self._stopped: dict[int, Trial] = {}  # what those of them were that go on
        self._records: list[Tree] = []
        self._log: AppendLog | None = None
        self._let_go: Callable[[], object] = lambda: None
        self._closed = False
        if resume != "auto":
            resume = check_flag(resume, "resume")
        if file is not None:
            self._open(Path(file), resume)
        elif resume is True:
            raise ValueError("resume is True and the study is in memory: give its file")

    # -- the trials ----

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Trial | None:
        """Return a new trial that is to be trained, or None if there are to be no more.

        What was given back, or had not ended when the study was gone on with, comes first.

        Parameters
        ----------
        fixed : mapping or None
            Values that the setting shall have, by name; those of names that its conditions leave
            out are left out. What is asked again may have others.

        Raises
        ------
        TypeError, ValueError
            If a fixed value can't be drawn.
        RuntimeError
            If the study is closed.
        OSError
            If the file can't be written; nothing has been asked then.
        """
        self._require_open()
        values = check_setting(self.space, {} if fixed is None else fixed)
        again = self._waiting()
        if len(self._trials) - len(again) >= self.limit:
            return None
        if again:
            trial = self._trials[again[0]]
        else:
            number = len(self._trials)
            trial = Trial(number, draw(self.space, self.seed, number, values))
            self._note({"asked": number, "setting": encode(self.space, trial.setting)})
            self._trials[number] = trial
        self._running.add(trial.number)
        return trial

    def _waiting(self) -> list[int]:
        """Return the numbers of the trials that are to be asked again, the first one first."""
        return [
            number
            for number, trial in self._trials.items()
            if trial.state is State.RUNNING and number not in self._running
        ]

    def report(self, trial: Trial, epochs: int, value: float) -> None:
        """Note the objective's best value after so many epochs, and keep it in `Trial.reports`."""
        self._require_running(trial)
        trial.reports[check_count(epochs, "epochs")] = float(value)

    def reports_at(self, epochs: int) -> list[float]:
        """Return what all trials have reported after so many epochs, by number."""
        return [t.reports[epochs] for t in self._trials.values() if epochs in t.reports]

    def end(self, trial: Trial) -> None:
        """Keep what has become of a trial: on the disk when it returns.

        Raises
        ------
        ValueError
            If it still runs, or is none that does so here.
        RuntimeError
            If the study is closed.
        OSError
            If the file can't be written.
        """
        self._require_running(trial)
        check_end(trial)
        self._note({"ended": trial.number} | _outcome(trial))
        self._running.remove(trial.number)
        self._stopped.pop(trial.number, None)

    def reopen(self, trial: Trial) -> bool:
        """Have a trial that was stopped trained on; if this process dies, it stays stopped."""
        self._require_open()
        found = self._trials.get(trial.number)
        if found is not trial or trial.state is not State.STOPPED:
            return False
        self._stopped[trial.number] = replace(trial, reports=dict(trial.reports))
        trial.state, trial.reason = State.RUNNING, ""
        self._running.add(trial.number)
        return True

    def give_back(self, trial: Trial) -> None:
        """Have a trial that can't be trained to its end now asked again, with the same setting."""
        self._require_running(trial)
        anew = Trial(trial.number, dict(trial.setting))
        self._trials[trial.number] = self._stopped.pop(trial.number, anew)
        self._running.remove(trial.number)

    def trials(self) -> list[Trial]:
        """Return all trials, by number; those that wait to be asked again count as running."""
        return list(self._trials.values())

    def close(self) -> None:
        """Let go of the file; trials that still run are given back."""
        for number in list(self._running):
            self.give_back(self._trials[number])
        self._let_go()
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"the study in {self.where} is closed: open it again")

    def _require_running(self, trial: Trial) -> None:
        self._require_open()
        if trial.number not in self._running or self._trials[trial.number] is not trial:
            raise ValueError(
                f"trial {trial.number} is none that runs in this study: it has ended, or was given "
                "back"
            )

    # -- the file ----

    def _note(self, record: Tree) -> None:
        """Add a record to the file: on the disk when it returns, else as before."""
        if self._log is None:
            return
        self._records.append(record)
        try:
            self._log.extend_to(self._records)
        except BaseException:
            self._records.pop()
            raise

    def _open(self, file: Path, resume: bool | str) -> None:
        """Keep other studies out of the file, and go on with it or begin it."""
        try:
            lock = NamedLock(file.with_name(f".{file.name}.lock"))
        except BlockingIOError as error:
            raise BlockingIOError(
                f"{file}: {error.strerror} has this study open: wait until it has ended, or give "
                "another name"
            ) from None
        self._let_go = weakref.finalize(self, lock.release)  # whoever forgets to close it
        try:
            self._begin(file, resume)
        except BaseException:
            self._let_go()
            raise
        if not lock.is_exclusive:
            warn(f"{file}: no file can be locked there: let no other process search in it")

    def _begin(self, file: Path, resume: bool | str) -> None:
        self._log = AppendLog(file)
        there = file.exists() and file.stat().st_size > 0
        if resume is True and not there:
            raise FileNotFoundError(f"{file}: there is no study to go on with: begin it first")
        if not there:
            self._note({"format": FORMAT, "version": VERSION, "about": self._about})
            return
        if resume is False:
            raise FileExistsError(
                f"{file}: is there already: go on with it by resume (--resume), or give another "
                "name"
            )
        self._records = _read(self._log)
        check_about(self._records[0]["about"], self._about, str(file))
        for line, record in enumerate(self._records[1:], start=2):
            try:
                self._take(record)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{file}: line {line} is none of this study's: {error}: it is damaged, or was "
                    "changed"
                ) from error

    def _take(self, record: Tree) -> None:
        """Take note of a record of the file, or raise a KeyError, TypeError or ValueError."""
        if "asked" in record:
            if record["asked"] != len(self._trials):
                raise ValueError(f"trial {record['asked']} after {len(self._trials) - 1}")
            number = len(self._trials)
            self._trials[number] = Trial(number, decode(self.space, record["setting"]))
            return
        trial = self._trials[record["ended"]]
        if trial.state not in (State.RUNNING, State.STOPPED):
            raise ValueError(f"trial {trial.number} ends a second time")
        trial.state = State(record["state"])
        trial.value, trial.reason = record["value"], record["reason"]
        trial.best_epoch, trial.epochs = record["best_epoch"], record["epochs"]
        trial.reports = {int(epochs): value for epochs, value in record["reports"].items()}


def _outcome(trial: Trial) -> Tree:
    """Return what has become of a trial as JSON."""
    return {
        "state": str(trial.state),
        "value": trial.value,
        "best_epoch": trial.best_epoch,
        "epochs": trial.epochs,
        "reports": {str(epochs): value for epochs, value in trial.reports.items()},
        "reason": trial.reason,
    }


def _read(log: AppendLog) -> list[Tree]:
    """Return a file's records, without a last one that was cut off; it is there, and not empty.

    Raises
    ------
    ValueError
        If it is no study, or damaged elsewhere.
    """
    records, _ = log.read({"lines": ALL}, lambda record: isinstance(record, dict))
    if not records or records[0].get("format") != FORMAT or "about" not in records[0]:
        with log.path.open("rb") as file:
            if file.read(len(SQLITE)) == SQLITE:
                raise ValueError(
                    f"{log.path}: is a database, as Optuna keeps a study: install xpnet[tune], or "
                    "give another name"
                )
        raise ValueError(f"{log.path}: is no study of this library: give another name")
    if records[0].get("version") != VERSION:
        raise ValueError(
            f"{log.path}: has version {records[0].get('version')}, and {VERSION} can be read: "
            "use the release that wrote it, or a newer one"
        )
    cut_off = log.path.read_bytes()[log.mark()["bytes"] :]
    if b"\n" in cut_off.rstrip(b"\n\0"):
        raise ValueError(f"{log.path}: line {len(records) + 1} is damaged: restore it from a copy")
    return records
