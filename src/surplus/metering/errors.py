"""Errors of metering."""

from surplus.kit.errors import NotFound


class UnknownRecord(NotFound):
    """No usage record with this id is visible to the caller."""

    code = "usage_record_not_found"
