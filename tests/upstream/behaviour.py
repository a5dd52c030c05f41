"""The base of every fault and trait: two hooks, both pure."""

from dataclasses import dataclass

from tests.upstream.answers import Traits
from tests.upstream.reply import Reply


@dataclass(frozen=True)
class Behaviour:
    """One deviation from the default answer. Several may be planned for one request; they apply in the given order.

    ``events`` in a fault's fields counts SSE events as they stand on the wire: in a chat stream the first is the role
    event, so ``CutAfter(1)`` cuts before any content. For a request without stream it counts generated tokens, of which
    the wire shows nothing until all are made. A fault that finds nothing to change raises ``FaultDoesNotApplyError``.
    """

    def shape(self, traits: Traits) -> Traits:
        """Change what the model does, before the answer is built."""
        return traits

    def edit(self, reply: Reply) -> Reply:
        """Change the reply that was built."""
        return reply


@dataclass(frozen=True)
class Healthy(Behaviour):
    """Nothing wrong: holds a place in the queue of plans."""
