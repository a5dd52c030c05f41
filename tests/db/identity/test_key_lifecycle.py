"""Whatever is done to keys, in whatever order: exactly the tokens that should authenticate do."""

import itertools
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from surplus.identity import service
from surplus.identity.errors import InvalidKey, KeyEnded
from surplus.identity.model import parse_token, verify
from surplus.kit.clock import ManualClock
from surplus.kit.db import Database
from surplus.kit.errors import Unauthenticated
from surplus.kit.ids import RandomIds
from tests.stores import Stores

seconds = st.sampled_from([0.001, 1.0, 5.0, 10.0, 30.0])


@dataclass
class Expected:
    """What the rules say about one key: the tokens it ever had, each with the instant at which it ends."""

    expires_at: float
    revoked: bool = False
    tokens: dict[str, float] = field(default_factory=dict)
    newest: str = ""

    def issue(self, token: str) -> None:
        self.tokens[token], self.newest = math.inf, token

    def usable(self, now: float) -> bool:
        return not self.revoked and now < self.expires_at

    def admits(self, token: str, now: float) -> bool:
        return self.usable(now) and now < self.tokens[token]


class KeyLifecycle(RuleBasedStateMachine):
    stores: Stores
    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.place = self.stores.place()
        self.database = Database(self.place)
        self.clock = ManualClock()
        self.ids = RandomIds(self.clock)
        self.expected: dict[str, Expected] = {}

    def teardown(self) -> None:
        self.database.close()
        self.stores.forget(self.place)

    @initialize()
    def organization(self) -> None:
        made = self.database.write_now(service.create_organization, self.ids, "Acme", now=self.clock.now())
        self.org = made.id

    @rule(target=keys, lifetime=st.none() | seconds)
    def create(self, lifetime: float | None) -> str:
        now = self.clock.now()
        expires_at = None if lifetime is None else now + lifetime
        made = self.database.write_now(service.create_key, self.ids, org=self.org, expires_at=expires_at, now=now)
        self.expected[made.key.id] = Expected(math.inf if expires_at is None else expires_at)
        self.expected[made.key.id].issue(made.token)
        return made.key.id

    @rule(key=keys, overlap=st.just(0.0) | seconds)
    def rotate(self, key: str, overlap: float) -> None:
        now, expected = self.clock.now(), self.expected[key]
        if not expected.usable(now):
            with pytest.raises(KeyEnded):
                self.database.write_now(service.rotate_key, self.ids, key, overlap_s=overlap, now=now)
            return
        made = self.database.write_now(service.rotate_key, self.ids, key, overlap_s=overlap, now=now)
        assert made.key.id == key
        latest_end = now + overlap if overlap else -math.inf
        expected.tokens = {token: min(end, latest_end) for token, end in expected.tokens.items()}
        expected.issue(made.token)

    @rule(key=keys)
    def revoke(self, key: str) -> None:
        assert self.database.write_now(service.revoke_key, key, now=self.clock.now()).revoked_at is not None
        self.expected[key].revoked = True

    @rule(duration=seconds)
    def wait(self, duration: float) -> None:
        self.clock.advance(duration)

    @rule(duration=seconds)
    def set_the_clock_back(self, duration: float) -> None:
        self.clock.step(-duration)

    @invariant()
    def exactly_the_tokens_that_should_authenticate_do(self) -> None:
        now = self.clock.now()
        for key, expected in self.expected.items():
            admitted = {token for token in expected.tokens if self.authenticates(token, key)}
            assert admitted == {token for token in expected.tokens if expected.admits(token, now)}

    @invariant()
    def public_ids_and_secrets_of_different_tokens_do_not_mix(self) -> None:
        newest = [parse_token(expected.newest) for expected in self.expected.values()]
        for (public_id, _), (_, secret) in itertools.pairwise(newest):
            with pytest.raises(InvalidKey):
                verify(self.database.read_now(service.find_by_public_id, public_id), secret, self.clock.now())

    def authenticates(self, token: str, key: str) -> bool:
        public_id, secret = parse_token(token)
        try:
            found = verify(self.database.read_now(service.find_by_public_id, public_id), secret, self.clock.now())
        except InvalidKey:
            raise AssertionError("the secret of a token that was issued is never unknown") from None
        except Unauthenticated:
            return False
        assert found.id == key
        return True


def test_key_lifecycle(stores: Stores) -> None:
    machine = type("KeyLifecycleOnAStore", (KeyLifecycle,), {"stores": stores})
    examples = settings(max_examples=30 // stores.cost, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(machine, settings=examples)
