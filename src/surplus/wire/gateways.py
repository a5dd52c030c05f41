"""Gateways: the processes that take requests for models."""

from pydantic import Field

from surplus.wire.base import Answer, Dollars, Instant


class Gateway(Answer):
    """A gateway that has not ended in good order."""

    name: str
    host: str
    pid: int
    role: str
    version: str
    started_at: Instant
    seen_at: Instant = Field(description="When it last said that it is there.")
    lost: bool = Field(description="It has been silent for too long. What it holds stays held.")
    sliced: Dollars = Field(description="What it has set aside to grant to requests, and what it has granted of it.")


class ForgottenGateway(Answer):
    """A gateway that was given up, and what was freed."""

    name: str
    freed: Dollars
    holds: int
