"""A name with several addresses: the first that answers."""

import asyncio
from typing import Any

import pytest

from surplus.serving.http1.dial import race

NEVER_S = 60.0


class Attempts:
    """Stands in for connecting: `plan` says of each address what comes of it."""

    def __init__(self, plan: dict[str, str]) -> None:
        self.plan = plan
        self.tried: list[str] = []
        self.cancelled: list[str] = []
        self.aborted: list[str] = []
        self.all_tried = asyncio.Event()

    async def reach(self, address: str) -> Any:
        self.tried.append(address)
        if len(self.tried) == len(self.plan):
            self.all_tried.set()
        if self.plan[address] == "refuses":
            raise ConnectionRefusedError(address)
        try:
            if self.plan[address] != "answers":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(address)
            if self.plan[address] == "answers late":
                return Reached(self, address)
            raise
        return Reached(self, address)


class Reached:
    def __init__(self, attempts: Attempts, address: str) -> None:
        self.attempts = attempts
        self.address = address

    def abort(self) -> None:
        self.attempts.aborted.append(self.address)


async def winner(attempts: Attempts, next_after_s: float = NEVER_S) -> str:
    async with asyncio.timeout(5):
        reached: Any = await race(list(attempts.plan), attempts.reach, next_after_s=next_after_s)
    for _ in range(5):
        await asyncio.sleep(0)
    return str(reached.address)


async def test_the_first_address_is_enough_when_it_answers() -> None:
    attempts = Attempts({"a": "answers", "b": "answers"})
    assert await winner(attempts) == "a"
    assert attempts.tried == ["a"]


async def test_after_a_refusal_the_next_is_tried_at_once() -> None:
    attempts = Attempts({"a": "refuses", "b": "refuses", "c": "answers"})
    assert await winner(attempts) == "c"
    assert attempts.tried == ["a", "b", "c"]


async def test_a_silent_address_does_not_hold_up_the_next() -> None:
    attempts = Attempts({"a": "is silent", "b": "answers", "c": "answers"})
    assert await winner(attempts, 0.01) == "b"
    assert (attempts.tried, attempts.cancelled) == (["a", "b"], ["a"])


async def test_an_address_that_answers_when_it_is_given_up_is_not_left_open() -> None:
    attempts = Attempts({"a": "answers late", "b": "answers"})
    assert await winner(attempts, 0.01) == "b"
    assert attempts.aborted == ["a"]


async def test_of_two_that_answer_at_once_one_is_not_left_open() -> None:
    attempts = Attempts({"a": "answers", "b": "answers"})
    assert await winner(attempts, 0.0) in {"a", "b"}
    assert len(attempts.aborted) + len(attempts.cancelled) == len(attempts.tried) - 1


async def test_when_all_refuse_the_first_says_why() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"^a$"):
        await winner(Attempts({"a": "refuses", "b": "refuses"}))


async def test_giving_up_the_whole_gives_up_every_attempt() -> None:
    attempts = Attempts({"a": "is silent", "b": "is silent"})
    racing = asyncio.create_task(winner(attempts, 0.01))
    async with asyncio.timeout(5):
        await attempts.all_tried.wait()
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    await asyncio.sleep(0)
    assert attempts.cancelled == ["a", "b"]
