"""How answers are shown."""

import json

import pytest

from surplus.cli.output import Column, plain, print_facts, print_json, print_table, right, utc, whole
from surplus.wire.money import Balance
from surplus.wire.organizations import Organization

BALANCE = Balance(available="1.000000", held="0.000000", settled="2.000000", credit="3.000000")


def test_figures_are_lined_up_on_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("MODEL"), right("USD")), [("a", "12.500000"), ("b", "3.000000")], none="")
    assert capsys.readouterr().out == "MODEL        USD\na      12.500000\nb       3.000000\n"


def test_nothing_is_a_dash_and_numbers_are_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("A"), Column("B"), Column("C"), Column("D")), [(None, "", 1234567, True)], none="")
    assert capsys.readouterr().out.splitlines()[1].split() == ["-", "-", "1,234,567", "yes"]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((whole("ID"),), [], none="There is none.")
    assert capsys.readouterr().out == "There is none.\n"


def test_names_are_not_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((Column("NAME"),), [("[bold]x[/bold] :smile:",)], none="")
    assert "[bold]x[/bold] :smile:" in capsys.readouterr().out


def test_a_text_of_a_stranger_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain("a\x1b[2Jb\nc\u202ed") == "a [2Jb c d"
    print_facts({"error": "boom\x1b]0;owned\x07"})
    assert "\x1b" not in capsys.readouterr().out


def test_json_holds_only_what_is_promised_or_everything(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(BALANCE, only=("available", "held", "settled"))
    assert json.loads(capsys.readouterr().out) == {"available": "1.000000", "held": "0.000000", "settled": "2.000000"}
    print_json([Organization(id="org_1", name="a", created_at="2026-11-21T09:00:00Z")])
    assert json.loads(capsys.readouterr().out) == [{"id": "org_1", "name": "a", "created_at": "2026-11-21T09:00:00Z"}]


def test_instants_are_shown_in_utc_without_fractions() -> None:
    assert utc("2026-11-21T09:00:00.123456Z") == "2026-11-21 09:00:00Z"
    assert utc(None) is None
