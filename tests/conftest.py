"""Stores in both kinds of database, for tests in any folder: `stores` runs a test twice, once on each."""

from collections.abc import Iterator

import pytest

from tests.postgres import Cluster
from tests.stores import PostgresStores, SQLiteStores, Stores


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of this test run's own."""
    made = Cluster()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def postgres(cluster: Cluster) -> PostgresStores:
    return PostgresStores(cluster)


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> SQLiteStores:
    return SQLiteStores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def stores(request: pytest.FixtureRequest) -> Stores:
    return request.getfixturevalue(request.param)
