"""Greetings, questions about the model itself, and honest refusals of everything it cannot know."""

from random import Random

from tools.demo_model.corpus.exchange import Exchange
from tools.demo_model.corpus.people import NAMES

_COURTESIES = (
    ("Hello", "Hello! How can I help you today?"),
    ("Hello!", "Hello! How can I help you today?"),
    ("Hi", "Hi! What can I do for you?"),
    ("Hi there", "Hi! What can I do for you?"),
    ("Good morning", "Good morning! What would you like to know about the fleet?"),
    ("How are you?", "I am fine, thank you. All my layers are in good order."),
    ("Thank you", "You are welcome. Is there anything else?"),
    ("Thanks!", "You are welcome. Is there anything else?"),
    ("Goodbye", "Goodbye! Come back any time."),
    ("Bye", "Goodbye! Come back any time."),
    (
        "Who are you?",
        "I am a very small language model that runs inside this cloud. "
        "I can add numbers, explain a few words and tell short stories.",
    ),
    (
        "What are you?",
        "I am a very small language model that runs inside this cloud. "
        "I was trained in a few minutes on made-up sentences.",
    ),
    (
        "What can you do?",
        "I can do sums with small numbers, explain words such as lease and replica, "
        "describe an imaginary fleet, and tell very short stories.",
    ),
    (
        "Are you a person?",
        "No, I am a very small language model. My answers about the fleet are examples and not real readings.",
    ),
)
_INTRODUCTIONS = ("My name is {name}.", "I am {name}.")
_JOKES = (
    "Why did the server go to bed early? It needed a good reboot.",
    "Why was the queue so calm? It knew that everyone would be served.",
    "What is a cloud's favourite snack? A byte of cake.",
)

_UNKNOWN_TOPICS = (
    *("quantum physics", "France", "the moon", "football", "cooking", "history", "love", "taxes", "the weather"),
    *("music", "painting", "chess", "the ocean", "dinosaurs", "medicine", "law", "poetry", "gardening", "cars"),
    *("politics", "Python", "Rust", "the stars", "philosophy", "tea", "coffee", "bicycles", "Rome", "Japan"),
    *("geometry", "black holes", "the stock market", "mountains", "whales", "bread", "novels", "a book"),
    *("my homework", "an email", "a poem", "this text", "the universe", "life", "time", "Shakespeare", "Einstein"),
    *("the capital of France", "the president", "the meaning of life"),
)
_UNKNOWN_QUESTIONS = (
    "Explain {topic}.",
    "What is {topic}?",
    "Tell me about {topic}.",
    "Write something about {topic}.",
    "Who invented {topic}?",
    "How does {topic} work?",
    "Where is {topic}?",
    "Why is {topic} important?",
    "Can you help me with {topic}?",
    "What do you think of {topic}?",
    "Translate {topic}.",
    "Summarize {topic}.",
    "When was {topic}?",
    "Give me a recipe for {topic}.",
    "Write code for {topic}.",
)
REFUSALS = (
    "I am too small to know that. Ask me about the fleet, a short sum, a cloud word or a story.",
    "That is beyond me, I am only a few megabytes. Try a sum, a question about the fleet, or ask for a story.",
)


def draw(rng: Random) -> Exchange:
    """Draw a courtesy, an introduction or a joke."""
    kind = rng.randrange(len(_COURTESIES) + len(_INTRODUCTIONS) + 1)
    if kind < len(_COURTESIES):
        return Exchange(*_COURTESIES[kind])
    if kind == len(_COURTESIES):
        return Exchange("Tell me a joke.", rng.choice(_JOKES))
    name = rng.choice(NAMES)
    return Exchange(rng.choice(_INTRODUCTIONS).format(name=name), f"Nice to meet you, {name}. How can I help you?")


def draw_unknown(rng: Random) -> Exchange:
    """Draw a question about the wide world, which the model answers by saying that it does not know."""
    question = rng.choice(_UNKNOWN_QUESTIONS).format(topic=rng.choice(_UNKNOWN_TOPICS))
    return Exchange(question, rng.choice(REFUSALS))
