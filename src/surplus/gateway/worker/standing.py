"""How a worker is, for whoever asks the control process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStanding:
    """A process that takes requests, as it last said. `why` says what keeps it from being ready."""

    number: int
    pid: int
    why: tuple[str, ...]
    in_flight: int = 0
    journal_lag_bytes: int = 0

    @property
    def ready(self) -> bool:
        """Whether it should get requests."""
        return not self.why
