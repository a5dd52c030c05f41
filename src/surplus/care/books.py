"""Where the books of a data directory are."""

from pathlib import Path

from surplus import bootstrap
from surplus.care.errors import CareError
from surplus.kit.db import Database


def store_url(data: Path) -> str:
    """The database that the settings of a data directory name; nothing where it is a file in it. Raises BadSetting."""
    return bootstrap.load_settings(data, None).store.url


def opened(data: Path) -> Database:
    """The database of a data directory. Raises CareError where it has none, BadSetting, StoreUnavailable."""
    url = store_url(data)
    if not url and not (data / bootstrap.DATABASE).exists():
        message = f"{data} has no {bootstrap.DATABASE}, so it is no server's data directory; check --data"
        raise CareError(f"{message}, or name its database in SURPLUS_STORE_URL")
    return Database(url or data / bootstrap.DATABASE)
