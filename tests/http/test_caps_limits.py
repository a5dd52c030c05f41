"""Rates, requests at once, revocation; and bodies that would slip past what was held."""

import asyncio
import json

import pytest

from surplus.app.keys import KeySpec
from surplus.identity import service as identity
from surplus.identity.model import Limits
from surplus.serving.engines.dialects import DIALECTS
from surplus.serving.model import EngineKind
from surplus.settings import Gateway
from tests.http.harness import CLOCK, Shop, eventually, quick
from tests.http.reading import BODIES, as_request, chat, refusal
from tests.upstream import Fault, shapes

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(gateway=Gateway(attempts=1))


def _limited(**limits: int) -> KeySpec:
    return KeySpec(limits=Limits(**limits))


@pytest.mark.parametrize("path", BODIES)
async def test_d8_requests_per_minute_are_counted_and_the_refusal_says_whose_limit_it_is(open_shop, path: str) -> None:
    shop = await open_shop("openai", key=_limited(rpm=3))
    answers = [await shop.post(path, BODIES[path](shop.model)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    error = refusal(answers[3], 429, "rate_limit_exceeded")
    assert error["type"] == "rate_limit_error"
    assert "this key's limit of 3 requests per minute" in error["message"]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert len(shop.upstream.generations) == 3
    assert len(await shop.records()) == 3


async def test_d5_what_is_refused_takes_nothing_of_another_limit(open_shop) -> None:
    shop = await open_shop("openai", key=_limited(rpm=3, concurrency=1))
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model)))
    await shop.upstream.arrived()
    for _ in range(5):
        error = refusal(await shop.post("/chat/completions", chat(shop.model)), 429, "rate_limit_exceeded")
        assert "requests at once" in error["message"]
    shop.upstream.release()
    await caller.has(b"chatcmpl")
    await shop.live.quiet()
    answers = [await shop.post("/chat/completions", chat(shop.model)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_d3_tokens_per_minute_are_taken_at_their_bound_and_given_back(open_shop) -> None:
    shop = await open_shop("openai", key=_limited(tpm=1000))
    body = chat(shop.model, max_tokens=500)  # and as many bytes as the body has: two of them do not fit
    shop.upstream.plan(Fault.HoldFirstByte())
    caller = await shop.dial(as_request(shop, "/chat/completions", body))
    await shop.upstream.arrived()
    error = refusal(await shop.post("/chat/completions", body), 429, "rate_limit_exceeded")
    assert "tokens per minute" in error["message"]
    shop.upstream.release()
    await caller.has(b"chatcmpl")
    used = (await shop.only_record()).usage
    answer = await shop.post("/chat/completions", body)
    assert answer.status_code == 200
    taken = 1000 - int(answer.headers["x-ratelimit-remaining-tokens"])
    assert used.input + used.output + 500 < taken < 1000


async def test_a_request_that_could_never_fit_is_not_tried_again(open_shop) -> None:
    shop = await open_shop("openai", key=_limited(tpm=100))
    answer = await shop.post("/chat/completions", chat(shop.model, max_tokens=500))
    refusal(answer, 429, "rate_limit_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_requests_at_once_are_exactly_as_many_as_allowed(open_shop, stream: bool) -> None:
    shop = await open_shop("vllm", key=_limited(concurrency=4))
    shop.upstream.always(Fault.HoldFirstByte())
    client = await shop.client()
    body = chat(shop.model, stream=stream)
    asked = [asyncio.create_task(client.post("/chat/completions", json=body)) for _ in range(20)]
    await eventually(lambda: sum(task.done() for task in asked) == 16, "the refusals")
    await shop.upstream.arrived(4)
    shop.upstream.release()
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 16


async def test_two_keys_have_limits_of_their_own(open_shop) -> None:
    shop = await open_shop("openai", key=_limited(rpm=1))
    other = await shop.client((await shop.new_key(limits=Limits(rpm=1))).token)
    assert (await shop.post("/chat/completions", chat(shop.model))).status_code == 200
    assert (await other.post("/chat/completions", json=chat(shop.model))).status_code == 200
    refusal(await shop.post("/chat/completions", chat(shop.model)), 429, "rate_limit_exceeded")


async def test_a_revoked_key_stops_within_a_second_whoever_revoked_it(shop: Shop) -> None:
    """Another process changed the books, so this one has to find out by itself; what runs may end."""
    shop.upstream.plan(Fault.StallAfter(3))
    running = asyncio.create_task(shop.post("/chat/completions", chat(shop.model, stream=True)))
    await shop.upstream.arrived()
    client = await shop.client()
    loop = asyncio.get_running_loop()
    await shop.live.server.database.write(identity.revoke_key, shop.key.id, now=CLOCK.now())
    revoked_at = loop.time()
    while (answer := await client.get("/models")).status_code == 200:
        assert loop.time() - revoked_at < 2
    refusal(answer, 401, "invalid_api_key")
    shop.upstream.release()
    assert (await running).content.endswith(b"data: [DONE]\n\n")


async def test_a_key_revoked_here_stops_at_once(shop: Shop) -> None:
    assert (await shop.post("/chat/completions", chat(shop.model))).status_code == 200
    await shop.live.change(identity.revoke_key, shop.key.id, now=CLOCK.now())
    refusal(await shop.post("/chat/completions", chat(shop.model)), 401, "invalid_api_key")


BYPASSES = [
    ("/chat/completions", '"max_tokens":5,"max_completion_tokens":300'),
    ("/chat/completions", '"max_completion_tokens":5,"max_tokens":300'),
    ("/chat/completions", '"max_tokens":5,"max_tokens":300'),
    ("/chat/completions", '"max_tokens":300,"max_tokens":5'),
    ("/chat/completions", '"max_tokens":5,"max\\u005ftokens":300'),
    ("/chat/completions", '"max_tokens":null,"max_completion_tokens":null'),
    ("/chat/completions", '"max_tokens":5,"n":1,"n":4'),
    ("/chat/completions", '"max_tokens":5,"n_predict":300'),
    ("/chat/completions", '"n_predict":-1'),
    ("/chat/completions", '"max_tokens":5,"ignore_eos":true,"min_tokens":300'),
    ("/completions", '"max_tokens":5,"max_completion_tokens":300'),
    ("/completions", '"max_tokens":5,"n_predict":300'),
    ("/completions", '"max_tokens":5,"max_tokens":300,"max_tokens":7'),
    ("/completions", '"max_tokens":5,"best_of":3'),
    ("/completions", '"max_tokens":null'),
    ("/completions", '"prompt":["a","b","c"],"max_tokens":5'),
]


@pytest.mark.parametrize("engine", ["openai", "vllm", "llama-server"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "fields"), BYPASSES)
async def test_no_field_of_a_body_slips_past_what_was_held(
    open_shop, path: str, fields: str, stream: bool, engine: str
) -> None:
    """The engine would write 1000 tokens: what it gets to write is what the hold was for, under whatever name."""
    shop = await open_shop(engine)
    shop.upstream.plan(Fault.Answer(1000))
    plain = json.dumps(BODIES[path](shop.model))[:-1]
    raw = f'{plain},"stream":{json.dumps(stream)},{fields}}}'.encode()
    answer = await shop.post(path, raw)
    record = await shop.only_record()
    if answer.status_code == 400:  # llama.cpp's completions take one prompt
        assert (engine, record.charged_micro) == ("llama-server", 0)
        shop.upstream.heal()
        return
    hold = await shop.hold(record.id)
    sent = shop.upstream.generations[0].body
    assert not DIALECTS[EngineKind(engine)].drop & set(json.loads(f"{{{fields}}}")) & set(sent)
    answers = max(int(sent.get("n") or 1), int(sent.get("best_of") or 1))
    prompts = len(sent["prompt"]) if isinstance(sent.get("prompt"), list) else 1
    assert hold.amount >= 8 * shapes.output_limit(sent) * answers * prompts
    assert record.usage.output == shop.upstream.usage.completion
    assert record.overrun_micro == 0


async def test_a_bound_that_does_not_fit_the_money_is_counted_by_our_own_engine(open_shop) -> None:
    """A byte is at least as long as a token, which is far too careful for a long text: then the engine counts it."""
    text = "seldom " * 100
    price_of_bound, price_of_count = 2 * len(text), 2 * 110
    for engine, status in (("openai", 429), ("vllm", 200), ("llama-server", 200)):
        shop = await open_shop(engine, credit=f"{(price_of_count + 8 * 20 + 300) / 1e6:.6f}")
        assert price_of_bound > (await shop.funds()).available
        answer = await shop.post("/chat/completions", chat(shop.model, text, max_tokens=20))
        assert answer.status_code == status, answer.text
