"""Who calls: keys, with the budgets that bind them, cached until the facts behind them change."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from surplus.billing import service as billing
from surplus.billing.budgets import Budget
from surplus.gateway.client import Client
from surplus.gateway.errors import RoleMayNotCall
from surplus.identity import model as identity_model
from surplus.identity import service as identity
from surplus.identity.model import Action, Key, StoredKey
from surplus.kit.clock import Clock
from surplus.kit.db import Database, ReadSession

CACHE_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that may be used, and every budget that it spends from."""

    key: Key
    budgets: tuple[Budget, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    stored: StoredKey
    caller: Caller


class Access:
    """Looks keys up by public id and compares the hash of the secret in constant time.

    Nothing is cached about keys that do not exist, so a new key works at once; `forget` is called when keys or budgets
    change, so a revoked one stops at once.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._forgotten = 0

    async def authenticate(self, client: Client) -> Caller:
        """The caller of a request. Raises InvalidKey, ExpiredKey or RevokedKey (401), or Unavailable, never both."""
        public_id, secret = identity_model.parse_token(_token(client))
        known = self._known.get(public_id)
        if known is not None:
            identity_model.verify(known.stored, secret, self._clock.now())
            return known.caller
        asked = self._forgotten
        known = await self._database.read(_find, public_id)
        identity_model.verify(known.stored if known is not None else None, secret, self._clock.now())
        assert known is not None
        if asked == self._forgotten:  # or else what was read may be older than the change
            self._remember(public_id, known)
        return known.caller

    def _remember(self, public_id: str, known: _Known) -> None:
        self._known[public_id] = known
        if len(self._known) > CACHE_MAX:
            self._known.popitem(last=False)

    async def model_caller(self, client: Client) -> Caller:
        """The caller, who must have a role that calls models, and no more connections than it may.

        Raises RoleMayNotCall (403) and TooManyConnections (429), beside what `authenticate` does.
        """
        caller = await self.authenticate(client)
        if not identity_model.allows(caller.key.role, Action.CALL_MODELS):
            message = (
                f"this key has the role {caller.key.role}, which does not call models; "
                "use a developer key (`surplus key create --org NAME`)"
            )
            raise RoleMayNotCall(message)
        client.claim(caller.key.id)
        return caller

    def forget(self) -> None:
        """Keys, roles, limits or budgets have changed."""
        self._forgotten += 1
        self._known.clear()


def _find(session: ReadSession, public_id: str) -> _Known | None:
    stored = identity.find_by_public_id(session, public_id)
    if stored is None:
        return None
    key = stored.key
    budgets = billing.budgets_of(session, org=key.org, project=key.project, key=key.id)
    return _Known(stored, Caller(key, tuple(budgets)))


def _token(client: Client) -> str:
    header = client.header(b"authorization")
    if header is not None:
        scheme, _, token = header.decode("latin-1").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    return (client.header(b"x-api-key") or b"").decode("latin-1").strip()
