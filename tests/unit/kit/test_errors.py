import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import surplus
from surplus.kit import errors
from surplus.kit.errors import Conflict, Exhausted, Limited, SurplusError

FIRST_COLUMN = len("SurplusError                 ")


def below(kind: type[SurplusError]) -> Iterator[type[SurplusError]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


def drawn() -> Iterator[tuple[str, str, int, str]]:
    """(parent, name, status, code) of every line of the tree in the module's docstring."""
    lines = [line for line in str(errors.__doc__).splitlines() if "  " in line and line[FIRST_COLUMN:][:3].isdigit()]
    parents: list[str] = []
    for line in lines:
        branch, rest = line[:FIRST_COLUMN].rstrip(), line[FIRST_COLUMN:].split()
        name = branch.split(" ")[-1]
        depth = (len(branch) - len(name)) // 4
        parents[depth:] = [name]
        yield (parents[depth - 1] if depth else "Exception"), name, int(rest[0]), rest[1]


def test_the_drawn_tree_is_the_classes() -> None:
    classes = [SurplusError, *(kind for kind in below(SurplusError) if kind.__module__ == errors.__name__)]
    actual = {(kind.__bases__[0].__name__, kind.__name__, kind.status, kind.code) for kind in classes}
    assert set(drawn()) == actual
    assert len(actual) == 18


def test_no_error_of_any_domain_changes_its_parent_s_status() -> None:
    for module in pkgutil.walk_packages(surplus.__path__, "surplus."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)
    kit = {SurplusError, *(kind for kind in below(SurplusError) if kind.__module__ == errors.__name__)}
    ours = {kind for kind in below(SurplusError) if kind.__module__.startswith("surplus.")}  # other tests make some
    for kind in ours - kit:
        assert kind.status == next(parent for parent in kind.__mro__ if parent in kit).status, kind
        assert kind.__doc__, kind


def test_an_error_carries_what_a_caller_needs() -> None:
    error = Limited("too fast; wait a second", param="rpm", retry_after_s=1.5, detail={"limit": 60})
    assert str(error) == error.message == "too fast; wait a second"
    assert (error.status, error.code, error.param, error.retry_after_s) == (429, "rate_limit_exceeded", "rpm", 1.5)
    assert error.detail == {"limit": 60}
    assert error.retryable is None


def test_a_code_can_be_narrowed_for_one_error_without_touching_its_class() -> None:
    assert Conflict("no", code="taken").code == "taken"
    assert Conflict("no").code == "conflict"
    assert Conflict("no").detail == {}


def test_spent_money_is_never_worth_another_try() -> None:
    assert Exhausted("spent").retryable is False
    with pytest.raises(SurplusError, match="spent"):
        raise Exhausted("spent")
