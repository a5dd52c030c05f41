"""The prices in force, in memory: what a request will be charged is bound when it is admitted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from surplus.billing import service as billing
from surplus.billing.prices import price_in_force
from surplus.billing.rating import PriceSheet
from surplus.kit.db import Database


class Tariffs:
    """Price sheets by sku, the coming ones included, so that a change of price needs no one to be awake."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sheets: Mapping[str, list[PriceSheet]] = {}

    async def load(self, now: float) -> None:
        """Read what the price book says from `now` on."""
        self.replace(await self._database.read(billing.price_sheets, now=now))

    def replace(self, sheets: Iterable[PriceSheet]) -> None:
        """Use these sheets."""
        by_sku: defaultdict[str, list[PriceSheet]] = defaultdict(list)
        for sheet in sheets:
            by_sku[sheet.sku].append(sheet)
        self._sheets = by_sku

    def in_force(self, sku: str, at: float) -> PriceSheet | None:
        """The one sheet that holds at this instant; None for what has no price, which is refused and never free."""
        return price_in_force(self._sheets.get(sku, ()), at)
