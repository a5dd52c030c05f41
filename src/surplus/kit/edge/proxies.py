"""Who the caller is behind proxies: headers that anybody can send are believed from proxies that the operator named."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

Headers = Iterable[tuple[bytes, bytes]]

_SCHEMES: Final[Mapping[bytes, str]] = {b"http": "http", b"https": "https"}
_V6_CUSTOMER_BITS: Final = 64
"""Whoever has one IPv6 address has at least a /64 of them."""


class BadProxy(ValueError):
    """Something in the list of proxies is neither an address nor a network."""


class Forwarded(NamedTuple):
    """What the proxies say: the caller's address, and `http` or `https` where they say which."""

    client: str
    scheme: str | None


@dataclass(frozen=True, slots=True)
class Proxies:
    """The addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Proxies":
        """From `10.0.0.0/8, 192.0.2.7`. Raises BadProxy with the first word that is no address and no network."""
        found: list[IPv4Network | IPv6Network] = []
        for word in text.replace(",", " ").split():
            try:
                found.append(ip_network(word))
            except ValueError as error:
                raise BadProxy(f"{word!r} is no address and no network ({error})") from error
        return cls(tuple(found))

    def trust(self, address: str) -> bool:
        """Whether this peer is one of the proxies."""
        if not self.networks:
            return False
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self.networks)

    def read(self, peer: str, headers: Headers) -> Forwarded:
        """Who calls through the trusted proxy `peer`.

        Each proxy appends the address that it was called from, so the list is read from its end, and ends at the first
        address that is not a proxy of ours: what stands before it came from the caller, who can write anything.
        """
        chain: list[bytes] = []
        scheme: str | None = None
        for name, value in headers:
            if name == b"x-forwarded-for":
                chain += value.split(b",")
            elif name == b"x-forwarded-proto":
                said = value.rsplit(b",", 1)[-1].strip().lower()
                scheme = _SCHEMES.get(said) or scheme
        client = peer
        for word in reversed(chain):
            parsed = parse_address(_without_port(word.strip().decode("latin-1")))
            if parsed is None:
                break
            client = str(parsed)
            if not self.trust(client):
                break
        return Forwarded(client, scheme)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, an IPv4 one in IPv6's clothes as itself; None for anything else."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def household(address: str) -> str:
    """What one caller can have many addresses of: the address itself, or the /64 of an IPv6 one."""
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed) >> _V6_CUSTOMER_BITS << _V6_CUSTOMER_BITS, _V6_CUSTOMER_BITS)))
    return address if parsed is None else str(parsed)


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
