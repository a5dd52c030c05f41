"""Questions about an imaginary fleet: its nodes, leases, models and free accelerators."""

from random import Random

from tools.demo_model.corpus.exchange import Exchange

_NODES = tuple(
    f"{prefix}-{number:02d}"
    for prefix in ("gpu", "node", "rack-a", "rack-b", "edge", "a100", "h100", "l40")
    for number in range(1, 33)
)
_MODELS = ("tiny-chat", "tiny-embed", "llama-8b", "llama-70b", "qwen-7b", "mistral-7b", "gemma-9b", "phi-4")
_TEAMS = (
    "vision",
    "speech",
    "search",
    "robotics",
    "climate",
    "genomics",
    "payments",
    "support",
    "research",
    "platform",
)
_LEASE_ENDS = ("noon", "midnight", "tomorrow", "Friday", "Monday")
_BLOCKS = (2, 4, 8)


def _node_status(rng: Random) -> Exchange:
    node, accelerators, load = rng.choice(_NODES), rng.choice(_BLOCKS), rng.randint(3, 99)
    question = rng.choice(
        (
            f"How is {node} doing?",
            f"What is the status of {node}?",
            f"Is {node} healthy?",
            f"Tell me about {node}.",
            f"Give me a status report for {node}.",
        )
    )
    free, degrees = rng.randint(0, accelerators), rng.randint(31, 84)
    answer = rng.choice(
        (
            f"{node} is healthy. It runs at {load} percent load and {degrees} degrees, "
            f"and {free} of its {accelerators} accelerators are free.",
            f"{node} is draining. It takes no new work, and its running jobs will finish "
            "before it goes into maintenance.",
            f"{node} is offline. Its last heartbeat was {load} minutes ago, and its work has moved to other nodes.",
            f"{node} is busy. All {accelerators} accelerators are leased, and the load is {load} percent.",
            f"{node} is idle. All {accelerators} accelerators are free, so it can take new leases now.",
        )
    )
    return Exchange(question, answer)


def _node_tenant(rng: Random) -> Exchange:
    node, team = rng.choice(_NODES), rng.choice(_TEAMS)
    question = rng.choice((f"Which team uses {node}?", f"Who is running on {node}?", f"Who has leased {node}?"))
    answer = rng.choice(
        (
            f"The {team} team has leased {node} until {rng.choice(_LEASE_ENDS)}.",
            f"{node} is leased by the {team} team. The lease ends in {rng.randint(2, 48)} hours.",
        )
    )
    return Exchange(question, answer)


def _model_load(rng: Random) -> Exchange:
    model, replicas = rng.choice(_MODELS), rng.randint(2, 9)
    question = rng.choice(
        (f"How is the model {model} doing?", f"Is {model} being served?", f"What is the load of {model}?")
    )
    answer = rng.choice(
        (
            f"{model} is served by {replicas} replicas. The queue holds {rng.randint(0, 40)} requests, "
            f"and the cache hit rate is {rng.randint(3, 99)} percent.",
            f"Yes, {model} is up. It answers about {rng.randint(10, 900)} tokens per second with {replicas} replicas.",
        )
    )
    return Exchange(question, answer)


def _summary(rng: Random) -> Exchange:
    node, team, used = rng.choice(_NODES), rng.choice(_TEAMS), rng.randint(3, 99)
    accelerators = 8 * rng.randint(2, 64)
    question = rng.choice(
        (
            "How many accelerators are free?",
            "How full is the fleet?",
            "Give me a summary of the fleet.",
            "What is the state of the fleet?",
        )
    )
    answer = rng.choice(
        (
            f"The fleet has {accelerators} accelerators, and {rng.randint(2, accelerators)} of them are free. "
            f"The busiest node is {node}.",
            f"The fleet is {used} percent full. The {team} team holds the largest lease, and {node} is the "
            "busiest node.",
            f"Right now {used} percent of the fleet is in use. Most of the work is the model {rng.choice(_MODELS)} "
            f"and the leases of the {team} team.",
        )
    )
    return Exchange(question, answer)


def _lease_request(rng: Random) -> Exchange:
    node, wanted = rng.choice(_NODES), rng.choice(_BLOCKS)
    question = rng.choice(
        (
            f"Can I lease {wanted} accelerators?",
            f"I need {wanted} accelerators for the {rng.choice(_TEAMS)} team.",
            f"Reserve {wanted} accelerators for me.",
        )
    )
    answer = rng.choice(
        (
            f"Yes. {node} has {wanted} free accelerators. The lease can start now and end in "
            f"{rng.randint(2, 48)} hours.",
            f"There is room on {node}. A lease of {wanted} accelerators starts as soon as you confirm it.",
            f"Not right now. The next window for {wanted} accelerators opens in {rng.randint(2, 12)} hours on {node}.",
        )
    )
    return Exchange(question, answer)


_QUESTIONS = {_node_status: 0.30, _node_tenant: 0.20, _model_load: 0.20, _summary: 0.15, _lease_request: 0.15}


def draw(rng: Random) -> Exchange:
    """Draw a question about the fleet. Every number in the answer is made up."""
    return rng.choices(list(_QUESTIONS), list(_QUESTIONS.values()))[0](rng)
