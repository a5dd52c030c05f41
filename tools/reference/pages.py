"""All pages of the reference, by file name."""

import asyncio
from collections.abc import Mapping

from tools.reference import commands, errors, metrics, routes, settings
from tools.reference.server import built


def pages() -> Mapping[str, str]:
    """The text of each page of docs/reference. Builds a server in a temporary folder; nothing listens."""
    return asyncio.run(_pages())


async def _pages() -> Mapping[str, str]:
    async with built() as server:
        return {
            "settings.md": settings.page(),
            "cli.md": commands.page(),
            "errors.md": errors.page(),
            "metrics.md": await metrics.page(server),
            "api.md": await routes.page(server),
        }
