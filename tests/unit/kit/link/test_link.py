import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from surplus.kit.errors import Conflict, TooLarge, Unavailable
from surplus.kit.link import Link, LinkLost
from surplus.kit.link import client as client_module
from surplus.kit.link import server as server_module
from surplus.kit.link.frames import FRAME_MAX, LENGTH, BadFrame, Frame, Kind, Splitter, encode
from surplus.kit.link.server import bind
from tests.unit.kit.link.ends import TOKEN, Ends, eventually, make_hub, opened


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[Ends]:
    async with opened(tmp_path / "run" / "link.sock") as made:
        yield made


async def test_calls_are_answered_each_with_its_own(ends: Ends) -> None:
    async with ends.up() as link:
        asked = [str(number).encode() for number in range(500)]
        assert await asyncio.gather(*(link.call("echo", payload) for payload in asked)) == asked


async def test_an_answer_does_not_wait_for_an_earlier_call(ends: Ends) -> None:
    async with ends.up() as link:
        slow = asyncio.create_task(link.call("wait", b"slow"))
        await eventually(lambda: ends.begun)
        assert await link.call("echo", b"quick") == b"quick"
        assert not slow.done()
        ends.gate.set()
        assert await slow == b"slow"


async def test_what_is_told_is_heard_in_order_and_before_a_later_call(ends: Ends) -> None:
    async with ends.up() as link:
        for number in range(100):
            link.tell("hear", b"%d" % number)
        await link.call("echo", b"")
        assert ends.heard == [("worker-1", b"%d" % number) for number in range(100)]


async def test_replies_are_given_in_the_order_of_what_was_said(ends: Ends) -> None:
    async with ends.up() as link:
        asked = asyncio.create_task(link.call("reply", b"1"))
        await asyncio.sleep(0)
        link.tell("hear", b"2")
        assert (await link.call("reply", b"3"), await asked) == (b"3", b"1")
        assert [payload for _, payload in ends.heard] == [b"1", b"2", b"3"]
        ends.error = Conflict("no")
        with pytest.raises(Conflict):
            await link.call("reply", b"")


async def test_news_reach_everyone_or_everyone_but_one(ends: Ends) -> None:
    async with ends.up("one"), ends.up("two"):
        await eventually(lambda: len(list(ends.hub.peers)) == 2)
        ends.hub.push("news", b"for both")
        await eventually(lambda: ends.pushed == [b"for both"] * 2)
        (one,) = [peer for peer in ends.hub.peers if peer.name == "one"]
        ends.hub.push("news", b"for two", but=one)
        one.push("news", b"for one")
        await eventually(lambda: sorted(ends.pushed[2:]) == [b"for one", b"for two"])


async def test_calls_under_way_fail_when_the_link_is_lost_and_later_ones_until_it_is_back(ends: Ends) -> None:
    async with ends.up() as link:
        call = asyncio.create_task(link.call("wait", b""))
        await eventually(lambda: ends.begun)
        for peer in ends.hub.peers:
            peer.cut()
        with pytest.raises(LinkLost, match="before it answered"):
            await call
        assert ends.events[:3] == ["worker-1 joined", "up", "down"] or ends.events[-1] == "down"
        with pytest.raises(LinkLost, match="cannot be reached"):
            await link.call("echo", b"")
        await eventually(lambda: link.is_up, "the link to come back")
        assert await link.call("echo", b"again") == b"again"
        assert ends.begun == 1  # nothing was sent twice


async def test_a_link_waits_for_a_hub_that_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "run" / "link.sock"
    ends = Ends(path, None)  # type: ignore[arg-type]
    async with ends.linked() as link:
        with pytest.raises(LinkLost):
            await link.call("echo", b"")
        link.tell("hear", b"nobody")
        async with opened(path) as there:
            await eventually(lambda: link.is_up)
            assert await link.call("echo", b"!") == b"!"
            assert there.heard == []


async def test_a_hub_takes_the_place_of_one_that_died(tmp_path: Path) -> None:
    path = tmp_path / "link.sock"
    bind(path).close()  # leaves its file behind
    async with opened(path) as ends, ends.up() as link:
        assert await link.call("echo", b"!") == b"!"


async def test_strangers_are_not_let_in(ends: Ends) -> None:
    async with ends.linked(token=b"another run") as link:
        _, writer = await asyncio.open_unix_connection(str(ends.path))
        writer.write(encode(Frame(Kind.CALL, 1, "echo", b"")))
        await eventually(lambda: not ends.hub._wires, "both to be cut off")
        writer.close()
        assert not link.is_up
    assert ends.events == []


async def test_the_socket_is_for_its_user_alone(ends: Ends) -> None:
    assert stat.S_IMODE(ends.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(ends.path.parent.stat().st_mode) == 0o700


async def test_a_path_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-directory-of-some-length"] * 6)
    deep.mkdir(parents=True)
    async with opened(deep / "run" / "link.sock") as ends, ends.up() as link:
        assert await link.call("echo", b"!") == b"!"


async def test_an_abandoned_call_goes_on_and_its_answer_is_nobodys(ends: Ends) -> None:
    async with ends.up() as link:
        call = asyncio.create_task(link.call("wait", b""))
        await eventually(lambda: ends.begun)
        call.cancel()
        await asyncio.wait({call})
        ends.gate.set()
        assert await link.call("echo", b"!") == b"!"
        assert not link._calls


async def test_a_frame_that_is_too_long_is_not_sent_and_one_that_is_announced_ends_the_link(ends: Ends) -> None:
    async with ends.up() as link:
        with pytest.raises(TooLarge):
            await link.call("echo", bytes(FRAME_MAX))
        whole = bytes(FRAME_MAX - 64)
        assert await link.call("echo", whole) == whole
        link._wire._transport.write((FRAME_MAX + 1).to_bytes(LENGTH, "big"))
        await eventually(lambda: "down" in ends.events)
        await eventually(lambda: link.is_up)


async def test_a_channel_that_nobody_knows_is_a_refusal(ends: Ends) -> None:
    async with ends.up() as link:
        with pytest.raises(Unavailable, match="another version"):
            await link.call("nonsense", b"")
        assert link.is_up


async def test_who_does_not_read_is_cut_off(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surplus.kit.link.wire.WAITING_MAX", 100_000)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(ends.path))
    sock.sendall(encode(Frame(Kind.HELLO, 0, "lazy", TOKEN)))
    await eventually(lambda: list(ends.hub.peers))

    def pushed() -> bool:
        ends.hub.push("news", bytes(10_000))
        return not list(ends.hub.peers)

    await eventually(pushed, "the lazy one to be cut off")
    assert "lazy left" in ends.events
    sock.close()


async def test_more_calls_than_are_wanted_wait_in_the_senders_kernel(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CALLS_MAX", 10)
    async with ends.up() as link:
        first = [asyncio.create_task(link.call("wait", b"%d" % number)) for number in range(10)]
        await eventually(lambda: ends.begun == 10)
        later = [asyncio.create_task(link.call("wait", b"%d" % number)) for number in range(50)]
        await asyncio.wait(later, timeout=0.05)
        assert ends.begun == 10
        ends.gate.set()
        await asyncio.gather(*first, *later)
        assert ends.begun == 60


async def test_a_link_refuses_calls_that_would_wait_too_long(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CALLS_MAX", 3)
    async with ends.up() as link:
        waiting = [asyncio.create_task(link.call("wait", b"")) for _ in range(3)]
        await eventually(lambda: ends.begun == 3)
        with pytest.raises(Unavailable, match="too many"):
            await link.call("echo", b"")
        ends.gate.set()
        await asyncio.gather(*waiting)
        assert await link.call("echo", b"!") == b"!"


async def test_the_end_of_a_hub_is_the_end_of_its_links(tmp_path: Path) -> None:
    path = tmp_path / "link.sock"
    ends = Ends(path, None)  # type: ignore[arg-type]
    ends.hub = make_hub(ends)
    async with ends.linked() as link:
        with bind(path) as sock:
            await ends.hub.listen(sock)
            await eventually(lambda: link.is_up)
            call = asyncio.create_task(link.call("wait", b""))
            await eventually(lambda: ends.begun)
            await ends.hub.close()
        with pytest.raises(LinkLost):
            await call


def test_frames_come_out_whole_however_their_bytes_arrive() -> None:
    frames = [Frame(Kind.CALL, number, "channel", b"x" * number) for number in range(0, 400, 7)]
    data = b"".join(map(encode, frames))
    for step in (1, 2, 3, 5, 64, 1000, len(data)):
        splitter = Splitter()
        seen = [frame for at in range(0, len(data), step) for frame in splitter.feed(data[at : at + step])]
        assert seen == frames


@pytest.mark.parametrize("body", [b"\xc1", msgspec.msgpack.encode("words"), msgspec.msgpack.encode([1, "2", 3, 4])])
def test_what_is_no_frame_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        Splitter().feed(len(body).to_bytes(LENGTH, "big") + body)


async def test_a_link_that_is_never_welcomed_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "WELCOME_S", 0.05)
    path = tmp_path / "link.sock"
    with bind(path) as sock:
        sock.listen()
        sock.settimeout(5)
        link = Link(path, "worker", TOKEN, topics={}, jitter=lambda: 0.0)
        running = asyncio.create_task(link.run())
        for _ in range(3):
            connection, _ = await asyncio.to_thread(sock.accept)
            connection.close()
        assert not link.is_up
        running.cancel()
        await asyncio.wait({running})
