"""What people type."""

from collections.abc import Callable

import pytest
import typer

from surplus.cli import values

NOW = 1_795_251_600.4  # 2026-11-21T09:00:00Z and a bit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+30d", "2026-12-21T09:00:00Z"),
        ("+1h", "2026-11-21T10:00:00Z"),
        ("-7d", "2026-11-14T09:00:00Z"),
        ("-90s", "2026-11-21T08:58:30Z"),
        ("+2w", "2026-12-05T09:00:00Z"),
        ("2026-11-21", "2026-11-21T00:00:00Z"),
        ("2026-11-21T10:00:00+01:00", "2026-11-21T09:00:00Z"),
        (" 2026-11-21T09:00:00Z ", "2026-11-21T09:00:00Z"),
    ],
)
def test_instants_are_turned_into_utc(text: str, shown: str) -> None:
    assert values.instant(text, NOW) == shown


@pytest.mark.parametrize(
    "text",
    ["", "+", "tomorrow", "+30", "30d", "+1.5h", "+1y", "2026-11-21T09:00:00", "2026-02-30", "+999999999w", "-99999w"],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        values.instant(text, NOW)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.dollars, "12.5", "12.500000"),
        (values.dollars, " 0 ", "0.000000"),
        (values.payment, "0.000001", "0.000001"),
        (values.price, "0.150", "0.15"),
        (values.price, "0.000000000001", "0.000000000001"),
        (values.month, "2026-11", "2026-11"),
        (values.seconds, "1h", 3600),
        (values.seconds, "0s", 0),
        (values.name, "acme", "acme"),
    ],
)
def test_good_values_come_out_in_one_form(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (values.dollars, "abc"),
        (values.dollars, "-1"),
        (values.dollars, "1e3"),
        (values.dollars, "1.0000001"),
        (values.dollars, "9999999999999"),
        (values.dollars, "nan"),
        (values.payment, "0"),
        (values.payment, "-3"),
        (values.price, "-1"),
        (values.price, "1.0000000000001"),
        (values.month, "2026-13"),
        (values.month, "2026-1"),
        (values.seconds, "3600"),
        (values.seconds, "-1h"),
        (values.seconds, "200000w"),
        (values.name, "  "),
    ],
)
def test_bad_values_are_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse(text)
