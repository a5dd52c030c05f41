"""Short questions to an engine, for health checks and warm-ups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from surplus.kit.errors import SurplusError
from surplus.serving.errors import EngineFailed
from surplus.serving.upstream import Upstream

ANSWER_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What an engine answered."""

    status: int
    body: bytes


async def ask(
    upstream: Upstream, url: str, path: str, *, headers: Mapping[str, str], within_s: float, body: bytes = b""
) -> Said:
    """GET, or POST of JSON where there is a body, on a connection of its own. Raises EngineFailed without an answer."""
    sent = {**headers, "content-type": "application/json"} if body else headers
    try:
        answer = await upstream.send(
            url,
            path,
            headers=sent,
            body=body,
            connect_timeout_s=within_s,
            first_byte_timeout_s=within_s,
            reuse=False,
            method="POST" if body else "GET",
        )
        try:
            return Said(answer.status, await answer.read(ANSWER_MAX, within_s))
        finally:
            answer.abort()
    except SurplusError as error:
        why = str(error.__cause__ or "") or error.message  # the operator may know what a caller should not
        raise EngineFailed(f"{url}{path} did not answer: {why}") from error
