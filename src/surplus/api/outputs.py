"""What is sent for the things of the domains."""

from dataclasses import asdict
from typing import Any, Final

from surplus.app.money import Funds, WalletEntry
from surplus.app.usage import Report
from surplus.billing import budgets as billing_budgets
from surplus.billing.rating import PriceSheet, TokenClass
from surplus.billing.statements import Statement
from surplus.gateway.processes import Standing
from surplus.gateway.worker.standing import WorkerStanding
from surplus.identity import model as identity
from surplus.kit.clock import iso
from surplus.kit.money import format_dollars, format_price
from surplus.ledger.model import EntryKind
from surplus.metering.model import Totals, UsageRecord
from surplus.serving import model as serving
from surplus.serving.replicas import Replica
from surplus.wire import (
    budgets,
    deployments,
    gateways,
    invoices,
    keys,
    members,
    money,
    organizations,
    prices,
    projects,
    status,
    usage,
)

_ATTO: Final = 10**18
_GRAINS_PER_ATTO: Final = 9
"""A dollar has 9 x 10^18 grains, so what tokens cost, at 9 grains for each pico-dollar per million, has 18 decimals."""


def exact(grains: int) -> str:
    """An exact cost as decimal dollars, at least six decimals; a finer one than 18 decimals (none is) ends in `…`."""
    atto, rest = divmod(abs(grains), _GRAINS_PER_ATTO)
    whole, fraction = divmod(atto, _ATTO)
    digits = f"{fraction:018d}".rstrip("0").ljust(6, "0")
    return f"{'-' if grains < 0 else ''}{whole}.{digits}{'…' if rest else ''}"


def organization(found: identity.Organization) -> organizations.Organization:
    """A customer, or the operator."""
    return organizations.Organization(id=found.id, name=found.name, created_at=iso(found.created_at))


def project(found: identity.Project) -> projects.Project:
    """A part of an organization."""
    return projects.Project(id=found.id, organization=found.org, name=found.name, created_at=iso(found.created_at))


def member(found: identity.Member) -> members.Member:
    """A person of an organization."""
    return members.Member(
        id=found.id,
        organization=found.org,
        email=found.email,
        role=found.role.value,
        created_at=iso(found.created_at),
    )


def key(found: identity.Key) -> keys.Key:
    """A key, without any secret."""
    return keys.Key(**_key(found))


def key_created(secret: identity.KeySecret) -> keys.KeyCreated:
    """A key with its token, the one time that it is shown."""
    return keys.KeyCreated(**_key(secret.key), key=secret.token)


def _key(found: identity.Key) -> dict[str, Any]:
    return {
        **{name: getattr(found, name) for name in ("id", "public_id", "project", "member", "name")},
        **asdict(found.limits),
        "organization": found.org,
        "role": found.role.value,
        "created_at": iso(found.created_at),
        "expires_at": _iso(found.expires_at),
        "revoked_at": _iso(found.revoked_at),
    }


def balance(funds: Funds) -> money.Balance:
    """A wallet; `settled` is what was charged."""
    return money.Balance(
        available=format_dollars(funds.available),
        held=format_dollars(funds.held),
        settled=format_dollars(funds.settled),
        credit=format_dollars(funds.credit),
    )


def entry(found: WalletEntry) -> money.Entry:
    """What happened to a wallet. Only a placed hold sets money aside."""
    one = found.entry
    return money.Entry(
        seq=one.seq,
        kind=one.kind.value,
        change=format_dollars(found.change_micro),
        held=format_dollars(one.amount_micro if one.kind is EntryKind.PLACE else 0),
        overrun=format_dollars(one.overrun_micro),
        limit=None if one.limit_micro is None else format_dollars(one.limit_micro),
        code=one.code,
        ref=one.ref,
        event_at=iso(one.event_at),
        booked_at=iso(one.booked_at),
    )


def budget(state: billing_budgets.BudgetState) -> budgets.Budget:
    """A budget and its present window."""
    found = state.budget
    return budgets.Budget(
        id=found.id,
        scope=found.scope.value,
        scope_id=found.scope_id,
        cap=format_dollars(found.cap_micro),
        period=found.period.value,
        hard=found.hard,
        window=state.window,
        spent=format_dollars(state.spent_micro),
        held=format_dollars(state.held_micro),
        left=format_dollars(state.left_micro),
        created_at=iso(found.created_at),
    )


def report(found: Report) -> usage.Usage:
    """Sums, in all and by model."""
    models = tuple(usage.ModelUsage(model=one.model, **_totals(one.totals)) for one in found.models)
    return usage.Usage(**_totals(found.totals), models=models)


def _totals(totals: Totals) -> dict[str, Any]:
    names = ("requests", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens")
    return {**{name: getattr(totals, name) for name in names}, "charged": format_dollars(totals.charged_micro)}


def record(found: UsageRecord) -> usage.Record:
    """What one request consumed."""
    plain = ("id", "project", "key", "model", "deployment", "endpoint", "stream", "status", "degraded")
    return usage.Record(
        **{name: getattr(found, name) for name in plain},
        outcome=found.outcome.value,
        input_tokens=found.usage.input,
        cached_input_tokens=found.usage.cache_read,
        cache_write_tokens=found.usage.cache_write,
        output_tokens=found.usage.output,
        reasoning_tokens=found.usage.reasoning,
        cost=exact(found.cost_grains),
        charged=format_dollars(found.charged_micro),
        overrun=format_dollars(found.overrun_micro),
        started_at=iso(found.started_at),
        first_token_at=_iso(found.first_token_at),
        ended_at=iso(found.ended_at),
    )


def invoice(found: identity.Organization, month: str, statement: Statement) -> invoices.Invoice:
    """The draft of a month's invoice."""
    lines = tuple(
        invoices.InvoiceLine(
            model=line.model,
            token_class=line.token_class.value,
            quantity=line.quantity,
            unit_price=line.unit_price,
            amount=exact(line.grains),
        )
        for line in statement.lines
    )
    adjustments = tuple(
        invoices.InvoiceAdjustment(name=one.name.value, amount=exact(one.grains)) for one in statement.adjustments
    )
    return invoices.Invoice(
        organization=found.name,
        organization_id=found.id,
        month=month,
        status="draft",
        requests=statement.requests,
        lines=lines,
        adjustments=adjustments,
        total=format_dollars(statement.charged_micro),
        currency="USD",
    )


def price(sheet: PriceSheet) -> prices.Price:
    """One version of a model's prices, in dollars per million tokens."""
    each = {name.value: format_price(sheet.prices[name].amount_pico) for name in TokenClass}
    return prices.Price(
        model=sheet.sku,
        version=sheet.version,
        effective_from=iso(sheet.effective_from),
        currency=sheet.currency,
        **each,
    )


def deployment(found: serving.Deployment) -> deployments.Deployment:
    """A deployment."""
    plain: dict[str, Any] = {name: getattr(found, name) for name in deployments.Deployment.model_fields}
    plain |= {"engine": found.engine.value, "created_at": iso(found.created_at)}
    return deployments.Deployment(**plain)


def gateway(found: Standing, now: float) -> gateways.Gateway:
    """A gateway as of `now`."""
    process = found.process
    return gateways.Gateway(
        name=process.name,
        host=process.host,
        pid=process.pid,
        role=process.role,
        version=process.version,
        started_at=iso(process.started_at),
        seen_at=iso(process.seen_at),
        lost=process.lost(now),
        sliced=format_dollars(found.sliced_micro),
    )


def replica(found: Replica, monotonic: float) -> deployments.Replica:
    """A running engine, with its breaker as of `monotonic` seconds."""
    return deployments.Replica(
        id=found.id,
        deployment=found.deployment.id,
        model=found.deployment.model,
        state=found.state.value,
        in_flight=found.in_flight + sum(found.elsewhere.values()),
        breaker=found.breaker.state(monotonic).value,
        restarts=found.restarts,
        error=found.error,
    )


def worker(found: WorkerStanding) -> status.Worker:
    """A process that takes requests."""
    return status.Worker(
        number=found.number,
        pid=found.pid,
        ready=found.ready,
        why=found.why,
        in_flight=found.in_flight,
        journal_lag_bytes=found.journal_lag_bytes,
    )


def _iso(instant: float | None) -> str | None:
    return None if instant is None else iso(instant)
