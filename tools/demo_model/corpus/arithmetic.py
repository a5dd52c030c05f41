"""Sums with small numbers, and counting."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tools.demo_model.corpus.exchange import Exchange

LARGEST_TERM = 50
LARGEST_FACTOR = 12
COUNT_LENGTH = 7


class Operation(StrEnum):
    """What is done to the two numbers of a sum."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "x"


@dataclass(frozen=True, slots=True)
class Sum:
    """Two numbers and what to do with them. A difference is never negative: the larger number comes first."""

    operation: Operation
    left: int
    right: int

    @property
    def result(self) -> int:
        """The right answer."""
        match self.operation:
            case Operation.ADD:
                return self.left + self.right
            case Operation.SUBTRACT:
                return self.left - self.right
            case Operation.MULTIPLY:
                return self.left * self.right


_QUESTIONS = {
    Operation.ADD: (
        "What is {a} + {b}?",
        "What is {a} plus {b}?",
        "Add {a} and {b}.",
        "Can you add {a} and {b}?",
        "{a} + {b} = ?",
    ),
    Operation.SUBTRACT: ("What is {a} - {b}?", "What is {a} minus {b}?", "Subtract {b} from {a}.", "{a} - {b} = ?"),
    Operation.MULTIPLY: ("What is {a} times {b}?", "What is {a} x {b}?", "Multiply {a} by {b}.", "{a} x {b} = ?"),
}
_ANSWERS = {
    Operation.ADD: ("{a} plus {b} is {r}.", "{a} + {b} = {r}.", "The sum of {a} and {b} is {r}."),
    Operation.SUBTRACT: ("{a} minus {b} is {r}.", "{a} - {b} = {r}."),
    Operation.MULTIPLY: ("{a} times {b} is {r}.", "{a} x {b} = {r}."),
}
# Differences are the hardest of the three to learn, and there are only 169 products.
_OPERATION_WEIGHTS = {Operation.ADD: 0.40, Operation.SUBTRACT: 0.40, Operation.MULTIPLY: 0.20}
_COUNTING_SHARE = 0.04


def draw_sum(rng: Random, operation: Operation) -> Sum:
    """Draw the two numbers: 0 to 50 for sums and differences, 0 to 12 for products."""
    largest = LARGEST_FACTOR if operation is Operation.MULTIPLY else LARGEST_TERM
    left, right = rng.randint(0, largest), rng.randint(0, largest)
    if operation is Operation.SUBTRACT:
        left, right = max(left, right), min(left, right)
    return Sum(operation, left, right)


def ask(rng: Random, total: Sum) -> str:
    """Word the sum as a question, in one of the forms that the model is trained on."""
    return rng.choice(_QUESTIONS[total.operation]).format(a=total.left, b=total.right)


def draw(rng: Random) -> Exchange:
    """Draw a sum, or now and then a request to count."""
    if rng.random() < _COUNTING_SHARE:
        first = rng.randint(1, 40)
        numbers = range(first, first + COUNT_LENGTH)
        return Exchange(f"Count from {first} to {numbers[-1]}.", ", ".join(map(str, numbers)) + ".")
    operation = rng.choices(list(_OPERATION_WEIGHTS), list(_OPERATION_WEIGHTS.values()))[0]
    total = draw_sum(rng, operation)
    answer = rng.choice(_ANSWERS[operation]).format(a=total.left, b=total.right, r=total.result)
    return Exchange(ask(rng, total), answer)
