"""Files and directories that belong to one process alone: private modes, an exclusive lock, durable names."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from surplus.kit.journal.errors import JournalLocked

LOCK: Final = "lock"


def make_directory(directory: Path) -> None:
    """Create `directory` (mode 0700) with its parents, so that its name survives a power cut."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        sync_path(each.parent)


def open_locked(path: Path) -> int:
    """Open `path` (created with mode 0600) under an exclusive lock; returns the descriptor, which holds the lock.

    The lock ends with the process, however it ends. Raises JournalLocked when another descriptor holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalLocked(
            f"{path} is locked: another server runs on {path.parent}. Stop that server, or start this one with a data"
            " directory of its own."
        ) from error
    return descriptor


@contextmanager
def exclusive(directory: Path) -> Generator[None]:
    """Keep every server off the journal in `directory` for a while, creating it if need be. Raises JournalLocked."""
    make_directory(directory)
    lock = open_locked(directory / LOCK)
    try:
        yield
    finally:
        os.close(lock)


def sync_path(path: Path) -> None:
    """Force a file, or the names in a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
