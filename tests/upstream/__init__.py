"""An OpenAI-compatible upstream for tests, which misbehaves on the wire when told to."""

from tests.upstream.faults import CATALOGUE, Fault
from tests.upstream.record import Outcome, Seen, Usage
from tests.upstream.reply import FaultDoesNotApplyError
from tests.upstream.server import FaultyUpstream

__all__ = ["CATALOGUE", "Fault", "FaultDoesNotApplyError", "FaultyUpstream", "Outcome", "Seen", "Usage"]
