"""Stories of four sentences: a beginning, an event, an outcome and an end."""

from random import Random

from tools.demo_model.corpus.exchange import Exchange
from tools.demo_model.corpus.people import NAMES

_ANIMALS = ("cat", "dog", "fox", "owl", "bear", "hare", "duck", "mouse", "horse", "frog")
_PLACES = ("forest", "village", "harbour", "mountain", "city", "garden", "library", "valley", "island", "market")
_THINGS = ("lamp", "book", "key", "map", "kite", "boat", "bell", "box", "coat", "drum")
_TRAITS = ("small", "quiet", "brave", "curious", "gentle", "clever", "patient", "cheerful", "careful", "kind")


def draw(rng: Random) -> Exchange:
    """Draw a story. What the question names (an animal, a thing, a person, a place) appears in the story."""
    person, animal, thing = rng.choice(NAMES), rng.choice(_ANIMALS), rng.choice(_THINGS)
    home, away = rng.sample(_PLACES, 2)
    trait, other_trait = rng.sample(_TRAITS, 2)
    beginnings = (
        f"Once there was a {trait} {animal} who lived near a {home}.",
        f"A {trait} {animal} lived at the edge of a {home}.",
        f"Long ago, in a {home} far away, there lived a {trait} {animal}.",
    )
    events = (
        f"One day the {animal} found an old {thing} and wondered who had lost it.",
        f"One morning {person} came by and asked the {animal} for help with a broken {thing}.",
        f"Every evening the {animal} looked at a {thing} that nobody else could see.",
        f"One night the wind carried a {thing} all the way from the {away}.",
    )
    outcomes = (
        f"The {animal} carried it to the {away}, where {person} was waiting for it.",
        f"The {animal} asked everyone in the {away}, until {person} laughed and claimed the {thing}.",
        f"So the {animal} gave the {thing} to {person}, and they became friends.",
        f"With {person} it took three days to reach the {away}, but the {trait} {animal} did not give up.",
    )
    ends = (
        "From then on, no one in the place felt alone.",
        "And whenever it rained, they told the tale again.",
        f"That is how the {animal} became known as the most {other_trait} of all.",
        "And they were happy for a long time.",
    )
    question = rng.choice(
        (
            "Tell me a story.",
            f"Tell me a story about a {animal}.",
            f"Write a short story about a {animal} and a {thing}.",
            f"Tell me a story about {person}.",
            f"Write a story set in a {home}.",
        )
    )
    return Exchange(question, " ".join(rng.choice(part) for part in (beginnings, events, outcomes, ends)))
