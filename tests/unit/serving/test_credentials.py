"""Keys of remote engines: where they come from, how they rotate, and that no message holds one."""

import os
from pathlib import Path

import pytest

from surplus.serving.engines.credentials import KEY_MAX, Credential
from surplus.serving.errors import EngineMisconfigured
from tests.unit.serving.deployments import remote


def test_without_a_key_there_is_no_header() -> None:
    assert Credential(remote(), {}).headers() == {}


def test_a_key_from_the_environment() -> None:
    credential = Credential(remote(key_env="OPENAI_API_KEY"), {"OPENAI_API_KEY": " sk-1 \n"})
    assert credential.headers() == {"authorization": "Bearer sk-1"}


def test_a_key_from_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    credential = Credential(remote(key_file=str(file)), {})
    assert credential.headers() == {"authorization": "Bearer first"}
    file.write_text("second\n")
    assert credential.headers() == {"authorization": "Bearer second"}
    fresh = tmp_path / "fresh"
    fresh.write_text("third!\n")
    os.utime(fresh, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    fresh.rename(file)
    assert credential.headers() == {"authorization": "Bearer third!"}, "same size, same time, another file"


@pytest.mark.parametrize("content", ["", " \n", "two words", "line\nline", "schlüssel", "\x00key", "k" * (KEY_MAX + 1)])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    for credential in (
        Credential(remote(key_file=str(file)), {}),
        Credential(remote(key_env="KEY"), {"KEY": content}),
    ):
        with pytest.raises(EngineMisconfigured) as refused:
            credential.headers()
        assert not content.strip() or content.strip() not in refused.value.message


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(EngineMisconfigured, match="nothing-here"):
        Credential(remote(key_file=str(tmp_path / "nothing-here")), {}).headers()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EngineMisconfigured, match="not text"):
        Credential(remote(key_file=str(tmp_path / "bytes")), {}).headers()


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(EngineMisconfigured, match="NO_SUCH_KEY"):
        Credential(remote(key_env="NO_SUCH_KEY"), {}).headers()


def test_a_file_that_becomes_bad_is_not_served_from_memory(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("good\n")
    credential = Credential(remote(key_file=str(file)), {})
    credential.headers()
    file.write_text("")
    with pytest.raises(EngineMisconfigured):
        credential.headers()
    with pytest.raises(EngineMisconfigured):
        credential.headers()
