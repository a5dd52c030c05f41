"""The page of errors, from their classes, and from what the data plane makes of them for OpenAI's SDKs."""

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final

import openai

import surplus
from surplus.billing.errors import Unpriced
from surplus.gateway import errors as gateway
from surplus.gateway import surface
from surplus.identity import errors as identity
from surplus.kit import errors as kit
from surplus.kit.db import StoreUnavailable
from surplus.kit.edge import errors as edge
from surplus.kit.errors import SurplusError
from surplus.kit.journal import errors as journal
from tools.reference.markdown import code, document, first_paragraph, table

_INTRO = """
Every refusal has a status for machines, a `code` for programs and a message for people, which says what happened, why,
and what to do next. The answer's id is in the headers `x-request-id` and `request-id`: quote it when you ask for help.

The control plane (`/api`) answers `{"error": {"message", "code", "param", "detail"}}`; `detail` holds the facts of the
message as data. The model API (`/v1`) answers as OpenAI does: `{"error": {"message", "type", "param", "code"}}`, and a
stream that fails after its first event ends with an event of that shape.
"""
_SURFACE_INTRO = """
What the model API answers, what the official Python SDK raises, and whether that SDK tries again by itself (twice, if
`max_retries` is left alone). It goes by `x-should-retry` where that header is sent, by the status where it is not, and
waits for as long as `retry-after` says, which is never more than a minute. An error inside of a stream is raised as
`openai.APIError`, and never tried again.

Where an engine or a provider refuses a request with a code of its own, such as `content_filter`, that code is passed on
with status 400.
"""
_NOT_IMPORTED: Final = ("surplus.__main__", "surplus.migrations", "surplus.serving.engines.llamacpp_host")
"""Modules that do something when they are imported; they define no errors."""

SURFACE: Final[Sequence[SurplusError]] = (
    edge.Unreadable(""),
    gateway.BadBody(""),
    gateway.ContextTooLong(""),
    gateway.UpstreamRefused(""),
    identity.InvalidKey(""),
    identity.ExpiredKey(""),
    identity.RevokedKey(""),
    identity.ReplacedKey(""),
    gateway.RoleMayNotCall(""),
    gateway.ModelNotFound(""),
    kit.NotFound(""),
    kit.MethodNotAllowed(""),
    kit.TooSlow(""),
    gateway.BodyTooLarge(""),
    kit.UrlTooLong(""),
    kit.HeadTooLarge(""),
    kit.Limited(""),
    edge.TooManyConnections(""),
    gateway.BudgetInFlight(""),
    gateway.BudgetSpent(""),
    gateway.UpstreamLimited(""),
    gateway.UpstreamBroken(""),
    gateway.StreamBroken(""),
    Unpriced(""),
    gateway.NoCapacity(""),
    gateway.Draining(""),
    edge.ConnectionsFull(""),
    gateway.JournalBehind(0),
    gateway.NotAGateway(),
    gateway.BooksUnchecked(""),
    gateway.LedgerViolation(""),
    journal.SlotsFull(""),
    journal.JournalFull(""),
    journal.JournalUnavailable(""),
    StoreUnavailable(""),
    kit.Unavailable(""),
    gateway.UpstreamSilent(""),
)
"""What a caller of the model API can meet."""


def page() -> str:
    """docs/reference/errors.md"""
    codes = table(("code", "status", "try again", "meaning", "class"), [_row(error) for error in every()])
    head = ("status", "`type`", "`code`", "when", "the SDK raises", "and tries again")
    rows = [_surface_row(error) for error in SURFACE]
    return document(
        "Errors", _INTRO, "## The model API and OpenAI's SDK", _SURFACE_INTRO, table(head, rows), "## All codes", codes
    )


def every() -> list[type[SurplusError]]:
    """Every error of the product, by code."""
    for module in pkgutil.walk_packages(surplus.__path__, "surplus."):
        if not module.name.startswith(_NOT_IMPORTED):
            importlib.import_module(module.name)
    found = {error for error in _below(SurplusError) if error.__module__.startswith("surplus.")}
    return sorted(found, key=lambda error: (error.code, error.__module__, error.__name__))


def sdk_error(status: int) -> type[openai.APIStatusError]:
    """What OpenAI's SDK raises for a status."""
    known = {error.__dict__.get("status_code"): error for error in openai.APIStatusError.__subclasses__()}
    if status in known:
        return known[status]
    return openai.InternalServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else openai.APIStatusError


def sdk_tries_again(error: SurplusError) -> bool:
    """Whether OpenAI's SDK sends a request again after this error."""
    said = dict(surface.error_headers(error)).get(b"x-should-retry")
    return error.status in {408, 409, 429} or error.status >= 500 if said is None else said == b"true"


def _below(error: type[SurplusError]) -> Iterable[type[SurplusError]]:
    yield error
    for subclass in error.__subclasses__():
        yield from _below(subclass)


def _row(error: type[SurplusError]) -> tuple[str, ...]:
    where = f"{error.__module__.removeprefix('surplus.')}.{error.__name__}"
    worth = error.retryable if error.retryable is not None else error.status in {429, 502, 503, 504}
    return code(error.code), str(error.status), "yes" if worth else "no", _meaning(error), code(where)


def _surface_row(error: SurplusError) -> tuple[str, ...]:
    shown = surface.error_object(error)
    raised = code(sdk_error(error.status).__name__)
    again = "yes" if sdk_tries_again(error) else "no"
    return str(error.status), code(shown["type"]), code(shown["code"]), _meaning(type(error)), raised, again


def _meaning(error: type[SurplusError]) -> str:
    return first_paragraph(error.__doc__ or "")
