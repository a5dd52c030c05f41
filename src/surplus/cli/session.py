"""The connection of a command to the server."""

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from surplus.client import Client


class Failed(Exception):
    """The command was refused or did not work. `lines` are for the person; the command exits with 1."""

    def __init__(self, *lines: str) -> None:
        super().__init__(" ".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Address:
    """Which server, and who asks."""

    url: str
    key: str


@contextmanager
def connected(context: typer.Context) -> "Generator[Client]":
    """A client for the time of one command; its errors become the command's."""
    # By name and when it is needed: the HTTP client is half of what the command would take to start.
    client = importlib.import_module("surplus.client")
    address = cast("Address", context.obj)
    try:
        with client.Client(address.url, address.key) as opened:
            yield opened
    except client.BadArgument as error:
        raise typer.BadParameter(error.message) from error
    except client.ApiError as error:
        request = f", request {error.request_id}" if error.request_id else ""
        raise Failed(error.message, f"(refused with status {error.status} {error.code}{request})") from error
    except client.ClientError as error:
        raise Failed(error.message) from error
