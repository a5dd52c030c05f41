"""All SQL of the ledger.

Statements are made once, with lists of values as expanding parameters: SQLAlchemy then compiles each of them once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from sqlalchemy import BindParameter, bindparam, case, func, select

from surplus.kit.db import ReadSession, WriteSession
from surplus.kit.db.session import AnyRow, AnySelect
from surplus.ledger import tables
from surplus.ledger.chain import GENESIS, Batch, digest, link
from surplus.ledger.errors import LedgerBroken
from surplus.ledger.evolve import State
from surplus.ledger.model import Account, AccountKind, Entry, EntryKind, Hold, HoldState, Slice

PAGE: Final = 1000
NAMES_MAX: Final = 10_000
"""Values in one list; both databases take at least 32,766 parameters in a statement."""

FIELDS: Final = Entry.__struct_fields__
_KIND: Final = FIELDS.index("kind")
_SCOPES: Final = FIELDS.index("scopes")

_log, _batches, _accounts, _holds = tables.entries.c, tables.batches.c, tables.accounts.c, tables.holds.c
_slices, _scopes, _grants = tables.slices.c, tables.slice_scopes.c, tables.grants.c
_ENTRY: Final = [_log[name] for name in FIELDS]
_BATCH: Final = [_batches.first_seq, _batches.last_seq, _batches.previous, _batches.hash]
_ACCOUNT: Final = [
    _accounts.id,
    _accounts.kind,
    _accounts.currency,
    _accounts.limit_micro,
    _accounts.floor_micro,
    _accounts.credits,
    _accounts.debits,
    _accounts.held,
    _accounts.carry_grains,
    _accounts.sliced,
    _accounts.recalled_seq,
    _accounts.recalled_at,
    _accounts.scarce_micro,
]
_HOLD: Final = [
    _holds.id,
    _holds.state,
    _holds.amount_micro,
    _holds.scopes,
    _holds.deadline,
    _holds.ref,
    _holds.placed_at,
    _holds.posted_micro,
    _holds.overrun_micro,
    _holds.ended_at,
]

_SLICE: Final = [_slices.id, _slices.holder, _slices.scopes, _slices.amount_micro, _slices.drawn_seq, _slices.returned]

_NAMES: Final[BindParameter[Any]] = bindparam("names", expanding=True)
_AFTER: Final[BindParameter[Any]] = bindparam("after")
_SIZE: Final[BindParameter[Any]] = bindparam("size")
_HEAD: Final = select(*_BATCH).order_by(_batches.last_seq.desc()).limit(1)
_ENTRIES_BY_KEY: Final = select(*_ENTRY).where(_log.key.in_(_NAMES))
_ACCOUNTS_BY_ID: Final = select(*_ACCOUNT).where(_accounts.id.in_(_NAMES))
_HOLDS_BY_ID: Final = select(*_HOLD).where(_holds.id.in_(_NAMES))
_SLICE_IDS: Final = select(_slices.id).where(_slices.id.in_(_NAMES)).order_by(_slices.id)
_SLICES_BY_ID: Final = select(*_SLICE).where(_slices.id.in_(_NAMES))
_SLICES_OVER: Final = (
    select(*_SLICE).where(_slices.id.in_(select(_scopes.slice).where(_scopes.account.in_(_NAMES)))).order_by(_slices.id)
)
_ALL_SLICES: Final = select(*_SLICE).order_by(_slices.id)
_SLICE_SCOPES: Final = select(_scopes.account, _scopes.slice)
_SLICES_HELD: Final = select(*_SLICE).where(_slices.holder == bindparam("holder")).order_by(_slices.id)
_RECALLED: Final = (
    select(_slices.id)
    .distinct()
    .join(tables.slice_scopes, _scopes.slice == _slices.id)
    .join(tables.accounts, _accounts.id == _scopes.account)
    .where(
        _slices.holder == bindparam("holder"), _slices.returned.is_(False), _accounts.recalled_seq > _slices.drawn_seq
    )
    .order_by(_slices.id)
)
_GRANTED: Final = func.coalesce(_grants.granted_micro, 0)
_IDLE: Final = (
    select(_scopes.account, func.sum(case((_slices.amount_micro > _GRANTED, _slices.amount_micro - _GRANTED), else_=0)))
    .join(tables.slices, _slices.id == _scopes.slice)
    .join(tables.grants, _grants.slice == _slices.id, isouter=True)
    .where(_scopes.account.in_(_NAMES))
    .group_by(_scopes.account)
)
_PLACED: Final = _holds.state == HoldState.PLACED.value
_DUE: Final = select(*_HOLD).where(_PLACED, _holds.deadline <= bindparam("now")).order_by(_holds.deadline, _holds.id)
_SOME_DUE: Final = _DUE.limit(bindparam("size"))
_ACTIVE: Final = select(*_HOLD).where(_PLACED).order_by(_holds.deadline, _holds.id).limit(bindparam("size"))
_ENTRY_PAGE: Final = select(*_ENTRY, _log.digest).where(_log.seq > _AFTER).order_by(_log.seq).limit(_SIZE)
_BATCH_PAGE: Final = select(*_BATCH).where(_batches.last_seq > _AFTER).order_by(_batches.last_seq).limit(_SIZE)
_ACCOUNT_PAGE: Final = select(*_ACCOUNT).where(_accounts.id > _AFTER).order_by(_accounts.id).limit(_SIZE)
_KEY_TWICE: Final = select(_log.key, func.max(_log.seq)).group_by(_log.key).having(func.count() > 1).limit(PAGE)
_NEWEST: Final = select(_log.booked_at).order_by(_log.seq.desc()).limit(1)
_HOLD_COUNT: Final = select(func.count()).select_from(tables.holds)

_MUTABLE: Final = [
    "limit_micro",
    "floor_micro",
    "credits",
    "debits",
    "held",
    "carry_grains",
    "sliced",
    "recalled_seq",
    "recalled_at",
    "scarce_micro",
]

_encode: Final = msgspec.json.encode
_names: Final = msgspec.json.Decoder(tuple[str, ...])


def head(session: ReadSession) -> Batch:
    """The last batch; before the first one, an empty batch that ends at 0."""
    row = session.first(_HEAD)
    return Batch(*row) if row else Batch(0, 0, GENESIS, GENESIS)


def _by_names(session: ReadSession, statement: AnySelect, names: Iterable[str]) -> Iterator[AnyRow]:
    rest = iter(sorted({name for name in names if "\0" not in name}))  # no database has that, and some refuse to look
    while some := list(islice(rest, NAMES_MAX)):
        yield from session.all(statement, {"names": some})


def accounts(session: ReadSession, ids: Iterable[str]) -> dict[str, Account]:
    """Those of the accounts that exist, by id."""
    return {row[0]: _account(row) for row in _by_names(session, _ACCOUNTS_BY_ID, ids)}


def holds(session: ReadSession, ids: Iterable[str]) -> dict[str, Hold]:
    """Those of the holds that exist, by id."""
    return {row[0]: _hold(row) for row in _by_names(session, _HOLDS_BY_ID, ids)}


def slices(session: ReadSession, ids: Iterable[str]) -> dict[str, Slice]:
    """Those of the slices that have money, by id."""
    return {row[0]: _slice(row) for row in _by_names(session, _SLICES_BY_ID, ids)}


def slices_over(session: ReadSession, accounts: Iterable[str]) -> dict[str, Slice]:
    """All slices that count in any of these accounts, by id."""
    return {row[0]: _slice(row) for row in _by_names(session, _SLICES_OVER, accounts)}


def slices_held(session: ReadSession, holder: str) -> list[Slice]:
    """The slices of a process, by id."""
    return [_slice(row) for row in session.all(_SLICES_HELD, {"holder": holder})]


def recalled(session: ReadSession, holder: str) -> list[str]:
    """The slices of a process that an account has asked for since they were drawn."""
    return [row[0] for row in session.all(_RECALLED, {"holder": holder})]


def idle(session: ReadSession, accounts: Iterable[str]) -> dict[str, int]:
    """What lies in slices of these accounts and is granted to no request, as far as their holders have told."""
    return {row[0]: int(row[1]) for row in _by_names(session, _IDLE, accounts)}


def set_grants(session: WriteSession, granted: Mapping[str, int]) -> None:
    """Write down what of each of those slices that exist is granted to requests (micro-dollars)."""
    there = [row[0] for row in _by_names(session, _SLICE_IDS, granted)]
    rows = [{"slice": name, "granted_micro": granted[name]} for name in there]
    session.upsert(tables.grants, rows, replace=["granted_micro"])


def entries_by_key(session: ReadSession, keys: Iterable[str]) -> dict[str, Entry]:
    """Those of the entries that exist, by key."""
    found = (_entry(row) for row in _by_names(session, _ENTRIES_BY_KEY, keys))
    return {entry.key: entry for entry in found}


def due(session: ReadSession, now: float, *, limit: int | None = None) -> list[Hold]:
    """Placed holds whose deadline has passed, earliest deadline first; all of them without a limit."""
    if limit is None:
        return [_hold(row) for row in session.all(_DUE, {"now": now})]
    return [_hold(row) for row in session.all(_SOME_DUE, {"now": now, "size": limit})]


def active_holds(session: ReadSession, *, ref_prefix: str | None, limit: int) -> list[Hold]:
    """Placed holds, earliest deadline first."""
    statement = _ACTIVE if ref_prefix is None else _ACTIVE.where(_holds.ref.startswith(ref_prefix, autoescape=True))
    return [_hold(row) for row in session.all(statement, {"size": limit})]


def entries_of(session: ReadSession, account: str, *, after_seq: int, limit: int) -> list[Entry]:
    """Entries with this account as `account` or `counter`, in order of seq."""
    query = select(*_ENTRY).where((_log.account == account) | (_log.counter == account))
    query = query.where(_log.seq > after_seq).order_by(_log.seq).limit(limit)
    return [_entry(row) for row in session.all(query)]


def log_page(session: ReadSession, after: int, size: int) -> list[tuple[Entry, str]]:
    """At most `size` entries behind the seq `after`, each with the digest stored beside it."""
    return [(_entry(row[:-1]), row[-1]) for row in session.all(_ENTRY_PAGE, {"after": after, "size": size})]


def log_pages(session: ReadSession, after: int = 0) -> Iterator[list[tuple[Entry, str]]]:
    """The log from the seq behind `after` on, a page at a time."""
    while page := log_page(session, after, PAGE):
        yield page
        after = page[-1][0].seq


def newest_at(session: ReadSession) -> float | None:
    """When the last entry was written, if there is one."""
    return session.scalar(_NEWEST)


def batch_page(session: ReadSession, after: int) -> list[Batch]:
    """A page of the links of the hash chain that end behind the seq `after`, in order."""
    return [Batch(*row) for row in session.all(_BATCH_PAGE, {"after": after, "size": PAGE})]


def batch_ending(session: ReadSession, seq: int) -> Batch | None:
    """The link of the hash chain that ends at `seq`."""
    row = session.first(select(*_BATCH).where(_batches.last_seq == seq))
    return Batch(*row) if row else None


def account_pages(session: ReadSession, size: int = PAGE) -> Iterator[list[Account]]:
    """Every account of the projection by id, a page at a time."""
    after = ""
    while rows := session.all(_ACCOUNT_PAGE, {"after": after, "size": size}):
        yield [_account(row) for row in rows]
        after = rows[-1].id


def all_slices(session: ReadSession) -> Iterator[Slice]:
    """Every slice of the projection, by id."""
    return (_slice(row) for row in session.all(_ALL_SLICES))


def slice_scopes(session: ReadSession) -> list[tuple[str, str]]:
    """In what accounts (first) the slices (second) count."""
    return [(row[0], row[1]) for row in session.all(_SLICE_SCOPES)]


def keys_used_twice(session: ReadSession) -> list[tuple[str, int]]:
    """Keys that more than one entry has, each with the last such seq. The unique index forbids them."""
    return [(row[0], row[1]) for row in session.all(_KEY_TWICE)]


def hold_count(session: ReadSession) -> int:
    """How many holds the projection has."""
    return session.scalar(_HOLD_COUNT)


def append(session: WriteSession, previous: str, written: Sequence[Entry]) -> None:
    """Add the entries of one batch (at least one) to the log and tie them to the batch whose hash is `previous`."""
    session.insert(tables.entries, [_entry_row(entry) for entry in written])
    linked = {"first_seq": written[0].seq, "last_seq": written[-1].seq, "previous": previous}
    session.insert(tables.batches, [linked | {"hash": link(previous, written)}])


def save(session: WriteSession, state: State) -> None:
    """Write the accounts and holds that have changed in `state`."""
    session.upsert(
        tables.accounts,
        [_account_row(state.accounts[name]) for name in sorted(state.changed_accounts)],
        replace=_MUTABLE,
    )
    session.upsert(
        tables.holds,
        [_hold_row(state.holds[name]) for name in sorted(state.changed_holds)],
        replace=["state", "posted_micro", "overrun_micro", "ended_at"],
    )
    _save_slices(session, state)


def _save_slices(session: WriteSession, state: State) -> None:
    changed = sorted(state.changed_slices)
    there = [state.slices[name] for name in changed if name in state.slices]
    gone = [name for name in changed if name not in state.slices]
    session.upsert(
        tables.slices,
        [_slice_row(one) for one in there],
        replace=["holder", "scopes", "amount_micro", "drawn_seq", "returned"],
    )
    ended = sorted({*gone, *state.opened_slices})  # one that was opened may have been there before, in other accounts
    if ended:
        session.execute(tables.slice_scopes.delete().where(_scopes.slice.in_(ended)))
    if gone:
        session.execute(tables.slices.delete().where(_slices.id.in_(gone)))
        session.execute(tables.grants.delete().where(_grants.slice.in_(gone)))
    opened = [one for one in there if one.id in state.opened_slices]
    links = [{"account": account, "slice": one.id} for one in opened for account in one.scopes]
    session.insert_new(tables.slice_scopes, links)


def drop_projections(session: WriteSession) -> None:
    """Delete what a replay of the log makes again."""
    session.drop_rows(tables.holds)
    session.drop_rows(tables.slices)
    session.drop_rows(tables.slice_scopes)
    session.drop_rows(tables.accounts)


def _entry(row: Sequence[Any]) -> Entry:
    values = list(row)
    try:
        values[_KIND] = EntryKind(values[_KIND])
        values[_SCOPES] = _names.decode(values[_SCOPES])
    except (ValueError, msgspec.DecodeError) as error:
        raise LedgerBroken(f"seq {values[0]} of the log cannot be read: {error}") from error
    return Entry(*values)


def _entry_row(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.structs.asdict(entry)
    row["kind"] = entry.kind.value
    row["scopes"] = _encode(entry.scopes).decode()
    row["digest"] = digest(entry)
    return row


def _account(row: Sequence[Any]) -> Account:
    name, kind, *rest = row
    try:
        return Account(name, AccountKind(kind), *rest)
    except ValueError as error:
        raise LedgerBroken(f"the account {name} cannot be read: {error}; rebuild the ledger's projections") from error


def _account_row(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "kind": account.kind.value,
        "currency": account.currency,
        "limit_micro": account.limit,
        "floor_micro": account.floor,
        "credits": account.credits,
        "debits": account.debits,
        "held": account.held,
        "carry_grains": account.carry,
        "sliced": account.sliced,
        "recalled_seq": account.recalled_seq,
        "recalled_at": account.recalled_at,
        "scarce_micro": account.scarce_micro,
    }


def _slice(row: Sequence[Any]) -> Slice:
    name, holder, scopes, amount, drawn_seq, returned = row
    try:
        return Slice(name, holder, _names.decode(scopes), amount, drawn_seq, bool(returned))
    except (ValueError, msgspec.DecodeError) as error:
        raise LedgerBroken(f"the slice {name} cannot be read: {error}; rebuild the ledger's projections") from error


def _slice_row(one: Slice) -> dict[str, Any]:
    return {
        "id": one.id,
        "holder": one.holder,
        "scopes": _encode(one.scopes).decode(),
        "amount_micro": one.amount,
        "drawn_seq": one.drawn_seq,
        "returned": one.returned,
    }


def _hold(row: Sequence[Any]) -> Hold:
    name, state, amount, scopes, *rest = row
    try:
        return Hold(name, HoldState(state), amount, _names.decode(scopes), *rest)
    except (ValueError, msgspec.DecodeError) as error:
        raise LedgerBroken(f"the hold {name} cannot be read: {error}; rebuild the ledger's projections") from error


def _hold_row(hold: Hold) -> dict[str, Any]:
    return {
        "id": hold.id,
        "state": hold.state.value,
        "amount_micro": hold.amount,
        "scopes": _encode(hold.scopes).decode(),
        "deadline": hold.deadline,
        "ref": hold.ref,
        "placed_at": hold.placed_at,
        "posted_micro": hold.posted,
        "overrun_micro": hold.overrun,
        "ended_at": hold.ended_at,
    }
