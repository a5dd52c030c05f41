"""Admission: nothing is sent to an engine before its largest possible cost is held and written down."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from surplus.billing.errors import Unpriced
from surplus.billing.rating import PriceSheet, max_grains
from surplus.gateway.access import Caller
from surplus.gateway.body import Body
from surplus.gateway.bounds import Bounds
from surplus.gateway.endpoints import Endpoint
from surplus.gateway.entries import Admitted
from surplus.gateway.errors import BudgetInFlight, BudgetSpent, ModelNotFound, NoCapacity
from surplus.gateway.limits import Limiting
from surplus.gateway.ports import Funds, Grant, HoldRequest
from surplus.gateway.settlement import Ledgered, Settlement
from surplus.gateway.tariffs import Tariffs
from surplus.gateway.tokenizer import Tokenizer
from surplus.kit.clock import Clock
from surplus.kit.journal import Slots
from surplus.kit.money import ceiling_micro
from surplus.serving.directory import Directory
from surplus.serving.model import Deployment
from surplus.serving.replica import Replica

SETTLING_S: Final = 300.0
"""How long after the longest request its hold still stands, so that a slow disk does not turn money into overrun."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A deployment that may answer, and the price sheet that it would be charged by."""

    deployment: Deployment
    sheet: PriceSheet


@dataclass(slots=True)
class Admission:
    """A request that may run: what it is, who may answer it, and the settlement that ends it.

    `working` is the replica that has been sent the request and has not failed it.
    """

    request: str
    endpoint: Endpoint
    caller: Caller
    body: Body
    bounds: Bounds
    offers: Sequence[Offer]
    settlement: Settlement
    working: Replica | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """A request that wants to run: what is known of it before anything is taken."""

    request: str
    endpoint: Endpoint
    caller: Caller
    body: Body
    bounds: Bounds
    offers: Sequence[Offer]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitting:
    """Decides whether a request may run."""

    clock: Clock
    pool: Directory
    tariffs: Tariffs
    limiter: Limiting
    funds: Funds
    ledgered: Ledgered
    slots: Slots
    tokenizer: Tokenizer
    request_timeout_s: float

    async def admit(self, request: str, endpoint: Endpoint, caller: Caller, body: Body) -> Admission:
        """Take limits, hold money, write it down: all of it or nothing.

        Raises ModelNotFound, Unpriced, NoCapacity, BadBody, Limited, BudgetSpent, BudgetInFlight, Unavailable.
        """
        bounds = endpoint.bounds(body)
        at = self.clock.now()
        offers = self._offers(endpoint, body.model, at)
        if not await self.pool.able(body.model, embeddings=endpoint.embeddings):
            message = f"no replica of {body.model!r} is ready; it may be starting or failing: try again soon"
            raise NoCapacity(message, retry_after_s=2)
        wish = _Wish(request, endpoint, caller, body, bounds, offers, at)
        key = caller.key
        tokens = _most_tokens(offers, bounds)
        lease = await self.limiter.lease(key.id, key.limits, tokens, self.clock.monotonic())
        with ExitStack() as undo:
            if lease is not None:
                undo.callback(lease.cancel)  # what was refused counts nowhere
            grant = await self._hold(wish)
            undo.callback(self.funds.release, request, grant)
            slot = self.slots.claim(request)
            undo.callback(slot.release)
            admitted = _entry(wish, offers[0], grant)
            self.ledgered.admit(admitted)
            undo.pop_all()
        settlement = Settlement(
            admitted, offers[0].sheet, lease=lease, slot=slot, clock=self.clock, ledgered=self.ledgered
        )
        return Admission(request, endpoint, caller, body, bounds, offers, settlement)

    def _offers(self, endpoint: Endpoint, model: str, at: float) -> Sequence[Offer]:
        deployments = [d for d in self.pool.deployments(model) if d.embeddings or not endpoint.embeddings]
        if not deployments:
            message = f"the model {model!r} does not exist here or does not serve {endpoint.path}; see GET /v1/models"
            raise ModelNotFound(message, param="model")
        sheets = ((deployment, self.tariffs.in_force(deployment.sku, at)) for deployment in deployments)
        offers = [Offer(deployment, sheet) for deployment, sheet in sheets if sheet is not None]
        if not offers:
            raise Unpriced(deployments[0].sku)
        return offers

    async def _hold(self, wish: _Wish) -> Grant:
        """Hold the largest cost; if that does not fit the money, count the input exactly and try once more."""
        wanted = HoldRequest(
            request=wish.request,
            org=wish.caller.key.org,
            budgets=wish.caller.budgets,
            amount_micro=_most(wish.offers, wish.bounds),
            at=wish.at,
            deadline=wish.at + self.request_timeout_s + SETTLING_S,
        )
        try:
            return await self.funds.hold(wanted)
        except (BudgetSpent, BudgetInFlight):
            amount = _most(wish.offers, wish.bounds, await self.tokenizer.count(wish.body, wish.endpoint))
            if amount >= wanted.amount_micro:
                raise
            return await self.funds.hold(replace(wanted, amount_micro=amount))


def _entry(wish: _Wish, offer: Offer, grant: Grant) -> Admitted:
    key = wish.caller.key
    return Admitted(
        request=wish.request,
        org=key.org,
        project=key.project,
        key=key.id,
        model=wish.body.model,
        deployment=offer.deployment.id,
        sku=offer.sheet.sku,
        price_version=offer.sheet.version,
        endpoint=wish.endpoint.name,
        stream=wish.body.stream,
        at=wish.at,
        slice=grant.slice,
        held_micro=grant.micro if grant.slice else 0,
    )


def _most(offers: Sequence[Offer], bounds: Bounds, counts: Mapping[str, int] = MappingProxyType({})) -> int:
    """Micro-dollars that the request can cost at most, at the dearest of its deployments.

    `counts` is the exact input of those deployments that have counted it.
    """
    return max(_deployment_most(offer, bounds, counts.get(offer.deployment.id)) for offer in offers)


def _deployment_most(offer: Offer, bounds: Bounds, counted: int | None) -> int:
    deployment = offer.deployment
    input_bound = bounds.input_tokens(deployment.template_tokens, deployment.context)
    if counted is not None:
        input_bound = min(input_bound, counted)
    grains = max_grains(
        [offer.sheet],
        input_bound=input_bound,
        output_bound=bounds.output if bounds.output is not None else deployment.max_output,
        choices=bounds.answers,
        context=deployment.context if bounds.inputs == 1 else None,
    )
    return ceiling_micro(grains)


def _most_tokens(offers: Sequence[Offer], bounds: Bounds) -> int:
    """Tokens that the request can use at most; what its lease on tokens per minute takes."""
    most = 0
    for deployment in (offer.deployment for offer in offers):
        output = bounds.output if bounds.output is not None else deployment.max_output
        tokens = bounds.input_tokens(deployment.template_tokens, deployment.context)
        most = max(most, tokens + min(output, deployment.context) * bounds.answers)
    return most
