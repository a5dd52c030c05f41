"""How answers are shown: tables that read well at 80 columns and without colour, or JSON."""

import io
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from surplus.cli.session import Failed

_UNLIMITED_WIDTH: Final = 10_000
_GAP: Final = 2
_FOLDED: Final = 14
_FRACTION: Final = re.compile(r"\.[0-9]+")


class Dumps(Protocol):
    """An answer of the server."""

    def model_dump(self) -> dict[str, Any]:
        """Its fields as data that JSON can hold."""
        ...


class Column(NamedTuple):
    """A column: figures are `right`, and what people copy (ids) is `whole`, never broken over two lines."""

    title: str
    right: bool = False
    whole: bool = False


def right(title: str) -> Column:
    """A column of figures."""
    return Column(title, right=True, whole=True)


def whole(title: str) -> Column:
    """A column of ids."""
    return Column(title, whole=True)


def print_json(data: Dumps | Sequence[Dumps], *, only: Sequence[str] = ()) -> None:
    """The server's answer, or those of its fields that are promised to programs."""
    if isinstance(data, Sequence):
        shown: Any = [each.model_dump() for each in data]
    else:
        fields = data.model_dump()
        shown = {name: fields[name] for name in only} if only else fields
    print_data(shown)


def print_data(data: Any) -> None:
    """Anything that JSON can hold."""
    _write(json.dumps(data, indent=2) + "\n")


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """A line for each row, under a heading; `none` where there are no rows.

    On a terminal that is too narrow for that, a line for each cell.
    """
    cells = [[cell(value) for value in row] for row in rows]
    widths = [_narrowest(column, [row[index] for row in cells]) for index, column in enumerate(columns)]
    if not cells:
        print_line(none)
    elif sum(widths) + _GAP * (len(columns) - 1) > _terminal_width():
        _print_blocks(columns, cells)
    else:
        _print(_table(columns, cells, widths))


def _narrowest(column: Column, cells: Sequence[Text]) -> int:
    """How narrow a column can be and still read well: texts may be folded, figures and ids may not."""
    widest = max((each.cell_len for each in (Text(column.title), *cells)), default=0)
    return widest if column.whole else min(widest, _FOLDED)


def _table(columns: Sequence[Column], cells: Iterable[Sequence[Text]], widths: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=column.whole,
            overflow="fold",
            min_width=width,
        )
    for row in cells:
        table.add_row(*row)
    return table


def _print_blocks(columns: Sequence[Column], cells: Iterable[Sequence[Text]]) -> None:
    for number, row in enumerate(cells):
        if number:
            print_line()
        print_facts({column.title: value for column, value in zip(columns, row, strict=True)})


def print_facts(facts: Mapping[str, object], *, figures: bool = False) -> None:
    """One fact a line, its name first; `figures` are lined up on the right."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right" if figures else "left", overflow="fold")
    for name, value in facts.items():
        table.add_row(cell(name), cell(value))
    _print(table)


def print_line(text: str = "") -> None:
    """One line, however long."""
    _write(plain(text) + "\n")


def cell(value: object) -> Text:
    """A value as text; nothing is a dash, so that no cell looks forgotten."""
    match value:
        case Text():
            return value
        case None | "":
            return Text("-")
        case bool():
            return Text("yes" if value else "no")
        case int():
            return Text(f"{value:,}")
        case _:
            return Text(plain(str(value)))


def plain(text: str) -> str:
    """The text without what could steer a terminal: some of it was written by engines and by other people."""
    return "".join(char if char.isprintable() else " " for char in text)


def utc(instant: str | None) -> str | None:
    """An instant of the server as `2026-11-21 09:00:00Z`."""
    return None if instant is None else _FRACTION.sub("", instant).replace("T", " ")


def _terminal_width() -> int:
    return Console().width if sys.stdout.isatty() else _UNLIMITED_WIDTH


def _print(table: Table) -> None:
    if sys.stdout.isatty():
        Console(highlight=False, markup=False, emoji=False).print(table)
        return
    # Only a terminal is narrow: for a file or another program a row stays one line, and has no blanks at its end.
    lines = io.StringIO()
    Console(file=lines, width=_UNLIMITED_WIDTH, color_system=None).print(table)
    _write("".join(f"{line.rstrip()}\n" for line in lines.getvalue().splitlines()))


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()  # now, while it can still be told that it did not work
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or what is left is tried again at the end
        raise Failed(f"what was asked is done, but the answer cannot be written ({error.strerror})") from error
