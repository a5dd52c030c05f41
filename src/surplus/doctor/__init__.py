"""`surplus doctor`: looks for what is wrong with a machine and a data directory, and says what to do."""

from surplus.doctor.check import Check
from surplus.doctor.examine import examine

__all__ = ["Check", "examine"]
