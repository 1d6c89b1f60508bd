"""Who trains a network: one thread at a time."""

from __future__ import annotations

from typing import NoReturn

from ..locks import ForkSafeLock


class Claim(ForkSafeLock):
    """A thread's claim to a network's parameters and gradients, as a context manager.

    Whoever writes to them holds it meanwhile: a fit, a step, a gradient check. The thread that
    holds it may take it again, as a callback that makes steps of its own does.

    Examples
    --------
    >>> claim = Claim()
    >>> with claim, claim:
    ...     print("the network is ours")
    the network is ours
    """

    __slots__ = ()

    def __enter__(self) -> None:
        if not self.lock.acquire(blocking=False):
            self.refuse()

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def refuse(self) -> NoReturn:
        """Raise what another thread is told meanwhile.

        Raises
        ------
        RuntimeError
            In any case.
        """
        raise RuntimeError(
            "this network is being trained by another thread: wait until that one is done, or give "
            "each thread a network of its own, as copy.deepcopy(network) and network.clone() do"
        )
