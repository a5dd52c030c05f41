"""Where the money of requests is held: in slices that this process has drawn, or near the cap in the ledger itself.

Far from every cap a hold is granted here, in memory. Only the ledger refuses.
"""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final

from surplus.billing.budgets import Budget, Period
from surplus.gateway.entries import Settled
from surplus.gateway.errors import BudgetInFlight, BudgetSpent
from surplus.gateway.escrow import IDLE_S, Slice, bound_micro
from surplus.gateway.ports import Books, Grant, HoldRequest, Loaded
from surplus.kit.clock import Clock, day_span
from surplus.kit.db import StoreUnavailable
from surplus.kit.errors import SurplusError, Unavailable
from surplus.kit.ids import Ids
from surplus.kit.money import format_dollars
from surplus.ledger.commands import DrawSlice, PlaceHold, ReturnSlice, VoidHold
from surplus.ledger.errors import InsufficientFunds
from surplus.ledger.model import AccountKind, Drawn, Outcome, Recalled, Scope

log: Final = logging.getLogger(__name__)

_SPANS: Final = {Period.DAY: "daily ", Period.MONTH: "monthly ", Period.FOREVER: ""}
IN_FLIGHT_RETRY_S: Final = 0.2
STORE_WAIT_S: Final = 5.0
"""How long a request waits for the database, so that one that has stopped does not gather callers without end."""
RECALL_WAIT_S: Final = 1.0
"""How long a request waits for money that other processes have to give back."""
RECALL_POLL_S: Final = 0.02

_Owner = tuple[str, ...]
_ALWAYS: Final = (-math.inf, math.inf)


class EscrowFunds:
    """The `Funds` of one process, `holder`. One slice for each combination of wallet and budgets."""

    def __init__(self, books: Books, clock: Clock, ids: Ids, holder: str) -> None:
        self._books = books
        self._clock = clock
        self._ids = ids
        self._holder = holder
        self._by_owner: dict[_Owner, Slice] = {}
        self._by_id: dict[str, Slice] = {}
        self._asking: dict[str, asyncio.Event] = {}
        self._giving: set[str] = set()
        self._loading: frozenset[str] = frozenset()
        self._load_ended = asyncio.Event()
        self._touched: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()

    # granting

    async def hold(self, request: HoldRequest) -> Grant:
        """Hold the money in the wallet and in every budget, or nowhere."""
        return self._grant(request) or await self._ask(request)

    def _grant(self, request: HoldRequest) -> Grant | None:
        one = self._slice(request)
        self._touched.add(one.id)
        return Grant(one.id, request.amount_micro) if one.grant(request.amount_micro, request.at) else None

    def _slice(self, request: HoldRequest) -> Slice:
        owner = (request.org, *(budget.id for budget in request.budgets))
        one = self._by_owner.get(owner)
        if one is None or not one.valid(request.at):
            periodic = any(budget.period is not Period.FOREVER for budget in request.budgets)
            start, end = day_span(request.at) if periodic else _ALWAYS
            one = Slice(
                id=self._ids.new("slice"),
                holder=self._holder,
                owner=owner,
                wallet=Scope(f"wallet:{request.org}", AccountKind.WALLET, 0),
                budgets=tuple(_scope(budget, request.at) for budget in request.budgets),
                valid_from=start,
                valid_until=end,
            )
            self._by_owner[owner] = self._by_id[one.id] = one
        return one

    async def _ask(self, request: HoldRequest) -> Grant:
        """Fill the slice, wait for who does, or hold the money in the ledger, as the ledger decides."""
        patience: float | None = None
        while True:
            one = self._slice(request)  # that of before may have been given back and forgotten meanwhile
            asking = self._asking.get(one.id)
            if asking is not None and not one.scarce:
                await asking.wait()
                grant = self._grant(request)
                if grant is not None:
                    return grant
                continue
            now = self._clock.monotonic()
            outcome = await self._place(
                one, request, leads=asking is None, final=patience is not None and now > patience
            )
            if isinstance(outcome, Drawn):
                return Grant(one.id, request.amount_micro)
            if not isinstance(outcome, Recalled):
                return Grant("", request.amount_micro)
            if patience is None:
                patience = now + RECALL_WAIT_S
            else:
                await asyncio.sleep(RECALL_POLL_S)  # others have to give back; there is nothing to wait on here
            await self.answer_recalls()

    async def _place(self, one: Slice, request: HoldRequest, *, leads: bool, final: bool) -> Outcome:
        command = PlaceHold(
            hold=request.request,
            wallet=one.wallet,
            budgets=one.budgets,
            amount_micro=request.amount_micro,
            deadline=request.deadline,
            ref=f"{self._holder}/{request.request}",
            wish=one.wish(request.amount_micro, request.at) if leads else None,
            final=final,
        )
        if leads:
            self._asking[one.id] = asyncio.Event()
        filled = 0
        try:
            async with asyncio.timeout(STORE_WAIT_S):
                outcome = await self._books.apply(command)
            if isinstance(outcome, Drawn):
                filled = outcome.drawn_micro
                one.granted += request.amount_micro  # before anybody who waits can take it
                self._touched.add(one.id)
        except (asyncio.CancelledError, Unavailable, TimeoutError) as error:
            self._void(request.request)  # it may have been placed; nobody will use it
            one.doubtful = one.doubtful or leads
            if not isinstance(error, TimeoutError):
                raise
            message = f"the database did not hold the money within {STORE_WAIT_S:.0f} s; try again in a moment"
            raise StoreUnavailable(message, retry_after_s=1) from error
        except InsufficientFunds as error:
            raise _refusal(error, request) from error
        finally:
            if leads:
                one.filled(filled, self._clock.now())
                self._asked(one)
        return outcome

    def _asked(self, one: Slice) -> None:
        self._asking.pop(one.id).set()
        self._see_to(one)

    def _see_to(self, one: Slice) -> None:
        """What a slice must not keep goes back, as soon as nobody asks for it."""
        if one.id not in self._asking and (one.doubtful or (one.returned and one.free)):
            self._spawn(self._try_give_back(one))

    def release(self, request: str, grant: Grant) -> None:
        """Give back a hold that no journal entry stands for."""
        if not grant.slice:
            self._void(request)
        elif grant.slice in self._by_id:
            one = self._by_id[grant.slice]
            one.granted -= grant.micro
            self._touched.add(one.id)
            self._see_to(one)

    def _void(self, request: str) -> None:
        self._spawn(self._try_void(request))

    async def _try_void(self, request: str) -> None:
        try:
            await self._books.apply(VoidHold(request, "never admitted"))
        except SurplusError as error:  # unknown if it never was; else its deadline ends it
            fields = {"request": request, "why": error.message}
            log.info("a hold that was not used could not be voided", extra={"fields": fields})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def settle_releases(self) -> None:
        """Wait for the releases that are under way."""
        while self._background:
            await asyncio.wait(self._background)

    # settling

    def settled(self, entry: Settled, grains: int) -> None:
        """A request has ended: what it will not be charged can be granted again at once."""
        one = self._by_id.get(entry.admitted.slice)
        if one is not None:
            one.ended(entry.admitted.held_micro, grains)
            self._touched.add(one.id)

    async def plan(self, settled: Iterable[Settled]) -> tuple[tuple[DrawSlice, ...], dict[str, int]]:
        """What to draw, and what is granted of each slice, once these settlements have been loaded.

        `loaded` or `not_loaded` has to follow. While a slice is given back nothing of it is loaded, and the other way
        around: what has to stay in it would be another amount before the load than after it.
        """
        bounds = _bounds(settled)
        while giving := bounds.keys() & self._giving:
            await self._asking[min(giving)].wait()
        self._loading = frozenset(bounds)
        touched, self._touched = self._touched | bounds.keys(), set()
        known = [self._by_id[name] for name in sorted(touched) if name in self._by_id]
        granted = {one.id: one.granted - bounds.get(one.id, 0) for one in known if one.amount}
        draws: list[DrawSlice] = []
        for one in known:
            draw = None if one.id in self._asking else one.refill()
            if draw is not None:
                self._asking[one.id] = asyncio.Event()
                draws.append(draw)
        return tuple(draws), granted

    def loaded(self, settled: Iterable[Settled], draws: Iterable[DrawSlice], result: Loaded) -> None:
        """The settlements are in the database and the draws were made as `result` says."""
        now = self._clock.now()
        for name, bound in _bounds(settled).items():
            one = self._by_id.get(name)
            if one is not None:
                one.charged(bound, result.charged.get(name, 0) if result.first else bound)
                one.doubtful = one.doubtful or not result.first
                self._see_to(one)
        for draw in draws:
            one = self._by_id[draw.slice]
            one.filled(result.drawn.get(draw.slice, 0), now)
            one.doubtful = one.doubtful or not result.first
            self._asked(one)
        self._end_load()

    def not_loaded(self, draws: Iterable[DrawSlice], granted: Mapping[str, int]) -> None:
        """The store failed; what was planned will be planned again."""
        self._touched.update(granted)
        for draw in draws:
            one = self._by_id[draw.slice]
            one.doubtful = True
            self._asked(one)
        self._end_load()

    def _end_load(self) -> None:
        self._loading = frozenset()
        self._load_ended.set()
        self._load_ended = asyncio.Event()

    @property
    def granted_micro(self) -> int:
        """What is granted from all slices, for requests that run or are not charged yet: micro-dollars."""
        return sum(one.granted for one in self._by_id.values())

    @property
    def changed(self) -> bool:
        """Whether there is anything to plan."""
        return bool(self._touched)

    # giving back

    async def answer_recalls(self) -> None:
        """Give back what is idle in slices that an account has asked for. Raises Unavailable."""
        for name in await self._books.recalled(self._holder):
            one = self._by_id.get(name)
            if one is None:  # an answer of the ledger that never arrived
                await self._books.apply(ReturnSlice(name, 0))
                continue
            asking = self._asking.get(name)
            if asking is not None:
                await asking.wait()
            one.returned = True
            await self._give_back(one)

    async def _give_back(self, one: Slice) -> None:
        """Give back what is idle; nothing if somebody asks for the slice, who then sees to it. Raises Unavailable."""
        if one.id in self._asking:
            return
        self._asking[one.id] = asyncio.Event()
        self._giving.add(one.id)
        self._touched.add(one.id)
        failed = True
        try:
            if one.id in self._loading:
                await self._load_ended.wait()
            await self._books.apply(ReturnSlice(one.id, one.give_back()))
            failed = False
        finally:
            self._giving.remove(one.id)
            self._asking.pop(one.id).set()
            one.doubtful = one.doubtful or failed
        self._see_to(one)

    async def _try_give_back(self, one: Slice) -> None:
        try:
            await self._give_back(one)
        except Unavailable as error:  # it stays set aside until the next round
            fields = {"slice": one.id, "why": error.message}
            log.warning("a slice could not be given back", extra={"fields": fields})

    async def tidy(self) -> None:
        """Give back what has not been used for a while, and forget it where nothing is granted. Raises Unavailable."""
        now = self._clock.now()
        for one in list(self._by_id.values()):
            idle = not one.used_at <= now < one.used_at + IDLE_S or not one.valid(now)
            if idle:
                one.want = one.largest = 0
            if one.doubtful or (idle and one.free):
                await self._give_back(one)
            if idle and not one.amount and not one.doubtful and one.id not in self._asking:
                self._forget(one)

    def _forget(self, one: Slice) -> None:
        del self._by_id[one.id]
        if self._by_owner.get(one.owner) is one:
            del self._by_owner[one.owner]

    async def close(self) -> None:
        """Give everything back, after the last request has been loaded."""
        await self.settle_releases()
        for one in list(self._by_id.values()):
            if one.amount or one.doubtful:
                await self._try_give_back(one)


def _bounds(settled: Iterable[Settled]) -> dict[str, int]:
    """By slice, the most that its settled requests will be charged."""
    bounds: defaultdict[str, int] = defaultdict(int)
    for entry in settled:
        if entry.admitted.slice:
            bounds[entry.admitted.slice] += bound_micro(entry.admitted.held_micro, int(entry.grains))
    return bounds


def _scope(budget: Budget, at: float) -> Scope:
    return Scope(budget.account(at), AccountKind.BUDGET, budget.cap_micro if budget.hard else None)


def _refusal(error: InsufficientFunds, request: HoldRequest) -> SurplusError:
    """Why the money was refused, in the caller's words: which wallet or budget, how much, and what to do."""
    budget = next((b for b in request.budgets if b.account(request.at) == error.account), None)
    what = f"the {_SPANS[budget.period]}budget of this {budget.scope}" if budget else "the wallet of this organization"
    remedy = "raise the budget" if budget else "add credit"
    facts = (
        f"{what} has {format_dollars(error.available_micro)} USD available and {format_dollars(error.held_micro)} USD "
        f"held by requests in flight; this request may cost up to {format_dollars(error.needed_micro)} USD"
    )
    detail = {
        "scope": budget.scope if budget else "wallet",
        "budget": budget.id if budget else None,
        "available": format_dollars(error.available_micro),
        "held": format_dollars(error.held_micro),
        "needed": format_dollars(error.needed_micro),
    }
    if error.needed_micro <= error.available_micro + error.held_micro:
        message = f"{facts}. Money frees when they end: try again in a moment, or lower max_tokens"
        return BudgetInFlight(message, retry_after_s=IN_FLIGHT_RETRY_S, detail=detail)
    return BudgetSpent(f"{facts}. Lower max_tokens, or {remedy}", detail=detail)
