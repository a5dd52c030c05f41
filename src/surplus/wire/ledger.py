"""The ledger as a whole."""

from typing import Literal

from pydantic import Field

from surplus.wire.base import Answer, Instant


class Verification(Answer):
    """The result of checking the whole log. Whoever keeps `head_seq` and `head_hash` can tell if the past is rewritten.

    `remedy` says what to do where `problems` were found.
    """

    ok: bool
    entries: int
    batches: int
    head_seq: int
    head_hash: str
    problems: tuple[str, ...]
    remedy: str


class Head(Answer):
    """The end of the log: the last entry, and the hash of everything up to it."""

    seq: int
    hash: str


class LedgerStanding(Answer):
    """What the server knows of its books from its last check of them."""

    state: Literal["unknown", "sound", "unsound"] = Field(description="Nothing is sold unless it is `sound`.")
    seq: int = Field(description="The last entry that was checked.")
    hash: str
    checked_at: Instant | None
    problems: tuple[str, ...]
    remedy: str = Field(description="What to do about the problems.")
