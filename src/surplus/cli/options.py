"""Options that several commands share."""

from typing import Annotated, Literal

import typer

from surplus.cli import values
from surplus.kit.clock import SystemClock

Role = Literal["operator", "admin", "developer", "finance"]
Period = Literal["day", "month", "forever"]
Engine = Literal["llamacpp", "vllm", "sglang", "llama-server", "openai"]

_clock = SystemClock()


def moment(text: str) -> str:
    """An instant, relative to this moment where it begins with + or -."""
    return values.instant(text, _clock.now())


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Org = Annotated[str, typer.Option("--org", parser=values.name, metavar="NAME", help="The organization, by name or id.")]
From = Annotated[
    str | None,
    typer.Option("--from", parser=moment, metavar="TIME", help="From when on: 2026-11-21, -7d, or ISO 8601 (UTC)."),
]
To = Annotated[
    str | None,
    typer.Option("--to", parser=moment, metavar="TIME", help="Until when, not included: as for --from."),
]
