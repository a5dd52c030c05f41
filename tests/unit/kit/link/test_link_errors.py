"""What is raised on one side of a link arrives as the same on the other."""

from pathlib import Path

import pytest

from surplus.billing.errors import Unpriced
from surplus.kit.errors import Exhausted, Limited, SurplusError, Unavailable
from surplus.kit.link import decode_error, encode_error
from surplus.ledger.errors import InsufficientFunds
from tests.unit.kit.link.ends import opened

FUNDS = InsufficientFunds("wallet:org_1", needed_micro=30, available_micro=20, held_micro=10)


def _marked() -> Limited:
    error = Limited("too fast", retry_after_s=2.5, detail={"limit": 3, "scope": "key"})
    error.retryable = False
    return error


@pytest.mark.parametrize(
    "error", [FUNDS, Unpriced("tiny"), _marked(), Unavailable("away", code="draining"), SurplusError("ours")]
)
def test_an_error_keeps_its_class_and_all_that_it_says(error: SurplusError) -> None:
    again = decode_error(encode_error(error))
    assert type(again) is type(error)
    assert str(again) == str(error) == again.message
    expected = {"code": error.code, "retryable": error.retryable, **vars(error)}
    assert vars(again) == expected
    assert again.status == error.status


def test_a_class_that_is_not_known_becomes_its_nearest_base() -> None:
    class Elsewhere(InsufficientFunds):
        code = "elsewhere"

    error = Elsewhere("wallet:org_1", needed_micro=3, available_micro=2, held_micro=1)
    sent = encode_error(error).replace(b"Elsewhere", b"Elsewhen!")
    again = decode_error(sent)
    assert type(again) is InsufficientFunds
    assert (again.code, again.status, again.needed_micro) == ("elsewhere", Exhausted.status, 3)


@pytest.mark.parametrize("error", [FUNDS, Unavailable("away", retry_after_s=3)])
async def test_what_a_call_raises_is_raised_at_its_caller(tmp_path: Path, error: SurplusError) -> None:
    async with opened(tmp_path / "link.sock") as ends, ends.up() as link:
        ends.error = error
        with pytest.raises(type(error)) as caught:
            await link.call("fail", b"")
        assert (caught.value.message, caught.value.retry_after_s) == (error.message, error.retry_after_s)
        assert await link.call("echo", b"!") == b"!"


async def test_a_fault_of_the_other_side_is_a_fault_and_nothing_of_it_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path / "link.sock") as ends, ends.up() as link:
        ends.error = ZeroDivisionError("a secret")
        with pytest.raises(SurplusError, match="the log of the control process") as caught:
            await link.call("fail", b"")
        assert (caught.value.status, "secret" in caught.value.message) == (500, False)
        assert await link.call("echo", b"!") == b"!"
