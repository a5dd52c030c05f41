"""The doctor as a whole, as a person and as a program calls it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from surplus.cli.main import run
from surplus.doctor import examine
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.kit.ids import CountedIds
from surplus.serving import service as serving
from surplus.serving.spec import DeploymentSpec
from tests.doctor.conftest import NOW, tamper

FREE = {"SURPLUS_SERVER_PORT": "0"}
ALL = [
    "python",
    "packages",
    "settings",
    "data directory",
    "disk",
    "fsync",
    "operator key",
    "database",
    "schema",
    "ledger",
    "clock",
    "operator access",
    "journal",
    "port",
    "exposure",
    "engine",
]


def test_nothing_is_wrong_with_a_good_data_directory_and_nothing_changes(data: Path, clock: ManualClock) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    checks = examine(data=data, clock=clock, environment=FREE)
    assert [check.name for check in checks] == ALL
    assert [check for check in checks if check.state == "failed"] == []
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_every_fault_is_told_at_once(data: Path, clock: ManualClock) -> None:
    (data / "operator.key").chmod(0o644)
    (data / "surplus.toml").write_text("[server]\nprt = 8080\n")
    tamper(data, "UPDATE ledger_entry SET amount_micro = 6 WHERE key = 't1'")
    clock.step(-10_000)
    database = Database(data / "surplus.db")
    spec = DeploymentSpec(model="m", engine="llamacpp", path=str(data / "none.gguf"), context=100)
    database.write_now(serving.create_deployment, CountedIds(), spec, now=NOW)
    database.close()
    checks = examine(data=data, clock=clock, environment={})
    failed = {check.name for check in checks if check.state == "failed"}
    assert failed == {"settings", "operator key", "ledger", "clock", "model m (dep_1)"}
    assert "port" not in {check.name for check in checks}  # which one, the settings do not say


def test_a_schema_that_is_not_this_versions_is_not_read(data: Path, clock: ManualClock) -> None:
    tamper(data, "UPDATE alembic_version SET version_num = '9999'")
    tamper(data, "UPDATE kit_schema SET compatible_from = '9998'")
    names = [check.name for check in examine(data=data, clock=clock, environment=FREE)]
    assert "schema" in names
    assert not {"ledger", "journal", "clock"} & set(names)


def test_without_a_data_directory_the_machine_is_checked(clock: ManualClock) -> None:
    checks = {check.name: check for check in examine(data=None, clock=clock, environment=FREE)}
    assert checks["data directory"].state == "warning"
    assert checks["engine"].state == "ok"
    assert "database" not in checks


def test_the_command_prints_a_table_or_json(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURPLUS_SERVER_PORT", "0")
    (data / "operator.key").chmod(0o640)
    assert run(["doctor", "--data", str(data)]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^operator key +failed", shown, re.MULTILINE)
    assert re.search(r"^operator key: chmod 600 ", shown, re.MULTILINE)
    assert f"{len(ALL)} checks" in shown.splitlines()[-1]
    assert run(["doctor", "--data", str(data), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [set(check) for check in found] == [{"name", "state", "finding", "remedy"}] * len(ALL)
    assert run(["doctor", "--bogus"]) == 2


def test_the_command_succeeds_where_nothing_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURPLUS_SERVER_PORT", "0")
    assert run(["doctor"]) == 0
    assert "0 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_running_server_is_not_disturbed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from surplus.cli.main import main; main()"]
    serve = [*command, "serve", "--data", str(tmp_path / "data"), "--port", "0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        first = server.stdout.readline()
        port = first.strip().rsplit(":", 1)[1]
        environment = {**os.environ, "SURPLUS_SERVER_PORT": port}
        doctor = [*command, "doctor", "--data", str(tmp_path / "data"), "--json"]
        done = subprocess.run(doctor, capture_output=True, text=True, env=environment, check=False)
        server.terminate()
        assert server.wait(30) == 0
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0
    assert list(found) == ALL
    assert "a Surplus answers" in found["port"]["finding"]
    assert found["journal"]["state"] == "ok"
