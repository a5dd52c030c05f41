"""The only wiring: builds every part of a server from its settings, starts them in order and ends them in order."""

import asyncio
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop

from surplus import __version__
from surplus.bootstrap import control, worker
from surplus.bootstrap.data import (
    CHECKED,
    DATABASE,
    GATEWAY,
    JOURNAL,
    LOCK,
    MIGRATIONS,
    OPERATOR_KEY,
    SETTINGS_FILE,
    ensure_operator,
    environment,
    gateway_name,
    journal_directory,
    journals,
    known_gateway,
    load_settings,
    open_store,
    write_operator_key,
)
from surplus.bootstrap.leftovers import is_free
from surplus.bootstrap.server import Server, build, close, run
from surplus.kit import log as logs
from surplus.kit import settings as kit_settings
from surplus.kit.clock import SystemClock
from surplus.kit.db import Database
from surplus.kit.edge import Edge
from surplus.kit.errors import SurplusError
from surplus.kit.http_server import PortTaken, listen
from surplus.kit.ids import RandomIds
from surplus.kit.journal.files import open_locked
from surplus.settings import Settings

__all__ = [
    "CHECKED",
    "DATABASE",
    "GATEWAY",
    "JOURNAL",
    "MIGRATIONS",
    "OPERATOR_KEY",
    "SETTINGS_FILE",
    "Server",
    "build",
    "close",
    "demo",
    "doctor",
    "ensure_operator",
    "environment",
    "gateway_name",
    "journal_directory",
    "journals",
    "known_gateway",
    "listen",
    "load_settings",
    "open_store",
    "run",
    "serve",
    "work",
    "write_operator_key",
]

LEAVING_S = 5.0
"""How long a start waits for the port while workers of an earlier run, which was killed, are still leaving."""
LISTEN_AGAIN_S = 0.05


def serve(*, data: Path, config: Path | None = None, store_url: str | None = None, **flags: object) -> int:
    """`surplus serve`; `flags` are settings of [server] (None: not given). Returns the exit status."""

    def work() -> None:
        settings = load_settings(data, config, store_url).with_flags(**flags)
        logs.configure(settings.server.log_level)
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.callback(os.close, open_locked(data / LOCK))  # one process has this directory, and its workers
            runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
            sock = stack.enter_context(runner.run(_listen(data, settings.server.host, settings.server.port)))
            runner.run(_serve(settings, data, sock))

    return _status(data, work)


def work(*, descriptor: int, pipe: int) -> int:
    """`surplus worker`, which only a server calls: takes requests on the socket that it was given."""
    return _status(Path(), lambda: worker.main(descriptor, pipe))


def _status(data: Path, work: Callable[[], None]) -> int:
    try:
        work()
    except SurplusError as error:
        sys.stderr.write(f"surplus: {error.message}\n")
        return 1
    except OSError as error:
        sys.stderr.write(
            f"surplus: {data} cannot be used: {error.strerror}; `surplus doctor --data {data}` says more\n"
        )
        return 1
    return 0


async def _listen(data: Path, host: str, port: int) -> socket.socket:
    """The listening socket. Workers whose control process was killed give the port back in a moment."""
    patient_until = asyncio.get_running_loop().time() + LEAVING_S
    while True:
        try:
            return listen(host, port)
        except PortTaken:
            leaving = any(not is_free(journal_directory(data, number)) for number in journals(data))
            if not leaving or asyncio.get_running_loop().time() > patient_until:
                raise
            await asyncio.sleep(LISTEN_AGAIN_S)


async def _serve(settings: Settings, data: Path, sock: socket.socket) -> None:
    clock = SystemClock()
    database = open_store(data, settings.store.url)
    operates = settings.server.role != "gateway"
    made = operates and ensure_operator(database, RandomIds(clock), data, clock.now())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    surroundings = kit_settings.environment()
    if settings.server.workers > 1:
        controlling = await control.build(settings, data, database, surroundings)
        _announce(sock, settings, controlling.edge, database, _operator_key(data / OPERATOR_KEY, made=made))
        await control.run(controlling, sock, stop)
    else:
        server = await build(settings, data, database, surroundings)
        _announce(sock, settings, server.edge, database, _operator_key(data / OPERATOR_KEY, made=made))
        await run(server, sock, stop)


def _announce(sock: socket.socket, settings: Settings, edge: Edge, database: Database, key: str) -> None:
    address, port = sock.getsockname()[:2]
    scheme = "http" if edge.tls is None else "https"
    url = f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}"
    sys.stdout.write(f"Surplus {__version__} at {url}\n")
    role = settings.server.role
    if role != "control":
        sys.stdout.write(f"  model API   {url}/v1\n")
    if role != "gateway":
        sys.stdout.write(f"  control     {url}/api  (documents: {url}/api/docs)\n")
    sys.stdout.write(f"  database    {database.name}\n")
    if role != "gateway":
        sys.stdout.write(f"  operator    {key}\n")
    sys.stdout.flush()


def _operator_key(file: Path, *, made: bool) -> str:
    if made or file.exists():
        return f"key {'written to' if made else 'is in'} {file}"
    return "the first server of this database has the key, in its data directory"


def demo(*, data: Path | None = None, port: int | None = None, once: bool = False) -> int:
    """`surplus demo`: returns the exit status."""
    try:
        runner = importlib.import_module("surplus.demo.run")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"surplus: the demo needs the package {error.name!r}; `make demo` installs it\n")
        return 1
    return runner.run(data=data, port=port, once=once)


def doctor(*, data: Path | None = None, config: Path | None = None, store_url: str | None = None) -> list[Any]:
    """`surplus doctor`: what was looked at and found, as `surplus.doctor.Check`."""
    return importlib.import_module("surplus.doctor").examine(data=data, config=config, store_url=store_url)
