"""What an organization used, in all and by model, and the draft of its invoice."""

from collections.abc import Sequence
from dataclasses import dataclass

from surplus.billing import service as billing
from surplus.billing.statements import Statement
from surplus.identity import service as identity
from surplus.kit.clock import month_of
from surplus.kit.db import ReadSession
from surplus.metering import service as metering
from surplus.metering.model import ModelTotals, Totals


@dataclass(frozen=True, slots=True)
class Report:
    """Consumption in all, and of each model by name."""

    totals: Totals
    models: Sequence[ModelTotals]


def report(
    session: ReadSession,
    *,
    org: str,
    project: str | None = None,
    key: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Report:
    """Consumption of an organization, of one of its projects (name or id) or of one of its keys (id).

    Counts the UTC hours whose first second is in `[start, end)`. Raises UnknownProject, UnknownKey.
    """
    project_id = None if project is None else identity.find_project(session, org, project).id
    key_id = None if key is None else identity.get_key(session, key, org=org).id
    models = metering.by_model(session, org=org, project=project_id, key=key_id, start=start, end=end)
    return Report(sum((one.totals for one in models), Totals()), models)


def invoice(session: ReadSession, *, org: str, month: str | None, now: float) -> tuple[str, Statement]:
    """The month (None: the present one, in UTC) and its statement. Raises BadMonth, UnknownPriceVersion."""
    chosen = month_of(now) if month is None else month
    return chosen, billing.statement(session, org, month=chosen)
