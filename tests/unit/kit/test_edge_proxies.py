"""Who is believed about who calls."""

import pytest

from surplus.kit.edge import BadProxy, Proxies

PROXIES = Proxies.parse("10.0.0.0/8, 192.0.2.7 2001:db8::/32")


def client(peer: str, *lists: str) -> str:
    return PROXIES.read(peer, [(b"x-forwarded-for", each.encode("latin-1")) for each in lists]).client


@pytest.mark.parametrize("address", ["10.255.0.1", "192.0.2.7", "2001:db8::9", "::ffff:10.0.0.1"])
def test_proxies_that_are_named_are_trusted(address: str) -> None:
    assert PROXIES.trust(address)


@pytest.mark.parametrize("address", ["11.0.0.1", "192.0.2.8", "2001:db9::9", "unknown", ""])
def test_nobody_else_is(address: str) -> None:
    assert not PROXIES.trust(address)
    assert not Proxies.parse(" ").trust(address)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example.com", "10.0.0.1/8"])
def test_a_list_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(BadProxy, match="no address and no network"):
        Proxies.parse(f"10.0.0.1, {text}")


def test_the_last_address_that_is_not_a_proxy_is_the_caller() -> None:
    assert client("10.0.0.1", "203.0.113.5") == "203.0.113.5"
    assert client("10.0.0.1", "203.0.113.5, 10.0.0.2") == "203.0.113.5"
    assert client("10.0.0.1", "203.0.113.5", "10.0.0.2, 192.0.2.7") == "203.0.113.5"
    assert client("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3"
    assert client("10.0.0.1") == "10.0.0.1"


def test_what_the_caller_wrote_itself_is_not_believed() -> None:
    assert client("10.0.0.1", "127.0.0.1, 203.0.113.5") == "203.0.113.5"
    assert client("10.0.0.1", "10.0.0.9", "203.0.113.5") == "203.0.113.5"


@pytest.mark.parametrize("word", ["unknown", "", "_hidden", "\xff", "203.0.113.5 or so"])
def test_a_word_that_is_no_address_ends_the_list(word: str) -> None:
    assert client("10.0.0.1", f"203.0.113.9, {word}") == "10.0.0.1"
    assert client("10.0.0.1", f"203.0.113.9, {word}, 10.0.0.2") == "10.0.0.2"


@pytest.mark.parametrize("word", ["203.0.113.5:1234", "::ffff:203.0.113.5", "[::ffff:203.0.113.5]:80"])
def test_addresses_may_come_with_ports_and_in_disguise(word: str) -> None:
    assert client("10.0.0.1", word) == "203.0.113.5"


@pytest.mark.parametrize(
    ("said", "scheme"),
    [("https", "https"), ("HTTP", "http"), ("http, https", "https"), ("javascript", None), ("", None)],
)
def test_the_scheme_is_one_of_two(said: str, scheme: str | None) -> None:
    assert PROXIES.read("10.0.0.1", [(b"x-forwarded-proto", said.encode())]).scheme == scheme
