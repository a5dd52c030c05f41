"""What a caller's connection may take before it is refused or closed. The one place for such limits."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`head_bytes`: of one request's head (431). `head_s`: until a head is complete (408). `body_s`: without a byte of
    a body that was announced. `idle_s`: between two requests. `held_bytes`: of a body that nobody has taken, before
    reading stops. `discard_bytes`: of a body that comes after its answer, before the connection is closed.

    The size of a body is judged by whoever reads it, who knows what it is for. Times are kept to `Server.TICK_S`.
    """

    head_bytes: int = 64 * 1024
    head_s: float = 30.0
    body_s: float = 60.0
    idle_s: float = 75.0
    held_bytes: int = 256 * 1024
    discard_bytes: int = 16 * 1024 * 1024
