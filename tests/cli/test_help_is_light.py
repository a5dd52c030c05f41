"""The command starts fast, because it loads the server only where it is one."""

import subprocess
import sys
import time

import pytest

SERVER = {
    "sqlalchemy",
    "fastapi",
    "httptools",
    "uvicorn",
    "xllamacpp",
    "alembic",
    "surplus.bootstrap",
    "surplus.kit.db",
}
LOADED = "import sys; from surplus.cli.main import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
RUN = "from surplus.cli.main import main; main()"
HELP_S = 0.5


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("key", "create", "--help"),
        ("serve", "--help"),
        ("--url", "http://127.0.0.1:9", "--key", "sk-a-b", "balance", "--org", "acme"),
    ],
)
def test_a_command_does_not_load_the_server(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert "surplus.cli.main" in loaded
    assert not SERVER & loaded


def test_help_does_not_load_the_client() -> None:
    assert not {"httpx", "surplus.client"} & loaded_by("--help")


def test_serve_does_load_the_server() -> None:
    assert {"surplus.bootstrap", "sqlalchemy"} <= loaded_by("serve", "--data", "none", "--config", "none.toml")


def test_help_is_there_at_once() -> None:
    fastest = 60.0
    for _ in range(5):  # the machine may be busy; the command must not be
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-c", RUN, "--help"], capture_output=True, text=True, check=True)
        fastest = min(fastest, time.monotonic() - started)
    assert "credit" in done.stdout
    assert fastest < HELP_S
