"""An organization's money: credit paid in, the credit limit, the balance, and the entries behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from surplus.app.errors import BadAmount, BadIdempotencyKey, BadNote
from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.errors import IdempotencyConflict, SurplusError
from surplus.kit.ids import Ids
from surplus.kit.money import MAX_MICRO, format_dollars
from surplus.ledger import service as ledger
from surplus.ledger.checks import NOTE_MAX
from surplus.ledger.commands import Command, OpenAccount, SetLimit, Transfer
from surplus.ledger.evolve import legs
from surplus.ledger.model import PAYMENTS, AccountKind, Balance, Entry

CREDIT: Final = "credit"
"""The code of transfers that pay in."""
IDEMPOTENCY_MAX: Final = 100
_FIELDS: Final = {"amount_micro": "amount", "ref": "note"}


@dataclass(frozen=True, slots=True)
class Funds:
    """A wallet at an instant, in micro-dollars: `credit = available + held + settled`.

    `credit` is what was paid in and the credit limit. `available` is below zero after the limit was lowered to less
    than is in use.
    """

    credit: int
    held: int
    settled: int

    @property
    def available(self) -> int:
        return self.credit - self.held - self.settled


@dataclass(frozen=True, slots=True)
class WalletEntry:
    """A ledger entry, and what it adds to the wallet (micro-dollars, negative: a charge)."""

    entry: Entry
    change_micro: int


def wallet(org: str) -> str:
    """The ledger account that an organization (id) pays from."""
    return f"wallet:{org}"


def open_wallet(session: WriteSession, org: str, *, credit_micro: int, limit_micro: int, now: float) -> None:
    """Open the wallet of a new organization, with credit where it has paid already. Raises BadAmount below zero."""
    _check(credit_micro, "credit")
    _check(limit_micro, "credit_limit")
    commands: list[Command] = [OpenAccount(f"wallet:{org}", wallet(org), AccountKind.WALLET, limit_micro)]
    if credit_micro:
        commands.append(_payment(f"opening:{org}", org, credit_micro, "", now))
    _apply(session, commands, now)


def add_credit(
    session: WriteSession, ids: Ids, *, org: str, amount_micro: int, note: str, idempotency_key: str | None, now: float
) -> Funds:
    """Book a payment of a customer, once per idempotency key; returns the balance after it.

    Raises BadAmount unless it is above zero, BadNote, BadIdempotencyKey, and IdempotencyConflict if the key was used
    for another amount or note.
    """
    _check(amount_micro, "amount", least=1)
    if len(note) > NOTE_MAX or not note.isprintable():
        raise BadNote(f"a note has at most {NOTE_MAX} printable characters, all on one line", param="note")
    commands = [_opening(ids, org), _payment(_payment_key(ids, org, idempotency_key), org, amount_micro, note, now)]
    try:
        _apply(session, commands, now)
    except IdempotencyConflict as conflict:
        # The ledger compares the instant last: where nothing else differs, this is the same payment again.
        if conflict.param != "event_at":
            field = _FIELDS.get(str(conflict.param), conflict.param)
            message = f"the Idempotency-Key {idempotency_key!r} was used before with another {field}"
            raise IdempotencyConflict(f"{message}; use a new key for a new payment", param=field) from conflict
    return funds(session, org, now=now)


def set_credit_limit(session: WriteSession, ids: Ids, *, org: str, limit_micro: int, now: float) -> Funds:
    """How far below zero a wallet may go from now on; what is in use beyond it stays. Raises BadAmount below zero."""
    _check(limit_micro, "credit_limit")
    _apply(session, [_opening(ids, org), SetLimit(ids.new("cmd"), wallet(org), limit_micro)], now)
    return funds(session, org, now=now)


def funds(session: ReadSession, org: str, *, now: float) -> Funds:
    """The balance of an organization's wallet; of one that was never opened, nothing."""
    found = ledger.balances(session, [wallet(org)], now=now).get(wallet(org))
    return Funds(0, 0, 0) if found is None else _funds(found)


def entries(session: ReadSession, org: str, *, after_seq: int, limit: int) -> list[WalletEntry]:
    """What happened to a wallet after the entry `after_seq`, oldest first."""
    account = wallet(org)
    if not ledger.balances(session, [account], now=0.0):
        return []
    found = ledger.entries(session, account, after_seq=after_seq, limit=limit)
    return [WalletEntry(one, sum(leg.delta for leg in legs(one) if leg.account == account)) for one in found]


def _funds(balance: Balance) -> Funds:
    return Funds(credit=balance.credits + (balance.limit or 0), held=balance.held, settled=balance.debits)


def _opening(ids: Ids, org: str) -> OpenAccount:
    """Has no effect on a wallet that is there; the operator's own organization begins without one."""
    return OpenAccount(ids.new("cmd"), wallet(org), AccountKind.WALLET, 0)


def _payment(key: str, org: str, amount_micro: int, note: str, now: float) -> Transfer:
    return Transfer(key, PAYMENTS, wallet(org), amount_micro, CREDIT, note, now)


def _payment_key(ids: Ids, org: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return f"{CREDIT}:{org}:{ids.new('cmd')}"
    if not 0 < len(idempotency_key) <= IDEMPOTENCY_MAX or not idempotency_key.isprintable():
        message = f"an Idempotency-Key has 1 to {IDEMPOTENCY_MAX} printable characters; send another one, or none"
        raise BadIdempotencyKey(message, param="Idempotency-Key")
    return f"{CREDIT}:{org}:{idempotency_key}"


def _apply(session: WriteSession, commands: Sequence[Command], now: float) -> None:
    for outcome in ledger.apply(session, commands, now=now):
        if isinstance(outcome, SurplusError):
            raise outcome


def _check(amount_micro: int, param: str, *, least: int = 0) -> None:
    if not least <= amount_micro < MAX_MICRO:
        rule = "more than 0" if least else "0 or more"
        raise BadAmount(f"the {param} is {format_dollars(amount_micro)} USD; give {rule}", param=param)
