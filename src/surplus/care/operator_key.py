"""`surplus operator-key reset`: whoever has the data directory gets a new operator's key."""

from dataclasses import dataclass
from pathlib import Path

from surplus import bootstrap
from surplus.care.inspection import open_books
from surplus.identity import service as identity
from surplus.kit.clock import Clock
from surplus.kit.db import WriteSession
from surplus.kit.ids import Ids


@dataclass(frozen=True, slots=True)
class KeyReset:
    """The new key's id and where it was written; which keys it replaces, and which operators' keys are left."""

    key: str
    file: Path
    revoked: tuple[str, ...]
    left: tuple[str, ...]


def reset_operator_key(data: Path, *, store_url: str | None = None, ids: Ids, clock: Clock) -> KeyReset:
    """Revoke the operator's first key and make another; a server that runs follows within a second.

    `store_url` is the server's `--database`. Raises CareError, StoreUnavailable.
    """
    file = data / bootstrap.OPERATOR_KEY

    def reset(session: WriteSession) -> KeyReset:
        made, revoked, left = identity.reset_operator_key(session, ids, now=clock.now())
        bootstrap.write_operator_key(data, made)  # before the commit: a key that nobody holds must not exist
        return KeyReset(made.key.id, file, revoked, left)

    database = open_books(data, store_url)
    try:
        return database.write_now(reset)
    finally:
        database.close()
