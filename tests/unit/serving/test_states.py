"""The states of a replica: which steps there are, and what they lead to."""

import pytest

from surplus.serving.errors import IllegalTransition
from surplus.serving.model import TRANSITIONS, EngineKind, ReplicaEvent, ReplicaState, advance


def test_a_whole_life() -> None:
    state = ReplicaState.STARTING
    seen = []
    for event in ("started", "warmed", "failed", "retried", "started", "warmed", "drained", "ended"):
        state = advance(state, ReplicaEvent(event))
        seen.append(state.value)
    assert seen == ["warming", "ready", "backoff", "starting", "warming", "ready", "draining", "stopped"]


@pytest.mark.parametrize("state", ReplicaState)
@pytest.mark.parametrize("event", ReplicaEvent)
def test_every_step_is_in_the_table_or_raises(state: ReplicaState, event: ReplicaEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state}.*{event}"):
            advance(state, event)


def test_every_living_state_can_be_drained_and_nothing_leaves_the_end() -> None:
    living = set(ReplicaState) - {ReplicaState.DRAINING, ReplicaState.STOPPED}
    drainable = {state for state, event in TRANSITIONS if event is ReplicaEvent.DRAINED}
    assert drainable == living
    assert not [state for state, _ in TRANSITIONS if state is ReplicaState.STOPPED]


def test_only_a_start_that_was_warmed_leads_to_ready() -> None:
    into_ready = {step for step, state in TRANSITIONS.items() if state is ReplicaState.READY}
    assert into_ready == {(ReplicaState.WARMING, ReplicaEvent.WARMED)}


def test_which_engines_are_ours() -> None:
    assert {kind for kind in EngineKind if not kind.owned} == {EngineKind.OPENAI}
    assert {kind for kind in EngineKind if kind.embedded} == {EngineKind.LLAMACPP}
