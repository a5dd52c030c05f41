"""Faults in the files of a data directory."""

from pathlib import Path

import pytest

from surplus.doctor import files
from surplus.gateway import store as gateway
from surplus.kit.db import Database
from surplus.kit.journal import Journal
from tests.doctor.conftest import told

GATEWAY = "gateway-1"


def test_a_good_data_directory_is_private_and_writable(data: Path) -> None:
    told(files.directory(data), "ok", "0700")
    assert [path.name for path in data.iterdir() if path.name.startswith("tmp")] == []


def test_a_data_directory_that_is_not_there(data: Path) -> None:
    told(files.directory(data / "none"), "failed", "there is no", "surplus serve --data")


def test_a_data_directory_that_is_a_file(data: Path) -> None:
    told(files.directory(data / "operator.key"), "failed", "nothing can be written", "Not a directory")


def test_a_data_directory_that_others_can_read(data: Path) -> None:
    data.chmod(0o755)
    told(files.directory(data), "warning", "0755", f"chmod 700 {data}")


def test_a_good_operator_key(data: Path) -> None:
    check, token = files.operator_key(data / "operator.key")
    told(check, "ok", "0600")
    assert token is not None
    assert token.startswith("sk-")


def test_no_operator_key(data: Path) -> None:
    check, token = files.operator_key(data / "none")
    told(check, "warning", "there is no")
    assert token is None


@pytest.mark.parametrize(
    ("mode", "why"), [(0o644, "could have read it"), (0o660, "could have read it"), (0o0, "operator.key")]
)
def test_an_operator_key_with_a_wrong_mode(data: Path, mode: int, why: str) -> None:
    file = data / "operator.key"
    file.chmod(mode)
    told(files.operator_key(file)[0], "failed", "operator.key", why)


def test_an_operator_key_that_cannot_be_read(data: Path) -> None:
    (data / "key.d").mkdir()
    told(files.operator_key(data / "key.d")[0], "failed", "cannot be read", "user who runs the server")


@pytest.mark.parametrize("content", [b"", b"sk-half", b"\xff\xfe", b"hello world\n"])
def test_an_operator_key_file_without_a_key(data: Path, content: bytes) -> None:
    file = data / "operator.key"
    file.write_bytes(content)
    check, token = files.operator_key(file)
    told(check, "failed", "does not hold a key")
    assert token is None


def test_settings_that_are_not_there_are_defaults() -> None:
    check, settings = files.settings(None, {"HOME": "/", "SURPLUS_URL": "http://x", "SURPLUS_SERVER_PORT": "9"})
    told(check, "ok", "1 of ", "no settings file")
    assert settings is not None
    assert settings.server.port == 9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server\n", ("is not TOML",)),
        ("[server]\nprt = 1\n", ("unknown setting server.prt", "server.port")),
        ("[server]\nport = 70000\n", ("server.port", "65535")),
        ("[tracing]\nsample_ratio = 0.5\n", ("no effect",)),
    ],
)
def test_broken_settings_are_told(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    file = tmp_path / "surplus.toml"
    file.write_text(text)
    check, settings = files.settings(file, {})
    told(check, "failed", *words)
    assert settings is None


def test_a_settings_file_that_is_not_there_and_a_wrong_variable(tmp_path: Path) -> None:
    told(files.settings(tmp_path / "none.toml", {})[0], "failed", "none.toml", "cannot be read")
    told(files.settings(None, {"SURPLUS_SERVR_PORT": "1"})[0], "failed", "SURPLUS_SERVR_PORT")


def test_a_journal_of_a_running_server_is_not_disturbed(data: Path, database: Database) -> None:
    journal = Journal.open(data / "journal")
    end = journal.append(b"x" * 100)
    told(files.journal(data / "journal", database, GATEWAY), "ok", f"{end} bytes are not in the database yet")
    database.write_now(gateway.set_progress, GATEWAY, gateway.Progress(end, end))
    told(files.journal(data / "journal", database, GATEWAY), "ok", "0 bytes are not")
    assert journal.append(b"y") > end
    journal.close()


def test_an_unfinished_record_at_the_end_is_no_damage(data: Path, database: Database) -> None:
    _write(data / "journal", 3)
    with _segment(data / "journal").open("ab") as file:
        file.write(b"\x10\x00\x00\x00\x01\x02\x03\x04half")
    told(files.journal(data / "journal", database, GATEWAY), "ok", "unfinished (12 bytes)")


def test_damage_in_the_middle_of_a_journal(data: Path, database: Database) -> None:
    _write(data / "journal", 3)
    file = _segment(data / "journal")
    file.write_bytes(file.read_bytes().replace(b"record-1", b"record-X"))
    told(files.journal(data / "journal", database, GATEWAY), "failed", "damaged at byte", "stop the server")


def test_damage_in_an_earlier_segment(data: Path, database: Database) -> None:
    _write(data / "journal", 9, segment_bytes=64)
    file = _segment(data / "journal")
    file.write_bytes(file.read_bytes().replace(b"record-0", b"record-X"))
    told(files.journal(data / "journal", database, GATEWAY), "failed", file.name, "damaged at byte 0")


def test_a_missing_segment(data: Path, database: Database) -> None:
    _write(data / "journal", 9, segment_bytes=64)
    sorted((data / "journal").glob("*.journal"))[1].unlink()
    told(files.journal(data / "journal", database, GATEWAY), "failed", "a file is missing")


def test_a_journal_that_is_not_from_the_same_moment_as_the_database(data: Path, database: Database) -> None:
    database.write_now(gateway.set_progress, GATEWAY, gateway.Progress(500, 500))
    told(files.journal(data / "journal", database, GATEWAY), "failed", "it ends at 0", "up to 500", "one backup")
    told(files.journal(data / "none", database, GATEWAY), "failed", "there is no", "500")


def test_a_journal_whose_unloaded_beginning_is_gone(data: Path, database: Database) -> None:
    _write(data / "journal", 9, segment_bytes=64)
    _segment(data / "journal").unlink()
    told(files.journal(data / "journal", database, GATEWAY), "failed", "it begins at", "up to 0 only")


def test_no_journal_yet(data: Path, database: Database) -> None:
    told(files.journal(data / "none", database, GATEWAY), "warning", "first start")


def test_a_journal_far_ahead_of_the_database() -> None:
    told(files.judge_lag(files.LAG_BYTES_GOOD, 0), "ok")
    told(files.judge_lag(files.LAG_BYTES_GOOD + 1, 0), "warning", "its log says why")


def _write(directory: Path, records: int, segment_bytes: int = 2**20) -> None:
    journal = Journal.open(directory, segment_bytes=segment_bytes)
    for number in range(records):
        journal.append(b"record-%d and so on" % number)
    journal.close()


def _segment(directory: Path) -> Path:
    return min(directory.glob("*.journal"))
