"""The two customers of the demo: their conversations, held through the official `openai` SDK, all at once."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import openai
from openai.types.chat import ChatCompletionMessageParam

MODEL: Final = "tiny-chat"
MAX_TOKENS: Final = 120
RETRIES: Final = 30
"""Money that is held by the customer's own other conversations comes back: the SDK waits for it as it is told to."""
SYSTEM: Final = "You are a helpful assistant in a small cloud."

CONVERSATIONS: Final[Sequence[Sequence[str]]] = (
    ("Hello", "What is 17 + 25?", "What is a lease?"),
    ("Tell me a story about a fox.", "What is 7 times 8?", "Thank you"),
    ("How full is the fleet?", "What is a prefix cache?", "What is a spot lease?"),
    ("Who are you?", "Tell me a story about an owl.", "What is an invoice?"),
)


@dataclass(slots=True)
class Customer:
    """One customer at work; what it last heard, and what it was refused, is there to be shown."""

    name: str
    key: str
    running: int = 0
    answered: int = 0
    refused: int = 0
    heard: str = ""
    refusal: str = ""
    spoken: list[str] = field(default_factory=list[str])

    async def talk(self, base_url: str) -> None:
        """Hold all conversations side by side, each turn streamed, until they end or the money does."""
        client = openai.AsyncOpenAI(base_url=base_url, api_key=self.key, max_retries=RETRIES)
        async with client:
            await asyncio.gather(*(self._converse(client, questions) for questions in CONVERSATIONS))

    async def _converse(self, client: openai.AsyncOpenAI, questions: Sequence[str]) -> None:
        history: list[ChatCompletionMessageParam] = [{"role": "system", "content": SYSTEM}]
        for question in questions:
            history.append({"role": "user", "content": question})
            self.running += 1
            try:
                answer = await self._ask(client, history)
            except openai.RateLimitError as error:
                self.refused += 1
                self.refusal = error.message
                return
            finally:
                self.running -= 1
            self.answered += 1
            history.append({"role": "assistant", "content": answer})
            self.spoken += [f"> {question}", f"  {answer}"]

    async def _ask(self, client: openai.AsyncOpenAI, history: list[ChatCompletionMessageParam]) -> str:
        stream = await client.chat.completions.create(
            model=MODEL, messages=history, max_tokens=MAX_TOKENS, temperature=0, stream=True
        )
        answer = ""
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                answer += chunk.choices[0].delta.content
                self.heard = answer
        return answer


def words(customers: Sequence[Customer]) -> Iterator[str]:
    """A few lines of what was said, so that one can see that the answers are real."""
    for customer in customers:
        for line in customer.spoken[:4]:
            yield f"{customer.name:<12} {line}"
