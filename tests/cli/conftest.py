"""The `surplus` command, run in this process against a real control plane."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from surplus.cli.main import run
from tests.cli.served import Served, serve


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """Runs `surplus ...`; `served` is the server that it talks to."""

    def __init__(self, served: Served, capsys: pytest.CaptureFixture[str]) -> None:
        self.served = served
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        status = run(arguments)
        captured = self._capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    def ok(self, *arguments: str) -> str:
        """The table of a command that has to succeed."""
        ran = self(*arguments)
        assert (ran.status, ran.err) == (0, "")
        return ran.out

    def json(self, *arguments: str) -> Any:
        """The JSON of a command that has to succeed."""
        ran = self(*arguments, "--json")
        assert (ran.status, ran.err) == (0, "")
        return ran.json

    def refused(self, *arguments: str) -> str:
        """The words of a command that the server has to refuse, in at most two lines."""
        ran = self(*arguments)
        assert (ran.status, ran.out) == (1, "")
        assert len(ran.err.splitlines()) <= 2
        return ran.err

    def bad(self, *arguments: str) -> str:
        """The words of a command that has to be told that it was used wrongly, in at most two lines."""
        ran = self(*arguments)
        assert (ran.status, ran.out) == (2, "")
        assert len(ran.err.splitlines()) <= 2
        return ran.err


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture
def surplus(served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("SURPLUS_URL", served.url)
    monkeypatch.setenv("SURPLUS_KEY", served.token)
    monkeypatch.setenv("NO_COLOR", "1")
    return Command(served, capsys)


@pytest.fixture
def org(surplus: Command, request: pytest.FixtureRequest) -> str:
    """An organization of this test alone, with 10 dollars."""
    name = request.node.name[:60].translate({ord("["): "-", ord("]"): None})
    surplus.ok("org", "create", name, "--credit", "10")
    return name
