"""Errors of the use-cases that span domains."""

from surplus.kit.errors import BadRequest, Forbidden


class RoleMayNot(Forbidden):
    """The key is good, but its role does not allow this."""

    code = "role_not_allowed"


class BadAmount(BadRequest):
    """An amount of money that cannot be meant here, such as a credit below zero."""

    code = "bad_amount"


class BadNote(BadRequest):
    """A note that is too long, or has characters that cannot be printed."""

    code = "bad_note"


class BadIdempotencyKey(BadRequest):
    """An idempotency key that is empty, too long, or has characters that cannot be printed."""

    code = "bad_idempotency_key"
