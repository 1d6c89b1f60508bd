"""What ``xpnet train`` writes of itself into its checkpoints, and how it goes on from them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..checks import check_positive
from ..files.safetensors_files import ModelFileError
from ..recipes.settings import Settings
from ..tabular import readers
from ..tabular.dataset import KEPT, Dataset
from ..tabular.formats.source import TextOptions
from ..tabular.kept_apart import with_set
from ..train import checkpoints
from ..train.checkpoints import Checkpoints

#: What may be given beside ``--resume``; all else comes from the checkpoint.
FREE = (
    *("data", "test", "dev", "epochs", "device", "threads", "output", "every", "keep"),
    *("memory", "quiet", "as_json", "resume"),
)

#: Options that are called otherwise in the code.
NAMES = {"show_plan": "show", "show_schema": "schema"}


@dataclass(frozen=True)
class Run:
    """A training run as the command line has it.

    Attributes
    ----------
    data, target, drop, kinds, text
        As `readers.read` takes them.
    test, dev : str or None
        Sets of one's own, as `with_set` takes them.
    settings : Settings
        What it is set to.
    device : str
        What was asked for.
    output : path or None
        The model file, if it has a name.
    folder : path or None
        Where its checkpoints go.
    every, keep
        As for `Checkpoints`.
    begun : Newest or None
        The checkpoint that it goes on from.
    time : float or None
        After so many seconds it ends.
    threads : int or None
        With how many threads BLAS computes, which results depend on by rounding; None: its own.
    """

    data: str
    target: str | None
    drop: list[str]
    settings: Settings
    device: str
    output: Path | None
    folder: Path | None = None
    every: int | None = None
    keep: int | None = None
    begun: checkpoints.Newest | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    text: TextOptions = field(default_factory=TextOptions)
    test: str | None = None
    dev: str | None = None
    time: float | None = None
    threads: int | None = None

    @property
    def sets(self) -> dict[str, str]:
        """The sources of sets of one's own, by what these are for."""
        return {part: name for part in KEPT if (name := getattr(self, part)) is not None}

    @property
    def sources(self) -> list[str]:
        """All that is read."""
        return [self.data, *self.sets.values()]

    def __post_init__(self) -> None:
        for part, source in self.sets.items():
            if not source.strip():
                raise ValueError(f"--{part} is {source!r}: give a file")
        if self.dev is not None and self.settings.folds is not None:
            raise ValueError(
                f"--dev is {self.dev} and --folds {self.settings.folds}: with folds there is no "
                "development set; leave one of them out"
            )
        if self.time is not None:
            check_positive(self.time, "--time")
        given = {"--checkpoint-every": self.every, "--keep": self.keep}
        for option, value in given.items():
            if value is not None and value < 1:
                raise ValueError(f"{option} is {value}: give 1 or more")
            if value is not None and self.folder is None:
                raise ValueError(f"{option} goes with --checkpoint FOLDER")

    def require_alone(self, lambdas: list[float], learning_curve: bool) -> None:
        """Raise a ValueError where several trainings meet what is for one."""
        if self.folder is not None and len(lambdas) > 1:
            raise ValueError(f"--l2 has {len(lambdas)} values: --checkpoint goes with one")
        if self.folder is not None and learning_curve:
            raise ValueError("--learning-curve trains many times: leave it or --checkpoint out")
        if len(lambdas) == 1 and not learning_curve:
            return
        several = f"--l2 has {len(lambdas)} values" if len(lambdas) > 1 else "--learning-curve"
        for name in ("members", "folds"):
            if getattr(self.settings, name) not in (None, 1):
                raise ValueError(
                    f"{several}: --{name} goes with one training; find the settings with one "
                    "network, and train the members with them"
                )
        if self.time is not None:
            raise ValueError(f"{several}: --time goes with one training; leave one of them out")

    def require_unused(self) -> None:
        """Raise a ValueError if a run that begins would meet another one's checkpoints."""
        if self.folder is not None and self.begun is None and Checkpoints(self.folder).files():
            raise ValueError(
                f"{self.folder}: holds checkpoints of a run; go on with {self.command()}, or give "
                "another folder"
            )

    def read(self) -> Dataset:
        """Read the data.

        Raises
        ------
        OSError, ValueError
            If that can't be, or they are not those that the run began with.
        """
        with self._telling_of_moved("DATA"):
            dataset = readers.read(
                self.data,
                self.target,
                self.drop,
                training=True,
                kinds=self.kinds,
                text=self.text,
            )
        about = {} if self.begun is None else self.begun.about
        self._require_same("other data", self.data, dataset.fingerprint(), about)
        for part, source in self.sets.items():
            with self._telling_of_moved(f"--{part} FILE"):
                dataset = with_set(dataset, part, source, self.text)
            told = about.get("sets", {}).get(part, {})
            self._require_same(f"another {part} set", source, dataset.fingerprint(part), told)
        return dataset

    @contextmanager
    def _telling_of_moved(self, argument: str) -> Iterator[None]:
        """Return a context in which a lacking file may be one that was moved: by which argument."""
        try:
            yield
        except FileNotFoundError as error:
            if self.begun is None:
                raise
            moved = f"if it was moved: xpnet train {argument} --resume {self.quoted_folder()}"
            raise FileNotFoundError(f"{error}; {moved}") from error

    def _require_same(self, what: str, source: str, here: str, told: dict[str, Any]) -> None:
        """Raise a ValueError if a run goes on with other data than it began with."""
        there = told.get("fingerprint")
        if self.begun is not None and here != there:
            raise ValueError(
                f"{self.begun.file}: is of {what}: the fingerprint of {source} is {here}, and in "
                f"the checkpoint {there}"
            )

    def fit_options(self, dataset: Dataset, settings: Settings, model_file: Path) -> dict[str, Any]:
        """Return the options for `Trainer.fit`; ``settings`` as they have become."""
        if self.folder is None:
            return {}
        about = {
            "data": _anywhere(self.data),
            "fingerprint": dataset.fingerprint(),
            **{part: _anywhere(source) for part, source in self.sets.items()},
            "sets": dataset.sets(),
            "target": self.target,
            "drop": self.drop,
            "kinds": self.kinds,
            "text": asdict(self.text),
            "settings": asdict(settings),
            "device": self.device,
            "time": self.time,
            "threads": self.threads,
            "output": os.path.abspath(model_file),
        }
        keep = Checkpoints.keep if self.keep is None else self.keep
        where = Checkpoints(self.folder, self.every, keep, about)
        return {"checkpoint": where, "resume": self.begun is not None}

    def command(self) -> str:
        """Return the command that goes on with it."""
        return f"xpnet train --resume {self.quoted_folder()}"

    def command_now(self) -> str | None:
        """Return the command that goes on with it if this process ends now; None: there is none."""
        return self.command() if self.has_checkpoints() else None

    def quoted_folder(self) -> str:
        """Return the folder of checkpoints as one types it."""
        return quoted(str(self.folder))

    def has_checkpoints(self) -> bool:
        """Return whether there is something to go on from, if this process ends now."""
        try:
            return self.folder is not None and bool(Checkpoints(self.folder).files())
        except OSError:
            return False


def going_on(folder: Path, given: Iterable[str], options: dict[str, Any]) -> Run:
    """Return the run that a folder's newest checkpoint is of.

    Parameters
    ----------
    folder : path
        The folder.
    given : iterable of str
        The options that are on the command line.
    options : dict
        Their values, as far as they are among `FREE`.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint.
    ModelFileError
        If none is whole, or ``xpnet train`` did not write them.
    ValueError
        If an option is given that the checkpoint decides.
    """
    given = set(given)
    if others := sorted(given - set(FREE)):
        named = ", ".join(f"--{NAMES.get(name, name.replace('_', '-'))}" for name in others)
        raise ValueError(f"{named} can't be given with --resume: the checkpoint has all settings")
    if not folder.exists():
        raise FileNotFoundError(
            f"--resume is {folder}: there is no such folder; give the one that --checkpoint named"
        )
    begun = checkpoints.newest(folder)
    if "settings" not in begun.about:
        raise ModelFileError(f"{begun.file}: xpnet train did not write it; go on with it in Python")
    told = {k: v for k, v in begun.about.items() if k not in ("fingerprint", "sets")}
    for part in KEPT:
        if part in given and told.get(part) is None:
            raise ValueError(
                f"--{part} can't be given with --resume: the run began without a {part} set of its "
                "own"
            )
    try:
        settings = Settings(**{k: _tuple(v) for k, v in told.pop("settings").items()})
        output = _near(Path(told.pop("output")))
        text = TextOptions(**told.pop("text", {}))
        run = Run(
            settings=settings,
            output=output,
            folder=folder,
            every=begun.every,
            keep=begun.keep,
            begun=begun,
            text=text,
            **told,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelFileError(f"{begun.file}: no run can go on from it ({error!r})") from error
    if "epochs" in given:
        if options["epochs"] != settings.epochs and settings.depends_on_epochs():
            raise ValueError(
                f"--epochs can't be changed: the schedule, {settings.schedule}, depends on it"
            )
        run = replace(run, settings=replace(settings, epochs=options["epochs"]))
    return replace(run, **{k: v for k, v in options.items() if k in given and k != "epochs"})


def _anywhere(source: str) -> str:
    """Return a source as it is found from any folder."""
    return os.path.abspath(source) if readers.is_file(source) else source


def quoted(name: str) -> str:
    r"""Return a file's name as one types it in a shell, in printable characters.

    Examples
    --------
    >>> print(quoted("run"), quoted("my run"), quoted("my\nrun"))
    run 'my run' $'my\x0arun'
    """
    if name.isprintable():
        return shlex.quote(name)
    return "$'" + "".join(map(_typed, name)) + "'"


def _typed(character: str) -> str:
    """Return a character as the shell reads it between $' and '."""
    if character.isprintable():
        return f"\\{character}" if character in "\\'" else character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _tuple(value: Any) -> Any:
    """Return a list as the tuple that it was."""
    return tuple(value) if isinstance(value, list) else value


def _near(path: Path) -> Path:
    """Return a path as one would type it."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the folder that one is in was deleted
        return path
    return path.relative_to(here) if path.is_relative_to(here) else path
