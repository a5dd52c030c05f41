"""Who calls: the key of a request, read from the database each time, and whether it may do what its route does."""

from typing import Annotated

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from surplus.api.deps import Deps
from surplus.app import callers
from surplus.app.callers import Caller
from surplus.identity.errors import InvalidKey
from surplus.identity.model import Action, Key
from surplus.kit.edge import claim

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="An API key, `sk-…-…`. The operator's is in the file `operator.key` of the server's data directory.",
)

Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


def token_of(credentials: HTTPAuthorizationCredentials | None) -> str:
    """The token of a request. Raises InvalidKey if it has none."""
    if credentials is None:
        raise InvalidKey("no API key was given; send one in the header `Authorization: Bearer sk-…`")
    return credentials.credentials


class _Holder:
    """Whoever has a key whose role allows `action`; None: any key."""

    def __init__(self, action: Action | None) -> None:
        self._action = action

    async def __call__(self, request: Request, deps: Deps, credentials: Credentials) -> Key:
        token = token_of(credentials)
        key = await deps.read(callers.authenticate, token, self._action, now=deps.clock.now())
        claim(request.scope, key.id)
        return key


class _Inside:
    """Whoever reaches the organization of the path, with a role that allows `action` in it."""

    def __init__(self, action: Action) -> None:
        self._action = action

    async def __call__(
        self,
        request: Request,
        deps: Deps,
        credentials: Credentials,
        org: Annotated[str, Path(description="Its name or id.")],
    ) -> Caller:
        token = token_of(credentials)
        caller = await deps.read(callers.inside, token, org, self._action, now=deps.clock.now())
        claim(request.scope, caller.key.id)
        return caller


async def _over_key(
    request: Request,
    deps: Deps,
    credentials: Credentials,
    key: Annotated[str, Path(description="The key's id, `key_…`.")],
) -> tuple[Key, Key]:
    token = token_of(credentials)
    found = await deps.read(callers.over_key, token, key, Action.MANAGE_ORG, now=deps.clock.now())
    claim(request.scope, found[0].id)
    return found


AnyKey = Annotated[Key, Depends(_Holder(None))]
Operator = Annotated[Key, Depends(_Holder(Action.OPERATE))]
OperatorOn = Annotated[Caller, Depends(_Inside(Action.OPERATE))]
ManagerOf = Annotated[Caller, Depends(_Inside(Action.MANAGE_ORG))]
ReaderOf = Annotated[Caller, Depends(_Inside(Action.READ_USAGE))]
MoneyReaderOf = Annotated[Caller, Depends(_Inside(Action.READ_MONEY))]
BudgetManagerOf = Annotated[Caller, Depends(_Inside(Action.MANAGE_BUDGETS))]
ManagedKey = Annotated[tuple[Key, Key], Depends(_over_key)]
"""Who calls, and the key that the request is about."""
