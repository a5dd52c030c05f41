"""What a person at a narrow terminal sees, and what a pipe gets."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from tests.cli.conftest import Command
from tests.cli.served import Served

RUN = "from surplus.cli.main import main; main()"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(served: Served, *arguments: str, columns: int) -> str:
    """What the command shows on a terminal of so many columns, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {"SURPLUS_URL": served.url, "SURPLUS_KEY": served.token, "TERM": "xterm", "PATH": os.environ["PATH"]}
    with subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:  # how Linux says that the other side is closed
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    return ESCAPES.sub("", shown.decode()).replace("\r", "")


def columns_of(shown: str) -> int:
    return max(len(line) for line in shown.splitlines())


def test_a_table_that_fits_80_columns_is_a_table(surplus: Command, org: str) -> None:
    shown = on_terminal(surplus.served, "org", "list", columns=80)
    assert re.search(r"^NAME +ID +CREATED \(UTC\)", shown)
    assert columns_of(shown) <= 80


def test_a_long_name_is_folded_and_an_id_is_not(surplus: Command) -> None:
    name = "a very long name of a very large customer of ours"
    made = surplus.json("org", "create", name)
    shown = on_terminal(surplus.served, "org", "list", columns=80)
    assert made["id"] in shown
    assert name not in shown
    assert columns_of(shown) <= 80


def test_what_does_not_fit_80_columns_gets_a_line_for_each_cell(surplus: Command, org: str) -> None:
    made = surplus.json("key", "create", "--org", org, "--name", "continuous integration", "--rpm", "60")
    narrow = on_terminal(surplus.served, "key", "list", "--org", org, columns=80)
    assert re.search(rf"^ID +{made['id']} *$", narrow, re.MULTILINE)
    assert re.search(r"^NAME +continuous integration *$", narrow, re.MULTILINE)
    assert columns_of(narrow) <= 80
    wide = on_terminal(surplus.served, "key", "list", "--org", org, columns=160)
    assert wide.splitlines()[0].split() == ["ID", "NAME", "ROLE", "PROJECT", "LIMITS", "STATE"]


def test_a_row_stays_one_line_without_blanks_at_its_end_in_a_pipe(surplus: Command, org: str) -> None:
    surplus.ok("key", "create", "--org", org, "--name", "x" * 80, "--rpm", "60")
    shown = surplus.ok("key", "list", "--org", org)
    assert len(shown.splitlines()) == 2
    assert all(line == line.rstrip() for line in shown.splitlines())
