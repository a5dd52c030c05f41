"""Admission takes limits, money, a slot and a line in the journal: all of it or nothing."""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from surplus.billing.errors import Unpriced
from surplus.gateway.admission import SETTLING_S, Admission
from surplus.gateway.entries import Admitted
from surplus.gateway.errors import BadBody, BudgetInFlight, BudgetSpent, ModelNotFound, NoCapacity
from surplus.gateway.ports import Funds, Grant, HoldRequest
from surplus.identity.model import Limits
from surplus.kit.errors import Limited, SurplusError, Unavailable
from surplus.kit.journal import JournalFull, SlotsFull
from surplus.ledger import service as ledger
from tests.unit.gateway.loading import granted
from tests.unit.gateway.parts import NOW, body, chat, dollars
from tests.unit.gateway.stage import CHAT, EMBED, IMPATIENT, SLOTS, TEXT, Opener, Stage
from tests.unit.gateway.test_settlement import full_disk
from tests.upstream import Fault


async def admit(stage: Stage, asked: Any = None, request: str = "req_1", endpoint: Any = CHAT) -> Admission:
    return await stage.admitting.admit(request, endpoint, stage.caller, asked or chat(max_tokens=10))


async def refused(stage: Stage, error: type[SurplusError], *args: Any, **more: Any) -> SurplusError:
    """The refusal; nothing of the request is left anywhere."""
    before = taken(stage)
    with pytest.raises(error) as caught:
        await admit(stage, *args, **more)
    await stage.funds.settle_releases()
    assert taken(stage) == before
    return caught.value


def taken(stage: Stage) -> tuple[Any, ...]:
    """Everything that requests have taken: leases, money, slots, lines in the journal."""
    limits = stage.caller.key.limits
    standings = [one.remaining for _, one in stage.limiter.standing(stage.caller.key.id, limits, 0.0)]
    running = [len(usage.running) for usage in stage.limiter._keys.values() if usage.running]
    return standings, running, stage.house.held(), granted(stage.funds), stage.slots.in_use, len(stage.entries)


def held(stage: Stage) -> int:
    """Micro-dollars that requests hold, in the ledger and in slices."""
    holds = stage.database.read_now(ledger.active_holds)
    return sum(hold.amount for hold in holds) + sum(granted(stage.funds).values())


async def test_an_admission_has_taken_all_that_it_may_need(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    asked = chat(max_tokens=10, n=2)
    admission = await admit(stage, asked)
    cost = (asked.size + 8) * 3 + 10 * 2 * 8
    ((slice_, micro),) = granted(stage.funds).items()
    assert (micro, stage.house.held()) == (cost, [])
    assert stage.slots.in_use == 1
    (entry,) = stage.entries
    assert entry == Admitted(
        request="req_1",
        org="org_1",
        project=None,
        key=stage.caller.key.id,
        model="tiny",
        deployment="dep_0",
        sku="tiny",
        price_version="price_1",
        endpoint="chat.completions",
        stream=False,
        at=NOW,
        slice=slice_,
        held_micro=cost,
    )
    standings = dict(stage.limiter.standing(stage.caller.key.id, stage.caller.key.limits, 0.0))
    assert standings["requests"].remaining == 10_000 - 1
    assert standings["tokens"].remaining == 10_000_000 - (asked.size + 8 + 2 * 10)
    assert (admission.working, admission.settlement.settled) == (None, False)


async def test_near_the_cap_the_ledger_itself_holds_the_money_until_a_deadline(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    asked = chat(max_tokens=10)
    cost = (asked.size + 8) * 3 + 10 * 8
    stage.drain_wallet(cost)
    await admit(stage, asked)
    (hold,) = stage.database.read_now(ledger.active_holds)
    assert (hold.id, hold.amount) == ("req_1", cost)
    assert hold.deadline == NOW + IMPATIENT.request_s + SETTLING_S
    (entry,) = stage.entries
    assert isinstance(entry, Admitted)
    assert (entry.slice, entry.held_micro, granted(stage.funds)) == ("", 0, {})


async def test_the_dearest_deployment_that_may_answer_is_held_for(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai", ("openai", {"sku": "dear"}))
    stage.price(dollars(), dollars(output=100, sku="dear", version="price_2"))
    asked = chat(max_tokens=10)
    admission = await admit(stage, asked)
    assert [one.deployment.id for one in admission.offers] == ["dep_0", "dep_1"]
    assert held(stage) == (asked.size + 8) * 3 + 10 * 100
    assert admission.settlement.admitted.price_version == "price_1", "the first that would be asked"


@pytest.mark.parametrize("limits", [Limits(rpm=1), Limits(tpm=200), Limits(concurrency=1)])
async def test_a_limit_refuses_before_any_money_is_held(open_stage: Opener, limits: Limits) -> None:
    stage, _ = await open_stage("openai")
    stage.limit(limits)
    await admit(stage)
    await refused(stage, Limited, request="req_2")


async def test_money_that_is_missing_refuses_and_gives_the_lease_back(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    stage.drain_wallet(100)
    error = await refused(stage, BudgetSpent)
    assert error.code == "insufficient_quota"


async def test_money_in_flight_refuses_for_now(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    asked = chat(max_tokens=10)
    cost = (asked.size + 8) * 3 + 80
    stage.drain_wallet(cost + 10)
    await admit(stage)
    await refused(stage, BudgetInFlight, request="req_2")


async def test_a_bound_that_does_not_fit_is_counted_exactly(open_stage: Opener) -> None:
    stage, servers = await open_stage("vllm")
    asked = chat(max_tokens=10)
    counted = (await stage.tokenizer.count(asked, CHAT))["dep_0"]
    cost = counted * 3 + 80
    assert counted < asked.size
    stage.drain_wallet(cost)
    admission = await admit(stage, asked)
    assert held(stage) == cost
    exchange = await stage.dispatcher.dispatch(admission)
    assert servers[0].generations[0].usage.prompt == counted
    exchange.close()


async def test_a_count_that_does_not_help_leaves_the_refusal(open_stage: Opener) -> None:
    stage, _ = await open_stage("vllm")
    asked = chat(max_tokens=10)
    counted = (await stage.tokenizer.count(asked, CHAT))["dep_0"]
    stage.drain_wallet(counted * 3 + 79)
    await refused(stage, BudgetSpent, asked)


async def test_a_count_of_one_deployment_does_not_bound_another(open_stage: Opener) -> None:
    """A provider's tokenizer may count more than ours, and it may be the one that answers."""
    stage, _ = await open_stage("vllm", "openai")
    asked = chat(max_tokens=10)
    assert set(await stage.tokenizer.count(asked, CHAT)) == {"dep_0"}
    stage.drain_wallet((asked.size + 8) * 3 + 79)
    await refused(stage, BudgetSpent, asked)


async def test_an_engine_that_cannot_count_is_no_reason_to_fail(open_stage: Opener) -> None:
    stage, servers = await open_stage("vllm")
    stage.drain_wallet(100)
    for fault in (Fault.ServerError(500), Fault.CloseBeforeAnyByte(), Fault.HtmlWithStatus200(), Fault.EmptyBody()):
        servers[0].plan(fault, path="/tokenize")
        await refused(stage, BudgetSpent, chat(max_tokens=1000))
    assert stage.replica("dep_0").in_flight == 0


async def test_every_slot_taken_refuses_and_gives_the_money_back(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    for number in range(SLOTS):
        await admit(stage, request=f"req_{number}")
    cost = (chat(max_tokens=10).size + 8) * 3 + 10 * 8
    await refused(stage, SlotsFull, request="req_more")
    assert held(stage) == SLOTS * cost


class FillsTheDisk:
    """Funds that hold, and then the disk is full."""

    def __init__(self, funds: Funds, disk: AbstractContextManager[None]) -> None:
        self._funds, self._disk = funds, disk

    async def hold(self, request: HoldRequest) -> Grant:
        grant = await self._funds.hold(request)
        self._disk.__enter__()
        return grant

    def release(self, request: str, grant: Grant) -> None:
        self._disk.__exit__(None, None, None)
        self._funds.release(request, grant)


async def test_a_full_disk_refuses_and_gives_everything_back(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    stage.admitting = replace(stage.admitting, funds=FillsTheDisk(stage.funds, full_disk()))
    error = await refused(stage, JournalFull)
    assert error.status == 503


async def test_a_caller_that_leaves_while_money_is_held_leaves_nothing(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    before = taken(stage)
    for moments in range(10):
        waiting = asyncio.create_task(admit(stage, request=f"req_{moments}"))
        for _ in range(moments):
            await asyncio.sleep(0)
        if waiting.done():
            break
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await stage.funds.settle_releases()
        assert taken(stage) == before


async def test_what_is_not_served_is_not_found(open_stage: Opener) -> None:
    stage, _ = await open_stage(("openai", {"embeddings": False}))
    error = await refused(stage, ModelNotFound, chat(model="other"))
    assert (error.param, "'other'" in error.message) == ("model", True)
    await refused(stage, ModelNotFound, body(input="x"), endpoint=EMBED)
    await admit(stage, body(prompt="x"), endpoint=TEXT)


async def test_what_has_no_price_is_refused_and_never_free(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    stage.price()
    assert (await refused(stage, Unpriced)).retryable is False
    stage.price(dollars(sku="another"))
    await refused(stage, Unpriced)


async def test_a_model_without_a_ready_replica_has_no_capacity(open_stage: Opener) -> None:
    stage, _ = await open_stage("openai")
    stage.replica("dep_0").breaker.failed(stage.clock.monotonic(), retry_after_s=30)
    error = await refused(stage, NoCapacity)
    assert isinstance(error, Unavailable)
    assert error.retry_after_s is not None


@pytest.mark.parametrize("fields", [{"max_tokens": 0}, {"n": 0}, {"n": 1000}, {"max_completion_tokens": "x"}])
async def test_a_body_that_nobody_can_bound_is_refused(open_stage: Opener, fields: dict[str, Any]) -> None:
    stage, _ = await open_stage("openai")
    await refused(stage, BadBody, chat(**fields))
