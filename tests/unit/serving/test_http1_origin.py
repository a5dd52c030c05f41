"""URLs, and the heads of requests."""

import pytest

from surplus.serving.http1.origin import Origin, Target


def start(url: str, method: str = "POST", *, reuse: bool = True) -> list[str]:
    return Target(method, url, reuse=reuse).head({}, 2).decode().split("\r\n")


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("http://gpu-07:8000/v1", (False, "gpu-07", 8000), "gpu-07:8000"),
        ("http://GPU_07/v1", (False, "gpu_07", 80), "gpu_07"),
        ("http://gpu:80/v1", (False, "gpu", 80), "gpu"),
        ("https://api.example.com/v1", (True, "api.example.com", 443), "api.example.com"),
        ("https://api.example.com:80/v1", (True, "api.example.com", 80), "api.example.com:80"),
        ("http://[::1]:8000/v1", (False, "::1", 8000), "[::1]:8000"),
        ("http://bücher.example/v1", (False, "bücher.example", 80), "xn--bcher-kva.example"),
    ],
)
def test_where_a_url_leads(url: str, origin: tuple[bool, str, int], host: str) -> None:
    assert Target("POST", url, reuse=True).origin == Origin(*origin)
    assert f"host: {host}" in start(url)


@pytest.mark.parametrize(("host", "numeric"), [("127.0.0.1", True), ("::1", True), ("localhost", False)])
def test_an_address_needs_no_look_up(host: str, numeric: bool) -> None:
    assert Origin(tls=False, host=host, port=80).numeric is numeric


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://a", "POST / HTTP/1.1"),
        ("http://a/v1/chat?x=1&y=%20", "POST /v1/chat?x=1&y=%20 HTTP/1.1"),
        ("http://a/v1/%2Fx", "POST /v1/%2Fx HTTP/1.1"),
        ("http://a/a b\u00e9\x01", "POST /a%20b%C3%A9%01 HTTP/1.1"),
    ],
)
def test_a_path_is_sent_as_it_is_where_that_is_possible(url: str, line: str) -> None:
    assert start(url)[0] == line


def test_a_connection_that_is_not_kept_is_announced() -> None:
    assert "connection: close" in start("http://a/", reuse=False)
    assert "connection: close" not in start("http://a/", reuse=True)


def test_the_size_of_a_body_is_said_but_for_a_get_without_one() -> None:
    assert "content-length: 2" in start("http://a/")
    assert "content-length: 0" in Target("POST", "http://a/", reuse=True).head({}, 0).decode()
    assert "content-length" not in Target("GET", "http://a/", reuse=True).head({}, 0).decode()
    assert "content-length: 1" in Target("GET", "http://a/", reuse=True).head({}, 1).decode()


def test_fields_are_those_of_this_request_and_not_of_the_last() -> None:
    target = Target("POST", "http://a/", reuse=True)
    fields = {"authorization": "Bearer one"}
    first = target.head(fields, 5)
    assert b"authorization: Bearer one\r\ncontent-length: 5\r\n\r\n" in first
    assert target.head(dict(fields), 5) == first
    fields["authorization"] = "Bearer two"
    assert b"Bearer two" in target.head(fields, 5)
    assert b"authorization" not in target.head({}, 5)


@pytest.mark.parametrize("fields", [{"a": "secret\r\nx: y"}, {"a\r\nb": "secret"}, {"a": "secret\0"}, {"": "secret"}])
def test_a_field_cannot_smuggle_another(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="field") as refusal:
        Target("POST", "http://a/", reuse=True).head(fields, 0)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("url", ["ftp://a/", "a", "http://", "http://a:x/", "http://a..b/", "http://[::1/"])
def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the kinds of nonsense have messages of their own
        Target("POST", url, reuse=True)
