"""Columns of categories as codes: which category of those that training had, or −1."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ...data.labels import require_utf8
from ...data.scaling import require_list
from ..columns.reading import encoded

#: Categories of fewer training rows than this share one, where there are more than `FEW`.
RARE, FEW = 3, 20

#: More categories than this become embeddings.
MOST_ONE_HOT = 200

#: Numbers that an embedded category becomes, as in RealMLP (Holzmüller et al., "Better by default",
#: NeurIPS 2024).
DIMENSIONS = 8


@dataclass(frozen=True)
class Categories:
    """The categories that a column had in training.

    Attributes
    ----------
    names : list of str or None
        The categories, in the order of their codes; None stands for a gap.
    rare : bool
        Whether one more stands for those that were too rare, and for all that are unknown.
    """

    names: list[str | None]
    rare: bool = False

    @classmethod
    def learn(cls, counts: Counter[str | None], column: str) -> Categories:
        """Learn from how often each category is there."""
        there = {name: n for name, n in counts.items() if name is not None}
        require_utf8(there, f"column {column!r} holds")
        rare = {name for name, n in there.items() if n < RARE}
        share = len(there) > FEW and len(rare) > 1
        names = sorted(there.keys() - rare if share else there)
        return cls([*names, *([None] if counts[None] else [])], share)

    @property
    def size(self) -> int:
        """How many codes there are."""
        return len(self.names) + self.rare

    @property
    def embedded(self) -> bool:
        """Whether they become learnt numbers, as too many for a column each."""
        return self.size > MOST_ONE_HOT

    def codes(self, values: Any) -> tuple[np.ndarray[Any, Any], set[str]]:
        """Return the codes of a column, shape (n,), and the categories that are unknown.

        The column is Arrow's, of categories or of text, where an empty one is a gap. Where rare
        categories share a code, it is that of unknown ones too, and none is unknown; else they have
        −1. So have gaps where training had none.
        """
        if not pt.is_dictionary(values.type):
            if (found := self._looked_up(values)) is not None:
                return found, set()
            values = encoded(values)
        known = {name: code for code, name in enumerate(self.names)}
        other = len(self.names) if self.rare else -1
        told = values.dictionary.to_pylist()
        codes = np.array(
            [known.get(name, other) for name in told] + [known.get(None, -1)], np.int64
        )
        used = values.indices.fill_null(len(told)).to_numpy()
        present = np.zeros(len(told) + 1, np.bool_)
        present[used] = True
        unknown = {name for i, name in enumerate(told) if present[i] and name not in known}
        return codes[used], set() if self.rare else unknown

    @cached_property
    def _known(self) -> pa.Array | None:
        """The names as Arrow's, if it holds them and none is what a gap is written as."""
        try:
            return None if "" in self.names else pa.array(self.names, pa.string())
        except UnicodeEncodeError:
            return None

    def _looked_up(self, text: pa.Array) -> np.ndarray[Any, Any] | None:
        """Return the codes of text, or None if some of it is of no category and no null."""
        if self._known is None:
            return None
        found = pc.index_in(text, self._known)
        if found.null_count:
            if None in self.names or found.null_count > text.null_count:
                return None
            found = pc.fill_null(found, -1)
        codes: np.ndarray[Any, Any] = found.to_numpy()
        return codes

    def config(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {"names": self.names, "rare": self.rare}

    @classmethod
    def from_config(cls, told: Any, column: str) -> Categories:
        """Return what `config` was called of, from a file that anybody may have written."""
        if type(told) is list:  # of a file from before there were rare ones
            told = {"names": told, "rare": False}
        if type(told) is not dict or told.keys() != {"names", "rare"}:
            raise TypeError(f"the categories of {column!r:.50} are {told!r:.100}")
        require_list(told["names"], (str, type(None)), f"the categories of {column!r:.50}")
        if type(told["rare"]) is not bool:
            raise TypeError(f"the categories of {column!r:.50} are {told!r:.100}")
        return cls(**told)
