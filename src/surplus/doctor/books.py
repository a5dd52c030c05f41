"""Checks of the database: the file, its schema, the ledger in it, and who may operate."""

from collections.abc import Callable
from pathlib import Path

from surplus.doctor.check import Check, failed, ok, warning
from surplus.gateway import standing
from surplus.gateway.agreement import hours_agree, records_agree
from surplus.gateway.standing import RESTORE
from surplus.identity import model as identity
from surplus.identity import service as identities
from surplus.kit.clock import iso
from surplus.kit.db import Database, ReadSession, StoreUnavailable, health
from surplus.kit.errors import BadSetting, Unauthenticated
from surplus.ledger import service as ledger
from surplus.ledger.verification import Verifier

CLOCK_SLACK_S = 2.0
PROBLEMS_TOLD = 3
ADMIT = "start that server, make the database in it, let this user log in, or correct the URL or the password"


def database(location: Path | str) -> tuple[Check, Database | None]:
    """Whether the database in a file or at a URL opens and is whole; the open database if so. Does not create one."""
    if isinstance(location, Path) and not location.exists():
        return warning("database", f"there is no {location} yet", "the first start of a server makes it"), None
    try:
        opened = Database(location)
    except (StoreUnavailable, BadSetting) as error:
        return failed("database", error.message, RESTORE if isinstance(location, Path) else ADMIT), None
    check = guarded("database", lambda: _whole(opened))
    if check.state == "failed":
        opened.close()
        return check, None
    return check, opened


def _whole(opened: Database) -> Check:
    faults = health.faults(opened)
    if faults:
        return failed("database", f"the file is damaged: {_some(faults)}", RESTORE)
    risks = health.risks(opened)
    if risks:
        finding = f"{health.description(opened)}: a power cut can take back what was confirmed: {_some(risks)}"
        return warning("database", finding, "switch it on in the settings of that server, and restart it")
    return ok("database", f"{health.description(opened)} is whole")


def guarded(name: str, look: Callable[[], Check]) -> Check:
    """A check that reads the database; where the database fails, that is what it says."""
    try:
        return look()
    except StoreUnavailable as error:
        return failed(name, error.message, RESTORE)


def schema(opened: Database, scripts: Path) -> Check:
    """Whether the schema is the one that this version works with."""
    found = health.schema(opened, scripts)
    if found.current:
        return ok("schema", f"version {found.present}, the newest")
    if found.usable and not found.known:
        return ok("schema", f"version {found.present} of a later Surplus, which works with {found.newest} too")
    if not found.known:
        finding = f"version {found.present} was made by a later Surplus; this one knows {found.newest} at most"
        return failed("schema", finding, "install the later Surplus again, or restore a backup from before the upgrade")
    finding = f"version {found.present or 'none'}, the newest is {found.newest}"
    return warning("schema", finding, "make a backup; the next start of the server upgrades it")


def books(opened: Database) -> Check:
    """Whether the ledger is sound: every sum, every balance, the chain of hashes, and the usage records beside it."""
    found, _ = Verifier(opened.read_now, beside=[hours_agree, records_agree]).run()
    if not found.ok:
        return failed("ledger", f"the ledger is not sound: {_some(found.problems)}", standing.remedy(found))
    return ok("ledger", f"{found.entries:,} entries are sound; head {found.head_hash[:16]}")


def clock(opened: Database, now: float) -> Check:
    """Whether the machine's clock is behind what has been written already."""
    theirs = health.clock(opened)
    if theirs is not None and abs(theirs - now) > CLOCK_SLACK_S:
        finding = f"the clock here says {iso(round(now))}, that of the database's machine {iso(round(theirs))}"
        return failed("clock", finding, "set both clocks, and keep them set: timedatectl set-ntp true")
    newest = opened.read_now(ledger.newest_at)
    if newest is not None and newest > now + CLOCK_SLACK_S:
        finding = f"the clock says {iso(round(now))}, but the ledger has an entry of {iso(round(newest))}"
        return failed("clock", finding, "set the clock, and keep it set: timedatectl set-ntp true")
    return ok("clock", f"{iso(round(now))}, after everything in the ledger")


def operator_may(opened: Database, token: str, now: float) -> Check:
    """Whether the operator's key is one that the database accepts."""

    def look(session: ReadSession) -> identity.Key:
        public_id, secret = identity.parse_token(token)
        return identity.verify(identities.find_by_public_id(session, public_id), secret, now)

    try:
        key = opened.read_now(look)
    except Unauthenticated as error:
        remedy = "put the operator's present key into the file; where none is left, the next start makes one"
        return failed("operator access", f"the key in the file is refused: {error.message}", remedy)
    if key.role is not identity.Role.OPERATOR:
        finding = f"the key in the file is {key.id}, which is not an operator's"
        return failed("operator access", finding, "put the operator's key into the file")
    return ok("operator access", f"{key.id} is accepted")


def _some(problems: "list[str] | tuple[str, ...]") -> str:
    rest = len(problems) - PROBLEMS_TOLD
    return "; ".join(problems[:PROBLEMS_TOLD]) + (f"; and {rest} more" if rest > 0 else "")
