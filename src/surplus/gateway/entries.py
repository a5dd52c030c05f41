"""What the gateway writes into its journal: one entry when a request is admitted, one when it is settled.

A settled entry holds everything that the database will ever know of the request, so loading needs nothing else. Fields
are only ever added at the end: a server of the next version loads the journal of this one.
"""

from typing import Final

import msgspec

from surplus.kit.money import GRAINS_PER_MICRO
from surplus.metering.model import Outcome, UsageRecord
from surplus.metering.usage import TokenUsage


class Admitted(msgspec.Struct, array_like=True, tag="a", gc=False, frozen=True):
    """A request for which money is held. `sku` and `price_version` are those of the deployment it was sent to first.

    `held_micro` was granted by `slice`; it is 0 where the ledger itself holds it, and `slice` is empty.
    """

    request: str
    org: str
    project: str | None
    key: str
    model: str
    deployment: str
    sku: str
    price_version: str
    endpoint: str
    stream: bool
    at: float
    slice: str = ""
    held_micro: int = 0


class Settled(msgspec.Struct, array_like=True, tag="s", gc=False, frozen=True):
    """A request that has ended: what it consumed and the exact cost in grains (as text: it may exceed 64 bits)."""

    admitted: Admitted
    outcome: Outcome
    status: int
    uncached: int
    cache_read: int
    cache_write: int
    output: int
    reasoning: int
    waste_output: int
    grains: str
    degraded: bool
    first_token_at: float | None
    ended_at: float
    engine_request_id: str | None

    @property
    def usage(self) -> TokenUsage:
        """The tokens in their classes."""
        return TokenUsage(self.uncached, self.cache_read, self.cache_write, self.output, self.reasoning)

    def record(self, *, charged_micro: int, overrun_micro: int) -> UsageRecord:
        """The usage record of this request, once the ledger has said what was charged."""
        cost_micro, rest = divmod(int(self.grains), GRAINS_PER_MICRO)
        admitted = self.admitted
        return UsageRecord(
            id=admitted.request,
            org=admitted.org,
            project=admitted.project,
            key=admitted.key,
            model=admitted.model,
            deployment=admitted.deployment,
            sku=admitted.sku,
            price_version=admitted.price_version,
            endpoint=admitted.endpoint,
            stream=admitted.stream,
            outcome=self.outcome,
            status=self.status,
            usage=self.usage,
            waste_output=self.waste_output,
            cost_micro=cost_micro,
            cost_rest_grains=rest,
            charged_micro=charged_micro,
            overrun_micro=overrun_micro,
            degraded=self.degraded,
            started_at=admitted.at,
            first_token_at=self.first_token_at,
            ended_at=self.ended_at,
            engine_request_id=self.engine_request_id,
        )


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Admitted | Settled)


def encode(entry: Admitted | Settled) -> bytes:
    """The bytes of one journal record."""
    return _encoder.encode(entry)


def decode(payload: bytes) -> Admitted | Settled:
    """The entry of one journal record. Raises msgspec.DecodeError on bytes that no version of this server wrote."""
    return _decoder.decode(payload)
