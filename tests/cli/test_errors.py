"""How the command fails: in a line or two on stderr, with 1 for refusals and 2 for bad usage."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from surplus.cli import options
from surplus.cli.main import run
from surplus.wire.budgets import PeriodName
from surplus.wire.deployments import EngineName
from surplus.wire.members import RoleName
from tests.cli.conftest import Command


def test_no_server_is_said_with_its_address_and_what_to_do(surplus: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    said = surplus.refused("--url", url, "status")
    assert f"cannot reach {url} (connection refused)" in said
    assert "SURPLUS_URL" in said
    assert "surplus serve" in said


def test_no_key_is_said_with_where_to_find_one(surplus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURPLUS_KEY")
    assert "SURPLUS_KEY" in surplus.bad("status")
    assert "operator.key" in surplus.bad("--key", "", "status")
    assert "on one line" in surplus.bad("--key", "sk-a b", "status")


def test_a_wrong_address_is_bad_usage(surplus: Command) -> None:
    for url in ("127.0.0.1:8080", "ftp://x", "http://", "http://x:99999", "http://x/?a=b"):
        assert "is not the address of a server" in surplus.bad("--url", url, "status")


def test_a_wrong_key_is_refused(surplus: Command) -> None:
    assert "401 invalid_api_key" in surplus.refused("--key", "sk-nothing", "status")


def test_unknown_commands_and_options_are_bad_usage(surplus: Command) -> None:
    assert "No such command" in surplus.bad("balances")
    assert "--jsonn" in surplus.bad("status", "--jsonn")
    assert "surplus org create --help" in surplus.bad("org", "create")


def test_a_group_alone_shows_its_help_and_is_bad_usage(surplus: Command) -> None:
    ran = surplus("org")
    assert ran.status == 2
    assert "create" in ran.out + ran.err


def test_help_and_version_are_no_failures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("surplus 0")


def test_the_choices_are_those_of_the_wire() -> None:
    assert get_args(options.Role) == get_args(RoleName)
    assert get_args(options.Period) == get_args(PeriodName)
    assert get_args(options.Engine) == get_args(EngineName)


def test_serve_says_why_it_cannot(surplus: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    assert "--data" in surplus.bad("serve", "--port", "0")
    assert "--port" in surplus.bad("serve", "--data", str(tmp_path), "--port", "65536")
    missing = surplus("serve", "--data", f"{tmp_path}/data", "--config", f"{tmp_path}/none.toml")
    assert missing.status == 1
    assert "none.toml" in missing.err


def test_an_answer_that_cannot_be_written_is_told(surplus: Command) -> None:
    environment = {"SURPLUS_URL": surplus.served.url, "SURPLUS_KEY": surplus.served.token}
    for more in ((), ("--json",)):
        with Path("/dev/full").open("w") as full:
            command = [sys.executable, "-c", "from surplus.cli.main import main; main()", "org", "list", *more]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
        assert done.returncode == 1
        assert done.stderr == (
            "surplus: what was asked is done, but the answer cannot be written (No space left on device)\n"
        )


def test_a_reader_that_has_seen_enough_is_no_fault(surplus: Command) -> None:
    environment = {"SURPLUS_URL": surplus.served.url, "SURPLUS_KEY": surplus.served.token}
    command = [sys.executable, "-c", "from surplus.cli.main import main; main()", "org", "list"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    os.close(writer)
    assert done.stderr == ""
