"""A gateway as others see it."""

from dataclasses import dataclass
from typing import Final

LOST_S: Final = 20.0
"""A gateway that has not been heard of for so long counts as lost."""


@dataclass(frozen=True, slots=True)
class Process:
    """A gateway: where it runs, and when it was last heard of (epoch seconds)."""

    name: str
    host: str
    pid: int
    role: str
    version: str
    started_at: float
    seen_at: float

    def lost(self, now: float) -> bool:
        """Whether it is silent."""
        return now - self.seen_at > LOST_S
