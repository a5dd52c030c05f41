"""The data directory: the names of what lies in it, its settings, its store, its journals and the operator's key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surplus import migrations
from surplus.identity import service as identity
from surplus.identity.model import KeySecret
from surplus.kit import settings as kit_settings
from surplus.kit.db import Database, WriteSession
from surplus.kit.db.migrate import upgrade
from surplus.kit.errors import SurplusError
from surplus.kit.ids import Ids
from surplus.settings import Settings

MIGRATIONS: Final = Path(migrations.__path__[0])
SETTINGS_FILE: Final = "surplus.toml"
OPERATOR_KEY: Final = "operator.key"
DATABASE: Final = "surplus.db"
JOURNAL: Final = "journal"
"""The first journal; those of more workers are beside it, with a number."""
GATEWAY: Final = "gateway"
"""The file in a journal's directory that has the name of its gateway: no other one anywhere has it."""
SLOTS: Final = "slots"
CHECKED: Final = "checkpoint"
LOCK: Final = "lock"
"""Held by the one process that writes to the database."""
RUN: Final = "run"
LINK_SOCKET: Final = "link.sock"
CONTROL_SOCKET: Final = "control.sock"


def load_settings(data: Path, config: Path | None, store_url: str | None = None) -> Settings:
    """The settings of a data directory: `--config`, else DATA/surplus.toml where there is one. Raises BadSetting.

    `store_url` wins over both, and over the environment.
    """
    file = config or (data / SETTINGS_FILE if (data / SETTINGS_FILE).exists() else None)
    settings, _ = kit_settings.load(Settings, file=file, environment=environment(store_url))
    return settings


def environment(store_url: str | None) -> dict[str, str]:
    """This process's environment, as if it named the database at `store_url` where one is given."""
    given = {} if store_url is None else {kit_settings.variable("store.url"): store_url}
    return {**kit_settings.environment(), **given}


def open_store(data: Path, url: str = "") -> Database:
    """Make the data directory (mode 0700), and open the database at `url`, or in it, at the newest schema."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(url or data / DATABASE)
    try:
        upgrade(database, MIGRATIONS)
    except SurplusError:
        database.close()
        raise
    return database


def write_operator_key(data: Path, made: KeySecret) -> None:
    """Put the key into DATA/operator.key (mode 0600), in the place of what is there."""
    file = data / OPERATOR_KEY
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(made.token + "\n")


def ensure_operator(database: Database, ids: Ids, data: Path, now: float) -> bool:
    """Write DATA/operator.key (mode 0600) if the operator has no usable key; returns whether one was made."""

    def ensure(session: WriteSession) -> bool:
        made = identity.ensure_operator_key(session, ids, now=now)
        if made is None:
            return False
        write_operator_key(data, made)  # before the commit: a key that nobody holds must not exist
        return True

    return database.write_now(ensure)


def gateway_name(directory: Path, ids: Ids) -> str:
    """The name of the gateway whose journal is in `directory`; made, and written there, at its first start."""
    if not (directory / GATEWAY).exists() and not any(directory.glob("*.journal")):
        (directory / GATEWAY).write_text(ids.new("gw"))
    return known_gateway(directory)


def known_gateway(directory: Path) -> str:
    """The name of the gateway whose journal is in `directory`."""
    file = directory / GATEWAY
    return file.read_text().strip() if file.exists() else "gateway-1"  # of a version that had no names


def journal_directory(data: Path, number: int) -> Path:
    """Where the journal with this number lies; the first has the name that it has had from the beginning."""
    return data / (JOURNAL if number == 1 else f"{JOURNAL}-{number}")


def journals(data: Path) -> Iterator[int]:
    """The numbers of all journals that there are, ascending."""
    found = [path.name.removeprefix(JOURNAL) for path in data.glob(f"{JOURNAL}*") if path.is_dir()]
    return iter(sorted(1 if not name else int(name[1:]) for name in found if not name or name[1:].isdecimal()))
