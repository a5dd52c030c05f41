"""The laws of the books, checked after every test: what was recorded, held, charged and released agrees."""

from collections.abc import Sequence

from surplus.kit.money import GRAINS_PER_MICRO
from surplus.ledger import service as ledger
from surplus.metering import service as metering
from surplus.metering.model import UsageRecord
from tests.http.harness import CLOCK, Shop
from tests.http.holding import check_charges


async def check_books(shop: Shop) -> Sequence[UsageRecord]:
    """Every law at once, for a customer whose requests have all ended; returns its records."""
    records = await shop.records()
    assert len({record.id for record in records}) == len(records)
    for record in records:
        _check_record(shop, record)
    await shop.live.read(check_charges, records, shop.live.admissions())
    await _check_money(shop, records)
    _check_nothing_is_in_use(shop, records)
    return records


def _check_record(shop: Shop, record: UsageRecord) -> None:
    """Charged at the price in force."""
    sheet = shop.sheets[record.price_version]
    assert record.cost_grains == sheet.grains(record.usage)
    assert (record.org, record.model, record.sku) == (shop.org.id, shop.model, sheet.sku)
    assert record.started_at <= (record.first_token_at or record.ended_at) <= record.ended_at


async def _check_money(shop: Shop, records: Sequence[UsageRecord]) -> None:
    """Nothing is held, nothing is lost by rounding, and the budgets count what the wallet paid."""
    charged = sum(record.charged_micro for record in records)
    overrun = sum(record.overrun_micro for record in records)
    assert charged + overrun == sum(record.cost_grains for record in records) // GRAINS_PER_MICRO
    funds = await shop.funds()
    assert (funds.held, funds.settled) == (0, charged)
    assert funds.credit == funds.available + funds.held + funds.settled
    active = await shop.live.read(ledger.active_holds, limit=100_000)
    assert not [hold for hold in active if hold.wallet == f"wallet:{shop.org.id}"]
    assert not await shop.live.read(metering.records, org=shop.neighbour.id, limit=10)
    totals = await shop.live.read(metering.totals, org=shop.org.id)
    assert (totals.requests, totals.charged_micro) == (len(records), charged)


def _check_nothing_is_in_use(shop: Shop, records: Sequence[UsageRecord]) -> None:
    """No slot, no replica, no limit and nothing of a slice is left taken."""
    server = shop.live.server
    assert (server.path.in_flight, server.slots.in_use, server.ledgered.unwritten) == (0, 0, 0)
    assert [one for one in server.funds._by_id.values() if one.granted] == []
    assert [replica for replica in server.pool.replicas() if replica.in_flight] == []
    for key in {record.key for record in records}:
        usage = server.path.limiter._keys.get(key)
        assert usage is None or not usage.running
    standing = dict(server.path.limiter.standing(shop.key.id, shop.key.limits, CLOCK.monotonic()))
    if "tokens" in standing:
        mine = [record for record in records if record.key == shop.key.id]
        used = sum(record.usage.input + record.usage.output for record in mine)
        assert standing["tokens"].remaining == max(0, standing["tokens"].limit - used)
