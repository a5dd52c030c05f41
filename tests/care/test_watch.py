"""The books are checked at the start and on a schedule; unsound ones close the shop until a restart."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from surplus import bootstrap
from surplus.gateway.standing import Soundness
from surplus.gateway.watch import Every, Watch
from surplus.ledger import checkpoint
from tests.care.conftest import GATEWAY, Shop, tamper

Make = Callable[..., Watch]
HOUR, DAY = 3600.0, 86_400.0
USUAL = Every(HOUR, DAY)


@pytest.fixture
def make(shop: Shop) -> Make:
    """Watches over the shop's books, as a server's start makes them."""

    def made(every: Every = USUAL) -> Watch:
        return Watch(
            gateway=GATEWAY,
            database=shop.database,
            journal=shop.journal,
            clock=shop.clock,
            file=shop.data / bootstrap.CHECKED,
            every=every,
            page=3,
            pause_s=0.0,
        )

    return made


def _seen(watch: Watch) -> tuple[Soundness, int]:
    return watch.standing.state, watch.standing.seq


async def test_nothing_is_sold_before_the_first_check(shop: Shop, make: Make) -> None:
    watch = make()
    assert watch.closed().code == "ledger_unchecked"
    assert "being checked" in watch.standing.not_ready()
    await watch.round()
    assert watch.closed() is None
    assert watch.standing.not_ready() is None
    assert await watch.first(0)


async def test_new_entries_every_hour_and_all_of_them_every_day(shop: Shop, make: Make) -> None:
    watch = make()
    await watch.round()
    first = watch.standing.seq
    assert first > 0
    shop.settle("req_6")
    shop.clock.advance(HOUR - 1)
    await watch.round()
    assert watch.standing.seq == first
    shop.clock.advance(1)
    await watch.round()
    assert watch.standing.seq > first
    full_at = checkpoint.decode(watch.file.read_bytes()).full_at
    for _ in range(23):
        shop.clock.advance(HOUR)
        await watch.round()
    assert full_at == shop.clock.now() - DAY
    assert checkpoint.decode(watch.file.read_bytes()).full_at == shop.clock.now()


async def test_zero_checks_at_the_start_alone(shop: Shop, make: Make) -> None:
    watch = make(Every(0, 0))
    await watch.round()
    at = watch.standing.checked_at
    for _ in range(50):
        shop.clock.advance(HOUR)
        await watch.round()
    assert watch.standing.checked_at == at


async def test_a_start_reads_what_is_new_alone_and_the_daily_check_the_rest(shop: Shop, make: Make) -> None:
    await make().round()
    tamper(shop.data, "UPDATE ledger_entry SET ref = 'other' WHERE key = 'hold:req_1'")
    shop.settle("req_6")
    watch = make()
    await watch.round()
    assert watch.standing.state is Soundness.SOUND  # the entry was checked before, and is not read again
    shop.clock.advance(DAY)
    await watch.round()
    assert watch.standing.state is Soundness.UNSOUND
    assert any("digest" in problem for problem in watch.standing.problems)


@pytest.mark.parametrize("damage", [b"", b"x" * 100], ids=["empty", "other bytes"])
async def test_a_checkpoint_that_cannot_be_used_costs_time_alone(shop: Shop, make: Make, damage: bytes) -> None:
    watch = make()
    watch.file.write_bytes(damage)
    await watch.round()
    assert _seen(watch) == (Soundness.SOUND, watch.standing.seq)
    assert checkpoint.decode(watch.file.read_bytes()).state.seq == watch.standing.seq


TAMPERED = {
    "an entry": "UPDATE ledger_entry SET amount_micro = amount_micro + 1 WHERE key = 'post:req_2'",
    "an entry is gone": "DELETE FROM ledger_entry WHERE seq = 4",
    "a batch": "UPDATE ledger_batch SET hash = previous WHERE last_seq > 3",
    "a balance": "UPDATE ledger_account SET debits = debits - 1 WHERE kind = 'wallet'",
    "money moved between balances": "UPDATE ledger_account SET credits = credits + CASE kind WHEN 'wallet' THEN 5 "
    "WHEN 'revenue' THEN -5 ELSE 0 END",
    "a hold": "UPDATE ledger_hold SET posted_micro = 1 WHERE id = 'req_1'",
    "a placed hold": "UPDATE ledger_hold SET amount_micro = 1 WHERE id = 'req_5'",
    "a usage record": "UPDATE metering_record SET charged_micro = charged_micro - 1 WHERE id = 'req_1'",
    "a usage record is gone": "DELETE FROM metering_record WHERE id = 'req_2'",
    "an hour": "UPDATE metering_hour SET charged_micro = charged_micro + 1",
    "the journal's position": "UPDATE gateway_journal SET position = position + 1000000",
}


@pytest.mark.parametrize("statement", TAMPERED.values(), ids=TAMPERED)
async def test_a_start_on_tampered_books_sells_nothing(
    shop: Shop, make: Make, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    tamper(shop.data, statement)
    watch = make()
    with caplog.at_level(logging.CRITICAL):
        await watch.round()
    assert watch.closed().code == "ledger_violation"
    assert watch.closed().retryable is False
    assert "stop the server" in watch.standing.not_ready()
    (told,) = caplog.records
    assert told.fields["problems"] == list(watch.standing.problems)
    assert not watch.file.exists()


PROJECTIONS = ["a balance", "money moved between balances", "a placed hold", "an hour", "the journal's position"]


@pytest.mark.parametrize("what", PROJECTIONS)
async def test_the_quick_check_too_compares_every_balance(shop: Shop, make: Make, what: str) -> None:
    await make().round()
    tamper(shop.data, TAMPERED[what])
    shop.clock.advance(60)
    watch = make()
    await watch.round()
    assert watch.standing.state is Soundness.UNSOUND


async def test_a_rewritten_past_does_not_pass_as_the_one_that_was_checked(shop: Shop, make: Make) -> None:
    await make().round()
    tamper(shop.data, "UPDATE ledger_batch SET hash = 'x' WHERE last_seq = (SELECT max(last_seq) FROM ledger_batch)")
    watch = make()
    await watch.round()
    assert "not the one that was checked" in watch.standing.problems[0]


async def test_the_remedy_is_a_rebuild_where_the_log_is_sound(shop: Shop, make: Make) -> None:
    tamper(shop.data, TAMPERED["a balance"])
    watch = make()
    await watch.round()
    assert "surplus ledger rebuild" in watch.standing.remedy
    tamper(shop.data, TAMPERED["an entry"])
    watch = make()
    await watch.round()
    assert "restore the last sound backup" in watch.standing.remedy


async def test_only_a_restart_opens_the_shop_again(shop: Shop, make: Make) -> None:
    watch = make()
    tamper(shop.data, "UPDATE ledger_account SET credits = credits + 1 WHERE kind = 'wallet'")
    await watch.round()
    tamper(shop.data, "UPDATE ledger_account SET credits = credits - 1 WHERE kind = 'wallet'")
    shop.clock.advance(DAY)
    await watch.round()
    found = await watch.check()
    assert found.ok
    assert watch.closed().code == "ledger_violation"
    again = make()
    await again.round()
    assert again.closed() is None


async def test_the_books_may_grow_while_they_are_read(shop: Shop, make: Make) -> None:
    watch = make()
    done = asyncio.Event()

    async def sell() -> None:
        number = 100
        while not done.is_set():
            number += 1
            await asyncio.to_thread(shop.settle, f"req_{number}")
            await asyncio.to_thread(shop.load)

    selling = asyncio.create_task(sell())
    for _ in range(5):
        found = await watch.check()
        assert found.ok, found.problems
    done.set()
    await selling


async def test_a_check_ends_when_the_server_stops(shop: Shop, make: Make) -> None:
    watch = make()
    running = asyncio.create_task(watch.run())
    await watch._checked.wait()
    watch.stop()
    async with asyncio.timeout(10):
        await running
    given_up = make()
    given_up.stop()
    await given_up.round()
    assert given_up.standing.state is Soundness.UNKNOWN


async def test_the_head_is_told_once_a_day(shop: Shop, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    watch = make(Every(0, 0))
    with caplog.at_level(logging.INFO, logger="surplus.gateway.watch"):
        for _ in range(48):
            await watch.round()
            shop.clock.advance(HOUR)
    told = [record for record in caplog.records if record.message == "ledger head"]
    assert len(told) == 2
    assert told[0].fields == {"seq": watch.standing.seq, "hash": watch.standing.hash}
