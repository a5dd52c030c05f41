"""What a backup says of itself: which point in time it is of, and the SHA-256 of every file in it."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from surplus.care.errors import BackupDamaged
from surplus.kit.journal import files

MANIFEST: Final = "manifest.json"
SEAL: Final = "manifest.sha256"
FORMAT: Final = 1
_BLOCK_BYTES: Final = 2**20


class Stored(msgspec.Struct, frozen=True):
    """One file: its size and its SHA-256 in hex."""

    bytes: int
    sha256: str


class JournalSpan(msgspec.Struct, frozen=True):
    """Which part of a journal is there, `[start, end)`, and up to where the database has it."""

    start: int
    loaded: int
    end: int


class Counts(msgspec.Struct, frozen=True):
    """How much is in the books. `to_load`: settled requests that only the journal has; `in_flight`: not settled yet."""

    organizations: int
    entries: int
    batches: int
    to_load: int
    in_flight: int


class Head(msgspec.Struct, frozen=True):
    """The end of the ledger."""

    seq: int
    hash: str


class Manifest(msgspec.Struct, frozen=True):
    """A backup of the books as they were at `taken_at` (ISO 8601, UTC), by the `version` of the program.

    `journals` are by their folders. Those of `other_gateways` are on other machines, and no part of it.
    """

    format: int
    version: str
    db_schema: str
    taken_at: str
    head: Head
    journals: dict[str, JournalSpan]
    counts: Counts
    other_gateways: tuple[str, ...]
    files: dict[str, Stored]


def checksum(file: Path) -> Stored:
    """What a file holds now."""
    running, size = sha256(), 0
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            running.update(block)
            size += len(block)
    return Stored(size, running.hexdigest())


def write(folder: Path, manifest: Manifest) -> None:
    """Put the manifest into the backup `folder`, and beside it the SHA-256 of the manifest itself; all on disk."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    for name, data in ((MANIFEST, text), (SEAL, _seal(text))):
        write_private(folder / name, data)
    sync(folder)


def read(folder: Path) -> Manifest:
    """The manifest of a backup, which is what was written. Raises BackupDamaged."""
    try:
        text, seal = (folder / MANIFEST).read_bytes(), (folder / SEAL).read_bytes()
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise BackupDamaged(f"{folder} is no backup, or not a whole one: it has no {missing}") from error
    if seal != _seal(text):
        raise BackupDamaged(f"{folder / MANIFEST} is not what was written: its SHA-256 is not the one in {SEAL}")
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise BackupDamaged(f"{folder / MANIFEST} was written by another version of the program: {error}") from error
    if found.format != FORMAT:
        raise BackupDamaged(f"{folder} has format {found.format}; this version of the program reads format {FORMAT}")
    return found


def check(folder: Path, manifest: Manifest) -> None:
    """Raise BackupDamaged unless every file in `folder` is what was written."""
    wrong = [name for name, stored in manifest.files.items() if not _same(folder / name, stored)]
    if wrong:
        message = f"damaged or missing in {folder}: {', '.join(wrong)}; nothing was restored, use another backup"
        raise BackupDamaged(message)


def copy_private(source: Path, destination: Path) -> None:
    """Copy a file, for its owner alone."""
    destination.touch(mode=0o600, exist_ok=False)
    with source.open("rb") as read, destination.open("wb") as written:
        shutil.copyfileobj(read, written, _BLOCK_BYTES)
    sync(destination)


def write_private(destination: Path, data: bytes) -> None:
    """Make a file, for its owner alone."""
    destination.touch(mode=0o600, exist_ok=False)
    destination.write_bytes(data)
    sync(destination)


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    files.sync_path(path)


def _same(file: Path, stored: Stored) -> bool:
    return file.is_file() and checksum(file) == stored


def _seal(text: bytes) -> bytes:
    return f"{sha256(text).hexdigest()}  {MANIFEST}\n".encode()
