"""Checks of the files in a data directory."""

import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from surplus.doctor.check import Check, failed, ok, warning
from surplus.gateway import store as gateway
from surplus.identity import model as identity
from surplus.identity.errors import InvalidKey
from surplus.kit import settings as kit_settings
from surplus.kit.db import Database
from surplus.kit.errors import BadSetting
from surplus.kit.journal import JournalCorrupt, inspect
from surplus.settings import Settings

LAG_BYTES_GOOD = 64 * 2**20


def settings(file: Path | None, environment: Mapping[str, str]) -> tuple[Check, Settings | None]:
    """Whether a server would accept its settings, and what they are."""
    try:
        found, sources = kit_settings.load(Settings, file=file, environment=environment)
    except BadSetting as error:
        problems = "; ".join(error.message.splitlines())
        remedy = "correct or remove it; a server does not start with a setting that it does not understand"
        return failed("settings", problems, remedy), None
    given = sum(source != "default" for source in sources.values())
    place = "no settings file" if file is None else str(file)
    return ok("settings", f"{place}; {given} of {len(sources)} settings are given, the rest are defaults"), found


def directory(data: Path) -> Check:
    """Whether the data directory is there, is writable, and is nobody else's to read."""
    name = "data directory"
    if not data.exists():
        remedy = f"check --data; for a new server: surplus serve --data {data}"
        return failed(name, f"there is no {data}", remedy)
    try:
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        finding = f"nothing can be written to {data} ({error.strerror})"
        return failed(name, finding, "give a directory that belongs to the user who runs the server")
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & 0o077:
        finding = f"{data} has mode {mode:04o}: others on this machine can look into it"
        return warning(name, finding, f"chmod 700 {data}")
    return ok(name, f"{data} is writable, mode {mode:04o}")


def operator_key(file: Path) -> tuple[Check, str | None]:
    """Whether the operator's key is there and private, and the key."""
    name = "operator key"
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        token = file.read_text(encoding="ascii").strip()
        identity.parse_token(token)
    except FileNotFoundError:
        remedy = "if the key is kept elsewhere, nothing; a key that is lost cannot be had again"
        return warning(name, f"there is no {file}", remedy), None
    except OSError as error:
        remedy = "run this as the user who runs the server"
        return failed(name, f"{file} cannot be read ({error.strerror})", remedy), None
    except (UnicodeDecodeError, InvalidKey):
        return failed(
            name, f"{file} does not hold a key", "put the operator's key there again, from where you kept it"
        ), None
    if mode != 0o600:
        finding = f"{file} has mode {mode:04o}, not 0600"
        who = "others on this machine could have read it" if mode & 0o077 else "its owner cannot use it"
        return failed(name, f"{finding}: {who}", f"chmod 600 {file}; rotate the key if others may have read it"), token
    return ok(name, f"{file}, mode 0600"), token


def journal(directory: Path, database: Database, gateway_name: str) -> Check:
    """Whether the journal is whole, and how far the database is behind it. A running server is not disturbed."""
    before = database.read_now(gateway.progress, gateway_name)
    try:
        found = inspect(directory)
    except JournalCorrupt as error:
        return failed("journal", error.message, "stop the server, keep a copy of the directory, then do as it says")
    except FileNotFoundError:
        if before.position == 0:
            return warning("journal", f"there is no {directory} yet", "the first start of a server makes it")
        return _lost(f"there is no {directory}, but the database has loaded {before.position:,} bytes of it")
    except OSError as error:
        finding = f"{directory} cannot be read ({error.strerror})"
        return failed("journal", finding, "run this as the user who runs the server")
    after = database.read_now(gateway.progress, gateway_name)
    if before.position > found.end:
        return _lost(f"it ends at {found.end:,}, but the database has loaded it up to {before.position:,}")
    if after.position < found.start:
        return _lost(f"it begins at {found.start:,}, but the database has loaded it up to {after.position:,} only")
    return judge_lag(max(0, found.end - after.position), found.unfinished_bytes)


def _lost(finding: str) -> Check:
    remedy = "database and journal are not from the same moment: restore both from one backup"
    return failed("journal", finding, remedy)


def judge_lag(lag_bytes: int, unfinished_bytes: int) -> Check:
    """What it means that so much of the journal is not in the database yet."""
    finding = f"whole; {lag_bytes:,} bytes are not in the database yet"
    if unfinished_bytes:
        finding += f"; the last record is unfinished ({unfinished_bytes:,} bytes), and is cut off at the next start"
    if lag_bytes > LAG_BYTES_GOOD:
        remedy = "start the server if it is down; if it runs, its log says why the database does not keep up"
        return warning("journal", finding, remedy)
    return ok("journal", finding)
