"""The most that a request can consume, from what can be known before it runs. Pure."""

from dataclasses import dataclass
from typing import Final

from surplus.gateway.body import CHOICES_MAX, Body
from surplus.gateway.errors import BadBody

OUTPUT_MAX: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """`inputs` prompts of together at most `bytes` bytes (a byte is at least a token's length in text), each answered
    `choices` times with at most `output` tokens; None where the caller set no limit, and the deployment's is sent.
    """

    size: int
    inputs: int
    choices: int
    output: int | None

    @property
    def answers(self) -> int:
        """How many answers will be generated in all."""
        return self.inputs * self.choices

    def input_tokens(self, template_tokens: int, context: int) -> int:
        """Input tokens at most: a token is at least one byte of the body, and no prompt is longer than the context."""
        return min(self.size + template_tokens * self.inputs, context * self.inputs)


def of_chat(body: Body) -> Bounds:
    """Bounds of a chat completion. Raises BadBody."""
    if "messages" not in body.fields:
        message = "`messages` is missing"
        raise BadBody(message, param="messages")
    output = _limit(body, "max_completion_tokens")
    if output is None:
        output = _limit(body, "max_tokens")
    return Bounds(body.size, 1, body.count("n", least=1, most=CHOICES_MAX) or 1, output)


def of_completion(body: Body) -> Bounds:
    """Bounds of a text completion: every prompt of a list is answered `n` times, or tried `best_of` times."""
    inputs = body.inputs("prompt")
    choices = body.count("n", least=1, most=CHOICES_MAX) or 1
    tries = body.count("best_of", least=1, most=CHOICES_MAX) or 1
    return Bounds(body.size, inputs, max(choices, tries), _limit(body, "max_tokens"))


def of_embedding(body: Body) -> Bounds:
    """Bounds of an embeddings call: input only."""
    return Bounds(body.size, body.inputs("input"), 0, 0)


def _limit(body: Body, name: str) -> int | None:
    return body.count(name, least=1, most=OUTPUT_MAX)
