"""What people type, checked before anything is sent. Every function raises typer.BadParameter, which exits with 2."""

import re
from typing import Final

import typer

from surplus.kit.clock import iso, parse_iso
from surplus.kit.errors import BadRequest
from surplus.kit.money import format_dollars, format_price, parse_dollars, parse_price

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_LONGEST_S: Final = 100 * 366 * 86_400


def name(text: str) -> str:
    """A name or an id: anything but nothing. Whether it is a good one, the server says."""
    if not text.strip():
        raise typer.BadParameter("it is empty; give a name or an id")
    return text


def dollars(text: str) -> str:
    """An amount of dollars, zero or more, with six decimals."""
    micro = _micro(text)
    if micro < 0:
        raise typer.BadParameter(f"{text!r} is negative; write an amount of zero or more")
    return format_dollars(micro)


def payment(text: str) -> str:
    """An amount of dollars above zero, with six decimals."""
    micro = _micro(text)
    if micro <= 0:
        raise typer.BadParameter(f"{text!r} is not more than nothing; write an amount such as 12.50")
    return format_dollars(micro)


def _micro(text: str) -> int:
    try:
        return parse_dollars(text)
    except BadRequest as error:
        raise typer.BadParameter(error.message) from error


def price(text: str) -> str:
    """Dollars per million tokens, without needless zeros."""
    try:
        return format_price(parse_price(text))
    except BadRequest as error:
        raise typer.BadParameter(error.message) from error


def month(text: str) -> str:
    """A month such as 2026-11."""
    if _MONTH.fullmatch(text) is None:
        raise typer.BadParameter(f"{text!r} is not a month; write it as 2026-11")
    return text


def seconds(text: str) -> int:
    """A span of time such as 90s, 15m, 1h, 30d or 2w, in seconds."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a span of time; write a whole number and a unit: 90s, 15m, 1h, 30d")
    span = int(match[1]) * _UNITS[match[2]]
    if span > _LONGEST_S:
        raise typer.BadParameter(f"{text!r} is longer than a century; write a shorter span")
    return span


def instant(text: str, now: float) -> str:
    """An instant in UTC: +30d or -7d from `now` (epoch seconds), a day (its beginning), or ISO 8601 with an offset."""
    text = text.strip()
    if text.startswith(("+", "-")):
        span = seconds(text[1:])
        return iso(round(now + span if text[0] == "+" else now - span))
    try:
        return iso(parse_iso(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text))
    except (BadRequest, OverflowError) as error:
        message = f"{text!r} is not an instant; write +30d, -7d, 2026-11-21 or 2026-11-21T09:00:00Z (with an offset)"
        raise typer.BadParameter(message) from error
