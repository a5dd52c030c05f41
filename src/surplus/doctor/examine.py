"""All checks, in the order in which a person would want to hear of them."""

import asyncio
import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from surplus import bootstrap, demo
from surplus.doctor import books, engines, files, machine, network
from surplus.doctor.check import Check, warning
from surplus.kit.clock import Clock, SystemClock
from surplus.kit.db import Database, StoreUnavailable
from surplus.serving import service as serving
from surplus.serving.model import Deployment

DEMO_MODEL: Final = Path(demo.__path__[0]) / "tiny-chat-q8_0.gguf"


def examine(
    *,
    data: Path | None,
    config: Path | None = None,
    store_url: str | None = None,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[Check]:
    """Look at this machine, and at the data directory `data` where one is given. Changes nothing."""
    clock = clock or SystemClock()
    environment = bootstrap.environment(store_url) if environment is None else environment
    requirements = importlib.metadata.requires("surplus") or []
    version = (sys.version_info.major, sys.version_info.minor, sys.version_info.micro)
    checks = [machine.python(version), machine.packages(requirements)]
    settings_check, settings = files.settings(_settings_file(data, config), environment)
    checks.append(settings_check)
    deployments: list[Deployment] = []
    if data is None:
        remedy = "give --data DIR to have a server's database, journal and deployments checked too"
        checks.append(warning("data directory", "none was given", remedy))
    else:
        found, deployments = _data(data, "" if settings is None else settings.store.url, clock)
        checks += found
    if settings is not None:
        server = settings.server
        checks.append(machine.port(server.host, server.port, tls=bool(server.tls_certificate)))
        checks += network.network(server, clock.now())
    checks += asyncio.run(engines.engines(DEMO_MODEL, deployments, clock=clock, environment=environment))
    return checks


def _settings_file(data: Path | None, config: Path | None) -> Path | None:
    usual = None if data is None else data / bootstrap.SETTINGS_FILE
    return config or (usual if usual is not None and usual.exists() else None)


def _data(data: Path, store_url: str, clock: Clock) -> tuple[list[Check], list[Deployment]]:
    directory = files.directory(data)
    if directory.state == "failed":
        return [directory], []
    key, token = files.operator_key(data / bootstrap.OPERATOR_KEY)
    checks = [directory, machine.disk(data), machine.fsync(data, clock), key]
    opening, database = books.database(store_url or data / bootstrap.DATABASE)
    checks.append(opening)
    if database is None:
        return checks, []
    try:
        found, deployments = _database(database, data, token, clock.now())
    finally:
        database.close()
    return checks + found, deployments


def _database(database: Database, data: Path, token: str | None, now: float) -> tuple[list[Check], list[Deployment]]:
    schema = books.guarded("schema", lambda: books.schema(database, bootstrap.MIGRATIONS))
    if schema.state != "ok":
        return [schema], []
    checks = [schema, books.guarded("ledger", lambda: books.books(database))]
    checks.append(books.guarded("clock", lambda: books.clock(database, now)))
    if token is not None:
        checks.append(books.guarded("operator access", lambda: books.operator_may(database, token, now)))
    journal = data / bootstrap.JOURNAL
    checks.append(books.guarded("journal", lambda: files.journal(journal, database, bootstrap.known_gateway(journal))))
    try:
        return checks, list(database.read_now(serving.list_deployments))
    except StoreUnavailable:
        return checks, []
