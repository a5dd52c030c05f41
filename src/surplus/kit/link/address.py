"""Addresses of unix sockets, which the kernel allows 107 bytes, however deep a data directory lies."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PATH_MAX: Final = 107
"""Bytes of `sun_path` in Linux, less the zero at its end."""


@contextmanager
def reachable(path: Path) -> Generator[str]:
    """An address of the socket at `path` that fits, for as long as this is entered; no need to keep it for longer.

    A path that is too long is reached through a descriptor of its directory. Raises OSError.
    """
    if len(os.fsencode(path)) <= PATH_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
