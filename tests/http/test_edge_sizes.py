"""How much a request may be: at each border it is served, and beyond it refused, charged nothing, and told so."""

import asyncio
import json

import pytest

from surplus.settings import Server
from tests.http.edge import head, head_of_size, let_go, refused
from tests.http.harness import Shop, eventually, quick
from tests.http.reading import as_request, chat

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIZES = Server(drain_s=5, max_head_bytes=4096, max_headers=20, max_url_bytes=512, max_body_bytes=2048)
SETTINGS = quick(server=SIZES)


async def test_a_head_up_to_the_limit_and_not_a_byte_more(shop: Shop) -> None:
    caller = await shop.dial(head_of_size(4096))
    await caller.has(b'{"status":"ok"}')
    assert caller.status == 200
    error = await refused(await shop.dial(head_of_size(4097, "/v1/models")), 431, "head_too_large")
    assert error["type"] == "invalid_request_error"
    assert "4096 bytes" in error["message"]
    await refused(await shop.dial(head_of_size(4097)), 431, "head_too_large", api=True)


async def test_a_head_without_end_is_not_read_to_its_end(shop: Shop) -> None:
    """Not even where it is one long header, of which the parser says nothing until it is whole."""
    for start in (b"GET /v1/models HTTP/1.1\r\nx-long: ", b"GET /v1/models HTTP/1.1\r\nhost: shop\r\nx-long: "):
        caller = await shop.dial(start)
        for _ in range(5):
            caller.send(b"f" * 1000)
            await asyncio.sleep(0)
        await refused(caller, 431, "head_too_large")


async def test_a_head_in_pieces_up_to_the_limit(shop: Shop) -> None:
    sent = head_of_size(4096)
    caller = await shop.dial(b"")
    for start in range(0, len(sent), 100):
        caller.send(sent[start : start + 100])
        await asyncio.sleep(0)
    await caller.has(b'{"status":"ok"}')


async def test_so_many_headers(shop: Shop) -> None:
    lines = [f"x-{number}: 1" for number in range(19)]
    caller = await shop.dial(head("/healthz", *lines))
    await caller.has(b'{"status":"ok"}')
    error = await refused(await shop.dial(head("/v1/models", *lines, "x-19: 1")), 431, "head_too_large")
    assert "20 headers" in error["message"]


async def test_an_address_up_to_the_limit(shop: Shop) -> None:
    query = "/healthz?" + "q" * (512 - len("/healthz?"))
    caller = await shop.dial(head(query))
    await caller.has(b'{"status":"ok"}')
    await refused(await shop.dial(head(query + "q")), 414, "url_too_long", api=True)
    await refused(await shop.dial(b"GET /v1/" + b"m" * 600), 414, "url_too_long")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_a_model_request(shop: Shop, chunked: bool) -> None:
    for size, status in ((2048, 200), (2049, 413)):
        body = json.dumps(chat(shop.model, user="")).encode()
        body = body.replace(b'"user": ""', b'"user": "%b"' % (b"u" * (size - len(body))))
        assert len(body) == size

        async def parts(whole: bytes = body):
            for start in range(0, len(whole), 200):
                yield whole[start : start + 200]

        client = await shop.client()
        headers = {"content-type": "application/json"}
        answer = await client.post("/chat/completions", content=parts() if chunked else body, headers=headers)
        assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == "too_large"
    assert len(await shop.records()) == 1


async def test_a_body_that_goes_on_after_its_refusal_is_cut_off(shop: Shop) -> None:
    caller = await shop.dial(head("/v1/chat/completions", "content-length: 1000000000", method="POST"))
    await caller.has(b"invalid_api_key")
    while caller.reset is None:
        caller.send(b"x" * 1000)
        await asyncio.sleep(0)
    await eventually(lambda: not shop.live.server.path.in_flight, "the request to end")
    assert caller.raw.count(b"HTTP/1.1 ") == 1


async def test_chunks_that_carry_nothing_are_cut_off(shop: Shop) -> None:
    start = head(
        "/v1/chat/completions",
        f"authorization: Bearer {shop.secret.token}",
        "transfer-encoding: chunked",
        method="POST",
    )
    for more in (b"1;" + b"x" * 3000, b"0\r\nx-trailer: " + b"t" * 3000):
        caller = await shop.dial(start)
        await asyncio.sleep(0)
        caller.send(more)
        for _ in range(8):
            await asyncio.sleep(0)
            caller.send(b"y" * 1000)
        await refused(caller, 431, "head_too_large")
    assert not await shop.records()


async def test_a_trailer_is_no_header(shop: Shop) -> None:
    """What comes after the body may not say who calls."""
    caller = await shop.dial(
        head("/v1/chat/completions", "transfer-encoding: chunked", "connection: close", method="POST")
        + f"2\r\n{{}}\r\n0\r\nauthorization: Bearer {shop.secret.token}\r\n\r\n".encode()
    )
    await caller.closed()
    assert caller.status == 401


async def test_what_is_no_request_is_answered_in_json_and_without_our_names(shop: Shop) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /v1/ HTTP/9\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nno colon\r\n\r\n",
    ):
        caller = await shop.dial(sent)
        await refused(caller, 400, "invalid_request")
        assert not any(word in caller.raw.lower() for word in (b"uvicorn", b"python", b"server:", b"traceback"))


async def test_nonsense_behind_a_request_does_not_disturb_its_answer(shop: Shop) -> None:
    """Nor is the answer followed by one to the nonsense, which the caller would take for that to its next request."""
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model, stream=True)) + b"\x00\x00\r\n\r\n")
    await caller.closed()
    assert caller.status == 200
    assert caller.raw.count(b"HTTP/1.1 ") == 1
    assert caller.events[-1] == "[DONE]"
    assert len(await shop.records()) == 1


async def test_refusals_are_counted_by_code(shop: Shop) -> None:
    client = await shop.client(shop.live.operator_token)
    counted = (await client.get(f"{shop.live.root}/metrics")).text
    for code in ("head_too_large", "url_too_long", "invalid_request"):
        assert f'surplus_refused_total{{code="{code}"}}' in counted


async def test_nothing_is_left_of_those_who_were_refused(shop: Shop) -> None:
    callers = [await shop.dial(head_of_size(5000)) for _ in range(20)]
    for caller in callers:
        await caller.closed()
    await let_go(shop.live)
