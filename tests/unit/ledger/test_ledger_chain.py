"""Canonical bytes, digests and the hash chain."""

import json
from hashlib import sha256

import pytest
from msgspec.structs import replace

from surplus.ledger.chain import BODY, GENESIS, canonical, digest, link
from surplus.ledger.model import Entry, EntryKind
from tests.unit.ledger.book import NOW, budget, funded, place, post


def log() -> list[Entry]:
    book = funded(1000)
    book.do(place("h1", 100, budget("ü", 0)))
    book.do(place("h1", 100, budget("ü", 100)))
    book.do(post("h1", 150, grains=7))
    return book.log


def test_canonical_bytes_are_a_line_of_json_without_what_is_empty() -> None:
    line = canonical(Entry(7, EntryKind.VOID, "void:h1", NOW, NOW + 0.25, account="w", hold="h1"))
    assert line == (
        b'{"seq":7,"kind":"void","key":"void:h1","event_at":1800000000.0,"booked_at":1800000000.25,'
        b'"account":"w","hold":"h1"}\n'
    )


def test_a_limit_of_zero_differs_from_no_limit() -> None:
    limited = Entry(1, EntryKind.LIMIT, "k", NOW, NOW, account="w", limit_micro=0)
    assert b'"limit_micro":0' in canonical(limited)
    assert b"limit_micro" not in canonical(replace(limited, limit_micro=None))


def test_l9_the_hash_of_a_batch_can_be_computed_with_any_tool() -> None:
    entries = log()
    text = GENESIS + "".join(
        json.dumps(json.loads(canonical(entry)), separators=(",", ":"), ensure_ascii=False) + "\n" for entry in entries
    )
    assert link(GENESIS, entries) == sha256(text.encode()).hexdigest()


def test_l9_a_batch_depends_on_the_one_before_it_and_on_every_field_of_its_entries() -> None:
    entries = log()
    hashes = {link(GENESIS, entries), link("1" * 64, entries), link(GENESIS, entries[:-1])}
    samples = {"seq": 99, "kind": EntryKind.VOID, "scopes": ("x",), "limit_micro": 12}
    for field in Entry.__struct_fields__:
        present = getattr(entries[-1], field)
        other = samples.get(field, "x" if isinstance(present, str) else 3)
        hashes.add(link(GENESIS, [*entries[:-1], replace(entries[-1], **{field: other})]))
    assert len(hashes) == 3 + len(Entry.__struct_fields__)


@pytest.mark.parametrize("kind", list(EntryKind))
def test_a_digest_covers_the_body_and_nothing_else(kind: EntryKind) -> None:
    base = Entry(1, kind, "k", NOW, NOW, account="w", counter="r", hold="h", cost_micro=1)
    body = {"rest_grains" if kept == "grains" else kept for kept in BODY[kind][1].values()} | {"key"}
    for field in set(Entry.__struct_fields__) - {"kind", "cost_micro"}:
        present = getattr(base, field)
        other = {"scopes": ("x",), "limit_micro": 12}.get(field, "x" if isinstance(present, str) else 3)
        changed = digest(replace(base, **{field: other})) != digest(base)
        assert changed == (field in body), field


def test_the_digests_of_two_verbs_differ_under_one_key() -> None:
    entries = [Entry(1, kind, "k", NOW, NOW) for kind in EntryKind]
    assert len({digest(entry) for entry in entries}) == len({verb for verb, _ in BODY.values()})
