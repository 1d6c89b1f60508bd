"""What the library asks of a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from .._typing import Array, Namespace
from .reference import Kernels


class Backend(Protocol):
    """What the library asks of a device. ``NumpyBackend`` and ``CupyBackend`` have it.

    Attributes
    ----------
    xp : module
        The array namespace, ``numpy`` or ``cupy``.
    kernels : Kernels
        The hot operations, fused where that pays.
    device : str
        ``"cpu"``, ``"cuda:0"``, …
    """

    def __hash__(self) -> int: ...

    @property
    def xp(self) -> Namespace: ...  # noqa: D102 - see Attributes

    @property
    def kernels(self) -> Kernels: ...  # noqa: D102

    @property
    def device(self) -> str: ...  # noqa: D102

    def describe(self) -> str:
        """Return a few words for people: where it computes, and with what."""

    def arithmetic(self) -> str:
        """Return what else than the data decides how results are rounded, in words."""

    def threads(self) -> int | None:
        """Return how many threads of the host share a product; None: that can't be set."""

    def active(self) -> AbstractContextManager[Any]:
        """Return a context inside which work goes to this device."""

    def owns(self, x: object) -> bool:
        """Return whether x is an array in this backend's memory."""

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Return x as a C-contiguous array of this backend, copied only if need be."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return zeros, the first of which lies where the memory's lines begin."""

    def to_host(self, x: Array) -> np.ndarray[Any, Any]:
        """Return x as a NumPy array."""

    def shared(self, shape: tuple[int, ...], dtype: Any) -> tuple[Array, np.ndarray[Any, Any]]:
        """Return zeros that the device writes and the host can look at, and the host's view."""

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""

    def stage(self, shape: tuple[int, ...], dtype: Any) -> Stage:
        """Return what brings batches, of so many rows at most, from the host to the device."""

    def fits(self, nbytes: int) -> bool:
        """Return whether an array of the host, so large, had better be copied here than streamed.

        It fits if it leaves room for the work on it.
        """

    def replay(
        self,
        function: Callable[..., Any],
        state: Sequence[Array] = (),
        fresh: Callable[[], Iterable[Array]] = tuple,
    ) -> Callable[..., Any]:
        """Return a function of arrays that does what another one does, to be called often.

        Each call has to mean the same work, on arrays of the same shapes and dtypes: a GPU may
        capture it and replay it. What changes from call to call, apart from the arrays that are
        given, has to be in arrays that stay where they are. An array in the result is written over
        by the next call. ``state`` is what a call changes for the next ones, by which a replay is
        judged before it is trusted; ``fresh()`` is what each call writes before it reads it.
        """

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether an error says that the device's memory is used up."""

    def memory_free(self) -> int | None:
        """Return the bytes that can still be had; None: ask, and be refused what is too much."""

    def quick_bytes(self) -> int | None:
        """Return how many bytes a step may go through with caches to hold them; None: any."""

    def memory_taken(self) -> int | None:
        """Return the bytes that the memory pool has taken from the device; None: there is none."""

    def release_memory(self) -> None:
        """Give what the memory pool holds unused back to the device."""


class Stage(Protocol):
    """Where batches pass on their way from the host to the device, behind the work on others."""

    def send(self, n: int, fill: Callable[[np.ndarray[Any, Any]], None]) -> Array:
        """Return n rows on the device that ``fill(rows)`` writes on the host.

        They are the next call's but one to write over.
        """
