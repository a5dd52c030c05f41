"""The parts of the server that a command runs itself, on this machine: loaded by name, when it is called.

The other commands start without the server.
"""

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType

from surplus.cli.session import Failed
from surplus.kit.errors import SurplusError


def load(module: str) -> ModuleType:
    """A module of the server."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        message = f"the server cannot be loaded: {error}"
        raise Failed(message, "a package is missing or broken; run `make setup` again") from error


@contextmanager
def refusals() -> Generator[None]:
    """What the server's parts refuse, or the disk, becomes the command's failure."""
    try:
        yield
    except SurplusError as error:
        raise Failed(error.message) from error
    except OSError as error:
        raise Failed(f"{error.filename or 'the disk'} cannot be used: {error.strerror or error}") from error
