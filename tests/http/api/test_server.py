"""Status, health, metrics, pages, and what happens when something fails."""

import json
import logging
import re
from typing import Any

import pytest

from surplus.kit.db import StoreUnavailable
from surplus.kit.log import JsonLines
from tests.http.world import World


async def test_status_and_readiness(world: World):
    expected = {
        "version": "1.2.3",
        "started_at": "2026-11-21T09:00:00Z",
        "in_flight": 3,
        "journal_lag_bytes": 77,
        "ready": True,
        "why": [],
        "ledger": {"state": "unknown", "seq": 0, "hash": "", "checked_at": None, "problems": [], "remedy": ""},
        "workers": [],
    }
    assert await world.ok("operator", "GET", "/api/status") == expected
    ready = await world.call(None, "GET", "/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "why": []})
    world.not_ready.append("shutting down")
    busy = await world.call(None, "GET", "/readyz")
    assert (busy.status_code, busy.json()) == (503, {"ready": False, "why": ["shutting down"]})
    assert await world.ok("operator", "GET", "/api/status") == {**expected, "ready": False, "why": ["shutting down"]}
    assert (await world.call(None, "GET", "/healthz")).json() == {"status": "ok"}


async def test_the_ledger_verifies_and_says_so_if_it_does_not(world: World):
    good = await world.ok("operator", "GET", "/api/ledger/verify")
    assert (good["ok"], good["problems"]) == (True, [])
    assert good["entries"] > 0 < good["batches"]
    assert re.fullmatch("[0-9a-f]{64}", good["head_hash"])
    statement = "UPDATE ledger_entry SET amount_micro = 11000000 WHERE kind = 'transfer'"
    world.database.migrate(lambda connection: connection.exec_driver_sql(statement) and None)
    bad = await world.ok("operator", "GET", "/api/ledger/verify")
    assert bad["ok"] is False
    assert bad["problems"]


async def test_metrics_are_open_to_this_machine_and_to_the_operator(world: World):
    local = await world.call(None, "GET", "/metrics")
    assert local.status_code == 200
    assert "surplus_tests_total 0.0" in local.text
    assert local.headers["content-type"].startswith("text/plain; version=")
    for address in ("203.0.113.5", "unknown", "::2"):
        client = world.client(address=address)
        assert (await client.get("/metrics")).status_code == 401
        for who, status in (("admin", 403), ("operator", 200)):
            headers = {"authorization": f"Bearer {world.tokens[who]}"}
            assert (await client.get("/metrics", headers=headers)).status_code == status
    six = world.client(address="::1")
    assert (await six.get("/metrics")).status_code == 200


async def test_metrics_can_be_switched_off(world: World):
    answer = await world.another(registry=None).get("/metrics")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_pages_load_nothing_from_elsewhere(world: World):
    for path in ("/", "/api/docs"):
        page = await world.call(None, "GET", path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "http" not in policy
        assert not re.search(r"<script(?! src=\"/)|\son\w+=", page.text)
        for target in re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text):
            found = await world.call(None, "GET", target)
            assert found.status_code == 200, target
            assert found.headers["x-content-type-options"] == "nosniff"
    start = await world.call(None, "GET", "/api/docs/start.js")
    assert "/api/openapi.json" in start.text


async def test_the_landing_page_does_not_believe_the_host_header(world: World):
    page = await world.call(None, "GET", "/", headers={"host": 'x"><script>alert(1)</script>'})
    assert "<script" not in page.text


async def test_answers_with_secrets_are_not_stored_on_the_way(world: World):
    made = await world.call("admin", "POST", "/api/organizations/acme/keys", {})
    assert made.headers["cache-control"] == "no-store"
    assert "set-cookie" not in made.headers


async def test_answers_are_of_no_use_to_other_sites(world: World):
    for path in ("/", "/healthz", "/api/docs", "/api/organizations", "/nowhere"):
        answer = await world.call("operator", "GET", path)
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_only_the_operator_hears_which_version_runs(world: World):
    for path in ("/", "/healthz", "/readyz", "/api/openapi.json", "/api/docs"):
        answer = await world.call(None, "GET", path)
        assert "1.2.3" not in answer.text
        assert not {"server", "x-powered-by"} & answer.headers.keys()


async def test_there_is_no_cors(world: World):
    headers = {"origin": "https://example.com", "access-control-request-method": "POST"}
    preflight = await world.call(None, "OPTIONS", "/api/organizations", headers=headers)
    assert preflight.status_code == 405
    answer = await world.call("operator", "GET", "/api/organizations", headers=headers)
    assert not [name for name in (*preflight.headers, *answer.headers) if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/organizations/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/api/docs/assets/../../../etc/passwd", 404, "not_found"),
        ("GET", "/api/docs/assets/%2e%2e/%2e%2e/__init__.py", 404, "not_found"),
        ("PATCH", "/api/organizations", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_errors_of_the_framework_have_our_shape(world: World, method: str, path: str, status: int, code: str):
    error = await world.refused("operator", method, path)
    assert (error["status"], error["code"]) == (status, code)
    assert "/api/docs" in error["message"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b'{"name": "\\ud800"}', 400),
        (b'{"name": "x", "\\ud800": 1}', 400),
        (b"[" * 100_000, 400),
        (b'{"name": ' + b"1" * 10_000 + b"}", 400),
        (b'{"name": "' + b"x" * 300_000 + b'"}', 413),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_body_that_cannot_be_read_is_the_callers_fault(world: World, content: bytes, status: int):
    headers = {"content-type": "application/json"}
    error = await world.refused("operator", "POST", "/api/organizations", content=content, headers=headers)
    assert error["status"] == status


async def test_a_body_of_another_type_is_refused(world: World):
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        more = {"content": b'{"name": "x"}', "headers": {"content-type": kind}}
        error = await world.refused("operator", "POST", "/api/organizations", **more)
        assert error["status"] == 400
        assert "application/json" in error["message"]


async def test_what_was_sent_is_not_repeated(world: World):
    body = {"name": 5, "credit": ["s3cret"], "credit_limit": {"s3cret": 1}}
    assert "s3cret" not in str(await world.refused("operator", "POST", "/api/organizations", body))
    many = {f"field{number}": 1 for number in range(1000)}
    error = await world.refused("operator", "POST", "/api/organizations", many)
    assert len(error["detail"]["problems"]) == 10


async def test_a_fault_of_ours_is_answered_and_logged_without_content(world: World, caplog: pytest.LogCaptureFixture):
    secret = "-".join(("s3cret", "body"))

    def broken() -> int:
        raise RuntimeError(secret)

    client = world.another(in_flight=broken)
    headers = {"authorization": f"Bearer {world.tokens['operator']}"}
    with caplog.at_level(logging.ERROR):
        answer = await client.get("/api/status", headers=headers)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["code"], set(error)) == ("internal", {"message", "code", "param", "detail"})
    assert answer.headers["x-request-id"] == answer.headers["request-id"]
    (line,) = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert (line["request"], line["kind"]) == (answer.headers["x-request-id"], "RuntimeError")
    assert "broken" in str(line["where"])
    assert secret not in str(line) + answer.text


async def test_a_store_that_fails_is_503_and_says_when_to_come_back(world: World):
    def failing() -> int:
        raise StoreUnavailable("the disk is full", retry_after_s=1.2)

    headers = {"authorization": f"Bearer {world.tokens['operator']}"}
    answer = await world.another(in_flight=failing).get("/api/status", headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "store_unavailable"


async def test_a_change_that_was_made_is_answered_though_the_caches_follow_later(world: World):
    async def refresh() -> None:
        raise StoreUnavailable("the disk is full")

    headers = {"authorization": f"Bearer {world.tokens['operator']}"}
    body: dict[str, Any] = {"name": "Initech"}
    answer = await world.another(refresh=refresh).post("/api/organizations", json=body, headers=headers)
    assert answer.status_code == 201
    await world.ok("operator", "GET", "/api/organizations/Initech")
