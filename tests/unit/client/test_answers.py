"""What the client makes of answers, and of none."""

import socket

import pytest

from surplus.client import ApiError, BadAnswer, Client, Unreachable
from tests.unit.client.answering import ERROR, Answering

ORGANIZATION = {"id": "org_1", "name": "acme", "created_at": "2026-11-21T09:00:00Z"}


def test_an_answer_is_typed_and_fields_of_a_newer_server_are_ignored(server: Answering, client: Client) -> None:
    server.answer({**ORGANIZATION, "colour": "blue"}, 201)
    made = client.create_organization("acme", credit="5")
    assert (made.id, made.name) == ("org_1", "acme")
    assert not hasattr(made, "colour")


def test_a_refusal_carries_all_that_the_server_said(server: Answering, client: Client) -> None:
    server.answer(ERROR, 404, x_request_id="req_7")
    with pytest.raises(ApiError) as caught:
        client.get_organization("nobody")
    error = caught.value
    assert (error.status, error.code, error.request_id) == (404, "not_found", "req_7")
    assert (str(error), error.param, error.detail) == ("no such thing; look again", "org", {"a": 1})


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>hello</html>"), (200, b""), (404, b"not here"), (404, b'{"detail":"Not Found"}'), (302, b"")],
)
def test_a_stranger_is_not_taken_for_a_server(server: Answering, client: Client, status: int, body: bytes) -> None:
    server.status, server.body = status, body
    with pytest.raises(BadAnswer, match="check SURPLUS_URL") as caught:
        client.get_status()
    assert server.url in str(caught.value)


def test_another_shape_is_told_field_by_field(server: Answering, client: Client) -> None:
    server.answer({"id": "org_1"})
    with pytest.raises(BadAnswer, match="name: Field required; created_at"):
        client.get_organization("acme")
    server.answer(ORGANIZATION)
    with pytest.raises(BadAnswer, match="list"):
        client.list_organizations()


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    with Client(url, "sk-a-b") as client, pytest.raises(Unreachable) as caught:
        client.get_status()
    assert str(caught.value) == (
        f"cannot reach {url} (connection refused); check SURPLUS_URL, and that `surplus serve` is running there"
    )


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    with Client("http://surplus.invalid", "sk-a-b") as client, pytest.raises(Unreachable, match=r"surplus\.invalid"):
        client.get_status()


def test_a_broken_connection_is_unreachable(server: Answering, client: Client) -> None:
    server.cut = True
    with pytest.raises(Unreachable, match="broke"):
        client.get_status()


def test_silence_is_told_apart_for_what_may_have_been_done(server: Answering) -> None:
    server.silent = True
    with Client(server.url, "sk-a-b", timeout_s=0.2) as client:
        with pytest.raises(Unreachable, match=r"within 0\.2 s; try again"):
            client.get_status()
        with pytest.raises(Unreachable, match="may still have done"):
            client.add_credit("acme", "5")
