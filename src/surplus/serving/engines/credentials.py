"""The key of a remote engine, from where the operator keeps it. It is never logged, and no message holds it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from surplus.serving.errors import EngineMisconfigured
from surplus.serving.model import Deployment

KEY_MAX: Final = 8192


class Credential:
    """The headers that carry a deployment's key. A key in a file is read again when the file changes."""

    def __init__(self, deployment: Deployment, environment: Mapping[str, str]) -> None:
        self._variable = deployment.key_env
        self._file = None if deployment.key_file is None else Path(deployment.key_file)
        self._environment = environment
        self._version: tuple[int, int, int] | None = None
        self._headers: Mapping[str, str] = {}

    def headers(self) -> Mapping[str, str]:
        """`Authorization` with the present key, or nothing where none is named. Raises EngineMisconfigured."""
        if self._file is not None:
            return self._from_file(self._file)
        if self._variable is not None and not self._headers:
            place = f"the environment variable {self._variable}"
            key = self._environment.get(self._variable)
            if key is None:
                raise EngineMisconfigured(f"{place} is not set; set it and start the server again")
            self._headers = _bearer(key, place)
        return self._headers

    def _from_file(self, file: Path) -> Mapping[str, str]:
        place = f"the key file {file}"
        try:
            status = file.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version != self._version:
                with file.open(encoding="utf-8") as opened:
                    self._headers = _bearer(opened.read(KEY_MAX + 1), place)
                self._version = version
        except OSError as error:
            raise EngineMisconfigured(f"{place} cannot be read ({error.strerror}); check its path and mode") from error
        except UnicodeDecodeError as error:
            raise EngineMisconfigured(f"{place} is not text; write the key alone into it") from error
        return self._headers


def _bearer(text: str, place: str) -> Mapping[str, str]:
    key = text.strip()
    if not key:
        raise EngineMisconfigured(f"{place} is empty; put the key there")
    if len(key) > KEY_MAX or not key.isascii() or not key.isprintable() or " " in key:
        raise EngineMisconfigured(f"{place} does not hold a key: a key is one line of printable characters, no spaces")
    return {"authorization": f"Bearer {key}"}
