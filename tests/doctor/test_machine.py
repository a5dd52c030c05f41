"""Faults of the machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from surplus.doctor import machine
from surplus.kit.clock import SystemClock
from tests.doctor.conftest import told
from tests.unit.client.answering import answering


def test_an_old_python() -> None:
    told(machine.python((3, 11, 0)), "ok", "3.11.0")
    told(machine.python((3, 10, 14)), "failed", "3.10.14", "install a newer Python")


def test_packages_with_their_versions() -> None:
    told(machine.packages(["httpx>=0.28", "opentelemetry-sdk>=1.0", 'x>=1; extra == "y"']), "ok", "httpx 0.", "sdk 1.")


def test_a_package_that_is_missing_or_old() -> None:
    told(machine.packages(["httpx", "no-such-package>=1"]), "failed", "no-such-package is missing", "make setup")
    told(machine.packages(["httpx>=99.1"]), "failed", "99.1 is the oldest that works")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ImportError('libfoo.so: cannot open shared object file')", "libfoo.so"),
        ("import os; os.kill(os.getpid(), 4)", "ended with status -4"),
    ],
)
def test_a_package_that_is_there_and_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, words: str
) -> None:
    (tmp_path / "brokenpackage.py").write_text(module)
    info = tmp_path / "brokenpackage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brokenpackage\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told(machine.packages(["brokenpackage>=1.0"]), "failed", "brokenpackage cannot be imported", words)


def test_the_disk(tmp_path: Path) -> None:
    assert "GiB free" in machine.disk(tmp_path).finding
    told(machine.judge_disk(machine.FREE_BYTES_GOOD), "ok", "5.0 GiB")
    told(machine.judge_disk(machine.FREE_BYTES_GOOD - 1), "warning", "larger disk")
    told(machine.judge_disk(machine.FREE_BYTES_LEAST - 1), "failed", "requests are refused")


def test_how_long_a_write_takes_to_be_durable(tmp_path: Path) -> None:
    assert "median of 20" in machine.fsync(tmp_path, SystemClock()).finding
    assert list(tmp_path.iterdir()) == []
    told(machine.judge_fsync(20.0), "ok", "20.0 ms")
    told(machine.judge_fsync(20.1), "warning", "20.1 ms", "solid-state")


def test_a_free_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = sock.getsockname()[1]
    told(machine.port("127.0.0.1", number), "ok", "is free")
    told(machine.port("0.0.0.0", number), "ok", "is free")
    told(machine.port("127.0.0.1", 0), "ok", "at each start")


def test_an_address_that_is_not_ours() -> None:
    told(machine.port("surplus.invalid", 8080), "failed", "cannot listen")


def test_a_port_on_which_a_surplus_answers() -> None:
    with answering() as server:
        number = int(server.url.rsplit(":", 1)[1])
        server.answer({"ready": True, "why": []})
        told(machine.port("0.0.0.0", number), "ok", "a Surplus answers")
        server.answer({"ready": False, "why": ["shutting down"]}, 503)
        told(machine.port("127.0.0.1", number), "warning", "not ready: shutting down")


def test_a_port_that_something_else_has() -> None:
    with answering() as server:
        number = int(server.url.rsplit(":", 1)[1])
        for body in (b"<html>", b"[]", b'{"status":"ok"}'):
            server.body = body
            told(machine.port("127.0.0.1", number), "failed", "not a Surplus", "another port")
    with hanging_up() as number:
        told(machine.port("127.0.0.1", number), "failed", "not a Surplus")


@contextmanager
def hanging_up() -> Iterator[int]:
    """A port where every connection is closed at once."""
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def hang_up() -> None:
            connection, _ = sock.accept()
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield sock.getsockname()[1]
        thread.join()
