"""Errors of identity.

The four that refuse a key share a status and a code. Only a caller who has the right secret learns more than
InvalidKey says.
"""

from surplus.kit.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthenticated


class InvalidKey(Unauthenticated):
    """Not a key of ours, or not its secret."""


class ExpiredKey(Unauthenticated):
    """The secret is right, but the key's time is over."""


class RevokedKey(Unauthenticated):
    """The secret is right, but someone revoked the key."""


class ReplacedKey(Unauthenticated):
    """The secret was right until the key was rotated and the overlap ended."""


class BadName(BadRequest):
    """The name has characters or a length that names do not have."""

    code = "bad_name"


class BadEmail(BadRequest):
    """The text is not an email address."""

    code = "bad_email"


class BadLimit(BadRequest):
    """A limit of a key is not a whole number of at least 1."""

    code = "bad_limit"


class BadTerm(BadRequest):
    """A key would expire before it exists, or an earlier secret would stay valid too long."""

    code = "bad_term"


class NameTaken(Conflict):
    """Another organization, project or member has this name or email already."""

    code = "name_taken"


class KeyEnded(Conflict):
    """The key is revoked or expired, and neither can be undone."""

    code = "key_ended"


class RoleTooHigh(Forbidden):
    """The role allows more than its holder may have."""

    code = "role_too_high"


class UnknownOrganization(NotFound):
    """No organization has this name or id."""

    code = "organization_not_found"


class UnknownProject(NotFound):
    """The organization has no project of this name or id."""

    code = "project_not_found"


class UnknownMember(NotFound):
    """The organization has no member of this email or id."""

    code = "member_not_found"


class UnknownKey(NotFound):
    """No key with this id is visible to the caller."""

    code = "key_not_found"
