"""One question and its answer: what every topic module makes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a user asks and what the assistant says to it."""

    question: str
    answer: str
