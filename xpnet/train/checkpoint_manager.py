"""What keeps a fit's checkpoints: when one is written, and whether a run may go on from it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

from .._typing import Tree
from ..backends.protocol import Backend
from ..files.checkpoint_folder import Folder, fingerprint, pack, unpack
from ..warning import warn
from .checkpoints import NOT_A_STATE, Checkpoints, nothing, unreadable
from .history import Row, is_row, mean_of
from .member_ends import OtherEpochsError
from .run_description import describe, differences


class Run(Protocol):
    """What a manager asks of a fit."""

    @property
    def steps(self) -> int:
        """Updates made so far."""

    @property
    def trainer(self) -> object:
        """Whose fit it is."""

    @property
    def rows(self) -> list[Row]:
        """The history of its epochs."""

    def tree(self) -> Tree:
        """Return all that its further training depends on."""

    def load_tree(self, tree: Tree, rows: list[Row]) -> None:
        """Take it back, and the history."""

    def is_sound(self) -> bool:
        """Return whether what there is is finite."""


class Stateful(Protocol):
    """What a manager asks of a callback: see `xpnet.Callback`."""

    def state(self) -> Tree:
        """Return what a checkpoint must keep."""

    def load_state(self, trainer: Any, state: Tree) -> None:
        """Take it back."""


class NullCheckpointManager:
    """What a fit without checkpoints calls: nothing comes of it.

    Attributes
    ----------
    watches : bool
        Whether `after_step` wants to be called.
    """

    watches: ClassVar[bool] = False

    def __init__(self) -> None:
        #: What the run is set to, once that is known.
        self.run: Tree = {}

    def validate_run(
        self,
        describe_run: Callable[[], Tree],
        data: Tree,
        callbacks: Sequence[Stateful],
    ) -> None:
        """Learn what the run is."""

    def restore(self, fit: Run, epochs: int) -> None:
        """Bring a fit to where it goes on."""

    def begin(self, fit: Run) -> None:
        """Begin, or go on."""

    def after_step(self, fit: Run, interrupted: bool) -> None:
        """Do something after a step that is not the last of its epoch."""

    def after_epoch(self, fit: Run, row: Row, final: bool) -> None:
        """Do something after an epoch."""

    def close(self) -> None:
        """Do something when the fit has ended, however that came."""


def make_manager(
    checkpoints: Checkpoints | str | os.PathLike[str] | None, resume: bool | str, backend: Backend
) -> NullCheckpointManager:
    """Return the manager for what `Trainer.fit` was given; it raises what that raises."""
    if resume not in (True, False, "auto"):
        raise ValueError(f"resume is {resume!r}: give True, False or 'auto'")
    if checkpoints is None:
        if resume:
            raise ValueError(f"resume is {resume!r}: give checkpoint, the folder to go on from")
        return NullCheckpointManager()
    if isinstance(checkpoints, str | os.PathLike):
        checkpoints = Checkpoints(checkpoints)
    if not isinstance(checkpoints, Checkpoints):
        raise TypeError(f"checkpoint is {checkpoints!r}: give a folder, or Checkpoints")
    manager = CheckpointManager(checkpoints, backend)
    try:
        manager.find(resume)
    except BaseException:
        manager.close()
        raise
    return manager


class CheckpointManager(NullCheckpointManager):
    """Keeps a fit's checkpoints, and finds the one that it goes on from.

    Parameters
    ----------
    checkpoints : Checkpoints
        Where and how often.
    backend : Backend
        Where the fit's arrays live.

    Attributes
    ----------
    tree : dict or None
        The checkpoint that the fit goes on from.
    """

    watches = True

    def __init__(self, checkpoints: Checkpoints, backend: Backend) -> None:
        super().__init__()
        self._options, self._backend = checkpoints, backend
        self._path = Path(checkpoints.path)
        self._folder = Folder(self._path, checkpoints.keep, self._numbers)
        self.tree: Tree | None = None
        self._rows: list[Row] = []
        self._last: Path | None = None
        self._best: Tree | None = None
        self._why_not, self._looked_at = "", 0

    def find(self, resume: bool | str) -> None:
        """Read the checkpoint to go on from, or see that there is none.

        Parameters
        ----------
        resume : bool or "auto"
            Whether to go on from the newest one; "auto": if there is one.

        Raises
        ------
        FileNotFoundError
            If the fit shall go on, and there is none.
        ValueError
            If it shall begin, and there are some of another run.
        ModelFileError
            If it shall go on, and none is whole.
        BlockingIOError
            If another training writes to the folder.
        OSError
            If it shall begin, and the folder can't be made or written to.
        """
        if resume is True and not self._folder.files():
            raise FileNotFoundError(nothing(self._path))
        try:
            self._folder.enter(make=resume is not True)
        except BlockingIOError:
            raise
        except OSError as error:
            if not (resume and self._folder.files()):
                raise _refused(self._path, error) from error
            # It is read alone, then: before anything is written others must be kept out.
        if not resume:
            self._folder.require_unused()
            return
        found = self._folder.newest()
        if found is None:
            return
        self._last, arrays, document = found
        try:
            self.tree = unpack(arrays, document, self._backend)
            if (best := self.tree["best"]) is not None:
                self._best = {"figure": float(best["figure"]), "file": str(best["file"])}
            self.run, self._machine = self.tree["run"], self.tree["machine"]
            self._read_history(self.tree["history"])
        except (*NOT_A_STATE, RecursionError) as error:
            raise unreadable(self._last, error) from error

    def _read_history(self, mark: Tree) -> None:
        log = self._folder.history
        self._rows, whole = log.read(mark, is_row)
        if not whole:
            message = (
                f"{log.path}: altered or damaged since it was written: of {mark['lines']} epochs "
                f"{len(self._rows)} are in the history, and the training goes on"
            )
            warn(message)

    def validate_run(
        self,
        describe_run: Callable[[], Tree],
        data: Tree,
        callbacks: Sequence[Stateful],
    ) -> None:
        """See that a checkpoint goes with the run at hand, or learn what the run is.

        Parameters
        ----------
        describe_run : function
            Returns what the run is set to.
        data : dict
            Its arrays, or None, by what they are called.
        callbacks : sequence
            Those that have a state.

        Raises
        ------
        TypeError
            If an option of the network's can't be written.
        ValueError
            If the run differs from that of the checkpoint: in what, and both values.
        OSError
            If it begins and nothing can be written to the folder.

        Warns
        -----
        UserWarning
            If something else computed before: the bits may then differ. Or if it goes on, and
            nothing can be written.
        """
        self._callbacks, machine = callbacks, self._backend.arithmetic()
        told = [
            {"kind": type(c).__name__, "settings": c.state().get("settings")} for c in callbacks
        ]
        prints = {
            f"the fingerprint of {name}": (
                None if array is None else fingerprint(array, self._backend)
            )
            for name, array in data.items()
        }
        # As it comes from the file, in which tuples are lists.
        run = cast(Tree, describe({**describe_run(), "callbacks": told, **prints}))
        if self.tree is not None:
            if found := list(differences(run, self.run)):
                raise ValueError(f"{self._last}: is of another run: {'; '.join(found)}")
            if machine != self._machine:
                message = (
                    f"{self._last} was written by {self._machine}, and this is {machine}: the "
                    "result may differ in rounding"
                )
                warn(message)
        self.run, self._machine = run, machine
        self._prepare()

    def _prepare(self) -> None:
        """Make the folder ready; one who goes on has something to lose, and does without."""
        try:
            self._folder.prepare()
        except OSError as error:
            if self.tree is None:
                raise _refused(self._path, error) from error
            self._warn(error)

    def restore(self, fit: Run, epochs: int) -> None:
        """Bring a fit to where the checkpoint was made, if there is one to go on from.

        Raises
        ------
        ValueError
            If that is beyond the last of ``epochs``, or members' epochs are others.
        ModelFileError
            If the checkpoint is not as a trainer writes it.
        """
        if self.tree is None:
            return
        try:
            state = self.tree["trainer"]
            made = state["epochs"] - state["fit"]["first"] + (state["fit"]["batch"] > 0)
            if made <= epochs:
                fit.load_tree(state, self._rows)
        except OtherEpochsError as error:
            raise ValueError(f"{self._last}: {error}") from error
        except NOT_A_STATE as error:
            raise unreadable(self._last, error) from error
        if made > epochs:
            raise ValueError(
                f"epochs is {epochs}, and {self._last} was written in epoch {made}: give {made} or "
                "more"
            )

    def begin(self, fit: Run) -> None:
        """Give the callbacks their states back, or write the first checkpoint.

        Raises
        ------
        ModelFileError
            If a callback can't take its state.
        TypeError
            If what callbacks keep, or the run tells about itself, can't be written.
        OSError
            If it can't be written: better now than when there is something to lose.
        """
        self._looked_at = fit.steps
        if self.tree is not None:
            try:
                for callback, state in zip(self._callbacks, self.tree["callbacks"], strict=True):
                    callback.load_state(fit.trainer, state)
            except NOT_A_STATE as error:
                raise unreadable(self._last, error) from error
            self.tree = None  # its arrays were copied
            self._pack(fit)  # refuses now what can't be written
            return
        try:
            self._write(fit)
        except OSError as error:
            raise _refused(self._path, error) from error

    def after_step(self, fit: Run, interrupted: bool) -> None:
        """Write a checkpoint in the middle of an epoch if one is due, or the fit interrupted."""
        is_due = self._is_due(fit.steps)
        if interrupted or is_due:
            self._try_to_write(fit)

    def after_epoch(self, fit: Run, row: Row, final: bool) -> None:
        """Write a checkpoint after an epoch, if one is due, it was the best so far, or the last.

        Raises
        ------
        TypeError, ValueError
            If the history's row can't be written: now, not when the next checkpoint is due.
        """
        self._check_row(row)
        figure = mean_of(row.get("dev_loss", row["train_loss"]))
        is_due = self._is_due(fit.steps)
        better = self._best is None or figure < self._best["figure"]
        if better and math.isfinite(figure):
            self._best = {"figure": figure, "file": self._folder.name(fit.steps)}
        elif not (final or self._options.every is None or is_due):
            return
        self._try_to_write(fit)

    def _is_due(self, step: int) -> bool:
        """Return whether the steps since the last look have passed a multiple of `every`."""
        every, looked_at, self._looked_at = self._options.every, self._looked_at, step
        return every is not None and step // every > looked_at // every

    def _try_to_write(self, fit: Run) -> None:
        """Write a checkpoint, or warn that it could not be written: once, until one can be again.

        Of a training that has diverged none is written; it will soon notice itself.
        """
        if not fit.is_sound():
            return
        try:
            self._write(fit)
            self._why_not = ""
        except (OSError, MemoryError, TypeError, ValueError) as error:
            self._warn(error)

    def _check_row(self, row: Row) -> None:
        try:
            self._folder.history.line(row)
            if not is_row(row):
                raise ValueError("its own figures should be as they were, and numbers")
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"the history's row of epoch {row.get('epoch')}: {error}") from error

    def _warn(self, error: BaseException) -> None:
        """Warn that nothing can be written: once for a reason, until something can be again."""
        why_not = _reason(error)
        if why_not != self._why_not:
            message = (
                f"no checkpoint can be written to {self._path} ({why_not}): the training goes on; "
                f"the last good one is {self._last}"
            )
            warn(message)
        self._why_not = why_not

    def close(self) -> None:
        """Let other trainings write to the folder."""
        self._folder.leave()

    def _write(self, fit: Run) -> None:
        self._folder.require_own()
        self._folder.history.extend_to(fit.rows)
        arrays, document = self._pack(fit)
        best = None if self._best is None else self._best["file"]
        self._last = self._folder.write(fit.steps, arrays, document, best)

    def _pack(self, fit: Run) -> tuple[dict[str, Any], Any]:
        options = self._options
        tree = {
            "run": self.run,
            "machine": self._machine,
            "best": self._best,
            "history": self._folder.history.mark(),
            "written": {"every": options.every, "keep": options.keep, "about": options.about},
            "trainer": fit.tree(),
            "callbacks": [callback.state() for callback in self._callbacks],
        }
        return pack(tree, self._backend)

    def _numbers(self, value: Any, name: str) -> Any:
        """Return what stands for an array in a row of the history: its numbers."""
        owned = self._backend.owns(value)
        return self._backend.to_host(value).tolist() if owned else None


def _refused(path: Path, error: OSError) -> OSError:
    """Return the same kind of error, which says what could not be done."""
    return type(error)(f"{path}: no checkpoints can be written there ({_reason(error)})")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
