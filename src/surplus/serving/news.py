"""What processes tell each other of replicas: the one that looks after the engines, and those that send requests.

The channels and topics have the names below; payloads are MessagePack.
"""

from typing import Final

import msgspec

from surplus.serving.model import Deployment, ReplicaState

POOL: Final = "pool"
"""Topic: PoolNews, when anything has changed, and to whoever has just connected."""
BREAKER: Final = "breaker"
"""Topic and channel: BreakerNews."""
PROBE: Final = "probe"
"""Channel: may I send the probe to this replica (its id)? Answers ProbeAnswer."""
RETURNED: Final = "probe returned"
"""Channel: the probe to this replica (its id) will not be sent, or told nothing."""
LEFT: Final = "left"
"""Channel: no request of mine is at this draining replica (its id) any more."""


class ReplicaNews(msgspec.Struct, frozen=True, array_like=True):
    """A replica as of now; `listed` is False for one that is leaving. A breaker that is open is so for `open_for_s`."""

    id: str
    deployment: Deployment
    state: ReplicaState
    starts: int
    listed: bool
    base_url: str
    headers: dict[str, str]
    pid: int | None
    open_for_s: float | None
    openings: int


class PoolNews(msgspec.Struct, frozen=True, array_like=True):
    """All deployments that are not draining, and all replicas."""

    deployments: list[Deployment]
    replicas: list[ReplicaNews]


class BreakerNews(msgspec.Struct, frozen=True, array_like=True):
    """The breaker of a replica has opened for so many seconds, or (None) closed."""

    replica: str
    open_for_s: float | None
    openings: int


class ProbeAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Whether the asker is the one that sends the probe; `closed` if none is needed any more."""

    granted: bool
    closed: bool


encode: Final = msgspec.msgpack.Encoder().encode
pool_news: Final = msgspec.msgpack.Decoder(PoolNews).decode
breaker_news: Final = msgspec.msgpack.Decoder(BreakerNews).decode
probe_answer: Final = msgspec.msgpack.Decoder(ProbeAnswer).decode
