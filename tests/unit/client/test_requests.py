"""What the client sends."""

import pytest

from surplus import __version__
from surplus.client import BadArgument, Client
from tests.unit.client.answering import Answering

BALANCE = {"available": "1.000000", "held": "0.000000", "settled": "0.000000", "credit": "1.000000"}
USAGE = {
    "requests": 0,
    "input_tokens": 0,
    "cached_input_tokens": 0,
    "cache_write_tokens": 0,
    "output_tokens": 0,
    "charged": "0.000000",
    "models": [],
}


def test_every_request_carries_the_key_and_the_version(server: Answering, client: Client) -> None:
    server.answer([])
    client.list_organizations()
    (sent,) = server.sent
    assert sent.headers["authorization"] == "Bearer sk-a-b"
    assert sent.headers["user-agent"] == f"surplus/{__version__}"
    assert (sent.method, sent.path) == ("GET", "/api/organizations")


def test_a_name_is_one_segment_of_the_path_whatever_it_holds(server: Answering, client: Client) -> None:
    server.answer(BALANCE)
    client.get_balance("a b/../c?d=e#f%")
    assert server.sent[0].path == "/api/organizations/a%20b%2F..%2Fc%3Fd%3De%23f%25/balance"


def test_a_name_that_would_be_another_path_is_not_sent(server: Answering, client: Client) -> None:
    for name in ("", ".", ".."):
        with pytest.raises(BadArgument):
            client.get_balance(name)
    assert server.sent == []


def test_what_is_left_out_is_for_the_server_to_choose(server: Answering, client: Client) -> None:
    server.answer(USAGE)
    client.get_usage("acme")
    client.get_usage("acme", project="p", start="2026-11-21T00:00:00Z")
    assert server.sent[0].query == {}
    assert server.sent[1].query == {"project": ["p"], "from": ["2026-11-21T00:00:00Z"]}


def test_money_carries_its_idempotency_key_in_a_header(server: Answering, client: Client) -> None:
    server.answer(BALANCE)
    client.add_credit("acme", "5", note="n", idempotency_key="k-1")
    client.add_credit("acme", "5")
    assert server.sent[0].headers["idempotency-key"] == "k-1"
    assert server.sent[0].body == {"amount": "5", "note": "n"}
    assert "idempotency-key" not in server.sent[1].headers


def test_an_argument_that_does_not_fit_the_schema_is_named_and_not_sent(server: Answering, client: Client) -> None:
    with pytest.raises(BadArgument, match="rpm"):
        client.create_key("acme", rpm="many")  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadArgument, match="name"):
        client.create_organization("x" * 301)
    assert server.sent == []


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://", "http://x:0x", "http://x/#y", "http://["])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadArgument, match="not the address"):
        Client(url, "sk-a-b")


@pytest.mark.parametrize("key", ["", "  ", "sk a", "sk-ü", "sk\tb"])
def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    with pytest.raises(BadArgument, match="SURPLUS_KEY"):
        Client("http://127.0.0.1:1", key)


def test_a_server_on_this_machine_is_not_asked_through_a_proxy(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.answer([])
    with Client(server.url, "sk-a-b") as client:
        assert client.list_organizations() == []
