"""Slots: what is in flight, and what the next process sees of it."""

import stat

import pytest

from surplus.kit.journal import JournalLocked, Slots, SlotsCorrupt, SlotsFull, SlotState

USAGE = {"uncached": 1, "cache_read": 2, "cache_write": 3, "output": 4, "delivered_bytes": 5, "delivered_events": 6}


def reopened(slots, path, count):
    slots.close()
    return Slots.open(path, count)


def test_survivors_carry_the_last_counters(tmp_path):
    slots = Slots.open(tmp_path / "slots", 4)
    slots.claim("first").update(**USAGE)
    second = slots.claim("second")
    second.update(**USAGE)
    second.delivered(2**64 - 1, 700)
    slots.claim("third")
    assert slots.survivors() == []
    slots = reopened(slots, tmp_path / "slots", 4)
    assert sorted(slots.survivors(), key=lambda state: state.request_id) == [
        SlotState("first", **USAGE),
        SlotState("second", **{**USAGE, "delivered_bytes": 2**64 - 1, "delivered_events": 700}),
        SlotState("third", 0, 0, 0, 0, 0, 0),
    ]
    slots.close()


def test_released_slots_do_not_survive(tmp_path):
    slots = Slots.open(tmp_path / "slots", 4)
    gone = slots.claim("gone")
    slots.claim("stays")
    gone.update(**USAGE)
    gone.release()
    slots = reopened(slots, tmp_path / "slots", 4)
    assert [state.request_id for state in slots.survivors()] == ["stays"]
    slots.close()


def test_a_slot_claimed_again_starts_at_zero(tmp_path):
    slots = Slots.open(tmp_path / "slots", 1)
    first = slots.claim("a-rather-long-request-id")
    first.update(**USAGE)
    first.release()
    slots.claim("short")
    slots = reopened(slots, tmp_path / "slots", 1)
    assert slots.survivors() == [SlotState("short", 0, 0, 0, 0, 0, 0)]
    slots.close()


def test_full_slots_refuse_until_one_is_released(tmp_path):
    slots = Slots.open(tmp_path / "slots", 2)
    first = slots.claim("a")
    slots.claim("b")
    assert (slots.in_use, slots.count) == (2, 2)
    with pytest.raises(SlotsFull, match="2 requests in flight") as caught:
        slots.claim("c")
    assert caught.value.status == 503
    first.release()
    assert slots.in_use == 1
    slots.claim("c")
    slots.close()


def test_release_twice_frees_once(tmp_path):
    slots = Slots.open(tmp_path / "slots", 2)
    first = slots.claim("a")
    first.release()
    first.release()
    assert slots.in_use == 0
    slots.claim("b")
    first.release()
    slots.claim("c")
    assert slots.in_use == 2
    with pytest.raises(SlotsFull):
        slots.claim("d")
    slots.close()


def test_a_released_slot_cannot_write_over_its_next_owner(tmp_path):
    slots = Slots.open(tmp_path / "slots", 1)
    old = slots.claim("old")
    old.release()
    slots.claim("new")
    with pytest.raises(ValueError, match="released"):
        old.update(**USAGE)
    with pytest.raises(ValueError, match="released"):
        old.delivered(1, 1)
    slots = reopened(slots, tmp_path / "slots", 1)
    assert slots.survivors() == [SlotState("new", 0, 0, 0, 0, 0, 0)]
    slots.close()


def test_survivors_keep_their_slots_until_clear(tmp_path):
    slots = Slots.open(tmp_path / "slots", 2)
    slots.claim("survivor")
    slots = reopened(slots, tmp_path / "slots", 2)
    assert slots.in_use == 1
    slots.claim("mine").update(**USAGE)
    with pytest.raises(SlotsFull):
        slots.claim("too many")
    slots.clear()
    assert slots.survivors() == []
    assert slots.in_use == 1
    slots.claim("now there is room")
    slots = reopened(slots, tmp_path / "slots", 2)
    assert {state.request_id for state in slots.survivors()} == {"mine", "now there is room"}
    slots.close()


def test_survivors_outlive_a_process_that_did_not_clear_them(tmp_path):
    slots = Slots.open(tmp_path / "slots", 2)
    slots.claim("survivor").update(**USAGE)
    for _ in range(2):
        slots = reopened(slots, tmp_path / "slots", 2)
        assert slots.survivors() == [SlotState("survivor", **USAGE)]
    slots.clear()
    slots = reopened(slots, tmp_path / "slots", 2)
    assert slots.survivors() == []
    slots.close()


def test_a_file_grows_for_more_slots_and_keeps_its_survivors(tmp_path):
    slots = Slots.open(tmp_path / "slots", 2)
    slots.claim("a").update(**USAGE)
    slots = reopened(slots, tmp_path / "slots", 5)
    assert slots.survivors() == [SlotState("a", **USAGE)]
    for number in range(4):
        slots.claim(f"new-{number}")
    with pytest.raises(SlotsFull):
        slots.claim("one too many")
    slots.close()


def test_fewer_slots_lose_no_survivor(tmp_path):
    slots = Slots.open(tmp_path / "slots", 5)
    for number in range(5):
        slots.claim(f"request-{number}")
    slots = reopened(slots, tmp_path / "slots", 2)
    assert len(slots.survivors()) == 5
    assert (slots.in_use, slots.count) == (2, 2)
    slots.clear()
    assert slots.in_use == 0
    slots.claim("a")
    slots.claim("b")
    with pytest.raises(SlotsFull):
        slots.claim("c")
    slots = reopened(slots, tmp_path / "slots", 5)
    assert {state.request_id for state in slots.survivors()} == {"a", "b"}
    slots.close()


@pytest.mark.parametrize("request_id", ["", "x" * 41])
def test_an_id_that_does_not_fit_is_refused_and_takes_no_slot(tmp_path, request_id):
    slots = Slots.open(tmp_path / "slots", 1)
    with pytest.raises(ValueError, match="1 to 40 ASCII"):
        slots.claim(request_id)
    assert slots.in_use == 0
    slots.close()


def test_an_id_of_forty_characters_survives_and_one_that_is_not_ascii_is_refused(tmp_path):
    slots = Slots.open(tmp_path / "slots", 1)
    with pytest.raises(UnicodeEncodeError):
        slots.claim("requête")
    slots.claim("x" * 40)
    slots = reopened(slots, tmp_path / "slots", 1)
    assert slots.survivors()[0].request_id == "x" * 40
    slots.close()


@pytest.mark.parametrize("content", [b"something else entirely", b"SPLSLOT1" + bytes(300), bytes(512)])
def test_a_file_that_is_no_slot_file_is_refused(tmp_path, content):
    (tmp_path / "slots").write_bytes(content)
    with pytest.raises(SlotsCorrupt, match="Move it away"):
        Slots.open(tmp_path / "slots", 2)
    assert (tmp_path / "slots").read_bytes() == content


@pytest.mark.parametrize(("offset", "value"), [(0, 41), (1, 2), (8, 200)])
def test_a_damaged_slot_is_refused_and_the_file_is_not_left_locked(tmp_path, offset, value):
    slots = Slots.open(tmp_path / "slots", 2)
    slots.claim("a")
    slots.close()
    good = (tmp_path / "slots").read_bytes()
    bad = bytearray(good)
    bad[256 + offset] = value
    (tmp_path / "slots").write_bytes(bad)
    with pytest.raises(SlotsCorrupt, match="slot 1 of the slot file is damaged") as caught:
        Slots.open(tmp_path / "slots", 2)
    (tmp_path / "slots").write_bytes(good)
    Slots.open(tmp_path / "slots", 2).close()
    assert caught.value.status == 500


def test_one_process_owns_the_file_which_is_private(tmp_path):
    slots = Slots.open(tmp_path / "slots", 2)
    with pytest.raises(JournalLocked):
        Slots.open(tmp_path / "slots", 2)
    assert stat.S_IMODE((tmp_path / "slots").stat().st_mode) == 0o600
    slots.close()
    Slots.open(tmp_path / "slots", 2).close()
