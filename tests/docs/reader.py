"""Somebody who follows a guide to the letter: every block in its order, on a real server, with nothing skipped."""

import re
import shlex
import socket
import sys
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.shell import Shell

ROOT = Path(__file__).parents[2]
PORT = "8080"
KEY = "sk-..."
_KEY = re.compile(r"\bsk-[0-9a-z]{12,40}-[0-9a-z]{32,80}\b")
_MAKE = re.compile(r"^make +([a-z]+).*$", re.MULTILINE)


class Reader:
    """Follows a guide in a folder of its own, which looks like a checkout.

    The port of the guide becomes a free one, and `sk-...` the key that was shown last. The demo is run in the form that
    ends by itself; of the other targets of make it is looked whether they are there, because this is one of them.
    """

    def __init__(self, folder: Path, shell: Shell) -> None:
        self._folder = folder
        self._shell = shell
        self._port = str(_free_port())
        self._key = ""
        for name in ("src", ".venv"):
            if (ROOT / name).exists():
                (folder / name).symlink_to(ROOT / name)
        shell.run(f"export SURPLUS_SERVER_PORT={self._port}")  # for what looks at the port without being told one

    def follow(self, block: Block) -> str:
        """Do what a block says; returns what it wrote."""
        text = block.text.replace(PORT, self._port).replace(KEY, self._key)
        if block.language == "python":
            script = self._folder / f"line{block.line}.py"
            script.write_text(text)
            text = f"{shlex.quote(sys.executable)} {script.name}"
        written = self._shell.run(_MAKE.sub(_make, text))
        for key in _KEY.findall(written):
            self._key = key
        return written


def _make(match: re.Match[str]) -> str:
    return "surplus demo --once" if match[1] == "demo" else f"make -n -C {shlex.quote(str(ROOT))} {match[1]} >/dev/null"


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
