"""The rules of the edge, at their borders."""

import pytest

from surplus.kit.edge.errors import ConnectionsFull, TooManyConnections
from surplus.kit.edge.limits import FRAMING_PER_BYTE, Limits, check_framing, check_head, check_head_size, check_url
from surplus.kit.edge.pace import Pace, Phase, Silence
from surplus.kit.edge.seats import EXTENSION, Seats, claim
from surplus.kit.errors import HeadTooLarge, TooSlow, UrlTooLong

LIMITS = Limits(
    head_bytes=100,
    headers=3,
    url_bytes=20,
    body_bytes=1000,
    head_s=10.0,
    body_s=5.0,
    body_rate=100,
    idle_s=20.0,
    connections=4,
    connections_per_key=2,
    connections_per_address=2,
)


def test_an_address_may_be_as_long_as_the_limit() -> None:
    check_url(LIMITS, b"/" * 20)
    with pytest.raises(UrlTooLong, match="20 bytes"):
        check_url(LIMITS, b"/" * 21)


def test_a_head_counts_its_lines() -> None:
    headers = [(b"host", b"x"), (b"accept", b"y" * 71)]  # 9 and 81 bytes, beside 10 of the address
    check_head(LIMITS, b"/" * 10, headers)
    for url, more in ((b"/" * 11, []), (b"/" * 10, [(b"", b"")])):
        with pytest.raises(HeadTooLarge, match="100 bytes"):
            check_head(LIMITS, url, [*headers, *more])
    check_head_size(LIMITS, 100)
    with pytest.raises(HeadTooLarge):
        check_head_size(LIMITS, 101)


def test_headers_are_counted() -> None:
    check_head(LIMITS, b"/", [(b"a", b"b")] * 3)
    with pytest.raises(HeadTooLarge, match="3 headers"):
        check_head(LIMITS, b"/", [(b"a", b"b")] * 4)


def test_what_surrounds_a_body_may_be_as_long_as_a_head_and_more_with_the_body() -> None:
    check_framing(LIMITS, 100, 0)
    check_framing(LIMITS, 110 + FRAMING_PER_BYTE * 10, 10)
    for size, body in ((101, 0), (111 + FRAMING_PER_BYTE * 10, 10)):
        with pytest.raises(HeadTooLarge):
            check_framing(LIMITS, size, body)


def verdict(pace: Pace, now: float, *, answering: bool = False) -> object:
    return pace.verdict(LIMITS, now, answering=answering)


def test_a_connection_on_which_nothing_comes_is_closed_without_a_word() -> None:
    pace = Pace(0.0, 0.0)
    assert verdict(pace, 10.0) is Silence.KEEP
    assert verdict(pace, 10.1) is Silence.CLOSE


def test_a_head_has_its_time_from_its_first_byte() -> None:
    pace = Pace(0.0, 0.0)
    pace.head(9.0)
    assert verdict(pace, 19.0) is Silence.KEEP
    assert isinstance(verdict(pace, 19.1), TooSlow)


def test_a_body_may_pause_but_not_for_long() -> None:
    pace = Pace(0.0, 0.0)
    pace.body(100.0)
    assert verdict(pace, 105.0) is Silence.KEEP
    assert isinstance(verdict(pace, 105.1), TooSlow)
    pace.more(1000, 105.0)
    assert verdict(pace, 110.0) is Silence.KEEP
    assert isinstance(verdict(pace, 110.1), TooSlow)


def test_a_body_has_to_keep_its_rate_once_it_has_had_time_to_begin() -> None:
    pace = Pace(0.0, 0.0)
    pace.body(0.0)
    pace.more(200, 7.0)
    assert verdict(pace, 7.0) is Silence.KEEP
    refused = verdict(pace, 7.1)
    assert isinstance(refused, TooSlow)
    assert "100 bytes per second" in refused.message


def test_nobody_is_blamed_for_what_we_did_not_read() -> None:
    pace = Pace(0.0, 0.0)
    pace.body(0.0)
    pace.pardon(50.0)
    assert verdict(pace, 55.0) is Silence.KEEP
    assert isinstance(verdict(pace, 55.1), TooSlow)


def test_an_idle_connection_is_closed_but_not_one_that_waits_for_its_answer() -> None:
    pace = Pace(0.0, 0.0)
    pace.whole(30.0)
    assert pace.phase is Phase.NOTHING
    assert verdict(pace, 50.0) is Silence.KEEP
    assert verdict(pace, 50.1) is Silence.CLOSE
    assert verdict(pace, 5000.0, answering=True) is Silence.KEEP


def test_strangers_of_one_address_take_their_seats_and_no_more() -> None:
    seats = Seats(LIMITS)
    first = seats.sit("192.0.2.1", proxy=False)
    seats.sit("192.0.2.1", proxy=False)
    with pytest.raises(TooManyConnections, match="address has 2"):
        seats.sit("192.0.2.1", proxy=False)
    seats.sit("192.0.2.2", proxy=False)
    assert seats.open == 3
    first.leave()
    seats.sit("192.0.2.1", proxy=False)


def test_an_address_of_ipv6_is_its_network_and_one_in_disguise_is_itself() -> None:
    seats = Seats(LIMITS)
    seats.sit("2001:db8::1", proxy=False)
    seats.sit("2001:db8::ffff:2", proxy=False)
    with pytest.raises(TooManyConnections):
        seats.sit("2001:db8::3", proxy=False)
    seats.sit("::ffff:192.0.2.1", proxy=False)
    assert seats.addresses["192.0.2.1"] == 1


def test_the_server_takes_so_many_in_all() -> None:
    seats = Seats(LIMITS)
    for number in range(4):
        seats.sit(f"192.0.2.{number}", proxy=False)
    with pytest.raises(ConnectionsFull) as refusal:
        seats.sit("192.0.2.9", proxy=True)
    assert refusal.value.retry_after_s == 1.0


def test_a_key_takes_its_connections_from_those_of_the_address() -> None:
    seats = Seats(LIMITS)
    mine = [seats.sit("192.0.2.1", proxy=False) for _ in range(2)]
    for seat in mine:
        seat.claim("key_1")
        seat.claim("key_1")
    assert (dict(seats.keys), dict(seats.addresses)) == ({"key_1": 2}, {})
    third = seats.sit("192.0.2.1", proxy=False)
    with pytest.raises(TooManyConnections, match="key has 2"):
        third.claim("key_1")
    assert (dict(seats.keys), dict(seats.addresses)) == ({"key_1": 2}, {"192.0.2.1": 1})
    mine[0].claim("key_2")
    third.claim("key_1")
    for seat in (*mine, third):
        seat.leave()
    assert (seats.open, dict(seats.keys), dict(seats.addresses)) == (0, {}, {})


def test_a_proxys_connection_counts_for_others_during_a_request_alone() -> None:
    seats = Seats(LIMITS)
    proxy = [seats.sit("10.0.0.1", proxy=True) for _ in range(3)]
    for seat in proxy[:2]:
        seat.come_from("192.0.2.1")
    with pytest.raises(TooManyConnections):
        proxy[2].come_from("192.0.2.1")
    proxy[0].claim("key_1")
    proxy[2].come_from("192.0.2.1")
    for seat in proxy:
        seat.answered()
    assert (seats.open, dict(seats.keys), dict(seats.addresses)) == (3, {}, {})


def test_a_key_that_is_recognised_when_its_caller_has_left_counts_for_nothing() -> None:
    seats = Seats(LIMITS)
    seat = seats.sit("192.0.2.1", proxy=False)
    seat.leave()
    seat.claim("key_1")
    assert (seats.open, dict(seats.keys), dict(seats.addresses)) == (0, {}, {})


def test_a_request_outside_of_our_server_has_no_seat() -> None:
    claim({"type": "http"}, "key_1")
    claim({"type": "http", "extensions": {}}, "key_1")
    seats = Seats(LIMITS)
    claim({"extensions": {EXTENSION: {"seat": seats.sit("::1", proxy=False)}}}, "key_1")
    assert dict(seats.keys) == {"key_1": 1}
