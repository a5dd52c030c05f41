"""What surrounds an answer: request ids, limits, hints for retries, and paths that do not exist."""

import re
from typing import Any

import httpx
import pytest

from surplus.app.keys import KeySpec
from surplus.identity.model import Limits
from surplus.settings import Gateway
from tests.http.harness import Shop, quick
from tests.http.reading import BODIES, GENERATING, chat, check_headers, read_stream, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1))

SPAN = re.compile(r"\d+ms|\d+s|\d+m\d+s")


async def test_every_answer_has_a_request_id_of_its_own(shop: Shop) -> None:
    shop.upstream.plan(Fault.Healthy(), Fault.Healthy(), Fault.ServerError(500), Fault.ContextLengthExceeded())
    client = await shop.client()
    answers = [
        await client.post("/chat/completions", json=chat(shop.model)),
        await client.post("/chat/completions", json=chat(shop.model, stream=True)),
        await client.post("/chat/completions", json=chat(shop.model)),
        await client.post("/chat/completions", json=chat(shop.model)),
        await client.post("/chat/completions", json=chat("none")),
        await client.post("/chat/completions", content=b"{"),
        await client.get("/models"),
        await client.get("/models/none"),
        await client.get("/nothing"),
        await client.post("/chat/completions", json={}, headers={"authorization": "Bearer no"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 502, 400, 404, 400, 200, 404, 404, 401]
    assert len({check_headers(answer) for answer in answers}) == len(answers)
    assert {record.id for record in await shop.records()} == {check_headers(answer) for answer in answers[:4]}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", BODIES)
async def test_a_wrong_method_is_said_in_the_shape_of_the_api(shop: Shop, path: str, method: str) -> None:
    answer = await (await shop.client()).request(method, path)
    check_headers(answer)
    assert answer.status_code == 405
    if method != "HEAD":
        assert refusal(answer, 405, "method_not_allowed")["type"] == "invalid_request_error"


UNKNOWN = ["", "/", "/responses", "/chat", "/chat/completions/", "/chat/completions/x", "/engines/x/completions"]
OTHERS = ["/audio/speech", "/images/generations", "/embeddings%2f", "//chat/completions"]


@pytest.mark.parametrize("path", [*UNKNOWN, *OTHERS])
async def test_a13_a_path_that_is_not_metered_reaches_no_model(shop: Shop, path: str) -> None:
    """There is no pass-through: what is not an endpoint with bounds and a meter is not there at all."""
    async with httpx.AsyncClient(headers=shop.headers) as client:
        answer = await client.post(f"{shop.live.url}{path}", json=chat(shop.model))
    refusal(answer, 404, "not_found")
    assert not shop.upstream.generations
    assert not await shop.records()


async def test_a_query_after_the_path_changes_nothing(shop: Shop) -> None:
    answer = await shop.post("/chat/completions?beta=true", chat(shop.model))
    assert answer.status_code == 200
    await shop.record(answer)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Basic eDp5"}, {"authorization": "B"}]
)
async def test_a_request_without_a_key_is_told_so(shop: Shop, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=shop.live.url, headers=headers) as client:
        refusal(await client.post("/chat/completions", json=chat(shop.model)), 401, "invalid_api_key")
        refusal(await client.get("/models"), 401, "invalid_api_key")


async def test_the_key_may_come_as_x_api_key_too(shop: Shop) -> None:
    async with httpx.AsyncClient(base_url=shop.live.url, headers={"x-api-key": shop.secret.token}) as client:
        assert (await client.post("/chat/completions", json=chat(shop.model))).status_code == 200
    await shop.only_record()


def _standing(answer: httpx.Response) -> dict[str, Any]:
    names = ("limit-requests", "remaining-requests", "limit-tokens", "remaining-tokens")
    for what in ("requests", "tokens"):
        assert SPAN.fullmatch(answer.headers[f"x-ratelimit-reset-{what}"])
    return {name: int(answer.headers[f"x-ratelimit-{name}"]) for name in names}


@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize("stream", [False, True])
async def test_d7_the_rate_limit_headers_follow_what_was_used(open_shop, path: str, stream: bool) -> None:
    limits = Limits(rpm=10, tpm=100_000)
    shop = await open_shop("openai", key=KeySpec(limits=limits))
    body = BODIES[path](shop.model, stream=stream, max_tokens=40)
    before = _standing(await shop.post(path, body))
    record = await shop.only_record()
    after = _standing(await shop.post(path, body))
    assert [before["limit-requests"], before["limit-tokens"]] == [10, 100_000]
    assert [before["remaining-requests"], after["remaining-requests"]] == [9, 8]
    # The first request took its bound and has given back what it did not use; the second holds its bound.
    assert before["remaining-tokens"] - after["remaining-tokens"] == record.usage.input + record.usage.output


async def test_a_key_without_limits_is_shown_none(open_shop) -> None:
    shop = await open_shop("openai", key=KeySpec())
    answer = await shop.post("/chat/completions", chat(shop.model))
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


HINTS = [("", 1), ("7", 7), ("100000", 60), ("-3", 1), ("0.2", 1), ("Fri, 31 Dec 2100 23:59:59 GMT", 60), ("soon", 1)]


@pytest.mark.parametrize(("said", "told"), HINTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_is_told_to_sleep_for_more_than_a_minute(shop: Shop, said: str, told: int, stream: bool) -> None:
    """Some clients sleep for as long as they are told, for days if need be."""
    shop.upstream.plan(Fault.RateLimited(said))
    answer = await shop.post("/chat/completions", chat(shop.model, stream=stream))
    refusal(answer, 429, "upstream_rate_limited")
    assert int(answer.headers["retry-after"]) == told
    assert "x-should-retry" not in answer.headers


async def test_no_retry_is_advised_where_it_cannot_help(shop: Shop) -> None:
    shop.upstream.plan(Fault.ContextLengthExceeded(), Fault.ContentFiltered())
    answers = [await shop.post("/chat/completions", chat(shop.model)) for _ in range(2)]
    assert [answer.headers["x-should-retry"] for answer in answers] == ["false", "false"]
    assert not any("retry-after" in answer.headers for answer in answers)
    assert "1024 tokens" in answers[0].json()["error"]["message"]  # the engine's words: clients match them


async def test_many_requests_over_one_connection_stay_apart(shop: Shop) -> None:
    client = await shop.client()
    texts = []
    for tokens in (3, 5, 7):
        body = chat(shop.model, f"[[fault=answer:{tokens}]]", stream=True)
        texts.append(read_stream((await client.post("/chat/completions", json=body)).content).tokens)
    assert texts == [3, 5, 7]
    assert sorted(record.usage.output for record in await shop.records()) == [3, 5, 7]
