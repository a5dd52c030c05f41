"""Fresh stores for tests, in both kinds of database."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import URL

from surplus import migrations
from surplus.kit.db import Database
from surplus.kit.db.migrate import upgrade
from tests.postgres import Cluster

MIGRATIONS: Final = Path(migrations.__path__[0])


class Stores(Protocol):
    """Makes stores of one kind. Each is a copy of one that was migrated once."""

    kind: str
    cost: int
    """How many times as long a transaction takes as on the cheapest: properties try as many times fewer examples."""

    def place(self) -> Path | URL:
        """Where a new store with the newest schema is."""
        ...

    def empty(self) -> Path | URL:
        """Where a new store without a schema can be, or is."""
        ...

    def forget(self, place: Path | URL) -> None:
        """Delete a store."""
        ...


class SQLiteStores:
    """Files in a folder."""

    kind = "sqlite"
    cost = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self._template = folder / "template.db"
        _migrate(self._template)

    def place(self) -> Path:
        return Path(shutil.copyfile(self._template, self.empty()))

    def empty(self) -> Path:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        return folder / "surplus.db"

    def forget(self, place: Path | URL) -> None:
        assert isinstance(place, Path)
        shutil.rmtree(place.parent)


class PostgresStores:
    """Databases of a cluster."""

    kind = "postgres"
    cost = 5

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._template = cluster.create()
        _migrate(cluster.url(self._template))

    def place(self) -> URL:
        return self.cluster.url(self.cluster.create(self._template))

    def empty(self) -> URL:
        return self.cluster.url(self.cluster.create())

    def forget(self, place: Path | URL) -> None:
        assert isinstance(place, URL)
        self.cluster.drop(str(place.database))


def _migrate(place: Path | URL) -> None:
    database = Database(place)
    upgrade(database, MIGRATIONS)
    database.close()


@contextmanager
def opened(stores: Stores) -> Iterator[Database]:
    """A fresh store, for as long as it is needed."""
    place = stores.place()
    database = Database(place)
    yield database
    database.close()
    stores.forget(place)
