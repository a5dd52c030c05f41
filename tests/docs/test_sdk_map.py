"""What the errors page says of OpenAI's SDK is what that SDK does, error by error."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

from surplus.gateway import surface
from surplus.kit.errors import SurplusError
from tools.reference.errors import SURFACE, sdk_error, sdk_tries_again


@dataclass
class Refusing:
    """A server that refuses every request with the same error, and counts them."""

    url: str = ""
    error: SurplusError = SURFACE[0]
    asked: int = field(default=0)


@pytest.fixture(scope="module")
def refusing() -> Iterator[Refusing]:
    state = Refusing()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.asked += 1
            self.rfile.read(int(self.headers["content-length"]))
            body = surface.error_body(state.error)
            self.send_response(state.error.status)
            for name, value in surface.error_headers(state.error):
                self.send_header(name.decode(), value.decode())
            self.send_header("retry-after-ms", "1")  # so that the SDK does not pause
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield state
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("error", SURFACE, ids=lambda error: type(error).__name__)
def test_the_sdk_does_what_the_page_says(refusing: Refusing, error: SurplusError) -> None:
    refusing.error, refusing.asked = error, 0
    client = openai.OpenAI(base_url=refusing.url, api_key="sk-0", max_retries=2)
    with client, pytest.raises(openai.APIStatusError) as raised:
        client.embeddings.create(model="m", input="x")
    assert type(raised.value) is sdk_error(error.status)
    assert raised.value.code == surface.error_object(error)["code"]
    assert refusing.asked == (3 if sdk_tries_again(error) else 1)
