"""What is asked of a running fit."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Requests:
    """Why the running fit shall end: the training's own reason, and one from outside.

    And why the training of single members shall.
    """

    stop: str = ""
    interrupt: str = ""
    members: dict[int, str] = field(default_factory=dict)

    def clear(self) -> None:
        """Take note that it has ended."""
        self.stop = self.interrupt = ""
        self.members = {}
