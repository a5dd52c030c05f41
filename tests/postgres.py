"""A private PostgreSQL cluster for tests: made at first use, as an ordinary user, gone with the test run."""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import URL

DEBIAN: Final = Path("/usr/lib/postgresql")
ICU: Final = ("--locale-provider=icu", "--icu-locale=en-US")
NOBODY: Final = "nobody"
START_S: Final = 30
LOCKED: Final = "locked"
"""A user who needs PASSWORD; all others are let in."""
PASSWORD: Final = "hunter2hunter2"
HBA: Final = f"host all {LOCKED} all scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
# Words are ordered as people do it, not by their bytes: nothing may rest on the difference.
INITDB: Final = ("-U", "surplus", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8", *ICU)
MISSING: Final = (
    "the tests need PostgreSQL's programs (initdb, postgres), version 14 or later; "
    "on Debian and Ubuntu: apt-get install postgresql"
)
SETTINGS: Final = {
    "fsync": "off",  # these clusters are thrown away
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "listen_addresses": "127.0.0.1",
}


def programs() -> Path:
    """The folder with PostgreSQL's server programs; fails with what to install."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert versions, MISSING
    return versions[-1].parent


class Cluster:
    """One PostgreSQL server. It ends with the process that started it, however that ends."""

    def __init__(self) -> None:
        self.bin = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="surplus-pg-"))
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:  # the server refuses to run as root
            nobody = pwd.getpwnam(NOBODY)
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._server: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        self.log = self.folder / "log"
        data = self.folder / "data"
        try:
            command = [self.bin / "initdb", "-D", data, *INITDB]
            subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, **self._user)
            (data / "pg_hba.conf").write_text(HBA)
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port: int = free.getsockname()[1]
            self.start()
            self.sql(f"CREATE ROLE {LOCKED} LOGIN PASSWORD '{PASSWORD}'")
        except BaseException:
            self.remove()
            raise

    def start(self) -> None:
        """Start it, and wait until it answers. From the main thread: it ends with the thread that started it."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        place = ["-D", self.folder / "data", "-k", self.folder, "-p", str(self.port)]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "INT", self.bin / "postgres", *place, *options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._user,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.sql("SELECT 1")
                return
            except psycopg.OperationalError:
                assert self._server.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.01)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """End it: at once and without a word to its clients, or by another signal."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(START_S)
            self._server = None

    def remove(self) -> None:
        """End it and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, name: str, user: str = "surplus", password: str | None = None) -> URL:
        """A database of the cluster, over TCP."""
        return URL.create("postgresql+psycopg", user, password, "127.0.0.1", self.port, name)

    def text(self, name: str, **credentials: str) -> str:
        """The same as an operator writes it."""
        url = self.url(name, **credentials).set(drivername="postgresql")
        return url.render_as_string(hide_password=False)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the cluster's owner, outside of any transaction; returns its rows."""
        place = {"host": "127.0.0.1", "port": self.port, "user": "surplus", "dbname": "postgres"}
        with psycopg.connect(**place, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template0") -> str:
        """A new database; returns its name."""
        name = f"test_{next(self._names)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Delete a database, whoever uses it."""
        self.sql(f"DROP DATABASE {name} WITH (FORCE)")
