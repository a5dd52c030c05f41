"""Callers on connections of their own: they read to the end, or leave before or after the first token."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

CALL_SECONDS = 30.0
LEAVE_AFTER_SECONDS = 0.05
BAD_SHOWN = 3


class Kind(StrEnum):
    """What a caller does."""

    WHOLE = "whole answers"
    STREAM = "streams read to the end"
    LEFT_EARLY = "left before the first token"
    LEFT_LATE = "left after the first token"


WEIGHTS = {Kind.WHOLE: 35, Kind.STREAM: 35, Kind.LEFT_EARLY: 10, Kind.LEFT_LATE: 20}
PACES = {
    Kind.WHOLE: "[[chunks=1 pace=0]]",
    Kind.STREAM: "[[chunks=16 pace=5]]",
    Kind.LEFT_EARLY: "[[chunks=8 pace=500]]",
    Kind.LEFT_LATE: "[[chunks=64 pace=10]]",
}
"""How the upstream is asked to speak: late to those who leave early, and for long to those who leave in the middle."""
PROMPT = "Write down in the order of time what the clerk of a harbour does from the arrival of a ship on. " * 3
"""At least as many bytes as the upstream says that it has read tokens; else it would charge more than can be held."""


@dataclass
class Load:
    """Requests at a fixed rate to a port, whatever the answers do; `bad` says how the first few went wrong."""

    port: int
    key: str
    models: Sequence[str]
    rate: float
    seed: int
    asked: Counter[Kind] = field(default_factory=Counter[Kind])
    faults: int = 0
    bad: list[str] = field(default_factory=list[str])

    async def run(self, seconds: float) -> None:
        """Ask for so long; returns when the last caller has gone."""
        loop = asyncio.get_running_loop()
        chance = random.Random(self.seed)
        start = loop.time()
        async with asyncio.TaskGroup() as callers:
            for number in range(round(seconds * self.rate)):
                due = start + number / self.rate
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                (kind,) = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
                callers.create_task(self._call(kind, chance.choice(self.models)))

    async def _call(self, kind: Kind, model: str) -> None:
        self.asked[kind] += 1
        try:
            async with asyncio.timeout(CALL_SECONDS):
                fault = await self._answered(kind, model)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            fault = repr(error)
        if fault:
            self.faults += 1
            if len(self.bad) < BAD_SHOWN:
                self.bad.append(f"{kind}: {fault}")

    async def _answered(self, kind: Kind, model: str) -> str:
        """What was wrong with the answer; nothing if it was good."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self._request(kind, model))
            if kind is Kind.LEFT_EARLY:
                await asyncio.sleep(LEAVE_AFTER_SECONDS)
                return ""
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                return (head + await reader.read(500)).decode(errors="replace")
            if kind is Kind.LEFT_LATE:
                await reader.readuntil(b"data: ")
                return ""
            said = await reader.read()
        finally:
            writer.transport.abort()
        if kind is Kind.WHOLE:
            return "" if b'"completion_tokens"' in said else repr(said[-200:])
        return "" if b"data: [DONE]\n\n" in said and b'"error"' not in said else repr(said[-200:])

    def _request(self, kind: Kind, model: str) -> bytes:
        message = {"role": "user", "content": f"{PROMPT} {PACES[kind]}"}
        asked: dict[str, object] = {"model": model, "messages": [message], "max_tokens": 128}
        if kind is not Kind.WHOLE:
            asked["stream"] = True
        body = json.dumps(asked).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body
