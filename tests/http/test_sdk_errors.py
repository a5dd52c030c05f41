"""Every error that a caller can meet, as the official SDK raises it; and what the SDK then does about it."""

import sqlite3
from contextlib import closing

import openai
import pytest

from surplus.app.keys import KeySpec
from surplus.billing.budgets import BudgetScope, Period
from surplus.identity import service as identity
from surplus.identity.model import Limits, Role
from surplus.settings import Gateway, Server
from tests.http.harness import CLOCK, PROMPT, Shop, quick
from tests.http.reading import BODIES, as_request, chat, refusal
from tests.upstream import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = quick(
    gateway=Gateway(attempts=1, first_event_timeout_s=0.5, idle_timeout_s=0.5, request_timeout_s=5),
    server=Server(drain_s=5, max_body_bytes=50_000),
)

SAID = [{"role": "user", "content": PROMPT}]


async def _raised(shop: Shop, token: str | None = None, *, max_retries: int = 0, **fields: object) -> openai.APIError:
    sdk = await shop.sdk(token, max_retries=max_retries)
    with pytest.raises(openai.APIError) as error:
        await sdk.chat.completions.create(**{"model": shop.model, "messages": SAID, **fields})
    answer = shop.heard[-1]
    refusal(answer, answer.status_code, error.value.code)
    assert error.value.request_id == answer.headers["x-request-id"]
    return error.value


BAD_TOKENS = ["nonsense", "sk-0000000000000000-00000000000000000000000000000000", "' OR '1'='1", "sk-'--"]


@pytest.mark.parametrize("token", BAD_TOKENS)
async def test_a_key_that_is_none_of_ours_is_an_authentication_error(shop: Shop, token: str) -> None:
    error = await _raised(shop, token)
    assert isinstance(error, openai.AuthenticationError)
    assert error.code == "invalid_api_key"
    assert not shop.upstream.generations


async def test_a_right_key_with_a_wrong_secret_looks_like_no_key(shop: Shop) -> None:
    head, _, secret = shop.secret.token.rpartition("-")
    wrong = await _raised(shop, f"{head}-{secret[::-1]}")
    unknown = await _raised(shop, BAD_TOKENS[1])
    assert isinstance(wrong, openai.AuthenticationError)
    assert wrong.body == unknown.body


async def test_expired_and_revoked_keys_are_authentication_errors(shop: Shop) -> None:
    revoked = await shop.new_key(name="revoked")
    await shop.live.change(identity.revoke_key, revoked.key.id, now=CLOCK.now())
    assert "revoked" in (await _raised(shop, revoked.token)).message
    expired = await shop.new_key(expires_at=CLOCK.now() + 0.05)
    while CLOCK.now() < expired.key.expires_at:
        await shop.live.read(identity.get_key, expired.key.id)
    assert "expired" in (await _raised(shop, expired.token)).message


@pytest.mark.parametrize("role", [Role.FINANCE, Role.OPERATOR])
async def test_a_role_that_calls_no_models_is_a_permission_error(shop: Shop, role: Role) -> None:
    operates = role is Role.OPERATOR
    token = shop.live.operator_token if operates else (await shop.new_key(role=role)).token
    error = await _raised(shop, token)
    assert isinstance(error, openai.PermissionDeniedError)
    assert error.type == "permission_error"
    with pytest.raises(openai.PermissionDeniedError):
        await (await shop.sdk(token)).models.list()


async def test_an_unknown_model_is_not_found(shop: Shop) -> None:
    error = await _raised(shop, model="gpt-99")
    assert isinstance(error, openai.NotFoundError)
    assert (error.code, error.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        await (await shop.sdk()).models.retrieve("gpt-99")


BAD_FIELDS = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -5}, "max_tokens"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_completion_tokens": 10**12}, "max_completion_tokens"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
]


@pytest.mark.parametrize(("fields", "param"), BAD_FIELDS, ids=str)
async def test_a_field_that_cannot_be_is_a_bad_request_before_any_money_is_held(shop: Shop, fields, param) -> None:
    answer = await shop.post("/chat/completions", {**chat(shop.model), **fields})
    assert refusal(answer, 400, "invalid_request")["param"] == param
    assert not shop.upstream.generations
    assert not await shop.records()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("raw", [b"", b"nonsense", b"[]", b'{"model":', b'"text"', b"\xff\xfe", b"[" * 20_000])
async def test_a_body_that_is_no_json_object_is_a_bad_request(shop: Shop, path: str, raw: bytes) -> None:
    refusal(await shop.post(path, raw), 400, "invalid_request")
    assert not await shop.records()


@pytest.mark.parametrize(("path", "field"), [("/chat/completions", "messages"), ("/completions", "prompt")])
async def test_a_missing_field_is_named(shop: Shop, path: str, field: str) -> None:
    assert refusal(await shop.post(path, {"model": shop.model}), 400, "invalid_request")["param"] == field


async def test_embeddings_do_not_stream(shop: Shop) -> None:
    answer = await shop.post("/embeddings", {"model": shop.model, "input": "x", "stream": True})
    assert refusal(answer, 400, "invalid_request")["param"] == "stream"


async def test_a_model_without_embeddings_is_not_found_there(open_shop) -> None:
    shop = await open_shop("openai", embeddings=False)
    answer = await shop.post("/embeddings", {"model": shop.model, "input": "x"})
    refusal(answer, 404, "model_not_found")


async def test_a_body_that_is_too_large_is_said_to_be(shop: Shop) -> None:
    error = await _raised(shop, messages=[{"role": "user", "content": "x" * 60_000}])
    assert isinstance(error, openai.APIStatusError)
    assert error.status_code == 413
    assert not shop.upstream.generations


async def test_a_spent_wallet_is_insufficient_quota_and_the_sdk_does_not_try_again(open_shop) -> None:
    shop = await open_shop("openai", credit="0.000010")
    error = await _raised(shop, max_retries=3)
    assert isinstance(error, openai.RateLimitError)
    assert (error.type, error.code) == ("insufficient_quota", "insufficient_quota")
    assert error.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in error.response.headers
    assert "wallet" in error.message
    assert len(shop.heard) == 1
    assert not shop.upstream.generations


async def test_a_spent_budget_names_itself_and_the_sdk_does_not_try_again(shop: Shop) -> None:
    await shop.set_budget(scope=BudgetScope.KEY, scope_id=shop.key.id, cap_micro=0, period=Period.MONTH)
    error = await _raised(shop, max_retries=3)
    assert isinstance(error, openai.RateLimitError)
    assert "monthly budget of this key" in error.message
    assert len(shop.heard) == 1


async def test_a_rate_limit_is_tried_again_by_the_sdk(open_shop) -> None:
    shop = await open_shop("openai", key=KeySpec(limits=Limits(concurrency=1)))
    shop.upstream.plan(Fault.HoldFirstByte())
    sdk = await shop.sdk(max_retries=1)
    blocker = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model)))
    await shop.upstream.arrived()
    with pytest.raises(openai.RateLimitError) as error:
        await sdk.chat.completions.create(model=shop.model, messages=SAID)
    assert error.value.code == "rate_limit_exceeded"
    assert error.value.response.headers.get("x-should-retry") != "false"
    assert len(shop.heard) == 2
    shop.upstream.release()
    await blocker.has(b"chatcmpl")


async def test_money_in_flight_is_a_rate_limit_that_frees_soon(open_shop) -> None:
    shop = await open_shop("openai", credit="0.001500")
    shop.upstream.plan(Fault.HoldFirstByte())
    blocker = await shop.dial(as_request(shop, "/chat/completions", chat(shop.model)))
    await shop.upstream.arrived()
    error = await _raised(shop)
    assert isinstance(error, openai.RateLimitError)
    assert error.code == "budget_in_flight"
    assert error.response.headers.get("x-should-retry") != "false"
    assert int(error.response.headers["retry-after"]) == 1
    shop.upstream.release()
    await blocker.has(b"chatcmpl")


UPSTREAM_ERRORS = [
    (Fault.ServerError(500), openai.InternalServerError, 502, "upstream_error"),
    (Fault.ServerError(502, html=True), openai.InternalServerError, 502, "upstream_error"),
    (Fault.ServerError(503), openai.InternalServerError, 503, "no_capacity"),
    (Fault.ServerError(504), openai.InternalServerError, 504, "timeout"),
    (Fault.Unauthorized(), openai.InternalServerError, 502, "upstream_error"),
    (Fault.NotFound(), openai.InternalServerError, 502, "upstream_error"),
    (Fault.ResetBeforeHeaders(), openai.InternalServerError, 502, "upstream_error"),
    (Fault.StallAfter(0), openai.InternalServerError, 504, "timeout"),
    (Fault.RateLimited("100000"), openai.RateLimitError, 429, "upstream_rate_limited"),
    (Fault.ContextLengthExceeded(), openai.BadRequestError, 400, "context_length_exceeded"),
    (Fault.ContentFiltered(), openai.BadRequestError, 400, "content_filter"),
    (Fault.TooLarge(), openai.APIStatusError, 413, "too_large"),
]


@pytest.mark.parametrize(
    ("fault", "kind", "status", "code"), UPSTREAM_ERRORS, ids=[repr(case[0]) for case in UPSTREAM_ERRORS]
)
async def test_what_the_engine_does_wrong_has_a_status_of_its_own(shop: Shop, fault, kind, status, code) -> None:
    shop.upstream.plan(fault)
    error = await _raised(shop, stream=True)
    assert isinstance(error, kind)
    assert (error.status_code, error.code) == (status, code)
    assert (await shop.only_record()).charged_micro == 0


@pytest.mark.parametrize("fault", [Fault.ContextLengthExceeded(), Fault.ContentFiltered(), Fault.TooLarge()])
async def test_the_callers_own_mistakes_are_never_tried_again(shop: Shop, fault) -> None:
    shop.upstream.plan(fault)
    await _raised(shop, max_retries=3)
    assert len(shop.upstream.generations) == 1
    assert len(shop.heard) == 1


async def test_a_failing_engine_is_tried_again_by_the_sdk_and_only_the_answer_is_charged(shop: Shop) -> None:
    shop.upstream.plan(Fault.ServerError(500))
    reply = await (await shop.sdk(max_retries=1)).chat.completions.create(model=shop.model, messages=SAID)
    assert reply.usage.completion_tokens == 12
    failed, answered = [(await shop.record(answer)).charged_micro for answer in shop.heard]
    assert (failed, answered) == (0, 2 * shop.upstream.generations[1].prompt_tokens + 8 * 12)


async def test_a_model_without_a_ready_engine_is_unavailable(open_shop) -> None:
    shop = await open_shop("openai")
    shop.upstream.always(Fault.RateLimited("30"))
    await _raised(shop)
    error = await _raised(shop)
    assert isinstance(error, openai.InternalServerError)
    assert (error.status_code, error.code) == (503, "no_capacity")
    assert error.response.headers["retry-after"] == "2"


async def test_e2_our_own_database_being_away_is_unavailable_and_never_a_bad_key(shop: Shop) -> None:
    """A key that is not in memory has to be looked up; while nobody can, nobody is told that it is wrong."""
    token = (await shop.new_key()).token
    with closing(sqlite3.connect(shop.live.server.database.location)) as books:
        books.execute("ALTER TABLE identity_secret RENAME TO away")
        away = await _raised(shop, token)
        books.execute("ALTER TABLE away RENAME TO identity_secret")
    assert isinstance(away, openai.InternalServerError)
    assert (away.status_code, away.code) == (503, "store_unavailable")
    reply = await (await shop.sdk(token)).chat.completions.create(model=shop.model, messages=SAID)
    assert reply.usage.completion_tokens == 12
