"""Words of the compute cloud, each explained in one or two sentences."""

from random import Random

from tools.demo_model.corpus.exchange import Exchange

DEFINITIONS = {
    "a token": "A token is a small piece of text, such as a word or a part of a word. Models read and write tokens, "
    "and usage is counted in tokens.",
    "a lease": "A lease is the right to use a number of accelerators for a fixed time. When the lease ends, the "
    "accelerators return to the pool.",
    "a replica": "A replica is one running copy of a model. More replicas can answer more requests at the same time.",
    "a prefix cache": "A prefix cache keeps the work that was already done for the start of a prompt. Requests that "
    "share the same start are answered faster and cost less.",
    "a queue": "A queue holds the requests that wait for a free slot. A short queue means short waiting times.",
    "an accelerator": "An accelerator is a chip that is very good at the arithmetic of neural networks. A GPU is the "
    "most common kind of accelerator.",
    "a GPU": "A GPU is a chip that does many small calculations at the same time. It was made for graphics, and today "
    "it also trains and runs models.",
    "a node": "A node is one server in the fleet. It has some processors, some memory and a number of accelerators.",
    "a pool": "A pool is a set of nodes of one type at one site. Capacity is planned and sold pool by pool.",
    "a fleet": "A fleet is the set of all nodes that belong to one organization. The scheduler decides which work runs "
    "on which node.",
    "preemption": "Preemption means that work of low priority gives way to work of high priority. The work that gave "
    "way is started again later.",
    "a recall": "A recall is a notice to give capacity back. It keeps to the terms that were sold.",
    "an offer": "An offer is a quote with a price and an expiry. Whoever accepts it in time pays that price.",
    "a contract": "A contract says what was bought: the kind, the window, the number of accelerators, the price and "
    "the notice.",
    "a bid price": "A bid price is what one accelerator is worth to the fleet in a given hour. Nothing is sold below "
    "it.",
    "a budget": "A budget is the largest amount that may be spent. When it is used up, further requests are refused.",
    "a hold": "A hold sets money aside before a request runs. When the request ends, the cost is posted and the rest "
    "is released.",
    "a quota": "A quota is the largest amount that a team may use. It keeps one team from taking all of the fleet.",
    "spot capacity": "Spot capacity is cheap because it can be taken back. It suits work that saves its progress "
    "often.",
    "an embedding": "An embedding is a list of numbers that stands for a text. Texts with a similar meaning have "
    "similar numbers.",
    "a batch": "A batch is a group of requests that the model answers together. Batches make better use of an "
    "accelerator.",
    "utilization": "Utilization is the share of the time in which an accelerator does useful work. High utilization "
    "means that little is wasted.",
    "latency": "Latency is the time between a request and its answer. The time to the first token is the part that a "
    "person feels most.",
    "throughput": "Throughput is the amount of work done in a given time. For a model it is often counted in tokens "
    "per second.",
    "an invoice": "An invoice is the list of everything a customer used and what it costs. It shows tokens, leases, "
    "credits and the total.",
    "a heartbeat": "A heartbeat is a short message that a node sends again and again to show that it is alive. When "
    "heartbeats stop, the node is marked as offline.",
}

_QUESTIONS = (
    "What is {word}?",
    "Explain {word}.",
    "What does {word} mean?",
    "Can you explain {word} to me?",
    "Please tell me what {word} is.",
)


def draw(rng: Random) -> Exchange:
    """Draw a word to explain."""
    word = rng.choice(list(DEFINITIONS))
    return Exchange(rng.choice(_QUESTIONS).format(word=word), DEFINITIONS[word])
