"""How a request is refused before anything of it has been looked at: in the shape of the surface that was called."""

from surplus.api import errors
from surplus.gateway import surface
from surplus.gateway.http import PREFIX
from surplus.kit.edge import Told
from surplus.kit.errors import SurplusError
from surplus.kit.ids import Ids


def tell(ids: Ids, path: str, error: SurplusError) -> Told:
    """The headers and the body for a path; for no path those of the model API, which nearly all callers want."""
    named = surface.request_headers(ids.new("req"))
    if not path or f"{path}/".startswith(f"{PREFIX}/"):
        return Told([*surface.error_headers(error), *named], surface.error_body(error))
    answer = errors.answer(error)
    return Told([*answer.raw_headers, *named], bytes(answer.body))
