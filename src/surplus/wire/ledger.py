"""The ledger as a whole."""

from surplus.wire.base import Answer


class Verification(Answer):
    """The result of checking the whole log. Whoever keeps `head_hash` can tell later whether the past was rewritten."""

    ok: bool
    entries: int
    batches: int
    head_hash: str
    problems: tuple[str, ...]
