"""A small HTTP server that answers what a test tells it to, and keeps what it was sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ERROR = {"error": {"message": "no such thing; look again", "code": "not_found", "param": "org", "detail": {"a": 1}}}


@dataclass
class Sent:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Answering:
    """`status`, `body` and `headers` are the next answers; `cut` closes the connection, `silent` never answers."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    silent: bool = False
    sent: list[Sent] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, data: Any, status: int = 200, **headers: str) -> None:
        """Answer with JSON from now on."""
        self.body = json.dumps(data).encode()
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def answering() -> Iterator[Answering]:
    """Answer until the block ends."""
    state = Answering()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            parsed = json.loads(body) if body else None
            state.sent.append(Sent(self.command, url.path, parse_qs(url.query), headers, parsed))
            if state.silent:
                state.ended.wait(30)
            if state.cut or state.silent:
                self.close_connection = True
                return
            self.send_response(state.status)
            for name, value in {"content-type": "application/json", **state.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body)
            self.wfile.flush()

        def log_message(self, *_args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield state
        finally:
            state.ended.set()
            server.shutdown()
            thread.join()
