"""What a check says."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do about it (nothing, if it is ok).

    A `warning` is what a server runs with, though it should not; with a `failed` one it does not run, or not rightly.
    """

    name: str
    state: Literal["ok", "warning", "failed"]
    finding: str
    remedy: str = ""


def ok(name: str, finding: str) -> Check:
    """Nothing to do."""
    return Check(name, "ok", finding)


def warning(name: str, finding: str, remedy: str) -> Check:
    """Works, but should be looked after."""
    return Check(name, "warning", finding, remedy)


def failed(name: str, finding: str, remedy: str) -> Check:
    """Does not work."""
    return Check(name, "failed", finding, remedy)
