import json
import logging
from collections.abc import Iterator

import pytest

from surplus.kit import log
from surplus.kit.clock import parse_iso

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, alembic = (logging.getLogger(name) for name in ("", "alembic"))
    before = root.handlers[:], root.level, alembic.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    alembic.setLevel(before[2])


def lines(stderr: Capture) -> list[dict[str, object]]:
    return [json.loads(line) for line in stderr.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_with_its_fields(capsys: Capture) -> None:
    log.configure("info")
    logging.getLogger("some.part").warning("two\nlines of %s", "text", extra={"fields": {"request": "req_1", "n": 2}})
    [line] = lines(capsys)
    assert parse_iso(str(line.pop("at"))) > 0
    assert line == {
        "level": "warning",
        "logger": "some.part",
        "message": "two\nlines of text",
        "request": "req_1",
        "n": 2,
    }


def test_a_field_never_hides_what_every_line_has(capsys: Capture) -> None:
    log.configure("info")
    logging.getLogger("x").info("truth", extra={"fields": {"message": "lie", "level": "debug", "more": 1}})
    [line] = lines(capsys)
    assert (line["message"], line["level"], line["more"]) == ("truth", "info", 1)


def test_an_exception_is_part_of_its_line(capsys: Capture) -> None:
    log.configure("info")
    try:
        raise LookupError("not there")
    except LookupError:
        logging.getLogger("x").exception("failed")
    [line] = lines(capsys)
    assert "LookupError: not there" in str(line["exception"])


def test_a_value_that_json_does_not_know_is_written_as_text(capsys: Capture) -> None:
    log.configure("info")
    logging.getLogger("x").info(
        "m",
        extra={"fields": {"value": {1}}},
    )
    assert lines(capsys)[0]["value"] == "{1}"


def test_lines_below_the_level_are_not_written(capsys: Capture) -> None:
    log.configure("warning")
    logging.getLogger("x").info("hidden")
    logging.getLogger("x").error("shown")
    assert [line["message"] for line in lines(capsys)] == ["shown"]


def test_configuring_again_replaces_and_does_not_double(capsys: Capture) -> None:
    log.configure("info")
    log.configure("info")
    logging.getLogger("x").info("once")
    assert len(lines(capsys)) == 1
