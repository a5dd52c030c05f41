"""Requests and answers over HTTP: what every method of the client shares."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from surplus import __version__
from surplus.client.errors import ApiError, BadAnswer, BadArgument, Unreachable
from surplus.wire.errors import ErrorAnswer

A = TypeVar("A", bound=BaseModel)
Query = Mapping[str, str | int | None]

CONNECT_S: Final = 5.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MANY_WRONG: Final = 3


def build(request: type[A], **fields: Any) -> A:
    """A request from those fields that are not None. Raises BadArgument naming each field that does not fit."""
    try:
        return request(**{name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise BadArgument(_reasons(error)) from error


def segment(name: str) -> str:
    """A name or an id as one segment of a path. Raises BadArgument if it is empty: the path would be another one."""
    if not name.strip("."):
        raise BadArgument(f"{name!r} is no name and no id; give one")
    return quote(name, safe="")


class Transport:
    """One connection pool to one server, with one key."""

    def __init__(self, url: str, key: str, timeout_s: float) -> None:
        self.url = _checked_url(url)
        headers = {"authorization": f"Bearer {_checked_key(key)}", "user-agent": f"surplus/{__version__}"}
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            headers=headers,
            # A proxy that the environment names cannot reach a server on this machine.
            trust_env=urlsplit(self.url).hostname not in _LOOPBACK,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def one(self, answer: type[A], method: str, path: str, *, body: BaseModel | None = None, **more: Any) -> A:
        """Send a request and read its answer as `answer`. Raises ApiError, Unreachable or BadAnswer."""
        return self._read(answer, self._send(method, path, body, **more))

    def many(self, answer: type[A], path: str, *, query: Query | None = None) -> list[A]:
        """GET a list of `answer`. Raises ApiError, Unreachable or BadAnswer."""
        found = self._send("GET", path, None, query=query)
        if not isinstance(found, list):
            raise BadAnswer(f"{self.url}{path} did not answer with a list; check SURPLUS_URL and the server's version")
        return [self._read(answer, item) for item in found]  # pyright: ignore[reportUnknownVariableType]  JSON

    def _read(self, answer: type[A], data: Any) -> A:
        try:
            return answer.model_validate(data)
        except ValidationError as error:
            message = f"{self.url} answered in another shape than this version expects ({_reasons(error)})"
            raise BadAnswer(f"{message}; use the `surplus` command of the server's version") from error

    def _send(
        self,
        method: str,
        path: str,
        body: BaseModel | None,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        content = None if body is None else body.model_dump_json(exclude_unset=True).encode()
        sent = {**(headers or {})} if content is None else {**(headers or {}), "content-type": "application/json"}
        try:
            response = self._http.request(
                method, self.url + path, params=given, content=content, headers=sent, timeout=self._patience(timeout_s)
            )
        except httpx.ConnectError as error:
            raise Unreachable(f"cannot reach {self.url} ({_why(error)}); {_REACH}") from error
        except httpx.TimeoutException as error:
            raise Unreachable(self._late(method, error, timeout_s or self._timeout_s)) from error
        except httpx.TransportError as error:
            raise Unreachable(f"the connection to {self.url} broke ({_why(error)}); {_REACH}") from error
        return self._data(response)

    def _patience(self, timeout_s: float | None) -> httpx.Timeout:
        return httpx.Timeout(timeout_s or self._timeout_s, connect=CONNECT_S)

    def _late(self, method: str, error: httpx.TimeoutException, timeout_s: float) -> str:
        if isinstance(error, httpx.ConnectTimeout):
            return f"{self.url} took no connection within {CONNECT_S:g} s; {_REACH}"
        message = f"{self.url} did not answer within {timeout_s:g} s"
        if method == "GET":
            return f"{message}; try again, or look at the server's log"
        return f"{message}, but may still have done what was asked; look before you try again"

    def _data(self, response: httpx.Response) -> Any:
        try:
            data = json.loads(response.content)
        except ValueError as error:
            raise self._stranger(response) from error
        if response.is_success:
            return data
        try:
            body = ErrorAnswer.model_validate(data).error
        except ValidationError as error:
            raise self._stranger(response) from error
        request_id = response.headers.get("x-request-id")
        raise ApiError(response.status_code, body.code, body.message, request_id, param=body.param, detail=body.detail)

    def _stranger(self, response: httpx.Response) -> BadAnswer:
        kind = response.headers.get("content-type", "no type")
        answered = f"{self.url} answered {response.status_code} ({kind}), which is no answer of a Surplus server"
        return BadAnswer(f"{answered}; check SURPLUS_URL")


_REACH: Final = "check SURPLUS_URL, and that `surplus serve` is running there"


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise BadArgument(f"{url!r} is not the address of a server; write it as http://127.0.0.1:8080")
    return url.rstrip("/")


def _checked_key(key: str) -> str:
    key = key.strip()
    if not key:
        raise BadArgument("no key is given; set SURPLUS_KEY (the operator's is in DIR/operator.key of the server)")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadArgument("the key holds characters that no key has; set SURPLUS_KEY to the key alone, on one line")
    return key


def _why(error: httpx.TransportError) -> str:
    """What the operating system said, where it said something: httpx's own words name no cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _reasons(error: ValidationError) -> str:
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)]
    rest = len(found) - _MANY_WRONG
    return "; ".join(found[:_MANY_WRONG]) + (f"; and {rest} more" if rest > 0 else "")
